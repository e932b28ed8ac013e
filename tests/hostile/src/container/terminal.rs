//! What a program with a terminal tries on it: to type for who looks at it, and to reach a console that is not
//! its own.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    attempt::attempt,
    sys::{call, text},
};

/// Commands of ioctl(2) for terminals (asm-generic/ioctls.h, linux/tiocl.h).
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCCONS: u64 = 0x541d;
const TIOCSETD: u64 = 0x5423;

pub(super) fn run() {
    let key = *b"x";
    attempt("type by TIOCSTI", || {
        call(libc::SYS_ioctl, [0, TIOCSTI, key.as_ptr() as u64, 0, 0, 0])
    });
    // Paste the selection.
    let paste = [3_u8];
    attempt("type by TIOCLINUX", || {
        call(
            libc::SYS_ioctl,
            [0, TIOCLINUX, paste.as_ptr() as u64, 0, 0, 0],
        )
    });
    attempt("take the console", || {
        call(libc::SYS_ioctl, [0, TIOCCONS, 0, 0, 0, 0])
    });
    // N_GSM0710, a line discipline with a history of holes.
    let discipline = [21_u32];
    attempt("line discipline", || {
        let place = discipline.as_ptr() as u64;
        call(libc::SYS_ioctl, [0, TIOCSETD, place, 0, 0, 0])
    });
    let own = fs::metadata("/dev/console").map_or(0, |console| console.rdev());
    let stdin = fs::metadata("/proc/self/fd/0").map_or(1, |stdin| stdin.rdev());
    let console = if own == stdin { "its own" } else { "another" };
    println!("console: {console}");
    attempt("hang up all terminals", || call(libc::SYS_vhangup, [0; 6]));
    attempt("open the kernel's console", || {
        let path = text("/dev/ttyS0");
        call(libc::SYS_open, [path.as_ptr() as u64, 2, 0, 0, 0, 0])
    });
}
