//! Directories that a layer holds without describing them: an archive may have `a/b` and no entry for `a`. What a
//! lower layer says of `a` counts then; but overlayfs shows the attributes of the uppermost layer that has it. So
//! such directories are made in the upper directory, with the attributes of the layer that describes them, before
//! the overlay is put together.
//!
//! The image store marks them, and the root of a layer that has any, so that others cost one look at each layer.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags, chmod, lgetxattr, llistxattr,
        lsetxattr, mkdir, utimensat,
    },
    io::Errno,
};

/// The store's mark, and ours on what was made of it in the upper directory.
pub(crate) const MARK: &str = "trusted.coracle.implied";

/// Overlayfs' own attributes, which say nothing of the directory itself.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Its mark of a directory that hides what lower layers have in it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Most directories that are looked at: a hostile image must not hold up a host that others use. More are refused as
/// a quota that is exceeded.
const MAX_DIRECTORIES: usize = 1 << 16;

/// Most bytes of an extended attribute, and of the list of names (linux/limits.h).
const MAX_ATTRIBUTE: usize = 1 << 16;

/// A directory in one layer. Layers never change, and each step of its path was seen to be a directory: no link is
/// followed by it.
struct Part {
    path: PathBuf,
    /// The layer has directories that it does not describe.
    partial: bool,
}

/// A directory of the joined layers on the way from the root.
struct Level {
    /// Its path below the root.
    inner: PathBuf,
    /// The directory of a layer whose attributes it has.
    model: PathBuf,
    /// It was made in the upper directory.
    made: bool,
}

struct Walk<'a> {
    upper: &'a Path,
    way: Vec<Level>,
    left: usize,
    made: Vec<PathBuf>,
}

/// Makes what is needed in an empty upper directory; gives its paths there. Layers are given from the base up.
///
/// The overlay notes on a directory that is in several layers, when it is looked up first, where it comes from. Whoever
/// mounts it looks at these first, lest programs see them change.
///
/// # Errors
/// When there are too many such directories, or one cannot be read or made.
pub(crate) fn inherit(layers: &[PathBuf], upper: &Path) -> io::Result<Vec<PathBuf>> {
    // What the lowest layer does not describe, nothing does.
    let part = |(index, path): (usize, &PathBuf)| Part {
        path: path.clone(),
        partial: index > 0 && has(path, MARK),
    };
    let parts: Vec<Part> = layers.iter().enumerate().rev().map(part).collect();
    let mut walk = Walk {
        upper,
        way: Vec::new(),
        left: MAX_DIRECTORIES,
        made: Vec::new(),
    };
    walk.directory(&parts)?;
    Ok(walk.made)
}

impl Walk<'_> {
    /// Goes on with the directories in the last one of the way, which has these parts, the uppermost first.
    fn directory(&mut self, parts: &[Part]) -> io::Result<()> {
        for name in self.names(parts)? {
            let mut found = parts_of(parts, &name)?;
            let described = found.iter().position(|part| !has(&part.path, MARK));
            let Some(model) = found.get(described.unwrap_or(0)) else {
                continue;
            };
            let above = self.way.last().map(|level| level.inner.as_path());
            self.way.push(Level {
                inner: above.unwrap_or(Path::new("")).join(&name),
                model: model.path.clone(),
                made: false,
            });
            if described.is_some_and(|index| index > 0) {
                self.make()?;
            }
            // What an opaque one hides is not looked for further down.
            let shown = found.iter().position(|part| has(&part.path, OPAQUE));
            found.truncate(shown.map_or(found.len(), |index| index + 1));
            if found.len() > 1 {
                self.directory(&found)?;
            }
            if let Some(level) = self.way.pop()
                && level.made
            {
                set_times(&level, self.upper)?;
                self.made.push(level.inner);
            }
        }
        Ok(())
    }

    /// The names of the directories that some part does not describe, or leads to.
    fn names(&mut self, parts: &[Part]) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for part in parts.iter().filter(|part| part.partial) {
            for entry in fs::read_dir(&part.path)?.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                self.left = self
                    .left
                    .checked_sub(1)
                    .ok_or(io::ErrorKind::QuotaExceeded)?;
                names.push(entry.file_name());
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Makes all of the way in the upper directory.
    fn make(&mut self) -> io::Result<()> {
        for level in self.way.iter_mut().filter(|level| !level.made) {
            copy(&level.model, &self.upper.join(&level.inner))?;
            level.made = true;
        }
        Ok(())
    }
}

/// The parts of a directory in another one, the uppermost first.
fn parts_of(parts: &[Part], name: &OsString) -> io::Result<Vec<Part>> {
    let mut found = Vec::new();
    for part in parts {
        let path = part.path.join(name);
        match fs::symlink_metadata(&path) {
            Ok(state) if state.is_dir() => found.push(Part {
                path,
                partial: part.partial,
            }),
            // Something else hides what lies below.
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Makes a directory like another one.
fn copy(model: &Path, new: &Path) -> io::Result<()> {
    let state = fs::symlink_metadata(model)?;
    mkdir(new, Mode::RWXU)?;
    chown(new, Some(state.uid()), Some(state.gid()))?;
    chmod(new, Mode::from_raw_mode(state.mode()))?;
    let mut list = vec![0; MAX_ATTRIBUTE];
    let length = match llistxattr(model, &mut list) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut value = vec![0; MAX_ATTRIBUTE];
    for name in list
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
    {
        if name.is_empty() || name.starts_with(OVERLAY) || name == MARK.as_bytes() {
            continue;
        }
        let length = lgetxattr(model, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        lsetxattr(new, name, value, XattrFlags::empty())?;
    }
    lsetxattr(new, MARK, b"y", XattrFlags::empty())?;
    Ok(())
}

/// Last, since what is made in a directory changes its times.
fn set_times(level: &Level, upper: &Path) -> io::Result<()> {
    let state = fs::symlink_metadata(&level.model)?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(state.atime(), state.atime_nsec()),
        last_modification: time(state.mtime(), state.mtime_nsec()),
    };
    let path = upper.join(&level.inner);
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a directory has a mark.
pub(crate) fn has(path: &Path, mark: &str) -> bool {
    let mut value = [0; 8];
    lgetxattr(path, mark, &mut value).is_ok()
}
