//! Packs a kernel's ELF file: without the padding that the linker aligns its parts to huge pages with,
//! which is a third of the file, and would be read and copied into each guest.
//!
//! Each part keeps its physical address, and stands in the file at an offset of the same page offset,
//! so that it can be mapped as well as read. Section headers are left out: nothing that boots reads
//! them.

use vmm::elf::{self, FILE_HEADER, Header, LOAD, NOTE, PROGRAM_HEADER, Program};

const PAGE: usize = 4096;

/// A run of padding is left out from this many bytes on: what is gained has to be worth one more
/// program header.
const LEAST_RUN: usize = 16 * PAGE;

/// What the linker pads code with (`int3`), and data.
const PADDING: [u8; 2] = [0xcc, 0];

/// A program header, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    kind: u32,
    flags: u32,
    offset: usize,
    virtual_address: u64,
    physical_address: u64,
    in_file: usize,
    in_memory: u64,
}

/// The packed form of an ELF kernel; `None` when it is none, or is built in a way that is unknown
/// here: it stays as it is then.
pub(super) fn pack(kernel: &[u8]) -> Option<Vec<u8>> {
    if !kernel.starts_with(elf::MAGIC) {
        return None;
    }
    let parts = parts(kernel)?;
    let mut kept: Vec<Part> = Vec::new();
    for part in parts.iter().filter(|part| part.kind == LOAD) {
        kept.extend(without_padding(part, kernel)?);
    }
    let notes = parts.iter().filter(|part| part.kind == NOTE);
    let count = kept.len() + notes.clone().count();

    let mut data = Vec::new();
    let mut headers = Vec::new();
    let first = (FILE_HEADER + count * PROGRAM_HEADER).next_multiple_of(PAGE);
    // Where each kept part stood, and stands.
    let mut moved = Vec::new();
    for part in kept {
        let within_page = usize::try_from(part.physical_address).ok()? % PAGE;
        let offset = (first + data.len()).next_multiple_of(PAGE) + within_page;
        data.resize(offset - first, 0);
        data.extend_from_slice(kernel.get(part.offset..part.offset + part.in_file)?);
        moved.push((part.offset, part.in_file, offset));
        headers.push(Part { offset, ..part });
    }
    for note in notes {
        let (from, _, to) = moved.iter().find(|(from, length, _)| {
            *from <= note.offset && note.offset + note.in_file <= from + length
        })?;
        let offset = note.offset - from + to;
        headers.push(Part {
            offset,
            ..note.clone()
        });
    }

    let mut packed = file_header(kernel, headers.len())?;
    for header in &headers {
        packed.extend_from_slice(&bytes_of(header));
    }
    packed.resize(first, 0);
    packed.append(&mut data);
    Some(packed)
}

/// All parts, each inside of the file.
fn parts(kernel: &[u8]) -> Option<Vec<Part>> {
    let header = Header::read(kernel)?;
    let table = usize::try_from(header.table).ok()?;
    if usize::from(header.entry_size) != PROGRAM_HEADER {
        return None;
    }
    (0..usize::from(header.count))
        .map(|index| {
            let at = table.checked_add(index * PROGRAM_HEADER)?;
            let program = Program::read(kernel.get(at..)?)?;
            let part = Part {
                kind: program.kind,
                flags: program.flags,
                offset: usize::try_from(program.offset).ok()?,
                virtual_address: program.virtual_address,
                physical_address: program.physical_address,
                in_file: usize::try_from(program.in_file).ok()?,
                in_memory: program.in_memory,
            };
            let end = part.offset.checked_add(part.in_file)?;
            (end <= kernel.len()).then_some(part)
        })
        .collect()
}

/// What a part is made of when its runs of padding are left out, which memory is zero for.
fn without_padding(part: &Part, kernel: &[u8]) -> Option<Vec<Part>> {
    let content = kernel.get(part.offset..part.offset + part.in_file)?;
    // Pages are those of memory.
    let lead = usize::try_from(part.physical_address).ok()? % PAGE;
    if lead != 0 {
        return Some(vec![part.clone()]);
    }
    let mut kept = Vec::new();
    let mut start = 0;
    for (from, to) in runs(content) {
        kept.push((start, from));
        start = to;
    }
    kept.push((start, content.len()));
    let last_byte = part.in_memory;
    let pieces = kept.into_iter().filter(|(from, to)| from < to);
    let mut pieces: Vec<Part> = pieces
        .map(|(from, to)| Part {
            offset: part.offset + from,
            virtual_address: part.virtual_address.wrapping_add(from as u64),
            physical_address: part.physical_address.wrapping_add(from as u64),
            in_file: to - from,
            in_memory: (to - from) as u64,
            ..part.clone()
        })
        .collect();
    // The last one goes on as far as the part did: loaders place what follows a kernel after it.
    if let Some(last) = pieces.last_mut() {
        let before = last.physical_address - part.physical_address;
        last.in_memory = last_byte.checked_sub(before)?;
    }
    Some(pieces)
}

