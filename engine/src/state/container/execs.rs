//! How programs ended that ran beside a container's first process: written down at the container's end, and kept
//! for a while when it is removed, since docker's clients ask when they have seen the end of the streams.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};

use super::{Container, Containers, is_id};
use crate::state::{
    create_directory,
    files::{self, read, write},
};

/// Its name in a container's directory.
const FILE: &str = "execs.json";

/// The directory of those whose containers are gone.
const REMOVED: &str = "execs";

/// How long they are kept then, which is docker's time.
const KEPT: Duration = Duration::from_secs(5 * 60);

impl Container {
    /// Writes down how what ran beside its first process ended, in place of what did so before an earlier end.
    ///
    /// # Errors
    /// As `write(2)`, `rename(2)` and `unlink(2)`.
    pub fn save_ended_execs<T: Serialize>(&self, ended: &[T]) -> Result<()> {
        let path = self.directory.join(FILE);
        if !ended.is_empty() {
            return write(&path, &ended);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// How those ended; nothing where that is not known.
    pub fn ended_execs<T: DeserializeOwned>(&self) -> Vec<T> {
        read(&self.directory.join(FILE)).unwrap_or_default()
    }
}

impl Containers {
    /// The same of a container that was removed a short time ago, by the first digits of its ID. What is older is
    /// not known any more, even where its file is still there.
    pub fn ended_execs_of_removed<T: DeserializeOwned>(&self, digits: &str) -> Vec<T> {
        let directory = self.root.join(REMOVED);
        let names = files::names(&directory).unwrap_or_default();
        let found = names.iter().find(|name| name.starts_with(digits));
        let path = found.map(|name| directory.join(name));
        let read = path.filter(|path| is_young(path)).map(|path| read(&path));
        read.and_then(Result::ok).unwrap_or_default()
    }

    /// Keeps them of a container that is about to be removed; the lock of all is held. Who asks finds them in one place
    /// or the other at any time. What cannot be kept is not worth a failure. Older ones of others go.
    pub(super) fn keep_ended_execs(&self, id: &str, directory: &Path) {
        let removed = self.root.join(REMOVED);
        for name in files::names(&removed).unwrap_or_default() {
            let path = removed.join(&name);
            if is_id(&name) && !is_young(&path) {
                let _ = fs::remove_file(path);
            }
        }
        let file = directory.join(FILE);
        if !is_young(&file) {
            return;
        }
        if let Err(error) = create_directory(&removed) {
            log::debug!("{error:#}");
            return;
        }
        let _ = fs::hard_link(file, removed.join(id));
    }
}

/// Whether a file is there and not older than what is kept.
fn is_young(path: &Path) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| {
        let age = SystemTime::now().duration_since(at);
        age.is_ok_and(|age| age < KEPT)
    })
}
