//! Where Coracle's other programs are.

use std::{
    env, fs,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, open};

/// Where `make install` puts those that nobody calls by hand, below its prefix.
const LIBEXEC: &str = "libexec/coracle";

/// Those of this process's release, which another release may replace while it lives.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// A program as it was when it was found.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
}

/// Finds a program: beside this one, or where `make install` puts it below the same prefix. It is of this release
/// unless another one was installed since this process began.
///
/// # Errors
/// When it is in neither place.
pub fn find(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    // From `bin`, and from `libexec/coracle`.
    let places = [(2, LIBEXEC), (3, "bin")];
    let mut installed = places.into_iter().filter_map(|(above, place)| {
        let prefix = own.ancestors().nth(above)?;
        Some(prefix.join(place).join(name))
    });
    match installed.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not beside {} nor in ../{LIBEXEC}; install all of Coracle's programs",
            own.display()
        ),
    }
}

/// Keeps programs as they are now for [`own`]. What is missing is missed when it is needed.
pub fn keep(names: &[&str]) {
    let found = names.iter().filter_map(|name| find(name).ok());
    let found = found.filter_map(|path| Kept::new(path).ok());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend(found);
}

/// Finds a program of this process's release, even when another one was installed since it was kept: its path, or
/// another way to the same file, which is good in this process and between fork and exec.
///
/// # Errors
/// As [`find`].
pub fn own(name: &str) -> Result<PathBuf> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = kept.iter();
    match all.find(|kept| kept.path.ends_with(name)) {
        Some(kept) => Ok(kept.way()),
        None => find(name),
    }
}

impl Kept {
    fn new(path: PathBuf) -> io::Result<Self> {
        let file: OwnedFd = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let file = File::from(file);
        Ok(Self { path, file })
    }

    fn way(&self) -> PathBuf {
        match self.is_there() {
            Ok(true) => self.path.clone(),
            _ => Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string()),
        }
    }

    /// Whether its path still leads to it.
    fn is_there(&self) -> io::Result<bool> {
        let (there, own) = (fs::metadata(&self.path)?, self.file.metadata()?);
        Ok((there.dev(), there.ino()) == (own.dev(), own.ino()))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn script(path: &Path, words: &str) {
        use std::os::unix::fs::PermissionsExt;
        let new = path.with_extension("new");
        fs::copy("/bin/echo", &new).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        let mut file = File::options().append(true).open(&new).unwrap();
        io::Write::write_all(&mut file, words.as_bytes()).unwrap();
        drop(file);
        fs::rename(&new, path).unwrap();
    }

    #[test]
    fn program_that_was_replaced_is_the_one_that_was_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        script(&path, "one");
        let kept = Kept::new(path.clone()).unwrap();
        assert_eq!(kept.way(), path);
        script(&path, "other");
        let way = kept.way();
        assert!(fs::read(&way).unwrap().ends_with(b"one"));
        // By another process: between fork and exec it has the same descriptors.
        let said = Command::new(&way).arg("said").output().unwrap();
        assert_eq!(said.stdout, b"said\n");
        fs::remove_file(&path).unwrap();
        assert!(fs::read(kept.way()).unwrap().ends_with(b"one"));
    }
}
