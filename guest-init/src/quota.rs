//! Limits of containers on a disk that they share: each has a directory there, and ext4 counts for a *project* what
//! is in it, in space and in inodes.
//!
//! The project's number is that of the directory's inode: no other directory on the disk has it, and it is free
//! again when the directory is gone. The kernel keeps a container from nothing here: as the owner of its files it
//! may give them to another project, or to none. Its system call filter refuses that ([`crate::seccomp`]).

use std::os::fd::AsFd;

use rustix::{
    fs::{StatVfs, fstat, fstatvfs},
    io::Errno,
};

use crate::{
    failure::{Failure, Stage, reason},
    sys,
};

/// Options of the mount of a disk with limits, and of any other. What is deleted there is free on the host again.
pub(crate) const WITH_LIMITS: &std::ffi::CStr = c"discard,prjquota";
pub(crate) const WITHOUT: &std::ffi::CStr = c"discard";

/// Whether a kernel says by this that it has no quotas: without them, or without their format, it does not mount a
/// disk that has them, and before Linux 5.14 it does not know the system call.
pub(crate) fn is_absent(errno: Errno) -> bool {
    [Errno::INVAL, Errno::SRCH, Errno::NOSYS].contains(&errno)
}

/// A kernel of the user's has no quotas: in words that say what to do.
pub(crate) fn absent(errno: Errno) -> Failure {
    Failure::setup(format!(
        "cannot limit what the container writes to the host's disk: {}; the host's kernel has to be Linux 5.14 or \
         newer, with CONFIG_QUOTA and CONFIG_QFMT_V2: make the host with such a kernel or without a disk, or run \
         the container with `--storage-opt memory=SIZE`, which keeps what it writes in memory",
        reason(errno)
    ))
}

/// Inodes that a container has in any case: a small image's changes.
const FEWEST_INODES: u64 = 256;

/// Limits what may be written below a directory of a disk, which is empty yet.
///
/// # Errors
/// When the disk has no quotas.
pub(crate) fn limit(disk: impl AsFd, directory: impl AsFd, bytes: u64) -> Result<(), Failure> {
    let whole = fstatvfs(&disk).stage(|| "look at the host's disk")?;
    let project = project_of(&directory)?;
    sys::set_project(&directory, project)
        .stage(|| "count what the container writes to the host's disk")?;
    let set = sys::set_limits(&disk, project, bytes, inodes(&whole, bytes));
    match set.as_ref().map_err(Errno::from_io_error) {
        Err(Some(errno)) if is_absent(errno) => Err(absent(errno)),
        _ => set.stage(|| "limit what the container writes to the host's disk"),
    }
}

/// Forgets the limit of a directory, before that is removed: its number may be another's directly after.
pub(crate) fn forget(disk: impl AsFd, directory: impl AsFd) {
    if let Ok(project) = project_of(directory) {
        // What cannot be forgotten is set anew by whoever gets the number.
        let _ = sys::set_limits(disk, project, 0, 0);
    }
}

/// The number of a directory's project.
///
/// # Errors
/// When it is none of ext4.
pub(crate) fn project_of(directory: impl AsFd) -> Result<u32, Failure> {
    let inode =
        fstat(directory).stage(|| "look at the container's directory on the host's disk")?;
    u32::try_from(inode.st_ino)
        .map_err(|_| Failure::setup("cannot limit a directory of a file system other than ext4"))
}

/// The part of a disk's inodes that goes with a part of its space.
fn inodes(whole: &StatVfs, bytes: u64) -> u64 {
    let size = u128::from(whole.f_blocks) * u128::from(whole.f_frsize);
    let part = u128::from(whole.f_files) * u128::from(bytes) / size.max(1);
    u64::try_from(part)
        .unwrap_or(u64::MAX)
        .clamp(FEWEST_INODES, whole.f_files.max(FEWEST_INODES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_without_quotas_is_told_with_what_to_do() {
        // Of mount(2) without CONFIG_QUOTA and without CONFIG_QFMT_V2, and of an older kernel's quotactl_fd(2).
        for errno in [Errno::INVAL, Errno::SRCH, Errno::NOSYS] {
            assert!(is_absent(errno));
            let words = absent(errno).message;
            for part in [&reason(errno)[..], "CONFIG_QUOTA", "--storage-opt memory="] {
                assert!(words.contains(part), "{words}");
            }
        }
        // A disk that is damaged, full or gone is another matter.
        for errno in [Errno::IO, Errno::NOSPC, Errno::NODEV] {
            assert!(!is_absent(errno));
        }
    }

    #[test]
    fn inodes_go_with_the_space_and_are_never_none() {
        let mut whole = fstatvfs(std::fs::File::open("/").unwrap()).unwrap();
        (whole.f_blocks, whole.f_frsize, whole.f_files) = (25_600, 4096, 6400);
        assert_eq!(inodes(&whole, 50 << 20), 3200);
        assert_eq!(inodes(&whole, 1 << 20), FEWEST_INODES);
        assert_eq!(inodes(&whole, u64::MAX), 6400);
        whole.f_blocks = 0;
        assert_eq!(inodes(&whole, 1), 6400);
    }
}
