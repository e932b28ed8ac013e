//! Files and directories that are their user's alone: what a container is told, writes and logs is nobody
//! else's. Everything below the data and runtime directories is made here, whatever the umask is and whoever
//! makes it first.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result};

/// Mode of a directory, and of a file.
const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes a directory with its parents; one that exists stays as it is.
///
/// # Errors
/// As `mkdir(2)`, with the path.
pub fn create_directory(path: &Path) -> Result<()> {
    let created = DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY)
        .create(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}

/// Options that make a file which only its owner can read and write.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE);
    options
}

/// Makes an empty file, or empties one.
///
/// # Errors
/// As `open(2)`.
pub fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Takes away what others may do with a directory of this user's and with all below it. Earlier releases
/// left it open; one that is closed already takes one system call. A directory that is missing, or
/// another user's, stays as it is.
///
/// # Errors
/// As `chmod(2)`, with the path.
pub fn close(directory: &Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(directory) else {
        return Ok(());
    };
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !own || !metadata.is_dir() || metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    // The top last: if this is interrupted, the next command does it again.
    close_below(directory);
    let mode = Permissions::from_mode(metadata.mode() & !OTHERS & 0o7777);
    fs::set_permissions(directory, mode)
        .with_context(|| format!("cannot keep others out of {}", directory.display()))
}

/// Everything below a directory, as far as possible: the directory on top counts.
fn close_below(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // Of a link, not what it leads to.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_symlink() {
            continue;
        }
        if metadata.is_dir() {
            close_below(&entry.path());
        }
        if metadata.mode() & OTHERS != 0 {
            let mode = Permissions::from_mode(metadata.mode() & !OTHERS & 0o7777);
            let _ = fs::set_permissions(entry.path(), mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        create_directory(&directory).unwrap();
        let _ = create(&directory.join("file")).unwrap();
        assert_eq!(mode(&place.path().join("a")), 0o700);
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("file")), 0o600);
    }

    #[test]
    fn what_an_earlier_release_left_open_is_closed() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("coracle");
        let outside = place.path().join("outside");
        fs::create_dir_all(top.join("containers")).unwrap();
        for path in [&top.join("containers/config.json"), &outside] {
            fs::write(path, "secret").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        for path in [&top, &top.join("containers")] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        symlink(&outside, top.join("link")).unwrap();
        close(&top).unwrap();
        assert_eq!(mode(&top), 0o700);
        assert_eq!(mode(&top.join("containers")), 0o700);
        assert_eq!(mode(&top.join("containers/config.json")), 0o600);
        assert_eq!(mode(&outside), 0o644);
        close(&place.path().join("missing")).unwrap();
    }
}
