//! Exchanges what is at some paths, again and again, while somebody copies them.

use std::{fs, io::Write, os::unix::fs::symlink, path::Path};

use super::OVER;
use crate::sys::{call, text};

/// Length of each plain file; all of it is one letter, and that of the secret is another.
const LENGTH: usize = 4096;

/// Paths that are exchanged: each is a chance in each copy.
const PATHS: usize = 200;

/// Where they are, and where what they are exchanged for waits.
const PLACE: &str = "/x";
const OTHER: &str = "/y";

/// `attacker exchange KIND`: files, or directories with a file, for something of this kind.
pub(super) fn run(arguments: &[String]) {
    let kind = arguments.first().map_or("", String::as_str);
    if let Err(error) = scene(kind) {
        println!("cannot set the scene: {error}");
        return;
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    let both = |number| {
        let path = |place| text(&format!("{place}/{number}"));
        (path(PLACE), path(OTHER))
    };
    let all: Vec<_> = (0..PATHS).map(both).collect();
    let here = i64::from(libc::AT_FDCWD).cast_unsigned();
    while !Path::new(OVER).exists() {
        for (one, other) in &all {
            let (one, other) = (one.as_ptr() as u64, other.as_ptr() as u64);
            let flags = libc::RENAME_EXCHANGE.into();
            let _ = call(libc::SYS_renameat2, [here, one, here, other, flags, 0]);
        }
    }
}

fn scene(kind: &str) -> std::io::Result<()> {
    for directory in [PLACE, OTHER, "/secret"] {
        fs::create_dir_all(directory)?;
    }
    fs::write("/secret/file", "B".repeat(LENGTH))?;
    for number in 0..PATHS {
        let (path, other) = (format!("{PLACE}/{number}"), format!("{OTHER}/{number}"));
        if kind == "directory" {
            fs::create_dir(&path)?;
            fs::write(format!("{path}/file"), "A".repeat(LENGTH))?;
            symlink("/secret", other)?;
            continue;
        }
        fs::write(&path, "A".repeat(LENGTH))?;
        match kind {
            "link" => symlink("/secret/file", other)?,
            "fifo" => node(&other, libc::S_IFIFO, 0)?,
            "block" => node(&other, libc::S_IFBLK, disk().unwrap_or_default())?,
            // The kernel's log.
            "character" => node(&other, libc::S_IFCHR, 1 << 8 | 11)?,
            _ => return Err(std::io::Error::other("no such kind")),
        }
    }
    Ok(())
}

fn node(path: &str, mode: u32, device: u64) -> std::io::Result<()> {
    let path = text(path);
    let mode = u64::from(mode | 0o666);
    let made = call(
        libc::SYS_mknod,
        [path.as_ptr() as u64, mode, device, 0, 0, 0],
    );
    made.map(drop).map_err(std::io::Error::from_raw_os_error)
}

/// The device of the guest's disk of layers, as `/sys` has it.
fn disk() -> Option<u64> {
    let text = fs::read_to_string("/sys/block/vda/dev").ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
    // As mknod(2) takes them, for small numbers.
    Some(major << 8 | minor)
}
