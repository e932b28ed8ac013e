//! `coracle start`.

use anyhow::{Result, bail};
use coracle_engine::{
    ErrorKind,
    containers::{self, Attachment, Container, StartOptions},
};
use coracle_terminal::{raw::DetachKeys, report};

use super::engine;
use crate::{
    attached::{self, Attached, Ended},
    kernel_build::Display,
};

/// Start one or more stopped containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Attach standard output and error, and exit with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Attach standard input, too
    #[arg(short, long)]
    interactive: bool,
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let containers = engine()?.containers();
    if arguments.attach || arguments.interactive {
        let [name] = &arguments.containers[..] else {
            bail!("you cannot start and attach multiple containers at once; omit -a and -i");
        };
        return attach(arguments, &containers.find(name)?);
    }
    super::each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        match container.start(StartOptions::default(), &mut Display::new()) {
            Ok(link) => until_started(name, &link)?,
            Err(error) if error.kind() == ErrorKind::NotModified => {}
            Err(error) => return Err(error.into()),
        }
        outln!("{name}");
        Ok(())
    })
}

/// Waits until a container's process is executed.
///
/// # Errors
/// When it could not be, in words that begin with the name.
pub(super) fn until_started(name: &str, link: &Attachment) -> Result<()> {
    match link.until_started()? {
        Some(containers::Ended::Failed { message, .. }) => bail!("{name}: {message}"),
        Some(containers::Ended::Exited(_)) | None => Ok(()),
    }
}

fn attach(arguments: &Arguments, container: &Container) -> Result<u8> {
    let signals = attached::take_signals()?;
    let options = StartOptions {
        attach: Some(arguments.interactive),
        owner: false,
    };
    let link = container.start(options, &mut Display::new())?;
    let tty = container.config().spec.process.terminal.is_some();
    let input = arguments.interactive && container.config().interactive;
    let keys = (tty && input).then(|| arguments.detach_keys.clone().unwrap_or_default());
    let raw = attached::raw_terminal(tty && input)?;
    let ended = Attached::new(link, signals, false, tty, keys)?.run()?;
    drop(raw);
    code_of(ended)
}

/// The exit code for how an attached container ended.
///
/// # Errors
/// When it failed.
pub(super) fn code_of(ended: Ended) -> Result<u8> {
    match ended {
        Ended::Exited(exit) => Ok(exit.code),
        Ended::Failed { message, code } => {
            report::error(&anyhow::Error::msg(message));
            Ok(code)
        }
        Ended::Detached => Ok(0),
    }
}