/// Runs of whole pages of padding, long enough to be left out.
fn runs(content: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, page) in content.chunks(PAGE).enumerate() {
        let from = index * PAGE;
        let padding = PADDING
            .iter()
            .any(|value| page.iter().all(|byte| byte == value));
        if !padding {
            continue;
        }
        match runs.last_mut() {
            Some((_, to)) if *to == from => *to = from + page.len(),
            _ => runs.push((from, from + page.len())),
        }
    }
    runs.retain(|(from, to)| to - from >= LEAST_RUN);
    runs
}

/// The file's header, for a table of program headers right after it and no sections.
fn file_header(kernel: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut header = kernel.get(..FILE_HEADER)?.to_vec();
    let mut put = |at: usize, bytes: &[u8]| {
        header
            .iter_mut()
            .skip(at)
            .zip(bytes)
            .for_each(|(place, byte)| *place = *byte);
    };
    put(32, &(FILE_HEADER as u64).to_le_bytes());
    put(40, &0_u64.to_le_bytes());
    put(56, &u16::try_from(count).ok()?.to_le_bytes());
    put(58, &[0; 6]);
    Some(header)
}

fn bytes_of(part: &Part) -> Vec<u8> {
    let alignment = match part.kind {
        NOTE => elf::NOTE_ALIGNMENT,
        _ => PAGE,
    };
    let program = Program {
        kind: part.kind,
        flags: part.flags,
        offset: part.offset as u64,
        virtual_address: part.virtual_address,
        physical_address: part.physical_address,
        in_file: part.in_file as u64,
        in_memory: part.in_memory,
        alignment: alignment as u64,
    };
    program.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What guest memory holds from 16 MiB on after a file is loaded, as a loader does it.
    fn loaded(file: &[u8]) -> Vec<u8> {
        let mut memory = Vec::new();
        for part in parts(file).unwrap() {
            if part.kind == LOAD {
                let at = usize::try_from(part.physical_address).unwrap() - (16 << 20);
                let end = at + usize::try_from(part.in_memory).unwrap();
                memory.resize(memory.len().max(end), 0);
                memory[at..at + part.in_file]
                    .copy_from_slice(&file[part.offset..part.offset + part.in_file]);
            }
        }
        memory
    }

    fn kernel() -> Vec<u8> {
        let mut content = vec![1; 3 * PAGE];
        content.resize(content.len() + LEAST_RUN, 0xcc);
        content.extend([2; 100]);
        content.resize(content.len() + 10 * PAGE, 0);
        content.extend([3; 5]);
        let part = |kind, offset, address: u64, in_file, in_memory| Part {
            kind,
            flags: 5,
            offset,
            virtual_address: 0xffff_ffff_8000_0000 + address,
            physical_address: address,
            in_file,
            in_memory,
        };
        let start = 2 * PAGE;
        let length = content.len();
        let parts = [
            part(LOAD, start, 16 << 20, length, length as u64 + 7777),
            part(
                NOTE,
                start + 3 * PAGE + LEAST_RUN + 8,
                (16 << 20) + 8,
                60,
                60,
            ),
        ];
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(FILE_HEADER, 0);
        file[32] = 64;
        file[40] = 1;
        file[54] = 56;
        file[56] = 2;
        for part in &parts {
            file.extend(bytes_of(part));
        }
        file.resize(start, 0);
        file.extend(content);
        file.resize(file.len() + 5000, 9);
        file
    }

    #[test]
    fn memory_is_the_same_but_for_padding() {
        let before = kernel();
        let packed = pack(&before).unwrap();
        let mut expected = loaded(&before);
        expected[3 * PAGE..3 * PAGE + LEAST_RUN].fill(0);
        assert_eq!(loaded(&packed), expected);
        assert!(packed.len() + LEAST_RUN < before.len());
    }

    #[test]
    fn offsets_are_those_of_pages_and_the_note_is_found() {
        let packed = pack(&kernel()).unwrap();
        let parts = parts(&packed).unwrap();
        for part in parts.iter().filter(|part| part.kind == LOAD) {
            assert_eq!(part.offset % PAGE, 0);
        }
        let note = parts.iter().find(|part| part.kind == NOTE).unwrap();
        assert_eq!(
            packed[note.offset..note.offset + note.in_file],
            vec![2; 60][..]
        );
        // Its header is the last one.
        let at = FILE_HEADER + (parts.len() - 1) * PROGRAM_HEADER;
        let header = Program::read(&packed[at..]).unwrap();
        assert_eq!(header.alignment, elf::NOTE_ALIGNMENT as u64);
    }

    #[test]
    fn packed_kernel_packs_to_itself() {
        let packed = pack(&kernel()).unwrap();
        assert_eq!(pack(&packed).unwrap(), packed);
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        assert_eq!(pack(b"MZ"), None);
        let mut cut = kernel();
        cut.truncate(3 * PAGE);
        assert_eq!(pack(&cut), None);
    }
}
