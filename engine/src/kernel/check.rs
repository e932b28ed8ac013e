//! Looks at a file that is to be booted: an ELF `vmlinux` (System V ABI, x86 PVH boot ABI) or a
//! `bzImage` (kernel documentation, `Documentation/arch/x86/boot.rst`).

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::Path,
};

use vmm::elf::{self, Header, Notes, PROGRAM_HEADER, Program};

use super::KernelError;

/// Bytes of the largest file that is read: a kernel with all of a distribution's drivers has a
/// tenth, and a disk image named by mistake should not be read into memory.
const MAX_SIZE: u64 = 512 << 20;

/// Characters of a release: what `struct new_utsname` holds (`uname(2)`).
const MAX_RELEASE: usize = 64;

/// How a kernel is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Uncompressed. Whether it has an entry point for PVH; else it has the 64-bit one only.
    Elf {
        /// The note that names the entry point is there.
        pvh: bool,
    },
    /// Compressed, behind a boot sector.
    BzImage,
}

/// What a kernel's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInfo {
    /// How it is packed.
    pub format: Format,
    /// Its release, as `uname -r` says it.
    pub version: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// What is wrong with a file's contents.
enum Fault {
    /// A verb that goes on after "it".
    Is(String),
    Truncated {
        needed: u64,
    },
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self::Is(text.to_owned())
    }
}

