//! Projects of files, and their limits.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

use super::check;

/// `FS_IOC_FSSETXATTR` of linux/fs.h, and the flag by which what is made in a directory belongs to its project.
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;
const INHERIT_PROJECT: u32 = 0x200;

/// `quotactl_fd(2)` with `QCMD(Q_SETQUOTA, PRJQUOTA)`.
const SYS_QUOTACTL_FD: libc::c_long = 443;
const SET_QUOTA: u32 = 0x0080_0008 << 8 | 2;

/// `QIF_LIMITS`: those of space and of inodes are given.
const LIMITS: u32 = 1 | 4;

/// Bytes of a unit of space (`QIF_DQBLKSIZE`).
const UNIT: u64 = 1024;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copied_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    most_space: u64,
    soft_space: u64,
    space: u64,
    most_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    space_time: u64,
    inodes_time: u64,
    valid: u32,
}

/// Makes a directory, and all that is made in it from now on, part of a project.
pub(crate) fn set_project(directory: impl AsFd, project: u32) -> io::Result<()> {
    let attributes = Attributes {
        flags: INHERIT_PROJECT,
        project,
        ..Attributes::default()
    };
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `attributes`, which lives through the call.
    let result = unsafe { libc::ioctl(directory, SET_ATTRIBUTES, ptr::from_ref(&attributes)) };
    check(result.into()).map(drop)
}

/// Sets what the files of a project may take: bytes and inodes, 0 for no limit. `disk` is any file of its file
/// system.
pub(crate) fn set_limits(disk: impl AsFd, project: u32, bytes: u64, inodes: u64) -> io::Result<()> {
    let quota = Quota {
        most_space: bytes / UNIT,
        most_inodes: inodes,
        valid: LIMITS,
        ..Quota::default()
    };
    let disk = disk.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `quota`, which lives through the call.
    let result = unsafe {
        libc::syscall(
            SYS_QUOTACTL_FD,
            disk,
            SET_QUOTA,
            project,
            ptr::from_ref(&quota),
        )
    };
    check(result).map(drop)
}
