//! Nodes for every device that a kernel numbers, each made and opened.

use std::os::fd::AsRawFd;

use crate::sys::{self, call, text};

/// Majors that there are (`CHRDEV_MAJOR_MAX`, `BLKDEV_MAJOR_MAX`), and minors tried of each.
const MAJORS: u64 = 512;
const MINORS: u64 = 3;

/// Majors of which all minors are tried: memory, terminals and what is various.
const WHOLE: [u64; 3] = [1, 5, 10];

/// Where nodes are made: a file system that lets devices be opened, since it is the image's own.
const NODE: &str = "/node";

pub(super) fn run() {
    let mut made = 0_u64;
    for (kind, mode) in [("c", libc::S_IFCHR), ("b", libc::S_IFBLK)] {
        let mut open: Vec<(u64, u64)> = Vec::new();
        for major in 0..MAJORS {
            let minors = if WHOLE.contains(&major) { 256 } else { MINORS };
            for minor in 0..minors {
                if let Some(opened) = try_device(mode, major, minor) {
                    made += 1;
                    if opened {
                        open.push((major, minor));
                    }
                }
            }
        }
        let words: Vec<String> = open
            .iter()
            .map(|(major, minor)| format!("{major}:{minor}"))
            .collect();
        println!("devices {kind}: {}", words.join(" "));
    }
    // A container that may make no node has not tried to open one.
    println!("nodes made: {}", if made > 1000 { "many" } else { "few" });
}

/// Whether a device can be opened in any way; `None` when no node can be made.
fn try_device(mode: u32, major: u64, minor: u64) -> Option<bool> {
    let path = text(NODE);
    let path = path.as_ptr() as u64;
    let device = minor & 0xff | major << 8 & 0xf_ff00 | (minor & !0xff) << 12;
    let mode = u64::from(mode | 0o666);
    call(libc::SYS_mknod, [path, mode, device, 0, 0, 0]).ok()?;
    let ways = [libc::O_RDONLY, libc::O_WRONLY];
    let opened = ways.iter().any(|way| {
        let flags = way | libc::O_NONBLOCK | libc::O_NOCTTY;
        let flags = flags.cast_unsigned().into();
        let file = call(libc::SYS_open, [path, flags, 0, 0, 0, 0]);
        file.map(sys::owned).is_ok_and(|file| file.as_raw_fd() >= 0)
    });
    let _ = call(libc::SYS_unlink, [path, 0, 0, 0, 0, 0]);
    Some(opened)
}
