//! Archives that a guest gives to who copies something out of it.

use std::io::Write;

/// Bytes of a block of tar.
const BLOCK: usize = 512;

/// Types of entries (POSIX.1-2017, pax interchange format, "typeflag").
const FILE: u8 = b'0';
const HARD_LINK: u8 = b'1';
const SYMLINK: u8 = b'2';
const CHARACTER: u8 = b'3';
const BLOCK_DEVICE: u8 = b'4';
const DIRECTORY: u8 = b'5';
const FIFO: u8 = b'6';
const EXTENDED: u8 = b'x';

/// Entries of an archive that repeats itself.
const MANY: usize = 300_000;

/// Directories in each other.
const DEEP: usize = 3000;

/// Where it leads, seen from a directory that `cp` has made: `victim` beside the target.
const OUT: &str = "../../victim";

/// A header, whose numbers need not be true.
fn entry(path: &str, kind: u8, size: u64, link: &str, mode: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |from: usize, text: &[u8]| {
        for (place, byte) in block.iter_mut().skip(from).zip(text) {
            *place = *byte;
        }
    };
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    // The numbers of /dev/null.
    put(329, b"0000001");
    put(337, b"0000003");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in block.iter_mut().skip(148).zip(sum.as_bytes()) {
        *place = *byte;
    }
    block
}

fn file(path: &str, content: &str) -> Vec<u8> {
    let mut all = entry(path, FILE, content.len() as u64, "", 0o644);
    all.extend(content.as_bytes());
    all.resize(all.len().div_ceil(BLOCK) * BLOCK, 0);
    all
}

fn directory(path: &str) -> Vec<u8> {
    entry(path, DIRECTORY, 0, "", 0o755)
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// Writes the archive of a name; an unknown one is empty.
pub(super) fn write(name: &str, out: &mut impl Write) -> std::io::Result<()> {
    let link = |path: &str, kind, target: &str| entry(path, kind, 0, target, 0o777);
    let parts: Vec<Vec<u8>> = match name {
        "plain" => vec![directory("x/"), file("x/file", "plain")],
        "upwards" => vec![file("x/../../../victim/file", "evil")],
        "absolute" => vec![directory("x/"), file("/victim/file", "evil")],
        "through-a-link" => vec![
            directory("x/"),
            link("x/link", SYMLINK, OUT),
            file("x/link/file", "evil"),
        ],
        "through-the-root" => vec![link("x", SYMLINK, "../victim"), file("x/file", "evil")],
        "directory-for-a-link" => vec![
            directory("x/"),
            link("x/link", SYMLINK, OUT),
            directory("x/link/"),
            file("x/link/file", "evil"),
        ],
        "over-a-link" => vec![
            directory("x/"),
            link("x/link", SYMLINK, "../../victim/there"),
            file("x/link", "evil"),
        ],
        "hard-link-upwards" => vec![
            directory("x/"),
            link("x/hard", HARD_LINK, "x/../../victim/there"),
        ],
        "hard-link-through-a-link" => vec![
            directory("x/"),
            link("x/link", SYMLINK, OUT),
            link("x/hard", HARD_LINK, "x/link/there"),
            file("x/hard", "evil"),
        ],
        "devices" => vec![
            directory("x/"),
            link("x/c", CHARACTER, ""),
            link("x/b", BLOCK_DEVICE, ""),
            link("x/p", FIFO, ""),
        ],
        "set-user" => vec![directory("x/"), {
            let mut all = entry("x/file", FILE, 0, "", 0o6755);
            all.truncate(BLOCK);
            all
        }],
        "escapes" => vec![
            directory("x/"),
            link("x/\x1b]0;evil\x07\u{9b}31m", CHARACTER, ""),
        ],
        "short" => vec![directory("x/"), entry("x/file", FILE, 1 << 30, "", 0o644)],
        "giant-extension" => vec![entry("pax", EXTENDED, 1 << 32, "", 0o644)],
        "many" => return repeat(out),
        "deep" => {
            let mut path = String::from("x/");
            let mut all = Vec::new();
            for _ in 0..DEEP {
                path.push_str("d/");
                if path.len() < 100 {
                    all.push(directory(&path));
                } else {
                    all.push(extended(&path));
                    all.push(directory("x"));
                }
            }
            all
        }
        _ => Vec::new(),
    };
    for part in parts {
        out.write_all(&part)?;
    }
    out.write_all(&end())
}

/// A long path before an entry.
fn extended(path: &str) -> Vec<u8> {
    let record = |length: usize| format!("{length} path={path}\n");
    let mut length = record(0).len();
    while record(length).len() != length {
        length = record(length).len();
    }
    let text = record(length);
    let mut all = entry("pax", EXTENDED, text.len() as u64, "", 0o644);
    all.extend(text.as_bytes());
    all.resize(all.len().div_ceil(BLOCK) * BLOCK, 0);
    all
}

/// The same directory with a long name, again and again.
fn repeat(out: &mut impl Write) -> std::io::Result<()> {
    let long = format!("x/{}", "n".repeat(97));
    let one = [directory("x/"), directory(&long)].concat();
    for _ in 0..MANY {
        out.write_all(&one)?;
    }
    out.write_all(&end())
}