/// Reads a kernel's headers.
///
/// # Errors
/// When it cannot be read, or is nothing that the monitor boots: the error says what it is instead.
pub fn check(path: &Path) -> Result<KernelInfo, KernelError> {
    let unreadable = |source| KernelError::ReadKernel {
        path: path.to_owned(),
        source,
    };
    let refused = |fault: &str| KernelError::NotBootable {
        path: path.to_owned(),
        fault: fault.to_owned(),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(refused("is a directory"));
    }
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(refused("is no ordinary file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(refused("is larger than any kernel"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
        .map_err(unreadable)?;

    inspect(&bytes).map_err(|fault| match fault {
        Fault::Is(fault) => refused(&fault),
        Fault::Truncated { needed } => KernelError::Truncated {
            path: path.to_owned(),
            needed,
            found: bytes.len() as u64,
        },
    })
}

/// Whether a file can be booted: from its headers alone where it is a Linux kernel in the form that
/// ours has, else as [`check`].
///
/// # Errors
/// As [`check`].
pub fn check_bootable(path: &Path) -> Result<(), KernelError> {
    if path.is_file() && speaks_for_itself(path).is_some_and(|known| known) {
        return Ok(());
    }
    check(path).map(drop)
}

/// Bytes of the headers that are looked at: with more program headers than fit, all of it is.
const HEADERS: usize = 4096;

/// Most bytes of notes that are looked at; Linux has some hundred.
const MAX_NOTES: u64 = 4096;

/// Whether an ELF file is complete and has notes of Linux and of a PVH entry point.
fn speaks_for_itself(path: &Path) -> Option<bool> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut headers = Vec::new();
    (&file)
        .take(HEADERS as u64)
        .read_to_end(&mut headers)
        .ok()?;
    let header = Header::read(&headers).filter(|_| headers.starts_with(elf::MAGIC))?;
    if !header.is_little_endian_64() || header.machine != elf::X86_64 {
        return Some(false);
    }
    let table = headers.get(usize::try_from(header.table).ok()?..)?;
    let mut known = (false, false);
    for index in 0..usize::from(header.count) {
        let program = Program::read(table.get(index * PROGRAM_HEADER..)?)?;
        if program.end()? > length {
            return Some(false);
        }
        if program.kind == elf::NOTE && program.in_file <= MAX_NOTES {
            let mut notes = vec![0; usize::try_from(program.in_file).ok()?];
            file.read_exact_at(&mut notes, program.offset).ok()?;
            known.0 |= Notes(&notes).any(|note| note.owner.starts_with(b"Linux\0"));
            known.1 |= has_pvh_note(&notes);
        }
    }
    Some(known == (true, true))
}

fn inspect(bytes: &[u8]) -> Result<KernelInfo, Fault> {
    let (format, version) = if bytes.starts_with(elf::MAGIC) {
        elf(bytes)?
    } else if bytes.get(BOOT_MAGIC..BOOT_MAGIC + 4) == Some(b"HdrS") {
        (Format::BzImage, bz_image(bytes)?)
    } else {
        return Err(Fault::Is(describe(bytes)));
    };
    Ok(KernelInfo {
        format,
        version,
        size: bytes.len() as u64,
    })
}

/// A little-endian number of `N` bytes at an offset, as far as the file goes.
fn bytes_at<const N: usize>(bytes: &[u8], offset: u64) -> Result<[u8; N], Fault> {
    let end = offset.saturating_add(N as u64);
    usize::try_from(offset)
        .ok()
        .and_then(|offset| bytes.get(offset..)?.first_chunk().copied())
        .ok_or(Fault::Truncated { needed: end })
}

fn u16_at(bytes: &[u8], offset: u64) -> Result<u16, Fault> {
    bytes_at(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: u64) -> Result<u32, Fault> {
    bytes_at(bytes, offset).map(u32::from_le_bytes)
}

fn elf(bytes: &[u8]) -> Result<(Format, String), Fault> {
    let needed = elf::FILE_HEADER as u64;
    let header = Header::read(bytes).ok_or(Fault::Truncated { needed })?;
    if !header.is_little_endian_64() || header.machine != elf::X86_64 {
        let name = if header.class == elf::CLASS_64 && header.order == elf::BIG_ENDIAN {
            "a big-endian processor"
        } else {
            machine_name(header.machine)
        };
        return Err(Fault::Is(format!("is an ELF file for {name}")));
    }
    if ![elf::EXECUTABLE, elf::DYNAMIC].contains(&header.kind) {
        return Err("is an ELF object file or core dump, nothing that runs".into());
    }
    if usize::from(header.entry_size) != PROGRAM_HEADER {
        return Err("has ELF program headers of an unknown size".into());
    }
    let mut loads = 0;
    let mut pvh = false;
    for index in 0..u64::from(header.count) {
        let at = header.table.saturating_add(index * PROGRAM_HEADER as u64);
        let program: [u8; PROGRAM_HEADER] = bytes_at(bytes, at)?;
        // As many bytes as there have to be.
        let Some(program) = Program::read(&program) else {
            continue;
        };
        let end = program.end().unwrap_or(u64::MAX);
        if end > bytes.len() as u64 {
            return Err(Fault::Truncated { needed: end });
        }
        match program.kind {
            elf::LOAD => loads += 1,
            elf::NOTE => {
                let range = usize::try_from(program.offset)
                    .ok()
                    .zip(usize::try_from(end).ok());
                let notes = range.and_then(|(start, end)| bytes.get(start..end));
                pvh |= notes.is_some_and(has_pvh_note);
            }
            _ => {}
        }
    }
    if loads == 0 {
        return Err("is an ELF file without anything to load".into());
    }
    let version = banner(bytes).ok_or("is an x86-64 ELF program, but no Linux kernel")?;
    if !pvh && header.entry == 0 {
        return Err("has no entry point".into());
    }
    Ok((Format::Elf { pvh }, version))
}

/// Whether the 32-bit physical entry point of the PVH boot ABI is among the notes.
fn has_pvh_note(notes: &[u8]) -> bool {
    Notes(notes).any(|note| note.pvh_entry().is_some())
}

/// The release in the kernel's own banner, "Linux version 6.12.1 (…". Its format string has a
/// per cent sign there, so a digit is asked for.
fn banner(bytes: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let mut rest = bytes;
    loop {
        let at = rest.iter().position(|byte| *byte == b'L')?;
        rest = rest.get(at..)?;
        if let Some(release) = rest.strip_prefix(BANNER)
            && release.first().is_some_and(u8::is_ascii_digit)
        {
            return Some(release_in(release));
        }
        rest = rest.get(1..)?;
    }
}

/// The printable characters up to the first blank.
fn release_in(bytes: &[u8]) -> String {
    let release = bytes
        .iter()
        .take(MAX_RELEASE)
        .take_while(|byte| byte.is_ascii_graphic());
    release.copied().map(char::from).collect()
}

/// Offset of the signature of the boot protocol's header.
const BOOT_MAGIC: usize = 0x202;

fn bz_image(bytes: &[u8]) -> Result<String, Fault> {
    /// First protocol version with `xloadflags`.
    const PROTOCOL_WITH_64_BIT_ENTRY: u16 = 0x020c;
    const XLF_KERNEL_64: u16 = 1;
    let [setup_sectors] = bytes_at(bytes, 0x1f1)?;
    let protocol = u16_at(bytes, 0x206)?;
    let paragraphs = u32_at(bytes, 0x1f4)?;
    if protocol < PROTOCOL_WITH_64_BIT_ENTRY || u16_at(bytes, 0x236)? & XLF_KERNEL_64 == 0 {
        return Err(
            "is a bzImage without a 64-bit entry point: a 32-bit or very old kernel".into(),
        );
    }
    // Zero stands for four, for the sake of a boot loader of 1991.
    let setup_sectors = if setup_sectors == 0 { 4 } else { setup_sectors };
    let needed = (u64::from(setup_sectors) + 1) * 512 + u64::from(paragraphs) * 16;
    if needed > bytes.len() as u64 {
        return Err(Fault::Truncated { needed });
    }
    let version = usize::from(u16_at(bytes, 0x20e)?) + 0x200;
    match bytes.get(version..).map(release_in) {
        Some(release) if release.starts_with(|first: char| first.is_ascii_digit()) => Ok(release),
        _ => Err("is a bzImage that names no Linux release".into()),
    }
}

/// Names of `e_machine` values that people have kernels for.
fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "32-bit x86",
        8 => "MIPS",
        20 | 21 => "PowerPC",
        22 => "IBM Z (s390x)",
        40 => "32-bit ARM",
        elf::X86_64 => "x86-64 in its 32-bit form (x32)",
        183 => "64-bit ARM (aarch64)",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "another processor",
    }
}

