//! `coracle cp`.

use std::io;

use anyhow::{Result, bail};
use coracle_engine::containers::CopyOptions;
use coracle_terminal::output::{self, Stream};

use super::engine;

/// Copy files between a container and the local file system
#[derive(clap::Args)]
#[command(
    override_usage = "coracle cp [OPTIONS] CONTAINER:PATH PATH|-\n       coracle cp [OPTIONS] PATH|- \
                      CONTAINER:PATH"
)]
pub(super) struct Arguments {
    /// Source; - for a tar archive on standard input
    from: String,
    /// Destination; - for a tar archive on standard output
    to: String,
    /// Archive mode: copy all UID/GID information, and set-user-ID bits
    #[arg(short, long)]
    archive: bool,
    /// Always follow the symbolic link in FROM
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output (there is none)
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let containers = engine()?.containers();
    let options = CopyOptions {
        archive: arguments.archive,
        follow_link: arguments.follow_link,
    };
    match (split(&arguments.from), split(&arguments.to)) {
        (Some((name, path)), None) => {
            let container = containers.find(name)?;
            match &*arguments.to {
                "-" => container.archive(&path, options, &mut output::raw(Stream::Output))?,
                to => container.copy_out(&path, to, options)?,
            }
        }
        (None, Some((name, path))) => {
            let container = containers.find(name)?;
            match &*arguments.from {
                "-" => container.unarchive(&mut io::stdin().lock(), &path)?,
                from => container.copy_in(from, &path, options)?,
            }
        }
        (Some(_), Some(_)) => bail!("copying between containers is not supported"),
        (None, None) => bail!("must specify at least one container source: CONTAINER:PATH"),
    }
    Ok(())
}

/// `CONTAINER:PATH`; what begins with a slash or a dot is a path of this machine.
fn split(text: &str) -> Option<(&str, String)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    let (name, path) = text.split_once(':')?;
    if name.contains('/') {
        return None;
    }
    Some((name, format!("/{}", path.trim_start_matches('/'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_paths_are_told_apart() {
        assert_eq!(split("web:a/b"), Some(("web", "/a/b".into())));
        assert_eq!(split("web:/"), Some(("web", "/".into())));
        assert_eq!(split("./web:x"), None);
        assert_eq!(split("/web:x"), None);
        assert_eq!(split("-"), None);
    }
}
