//! More of a disk than a container's part of it, which it shares with others.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use crate::{
    attempt::{Refused, attempt},
    sys::{self, call, call_32},
};

/// Requests of linux/fs.h, which set a file's flags (by programs of 64 and of 32 bits) and its other attributes, and
/// which read those.
const SET_FLAGS: u64 = 0x4008_6602;
const SET_FLAGS_32: u32 = 0x4004_6602;
const SET_ATTRIBUTES: u64 = 0x401c_5820;
const GET_ATTRIBUTES: u64 = 0x801c_581f;

/// Numbers of ioctl(2) by the interfaces of x32 and of 32-bit programs.
const IOCTL_X32: i64 = 0x4000_0000 | 514;
const IOCTL_32: u32 = 54;

/// Numbers of `linux/unistd.h` that the library does not name.
const FILE_SETATTR: i64 = 469;
const QUOTACTL_FD: i64 = 443;

/// `QCMD(Q_SETQUOTA, PRJQUOTA)` and `QCMD(Q_QUOTAOFF, PRJQUOTA)`.
const SET_QUOTA: u64 = 0x8000_0802;
const QUOTA_OFF: u64 = 0x8000_0302;

/// A node of its own for the disk, which the kernel calls by this name.
const DISK: &str = "/disk";
const NAME: &str = "vdb";

/// Bytes written at a time, and pages that are mapped.
const PIECE: usize = 1 << 20;

/// Files that are made at the most.
const MOST_FILES: u64 = 1 << 20;

fn number(error: std::io::Error) -> Refused {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// `attacker quota BYTES`: tries to get out of the limit of so many bytes, and to write more.
pub(super) fn run(arguments: &[String]) {
    let limit = arguments.first().and_then(|text| text.parse::<u64>().ok());
    let limit = limit.unwrap_or(u64::MAX);
    File::create("/of-mine").expect("it can write");
    fs::create_dir("/directory").expect("it can write");
    leave();
    let before = taken();
    attempt("pages past the limit", || pages(limit));
    attempt("bytes past the limit", || bytes(limit));
    println!("bytes: {}", within(taken() - before, limit));
    // The way on after all that.
    let _ = fs::remove_file("/bytes");
    let _ = fs::remove_file("/pages");
    attempt("files past the limit", files);
}

/// Gives files to another project, or takes the limit away.
fn leave() {
    // struct fsxattr, of project 0 and without inheritance.
    let attributes = [0_u32; 7];
    let flags = 0_u64;
    let set = |path: &str, request: u64, argument: u64| {
        let file = File::open(path).map_err(number)?;
        let file = file.as_raw_fd().cast_unsigned().into();
        call(libc::SYS_ioctl, [file, request, argument, 0, 0, 0])
    };
    let attributes = attributes.as_ptr() as u64;
    let flags_at = (&raw const flags) as u64;
    for path in ["/", "/directory", "/of-mine"] {
        attempt(&format!("project of {path}"), || {
            set(path, SET_ATTRIBUTES, attributes)
        });
        attempt(&format!("flags of {path}"), || {
            set(path, SET_FLAGS, flags_at)
        });
    }
    attempt("upper half of the request", || {
        set("/of-mine", 1 << 32 | SET_ATTRIBUTES, attributes)
    });
    attempt("attributes, read", || {
        let mut read = [0_u32; 7];
        set("/of-mine", GET_ATTRIBUTES, read.as_mut_ptr() as u64)
    });
    let root = File::open("/").expect("it is there");
    let root = root.as_raw_fd().cast_unsigned();
    attempt("project by x32", || {
        let number = root.into();
        call(IOCTL_X32, [number, SET_ATTRIBUTES, attributes, 0, 0, 0])
    });
    attempt("flags by int 80", || {
        let _ = call_32(IOCTL_32, root, SET_FLAGS_32)?;
        Ok(0)
    });
    attempt("file_setattr", || {
        let name = sys::text("/of-mine");
        let path = name.as_ptr() as u64;
        call(FILE_SETATTR, [u64::MAX, path, attributes, 28, 0, 0])
    });
    disk_of_all();
    let quota = [0_u64; 9];
    let quota = quota.as_ptr() as u64;
    attempt("limit by a descriptor", || {
        call(QUOTACTL_FD, [root.into(), SET_QUOTA, 0, quota, 0, 0])
    });
    attempt("limit by the device", || {
        let device = sys::text(DISK);
        let device = device.as_ptr() as u64;
        call(libc::SYS_quotactl, [SET_QUOTA, device, 0, quota, 0, 0])
    });
    attempt("limits off", || {
        let device = sys::text(DISK);
        let device = device.as_ptr() as u64;
        call(libc::SYS_quotactl, [QUOTA_OFF, device, 0, 0, 0, 0])
    });
}

/// Makes a node for the disk that containers share: to name it is enough for some.
fn disk_of_all() {
    let all = fs::read_to_string("/proc/partitions").unwrap_or_default();
    let number = all.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[major, minor, _, NAME] = &words[..] else {
            return None;
        };
        Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    let path = sys::text(DISK);
    let mode = u64::from(libc::S_IFBLK | 0o600);
    attempt("node of the disk", || {
        let number = number.ok_or(libc::ENODEV)?;
        call(
            libc::SYS_mknod,
            [path.as_ptr() as u64, mode, number, 0, 0, 0],
        )
    });
}

/// Writes into pages of a file that is one hole, which is counted when a page is first written to.
fn pages(limit: u64) -> Result<u64, Refused> {
    let more = limit.saturating_add(8 << 20);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open("/pages");
    let file = file.map_err(number)?;
    file.set_len(more).map_err(number)?;
    let zero = File::open("/dev/zero").map_err(number)?;
    let zero = zero.as_raw_fd().cast_unsigned().into();
    let file = file.as_raw_fd().cast_unsigned().into();
    let access = (libc::PROT_READ | libc::PROT_WRITE).cast_unsigned().into();
    let shared = libc::MAP_SHARED.cast_unsigned().into();
    for at in (0..more).step_by(PIECE) {
        let piece = PIECE as u64;
        let mapped = call(libc::SYS_mmap, [0, piece, access, shared, file, at])?;
        // By the kernel, which says where it could not, instead of a signal.
        let mut written = 0;
        while written < piece {
            written += call(
                libc::SYS_read,
                [zero, mapped + written, piece - written, 0, 0, 0],
            )?;
        }
        call(libc::SYS_munmap, [mapped, piece, 0, 0, 0, 0])?;
    }
    Ok(0)
}

fn bytes(limit: u64) -> Result<u64, Refused> {
    let mut file = File::create("/bytes").map_err(number)?;
    let piece = vec![0x5a; PIECE];
    for _ in 0..limit / PIECE as u64 + 8 {
        file.write_all(&piece).map_err(number)?;
    }
    Ok(0)
}

fn files() -> Result<u64, Refused> {
    for index in 0..MOST_FILES {
        File::create(format!("/directory/{index}")).map_err(number)?;
    }
    Ok(0)
}

/// Bytes that its files take.
fn taken() -> u64 {
    let all = ["/bytes", "/pages"].map(fs::metadata);
    let all = all.iter().flatten();
    all.map(|file| file.blocks() * 512).sum()
}

fn within(bytes: u64, limit: u64) -> String {
    match bytes <= limit {
        true => "within the limit".into(),
        false => format!("{bytes} of {limit}"),
    }
}
