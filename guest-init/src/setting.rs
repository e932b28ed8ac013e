//! What differs between a guest and other places in which containers can run.

use std::{io, os::fd::OwnedFd, path::PathBuf};

use contracts::guest::Root;

use crate::{failure::Failure, root::MountedRoot, shift::Shift};

/// A connection to a port of the host, perhaps still being established.
pub type Connect = dyn Fn(u32) -> io::Result<OwnedFd>;

/// Mounts a root below a directory that it makes, its owners shifted where its users are.
pub type MountRoot = dyn Fn(&Root, PathBuf, Option<Shift>) -> Result<MountedRoot, Failure>;

/// Sets the wall clock to nanoseconds since 1970.
pub type SetClock = dyn Fn(u64);

/// Where a process finds the file that it was executed from.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Where containers live, and how they reach what lies outside.
pub struct Setting {
    /// Directory in which each container gets one of its own.
    pub directory: PathBuf,
    /// Root of the version 2 control group hierarchy.
    pub cgroups: PathBuf,
    /// This program's own file, which is executed afresh for what runs near containers.
    pub program: PathBuf,
    /// Opens streams.
    pub connect: Box<Connect>,
    /// Mounts roots.
    pub mount_root: Box<MountRoot>,
    /// Sets the clock, which is only for who has a kernel of one's own.
    pub set_clock: Box<SetClock>,
}
