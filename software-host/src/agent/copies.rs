//! Files that every monitor reads whole: its program, the kernel, the initial file system. They stay in the
//! machine's memory, since what is read of the outside's root is read again for each who opens a file; and
//! who maps one shares it with all others. A monitor finds them at their own paths, in a mount namespace of its
//! own, so that what it says of them is what its user knows.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::super::sys::Substitute;

/// Where the copies are: a file system of its own in the machine's memory.
pub(super) const PLACE: &str = "/dev/copies";

/// Most bytes of all copies together: two kernels with what belongs to each. A file beside them is read where it
/// is.
const MAX_BYTES: u64 = 64 << 20;

/// What tells one content of a path from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    length: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

#[derive(Debug)]
struct Copy {
    path: PathBuf,
    identity: Identity,
    place: PathBuf,
}

/// The copies, those used last at the end.
#[derive(Debug)]
pub(super) struct Copies {
    directory: PathBuf,
    kept: Mutex<(Vec<Copy>, u64)>,
}

impl Copies {
    /// None yet, and all that will be in a directory.
    pub(super) fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            kept: Mutex::default(),
        }
    }

    /// A copy of a file as it is now; `None` when it cannot be had, and whoever reads the file itself will see why.
    pub(super) fn of(&self, path: &Path) -> Option<Substitute> {
        let identity = identity(path).ok()?;
        // Whoever panicked left a whole list: it is changed in single steps.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (copies, made) = &mut *kept;
        let found = copies.iter().position(|copy| copy.path == path);
        let copy = match found.map(|index| copies.remove(index)) {
            Some(copy) if copy.identity == identity => copy,
            old => {
                old.iter().for_each(forget);
                make_room(copies, identity.length)?;
                *made += 1;
                let place = self.directory.join(made.to_string());
                if fs::copy(path, &place).is_err() {
                    let _ = fs::remove_file(place);
                    return None;
                }
                Copy {
                    path: path.into(),
                    identity,
                    place,
                }
            }
        };
        let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
        let substitute = Substitute {
            place: name(&copy.place)?,
            path: name(path)?,
        };
        copies.push(copy);
        Some(substitute)
    }
}

/// As the outside says it is, and not as it is remembered here. What is no file has no copy: to open a pipe would
/// wait for who writes to it.
fn identity(path: &Path) -> io::Result<Identity> {
    let mask = StatxFlags::BASIC_STATS;
    let found = statx(CWD, path, AtFlags::STATX_FORCE_SYNC, mask)?;
    if !FileType::from_raw_mode(found.stx_mode.into()).is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
    Ok(Identity {
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        length: found.stx_size,
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
    })
}

/// Forgets those used longest ago until so many bytes more are within bounds.
fn make_room(copies: &mut Vec<Copy>, length: u64) -> Option<()> {
    if length > MAX_BYTES {
        return None;
    }
    let mut total: u64 = copies.iter().map(|copy| copy.identity.length).sum();
    while total + length > MAX_BYTES {
        let oldest = copies.remove(0);
        total -= oldest.identity.length;
        forget(&oldest);
    }
    Some(())
}

/// Who still reads it has it open.
fn forget(copy: &Copy) {
    let _ = fs::remove_file(&copy.place);
}

#[cfg(test)]
mod tests {
    use rustix::fs::Mode;

    use super::*;

    fn content(substitute: &Substitute) -> Vec<u8> {
        fs::read(substitute.place.to_str().unwrap()).unwrap()
    }

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn copy_is_made_once_and_anew_when_the_file_has_changed() {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kernel = outside.path().join("vmlinux");
        fs::write(&kernel, "one").unwrap();
        let copies = Copies::new(inside.path());
        let first = copies.of(&kernel).unwrap();
        assert_eq!(first.path.to_str().unwrap(), kernel.to_str().unwrap());
        assert_eq!(copies.of(&kernel).unwrap(), first);
        assert_eq!(content(&first), b"one");

        // As long, and in its place.
        let other = outside.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &kernel).unwrap();
        let second = copies.of(&kernel).unwrap();
        assert_eq!(content(&second), b"two");
        assert_eq!(count(inside.path()), 1);
    }

    #[test]
    fn file_that_cannot_be_copied_is_read_where_it_is() {
        let inside = tempfile::tempdir().unwrap();
        let copies = Copies::new(inside.path());
        assert_eq!(copies.of(Path::new("/nowhere/vmlinux")), None);
        assert_eq!(copies.of(inside.path()), None);
        // Nobody ever writes to it.
        let outside = tempfile::tempdir().unwrap();
        let pipe = outside.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(copies.of(&pipe), None);
        assert_eq!(count(inside.path()), 0);
    }

    #[test]
    fn copies_stay_within_bounds_and_the_one_unused_longest_goes() {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copies = Copies::new(inside.path());
        let path = |name: &str| outside.path().join(name);
        for name in ["a", "b"] {
            let file = fs::File::create(path(name)).unwrap();
            file.set_len(MAX_BYTES / 2).unwrap();
            copies.of(&path(name)).unwrap();
        }
        // Used again, and so not the one to go.
        let a = copies.of(&path("a")).unwrap();
        fs::write(path("c"), "small").unwrap();
        copies.of(&path("c")).unwrap();
        assert_eq!(copies.of(&path("a")).unwrap(), a);
        assert_eq!(count(inside.path()), 2);

        let file = fs::File::create(path("d")).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(copies.of(&path("d")), None);
        assert_eq!(count(inside.path()), 2);
    }
}
