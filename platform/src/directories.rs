//! Where a user's files are: the XDG base directories.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::private;

/// Directories of one user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Directories {
    /// Images: `$XDG_DATA_HOME/coracle`.
    pub data: PathBuf,
    /// What can be made again (kernels, initial RAM file systems): `$XDG_CACHE_HOME/coracle`.
    pub cache: PathBuf,
    /// Sockets and locks until the machine's next boot: `$XDG_RUNTIME_DIR/coracle`.
    pub runtime: PathBuf,
}

impl Directories {
    /// Disks of containers and hosts, all that a software host may write to.
    pub fn disks(&self) -> PathBuf {
        self.data.join("disks")
    }

    /// The user's directories, as the environment names them.
    ///
    /// # Errors
    /// When neither the variable nor `HOME` says where, the runtime directory belongs to someone else,
    /// or the data directory cannot be closed to others.
    pub fn from_environment() -> Result<Self> {
        let directories = Self {
            data: directory("XDG_DATA_HOME", ".local/share")?,
            cache: directory("XDG_CACHE_HOME", ".cache")?,
            runtime: runtime()?,
        };
        private::close(&directories.data)?;
        Ok(directories)
    }
}

/// An absolute path in a variable; XDG says to ignore relative ones.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn directory(name: &str, below_home: &str) -> Result<PathBuf> {
    let base = variable(name)
        .or_else(|| Some(variable("HOME")?.join(below_home)))
        .with_context(|| format!("neither {name} nor HOME is set to an absolute path"))?;
    Ok(base.join("coracle"))
}

fn runtime() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let path = match variable("XDG_RUNTIME_DIR") {
        Some(base) if base.is_dir() => base.join("coracle"),
        _ => env::temp_dir().join(format!("coracle-{user}")),
    };
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", path.display()));
        }
        _ => {}
    }
    // Anyone can make a directory of this name in a shared place first.
    let metadata = fs::symlink_metadata(&path)
        .with_context(|| format!("cannot look at {}", path.display()))?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o022 != 0 {
        bail!(
            "{} is not a directory of user {user} that only they can write; remove it, or set \
             XDG_RUNTIME_DIR",
            path.display()
        );
    }
    if metadata.mode() & 0o077 != 0 {
        private::close(&path)?;
    }
    Ok(path)
}
