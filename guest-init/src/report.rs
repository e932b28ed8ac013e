//! What a process that init has started reports until it is the program: one packet each, by a socket whose other end is
//! init's.

use std::os::fd::OwnedFd;

use rustix::{io::write, process::Pid};

use crate::{
    clock::now,
    failure::{Failure, Stage},
    sys,
};

/// First byte of the report that the program is about to be executed; the time follows, in
/// nanoseconds, as eight bytes, little endian.
pub(crate) const STARTING: u8 = b'S';

/// First byte of the report that it failed; [`Failure::to_bytes`] follows.
pub(crate) const FAILED: u8 = b'F';

/// First byte of the report that the program's process exists; its number follows as four bytes, little
/// endian. Only the process that init started is believed.
pub(crate) const ENTERED: u8 = b'E';

/// Reports why the program was not executed, and ends.
pub(crate) fn fail(report: &OwnedFd, failure: &Failure) -> ! {
    let mut message = vec![FAILED];
    message.extend(failure.to_bytes());
    // Init sees the end of the process when even this fails.
    let _ = write(report, &message);
    sys::exit(1)
}

/// Reports that the program is about to be executed.
pub(crate) fn start(report: &OwnedFd) -> Result<(), Failure> {
    let mut message = vec![STARTING];
    message.extend(now().to_le_bytes());
    write(report, &message)
        .map(drop)
        .stage(|| "report the start")
}

/// Reports the program's process.
pub(crate) fn entered(report: &OwnedFd, pid: Pid) -> Result<(), Failure> {
    let mut message = vec![ENTERED];
    message.extend(pid.as_raw_nonzero().get().to_le_bytes());
    write(report, &message)
        .map(drop)
        .stage(|| "report a process in the container")
}
