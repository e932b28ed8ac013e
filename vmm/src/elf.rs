//! Headers and notes of ELF-64 files, little endian (System V ABI, "Object Files"): read here and nowhere else.
//! What they mean for a guest is decided by who asks.

/// What a file begins with.
pub const MAGIC: &[u8] = b"\x7fELF";
/// Bytes of the file's header, `Elf64_Ehdr`, and of a program header, `Elf64_Phdr`.
pub const FILE_HEADER: usize = 64;
/// Bytes of a program header, `Elf64_Phdr`.
pub const PROGRAM_HEADER: usize = 56;

/// `ELFCLASS64`.
pub const CLASS_64: u8 = 2;
/// `ELFDATA2LSB`, and `ELFDATA2MSB`.
pub const LITTLE_ENDIAN: u8 = 1;
/// `ELFDATA2MSB`.
pub const BIG_ENDIAN: u8 = 2;
/// A program at its own addresses, and one that can be anywhere: `ET_EXEC`.
pub const EXECUTABLE: u16 = 2;
/// A program that can be loaded anywhere: `ET_DYN`.
pub const DYNAMIC: u16 = 3;
/// `EM_X86_64`.
pub const X86_64: u16 = 62;

/// `PT_LOAD`.
pub const LOAD: u32 = 1;
/// `PT_NOTE`.
pub const NOTE: u32 = 4;
/// `PF_W`.
pub const WRITABLE: u32 = 2;

/// What lengths in notes are rounded up to (System V ABI, "Note Section"; Linux keeps to it on 64 bits too).
pub const NOTE_ALIGNMENT: usize = 4;

/// The note with the entry of the PVH ABI: its owner, and `XEN_ELFNOTE_PHYS32_ENTRY`.
const PVH_OWNER: &[u8] = b"Xen\0";
const PVH_ENTRY: u32 = 18;

/// Bytes of a note's header: lengths of the owner and of the description, and the kind.
const NOTE_HEADER: usize = 12;

/// A file's header, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// [`CLASS_64`], or another size of addresses.
    pub class: u8,
    /// [`LITTLE_ENDIAN`] or [`BIG_ENDIAN`].
    pub order: u8,
    /// [`EXECUTABLE`], [`DYNAMIC`], or no program.
    pub kind: u16,
    /// The processor that it is for.
    pub machine: u16,
    /// Address of its first instruction.
    pub entry: u64,
    /// Where the program headers stand in the file.
    pub table: u64,
    /// Bytes of one: [`PROGRAM_HEADER`].
    pub entry_size: u16,
    /// Their number.
    pub count: u16,
}

impl Header {
    /// Reads it from a file's first bytes; `None` when they are fewer than [`FILE_HEADER`]. Fields of files of another class
    /// or order mean nothing.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<FILE_HEADER>()?;
        let [_, _, _, _, class, order, ..] = *bytes;
        Some(Self {
            class,
            order,
            kind: u16_at(bytes, 16)?,
            machine: u16_at(bytes, 18)?,
            entry: u64_at(bytes, 24)?,
            table: u64_at(bytes, 32)?,
            entry_size: u16_at(bytes, 54)?,
            count: u16_at(bytes, 56)?,
        })
    }

    /// Whether numbers in it are read as they are meant.
    #[must_use]
    pub fn is_little_endian_64(&self) -> bool {
        self.class == CLASS_64 && self.order == LITTLE_ENDIAN
    }
}

/// A program header: a part of the file, and the memory that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// [`LOAD`], [`NOTE`] or another.
    pub kind: u32,
    /// [`WRITABLE`] and others.
    pub flags: u32,
    /// Where it stands in the file.
    pub offset: u64,
    /// Its virtual address.
    pub virtual_address: u64,
    /// Its guest-physical address.
    pub physical_address: u64,
    /// Its bytes in the file.
    pub in_file: u64,
    /// Its bytes in memory; those beyond what is in the file are zero.
    pub in_memory: u64,
    /// What its addresses are multiples of.
    pub alignment: u64,
}

