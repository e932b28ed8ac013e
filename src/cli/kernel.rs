//! `coracle kernel`.

use std::{path::PathBuf, time::UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::table;
use crate::kernel_build::Display;
use coracle_engine::kernel;
use coracle_engine::state::Directories;
use coracle_terminal::output;

/// What `--version` says: the program's release and what its kernel is built from.
pub(super) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nguest kernel from Debian's linux-source-6.12"
);

/// Build and list guest kernels
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build the guest kernel, unless it is in the cache
    Build {
        /// Source, as Debian's linux-source-6.12.tar.xz [default: that package's]
        #[arg(long, value_name = "FILE")]
        source: Option<PathBuf>,
        /// Build it even if it is in the cache
        #[arg(long)]
        force: bool,
    },
    /// List the kernels in the cache
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the path of the guest kernel; exits with 1 if it is not built
    Path,
    /// Check whether a file is a kernel that guests can boot, and print its version
    Check {
        /// An ELF vmlinux or a bzImage
        file: PathBuf,
    },
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let cache = Directories::from_environment()?.cache;
    match &arguments.action {
        Action::Build { source, force } => {
            let path = kernel::build(&cache, source.as_deref(), *force, &mut Display::new())?;
            outln!("{}", path.display());
        }
        Action::List { json } => list(&kernel::list(&cache)?, *json)?,
        Action::Path => match kernel::path(&cache) {
            Some(path) => outln!("{}", path.display()),
            None => bail!("the guest kernel is not built yet; run 'coracle kernel build'"),
        },
        Action::Check { file } => {
            let kernel = kernel::check(file)?;
            outln!("Linux {}, {}", kernel.version, table::size(kernel.size));
        }
    }
    Ok(())
}

fn list(kernels: &[kernel::Cached], json: bool) -> Result<()> {
    if json {
        let list: Vec<_> = kernels
            .iter()
            .map(|kernel| {
                let built = kernel
                    .built
                    .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                json!({
                    "version": kernel.version,
                    "source": kernel.source,
                    "size": kernel.size,
                    "path": kernel.path,
                    "current": kernel.current,
                    "built": built.map(|since| since.as_secs()),
                })
            })
            .collect();
        output::json_pretty(&list)?;
        return Ok(());
    }
    let mut printed = table::table(&["VERSION", "SOURCE", "SIZE", "CURRENT", "PATH"]);
    for kernel in kernels {
        printed.add_row([
            kernel.version.clone(),
            kernel.source.clone(),
            table::size(kernel.size),
            if kernel.current { "yes" } else { "" }.into(),
            kernel.path.display().to_string(),
        ]);
    }
    table::print(&printed);
    Ok(())
}
