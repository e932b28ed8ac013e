//! Files that a user names to be written. There is one road to them, lest what is no regular file is
//! replaced by one: `/dev/null` of a machine, a pipe that somebody reads, `/dev/stdout`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// Most symbolic links that are followed, as the kernel does.
const MAX_LINKS: usize = 40;

/// Writes a file. A regular one, or one that is not there yet, is written beside, and put in its place
/// when it is whole; a device, pipe or open descriptor is written to.
///
/// # Errors
/// When it is a directory, or cannot be written; what was there is untouched then, unless it is none that
/// can be replaced.
pub fn write(path: &Path, content: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let failed = || format!("cannot create {}", path.display());
    let there = match fs::metadata(path) {
        Ok(there) if there.is_dir() => bail!("{} is a directory", path.display()),
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(failed),
    };
    if there.as_ref().is_some_and(|there| !there.is_file()) || is_descriptor(path) {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .truncate(true)
            .custom_flags(libc::O_NOCTTY);
        return content(&mut options.open(path).with_context(failed)?);
    }
    let place = lead(path)?;
    let name = place
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    let mut new = name.to_owned();
    new.push(format!(".new.{}", std::process::id()));
    let new = place.with_file_name(new);
    let write = || {
        let mut file =
            File::create_new(&new).with_context(|| format!("cannot create {}", new.display()))?;
        if let Some(there) = there {
            file.set_permissions(there.permissions())
                .with_context(failed)?;
        }
        content(&mut file)?;
        fs::rename(&new, &place).with_context(failed)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Where a path leads: that of a symbolic link to a file that is or is not there, or itself.
///
/// # Errors
/// When links go in circles.
pub fn lead(path: &Path) -> Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&place) else {
            return Ok(place);
        };
        // What is absolute replaces all.
        place = place.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::from(Errno::LOOP)).with_context(|| format!("cannot follow {}", path.display()))
}

/// Whether a path leads through the kernel's links to what a process has open, as `/dev/stdout` does: the
/// file behind it may have any name, or none.
fn is_descriptor(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    matches!(found, Err(Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsRawFd, unix::fs::symlink},
        thread,
    };

    use rustix::fs::{FileType, mknodat};

    use super::*;

    fn put(path: &Path, text: &str) -> Result<()> {
        write(path, |file| Ok(file.write_all(text.as_bytes())?))
    }

    #[test]
    fn regular_file_is_replaced_when_the_new_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        put(&path, "one").unwrap();
        assert!(write(&path, |_| bail!("no more")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        put(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(put(directory.path(), "three").is_err());
    }

    #[test]
    fn link_stays_and_its_target_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("target", &link).unwrap();
        for text in ["one", "two"] {
            put(&link, text).unwrap();
            assert_eq!(
                fs::read_to_string(directory.path().join("target")).unwrap(),
                text
            );
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        symlink("circle", directory.path().join("circle")).unwrap();
        assert!(put(&directory.path().join("circle"), "x").is_err());
    }

    #[test]
    fn pipe_and_descriptor_are_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        put(&pipe, "by the pipe").unwrap();
        assert_eq!(reader.join().unwrap(), "by the pipe");
        // As /dev/stdout is, of a file that has lost its name.
        let mut open = tempfile::tempfile().unwrap();
        let link = directory.path().join("stdout");
        symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), &link).unwrap();
        put(&link, "by the descriptor").unwrap();
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by the descriptor");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
