//! Disks and their partitions, which the kernel may still be looking for when they are needed.

use std::mem::MaybeUninit;

use contracts::guest::Range;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, inotify, open},
    io::Errno,
    time::{ClockId, clock_gettime},
};

use crate::{
    failure::{Failure, Stage},
    sys,
};

/// Seconds to wait for a disk. Virtio disks are probed before init runs; a disk that is absent
/// after this long is not there.
const PATIENCE_SECONDS: i64 = 5;

/// Disks have one letter: more than [`LETTERS`] would need two, and no machine has as many.
const LETTERS: u8 = 26;

/// Path of a disk: 0 is `/dev/vda`.
///
/// # Errors
/// When the number is above 25.
pub fn disk(number: u8) -> Result<String, Failure> {
    if number < LETTERS {
        Ok(format!("/dev/vd{}", char::from(b'a' + number)))
    } else {
        Err(Failure::setup(format!(
            "cannot name disk {number}: a machine has at most {LETTERS} disks"
        )))
    }
}

/// Makes a partition, unless the disk has one of this number.
///
/// # Errors
/// When the disk is absent or ends before it, or another partition is there.
pub fn make_partition(disk: &str, number: u8, range: Range) -> Result<(), Failure> {
    let path = format!("{disk}{number}");
    if rustix::fs::access(&*path, rustix::fs::Access::EXISTS).is_ok() {
        return Ok(());
    }
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let place = (signed(range.start), signed(range.length));
    sys::partition(opened(disk)?, sys::ADD_PARTITION, number, place).stage(|| {
        format!(
            "make partition {path} of {} bytes at {}",
            range.length, range.start
        )
    })
}

/// Lets go of a partition; false when something uses it.
///
/// # Errors
/// When the disk is absent.
pub fn forget_partition(disk: &str, number: u8) -> Result<bool, Failure> {
    let removed = sys::partition(opened(disk)?, sys::REMOVE_PARTITION, number, (0, 0));
    let errno = removed
        .as_ref()
        .err()
        .and_then(std::io::Error::raw_os_error);
    match errno {
        // It was never made, or is gone already.
        Some(libc::ENXIO) => Ok(true),
        Some(libc::EBUSY) => Ok(false),
        _ => removed
            .map(|()| true)
            .stage(|| format!("let go of partition {disk}{number}")),
    }
}

fn opened(disk: &str) -> Result<std::os::fd::OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    open(disk, flags, Mode::empty()).stage(|| format!("open {disk}"))
}

/// Returns as soon as a device node exists.
///
/// # Errors
/// When it does not appear within some seconds.
pub fn wait_for(path: &str) -> Result<(), Failure> {
    let exists = || rustix::fs::access(path, rustix::fs::Access::EXISTS);
    if exists().is_ok() {
        return Ok(());
    }
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .stage(|| "watch /dev")?;
    inotify::add_watch(&watch, "/dev", inotify::WatchFlags::CREATE).stage(|| "watch /dev")?;
    let deadline = clock_gettime(ClockId::Monotonic).tv_sec + PATIENCE_SECONDS;
    loop {
        // Looked for after the watch began: what appears from now on wakes the poll below.
        match exists() {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).stage(|| format!("find device {path}")),
        }
        let left = deadline - clock_gettime(ClockId::Monotonic).tv_sec;
        if left <= 0 {
            return Err(Failure::setup(format!(
                "cannot find device {path}: it did not appear in {PATIENCE_SECONDS} s"
            )));
        }
        let timeout = Timespec {
            tv_sec: left,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(&watch, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).stage(|| format!("wait for device {path}")),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        while events.next().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_disk_is_vda() {
        assert_eq!(disk(0).unwrap(), "/dev/vda");
        assert_eq!(disk(7).unwrap(), "/dev/vdh");
    }

    #[test]
    fn disk_beyond_the_alphabet_is_refused() {
        assert!(disk(26).is_err());
    }
}