impl Program {
    /// Reads one from its bytes; `None` when they are fewer than [`PROGRAM_HEADER`].
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<PROGRAM_HEADER>()?;
        Some(Self {
            kind: u32_at(bytes, 0)?,
            flags: u32_at(bytes, 4)?,
            offset: u64_at(bytes, 8)?,
            virtual_address: u64_at(bytes, 16)?,
            physical_address: u64_at(bytes, 24)?,
            in_file: u64_at(bytes, 32)?,
            in_memory: u64_at(bytes, 40)?,
            alignment: u64_at(bytes, 48)?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PROGRAM_HEADER);
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        for value in [
            self.offset,
            self.virtual_address,
            self.physical_address,
            self.in_file,
            self.in_memory,
            self.alignment,
        ] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Where it ends in the file; `None` when that is no number.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.in_file)
    }
}

/// A note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Whose it is, with the zero at its end and what it is padded with.
    pub owner: &'a [u8],
    /// What it is, among its owner's.
    pub kind: u32,
    /// What it says: as long as its header has it.
    pub description: &'a [u8],
}

impl Note<'_> {
    /// The entry of the PVH ABI, if it is this one: a number of 32 or 64 bits.
    #[must_use]
    pub fn pvh_entry(&self) -> Option<u64> {
        if self.owner != PVH_OWNER || self.kind != PVH_ENTRY {
            return None;
        }
        match self.description.len() {
            4 => u32_at(self.description, 0).map(u64::from),
            8 => u64_at(self.description, 0),
            _ => None,
        }
    }
}

/// Notes, one after the other; whatever is not whole ends them.
#[derive(Debug, Clone)]
pub struct Notes<'a>(pub &'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let (header, rest) = self.0.split_at_checked(NOTE_HEADER)?;
        let length = |at| usize::try_from(u32_at(header, at)?).ok();
        let padded = |length: usize| length.checked_next_multiple_of(NOTE_ALIGNMENT);
        let (owner, rest) = rest.split_at_checked(padded(length(0)?)?)?;
        let described = length(4)?;
        // The last one may lack its padding.
        let end = padded(described)?.min(rest.len()).max(described);
        let (description, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(Note {
            owner,
            kind: u32_at(header, 8)?,
            description: description.get(..described)?,
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        kind: LOAD,
        flags: WRITABLE,
        offset: 1,
        virtual_address: 2,
        physical_address: 3,
        in_file: 4,
        in_memory: 5,
        alignment: 6,
    };

    fn note(owner: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
        let lengths = [owner.len(), description.len()].map(|length| u32::try_from(length).unwrap());
        let mut bytes = lengths.map(u32::to_le_bytes).concat();
        bytes.extend(kind.to_le_bytes());
        for part in [owner, description] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(NOTE_ALIGNMENT), 0);
        }
        bytes
    }

    #[test]
    fn program_header_reads_as_it_was_written() {
        assert_eq!(Program::read(&PROGRAM.bytes()), Some(PROGRAM));
        assert_eq!(Program::read(&PROGRAM.bytes()[1..]), None);
        assert_eq!(Header::read(&[0; FILE_HEADER - 1]), None);
    }

    #[test]
    fn pvh_entry_is_found_behind_other_notes() {
        let notes = [
            note(b"GNU\0", 18, &[1; 5]),
            note(b"Xen\0", 6, b"linux"),
            note(b"Xen\0", 18, &7_u32.to_le_bytes()),
        ];
        let entry = |notes: &[u8]| Notes(notes).find_map(|note| note.pvh_entry());
        assert_eq!(entry(&notes.concat()), Some(7));
        let long = note(b"Xen\0", 18, &(1_u64 << 40).to_le_bytes());
        assert_eq!(entry(&long), Some(1 << 40));
    }

    #[test]
    fn note_that_is_not_whole_ends_the_notes() {
        let whole = note(b"GNU\0", 1, b"four");
        assert_eq!(Notes(&whole).count(), 1);
        for length in 0..whole.len() {
            assert_eq!(Notes(&whole[..length]).count(), 0, "{length}");
        }
        let mut endless = whole;
        endless[..4].fill(0xff);
        assert_eq!(Notes(&endless).count(), 0);
    }
}
