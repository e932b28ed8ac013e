//! Writes cpio archives of the kind that Linux takes as an initial RAM file system: "newc", as
//! the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst` has it.

use std::io::{self, Write};

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// Permissions of every symbolic link, which nobody asks for.
const LINK_PERMISSIONS: u32 = 0o777;

/// Name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Headers, names and contents each begin at a multiple of this many bytes.
const ALIGNMENT: usize = 4;

/// Most bytes of a name, with what ends it (Linux' `PATH_MAX`).
const MAX_NAME: usize = 4096;

/// Bytes of a page of memory.
const PAGE: usize = 4096;

/// Bytes of an entry's header: the magic and 13 numbers of 8 hexadecimal digits.
const HEADER: usize = 6 + 13 * 8;

/// An archive that is being written. All entries belong to root, and to no moment in time, so
/// that equal contents give equal archives.
pub struct Archive<W> {
    writer: W,
    /// Inode numbers are given in order; nothing is hard linked.
    entries: u32,
    /// Bytes so far.
    written: usize,
}

impl<W: Write> Archive<W> {
    /// An archive without entries.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            entries: 0,
            written: 0,
        }
    }

    /// Adds a directory; its parents must have been added before.
    ///
    /// # Errors
    /// As the writer.
    pub fn directory(&mut self, path: &str, permissions: u32) -> io::Result<()> {
        self.entry(path, DIRECTORY | permissions, (0, 0), &[])
    }

    /// Adds a regular file with this content.
    ///
    /// # Errors
    /// As the writer, and when the content has 4 GiB or more, which the format cannot hold.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | permissions, (0, 0), content)
    }

    /// Adds a regular file whose content begins at a multiple of a page's size from the archive's start, so that a
    /// kernel may take its pages as they are; unless that is so far that Linux would not believe the name's length.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn file_of_pages(
        &mut self,
        path: &str,
        permissions: u32,
        content: &[u8],
    ) -> io::Result<()> {
        let start = self.written + HEADER + path.len() + 1;
        let zeros = start.next_multiple_of(PAGE) - start;
        let longest = MAX_NAME - (path.len() + 1).min(MAX_NAME);
        let zeros = if zeros > longest { 0 } else { zeros };
        self.put(path, zeros, REGULAR | permissions, (0, 0), content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As the writer.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mode = SYMBOLIC_LINK | LINK_PERMISSIONS;
        self.entry(path, mode, (0, 0), target.as_bytes())
    }

    /// Adds a character device with this major and minor number.
    ///
    /// # Errors
    /// As the writer.
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE | permissions, (major, minor), &[])
    }

    /// Ends the archive and gives the writer back.
    ///
    /// # Errors
    /// As the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, (0, 0), &[])?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        self.put(path, 0, mode, device, content)
    }

    /// Writes an entry whose name is followed by so many zeros more than it needs.
    fn put(
        &mut self,
        path: &str,
        zeros: usize,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, path.to_owned());
        let size = u32::try_from(content.len()).map_err(too_large)?;
        // The name's length counts the zero bytes that end it.
        let name_length = path.len() + 1 + zeros;
        let name_size = u32::try_from(name_length).map_err(too_large)?;
        let inode = self.entries;
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let (owner, group, time, device, check) = (0, 0, 0, 0, 0);
        let numbers = [
            inode, mode, owner, group, links, time, size, device, device, major, minor, name_size,
            check,
        ];
        self.writer.write_all(b"070701")?;
        for number in numbers {
            write!(self.writer, "{number:08x}")?;
        }
        self.writer.write_all(path.as_bytes())?;
        self.writer.write_all(&vec![0; zeros + 1])?;
        self.pad(HEADER + name_length)?;
        self.writer.write_all(content)?;
        self.pad(content.len())
    }

    /// Goes on at an aligned place after so many bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let aligned = written.next_multiple_of(ALIGNMENT);
        self.written += aligned;
        let missing = aligned - written;
        self.writer.write_all([0; ALIGNMENT].split_at(missing).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev", 0o755).unwrap();
        archive
            .character_device("dev/console", 0o600, 5, 1)
            .unwrap();
        archive.file("init", 0o755, b"hello").unwrap();
        archive.link("sh", "init").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn file_has_its_name_mode_and_content_at_aligned_places() {
        let archive = sample();
        let text = String::from_utf8_lossy(&archive);
        let start = text.find("070701000000020000").unwrap();

        assert_eq!(start % ALIGNMENT, 0);
        assert_eq!(archive[start + 14..start + 22], *b"000081ed");
        assert_eq!(archive[start + 54..start + 62], *b"00000005");
        assert_eq!(archive[start + HEADER..start + HEADER + 5], *b"init\0");
        let content = start + (HEADER + 5).next_multiple_of(ALIGNMENT);
        assert_eq!(archive[content..content + 8], *b"hello\0\0\0");
    }

    #[test]
    fn file_of_pages_begins_on_a_page_and_keeps_its_name() {
        for before in ["a", "ab", "abcd", &"x".repeat(4000), "too far"] {
            let mut archive = Archive::new(Vec::new());
            let content = if before == "too far" {
                PAGE - 2 * HEADER - 12
            } else {
                3
            };
            archive.file(before, 0o644, &vec![b'.'; content]).unwrap();
            archive.file_of_pages("init", 0o755, b"hello").unwrap();
            archive.file("after", 0o644, b"").unwrap();
            let archive = archive.finish().unwrap();
            let at = |text: &[u8]| {
                let mut windows = archive.windows(text.len());
                windows.position(|window| window == text).unwrap()
            };
            let header = at(b"07070100000001");
            let size = std::str::from_utf8(&archive[header + 94..header + 102]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let begin = (header + HEADER + size).next_multiple_of(ALIGNMENT);
            assert_eq!(begin, at(b"hello"));
            assert!(size <= MAX_NAME);
            assert_eq!(at(b"hello") % PAGE == 0, before != "too far", "{before}");
            assert_eq!(archive[header + HEADER..][..5], *b"init\0");
            assert_eq!(at(b"07070100000002"), at(b"hello") + 8);
        }
    }

    #[test]
    fn archive_ends_with_the_trailer() {
        let archive = sample();
        assert_eq!(archive.len() % ALIGNMENT, 0);
        assert!(
            String::from_utf8_lossy(&archive)
                .trim_end_matches('\0')
                .ends_with(TRAILER)
        );
    }

    #[test]
    fn cpio_lists_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        std::fs::write(&path, sample()).unwrap();
        let Ok(listing) = std::process::Command::new("cpio")
            .args(["--quiet", "-itvF"])
            .arg(&path)
            .env("TZ", "UTC")
            .output()
        else {
            return;
        };
        let listing = String::from_utf8(listing.stdout).unwrap();

        assert!(listing.contains("drwxr-xr-x   2 root     root            0 Jan  1  1970 dev\n"));
        assert!(
            listing.contains("crw-------   1 root     root       5,   1 Jan  1  1970 dev/console")
        );
        assert!(listing.contains("5 Jan  1  1970 init\n"));
        assert!(listing.contains("lrwxrwxrwx"), "{listing}");
        assert!(listing.contains(" sh -> init\n"), "{listing}");
    }
}
