//! The engine behind every front of Coracle: containers, images and hosts.
//!
//! It prints nothing, reads no environment and knows no command line: what a person should know reaches the caller as values, or, where
//! nobody waits for it, as records of the `log` crate.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod capability;
pub mod containers;
mod error;
pub mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod guest;
pub mod host;
pub mod hosts;
mod identifier;
pub mod images;
/// How the parts of Coracle itself reach keepers: no part of what other programs may rely on.
#[doc(hidden)]
pub mod keeper;
pub mod kernel;
pub mod policy;
pub mod progress;
pub mod signal;
mod software_host;
mod spec;
pub mod state;
mod system;
mod timeline;
mod watch;
mod words;

pub use error::{Error, ErrorKind, Kind, Result};
pub use guest::Guest;
pub use identifier::identifier;
pub use spec::{DISK, set as set_variable};
pub use system::Everything;
pub use timeline::Timeline;
pub use words::{clean, damage, failure, merge, stopped};

use std::ffi::OsString;

use self::images::{Images, Registries};
use containers::Containers;
use hosts::Hosts;
use keeper::Launch;
use state::Directories;

/// Where an engine keeps what, and what it may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's directories.
    pub directories: Directories,
    /// Where the settings and credentials of registries come from.
    pub registries: Registries,
    /// The process that looks after a container may be a fork of this one, where this one has a single thread: that is
    /// quicker than to execute the program `coracle-keeper`. It lives as long as the container, with a copy of this
    /// process's memory, and is a child that this process has to wait for: for a program that ends soon.
    pub may_fork: bool,
    /// No machine is started whose monitor does not get all of its jail, on this system. A named host that is up
    /// already stays as it was started, and so do the containers in it.
    pub require_jail: bool,
    /// The environment for keepers that are executed, asked for when one is. Of it they get what a software host needs,
    /// which they may have to start: `PATH`, `HOME`, `TMPDIR`, `LANG`, `XDG_*` and `CORACLE_MACHINE_*`. A front gives
    /// its own.
    pub environment: fn() -> Vec<(OsString, OsString)>,
}

impl Settings {
    /// These directories, and registries without credentials; nothing is forked, and keepers have no environment.
    pub fn new(directories: Directories) -> Self {
        Self {
            directories,
            registries: Registries::default(),
            may_fork: false,
            require_jail: false,
            environment: Vec::new,
        }
    }

    fn launch(&self) -> Launch {
        Launch {
            may_fork: self.may_fork,
            require_jail: self.require_jail,
            environment: self.environment,
        }
    }
}

/// The containers, images and hosts of one user. Clones are the same engine; any number of threads and processes
/// use it at once.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) directories: Directories,
    pub(crate) registries: Registries,
    pub(crate) launch: Launch,
}

impl Engine {
    /// Opens it; nothing is started, and nothing is made that is not there.
    ///
    /// # Errors
    /// When the directories cannot be used.
    pub fn open(settings: Settings) -> Result<Self> {
        Ok(Self {
            launch: settings.launch(),
            directories: settings.directories,
            registries: settings.registries,
        })
    }

    /// The user's directories.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Where the settings and credentials of registries come from.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// The containers.
    pub fn containers(&self) -> Containers {
        Containers::new(self)
    }

    /// The images.
    pub fn images(&self) -> Images {
        Images::new(self)
    }

    /// The named hosts.
    pub fn hosts(&self) -> Hosts {
        Hosts::new(self)
    }
}