/// What other files begin with, or have at an offset.
const KINDS: &[(usize, &[u8], &str)] = &[
    (0, b"\xff\xd8\xff", "is a JPEG picture"),
    (0, b"\x89PNG", "is a PNG picture"),
    (0, b"GIF8", "is a GIF picture"),
    (0, b"%PDF", "is a PDF document"),
    (0, b"#!", "is a script"),
    (
        0,
        b"\x1f\x8b",
        "is gzip data (if a kernel is inside, decompress it first)",
    ),
    (
        0,
        b"\x28\xb5\x2f\xfd",
        "is zstd data (if a kernel is inside, decompress it first)",
    ),
    (
        0,
        b"\xfd7zXZ\0",
        "is xz data (if a kernel is inside, decompress it first)",
    ),
    (0, b"PK\x03\x04", "is a ZIP archive"),
    (
        0,
        b"!<arch>",
        "is a Debian package or another ar archive (the kernel is inside)",
    ),
    (0, b"070701", "is a cpio archive, like an initramfs"),
    (0x38, b"ARM\x64", "is a kernel for 64-bit ARM (aarch64)"),
    (0x38, b"RSC\x05", "is a kernel for RISC-V"),
    (0x101, b"ustar", "is a tar archive"),
    (0x400, b"\xe2\xe1\xf5\xe0", "is an EROFS image"),
    (0x438, b"\x53\xef", "is an ext4 image"),
    (0, b"QFI\xfb", "is a qcow2 disk image"),
    (0, b"MZ", "is a Windows or EFI program"),
];

fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "is empty".into();
    }
    let known = KINDS.iter().find(|(offset, magic, _)| {
        bytes
            .get(*offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    });
    if let Some((_, _, text)) = known {
        return (*text).to_owned();
    }
    let start = bytes.get(..bytes.len().min(512)).unwrap_or_default();
    if start
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        return "is a text file".into();
    }
    "begins like neither of them".into()
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
