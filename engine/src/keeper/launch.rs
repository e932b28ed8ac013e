//! How keepers are started.

use std::ffi::OsString;

/// What a front has said of the keepers that it starts, and of the machines that these start.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// A keeper may be a fork of this process.
    pub may_fork: bool,
    /// Nothing runs in a machine whose monitor does not get all of its jail.
    pub require_jail: bool,
    /// The environment of a keeper that is a program; most of it is left out.
    pub environment: fn() -> Vec<(OsString, OsString)>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            may_fork: false,
            require_jail: false,
            environment: Vec::new,
        }
    }
}
