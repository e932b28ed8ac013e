//! What the guest's root tries on the disk of layers, which the monitor opened to read.

use std::{
    fs::OpenOptions,
    io::{Read, Seek, Write},
    os::fd::AsRawFd,
};

use crate::{attempt::attempt, sys::call};

/// Commands of ioctl(2) (linux/fs.h, scsi/sg.h): to make a disk writable for its kernel, to have its cache thrown
/// away, to discard, and to send a command of SCSI.
const BLKROSET: u64 = 0x125d;
const BLKFLSBUF: u64 = 0x1261;
const BLKDISCARD: u64 = 0x1277;
const SG_IO: u64 = 0x2285;

const DISK: &str = "/dev/vda";

/// Bytes that are written, over the table of partitions.
const LENGTH: usize = 4096;

pub(super) fn run() {
    let number = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let open = |write: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(write).open(DISK).map_err(number)
    };
    let on_disk = |command: u64, argument: u64| {
        let disk = open(false)?;
        let descriptor = disk.as_raw_fd().cast_unsigned().into();
        call(libc::SYS_ioctl, [descriptor, command, argument, 0, 0, 0])
    };
    let first = || {
        let mut bytes = vec![0; LENGTH];
        let read = open(false).map(|mut disk| disk.read_exact(&mut bytes));
        read.is_ok().then_some(bytes)
    };
    let before = first();
    attempt("open to write", || open(true).map(|_| 0));
    let writable = 0_i32;
    attempt("call it writable", || {
        on_disk(BLKROSET, (&raw const writable) as u64)
    });
    attempt("write", || {
        let mut disk = open(true)?;
        disk.rewind().map_err(number)?;
        disk.write_all(&[0x5a; LENGTH]).map_err(number)?;
        disk.sync_all().map_err(number)?;
        Ok(0)
    });
    let range = [0_u64, LENGTH as u64];
    attempt("discard", || on_disk(BLKDISCARD, range.as_ptr() as u64));
    let header = [0_u8; 88];
    attempt("SCSI command", || on_disk(SG_IO, header.as_ptr() as u64));
    let _ = on_disk(BLKFLSBUF, 0);
    let same = before.is_some() && before == first();
    println!("content: {}", if same { "as it was" } else { "another" });
}
