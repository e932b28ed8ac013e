//! Extended attributes of files, as archives keep them.

use std::os::fd::AsFd;

use contracts::guest::tar::{self, Entry};
use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr},
    io::Errno,
};

/// Longest list of names, and longest value (linux/limits.h).
const MAX: usize = 64 << 10;

/// Adds a file's attributes to its entry. One that vanishes meanwhile, and a file system that has none, are
/// no failure.
pub(super) fn read(file: impl AsFd, entry: &mut Entry) {
    // Most files have none, which a small list tells.
    let mut names = vec![0; 512];
    let length = match flistxattr(&file, &mut names) {
        Err(Errno::RANGE) => {
            names.resize(MAX, 0);
            flistxattr(&file, &mut names)
        }
        length => length,
    };
    let names = names.get(..length.unwrap_or(0)).unwrap_or_default();
    let names = names.split(|byte| *byte == 0);
    for name in names.filter(|name| tar::is_kept(name)) {
        let mut value = vec![0; MAX];
        if let Ok(length) = fgetxattr(&file, name, &mut value) {
            tar::keep(entry, name, value.get(..length).unwrap_or_default());
        }
    }
}

/// Gives a file the attributes of its entry, where its file system has such and this process may.
pub(super) fn write(file: impl AsFd, entry: &Entry) -> Result<(), Errno> {
    for (name, value) in &entry.attributes {
        match fsetxattr(&file, &name[..], value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
