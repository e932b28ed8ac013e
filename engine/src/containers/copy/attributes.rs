//! Extended attributes of files of this machine, as archives keep them.

use std::os::fd::AsFd;

use contracts::guest::tar::{self, Entry};
use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr},
    io::Errno,
};

/// Longest list of names, and longest value (linux/limits.h).
const MAX: usize = 64 << 10;

/// Adds a file's attributes to its entry. A file system that has none is no failure.
pub(super) fn read(file: impl AsFd, entry: &mut Entry) {
    let mut names = vec![0; MAX];
    let length = flistxattr(&file, &mut names).unwrap_or(0);
    let names = names.get(..length).unwrap_or_default();
    let names = names.split(|byte| *byte == 0);
    for name in names.filter(|name| tar::is_kept(name)) {
        let mut value = vec![0; MAX];
        if let Ok(length) = fgetxattr(&file, name, &mut value) {
            tar::keep(entry, name, value.get(..length).unwrap_or_default());
        }
    }
}

/// Gives a file the attributes of its entry, where its file system has such; capabilities only with
/// `trusted`: to who executes the file they are what a set-user bit is.
pub(super) fn write(file: impl AsFd, entry: &Entry, trusted: bool) -> Result<(), Errno> {
    for (name, value) in &entry.attributes {
        if !trusted && name == tar::CAPABILITY.as_bytes() {
            continue;
        }
        match fsetxattr(&file, &name[..], value, XattrFlags::empty()) {
            // ext4 has little room for them.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSPC) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
