//! Guests of one kernel share what they do not change of it.
//!
//! A kernel is read into the guest's own memory, into large pages, with which it starts fastest; and it changes
//! itself to suit its processor. Once the guest idles, what is still as the file has it becomes the file's own memory,
//! that of the page cache, and is there once for all guests. A page that is written to after that becomes the guest's
//! own again, as all of a private mapping does. What holds nothing goes back to the machine then.
#![expect(unsafe_code, reason = "memory of the guest is mapped anew from a file")]

use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::AsRawFd,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::{
    arch::{Copied, this::layout::LARGE_PAGE},
    virtio::{Memory, advice::first},
};

/// Bytes of a page, of which each is shared or not.
const PAGE: usize = 4096;

/// What a guest is to share once it idles.
pub struct Sharing {
    memory: Memory,
    file: File,
    copies: Vec<Copied>,
    idle: Arc<AtomicBool>,
}

impl Sharing {
    /// Pieces of a file that a guest's memory has copies of, to be shared after `idle` is set: none of a file that
    /// somebody may write to, since what is mapped would change with it.
    #[must_use]
    pub fn new(
        memory: &Memory,
        file: File,
        mut copies: Vec<Copied>,
        idle: &Arc<AtomicBool>,
    ) -> Self {
        let fixed = file
            .metadata()
            .ok()
            .filter(|metadata| metadata.permissions().readonly());
        let length = fixed.map_or(0, |metadata| metadata.len());
        copies.retain(|copy| {
            let end = copy.offset.checked_add(copy.length);
            end.is_some_and(|end| end <= length)
        });
        Self {
            memory: memory.clone(),
            file,
            copies,
            idle: Arc::clone(idle),
        }
    }

    /// Whether it is time.
    pub(crate) fn due(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Shares what is as it was, and gives back what holds nothing. Neither a processor of the guest nor a device may
    /// work meanwhile: what they change would be lost.
    pub(crate) fn share(self) {
        for copy in &self.copies {
            // A piece that cannot be shared stays as it is.
            let _ = share(&self.memory, &self.file, copy);
        }
        for piece in pieces(&self.memory, &self.copies) {
            let _ = pack(&self.memory, &piece);
        }
    }
}

/// A mapping that is to take the place of a piece of the guest's memory.
struct Replacement {
    at: *mut u8,
    length: usize,
}

impl Replacement {
    /// Maps a file's bytes, or zeros, where the system chooses.
    fn new(length: usize, file: Option<(&File, u64)>) -> io::Result<Self> {
        let (descriptor, offset, kind) = match file {
            Some((file, offset)) => (file.as_raw_fd(), offset, 0),
            None => (-1, 0, libc::MAP_ANONYMOUS),
        };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at an address that the system chooses.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_NORESERVE | kind,
                descriptor,
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at: *mut u8 = at.cast();
        // SAFETY: it was mapped just now. An advice that is not taken changes no content.
        unsafe { libc::madvise(at.cast(), length, libc::MADV_NOHUGEPAGE) };
        Ok(Self { at, length })
    }

    /// Takes the place of as many bytes of the guest's memory, in one step for all threads.
    ///
    /// # Panics
    /// When the system cannot do it: what was there may be gone then, and the next thing that is mapped could come to
    /// stand where the guest reaches it.
    ///
    /// # Safety
    /// `place` is mapped as the guest's memory, for as many bytes, which this has the content of, and nothing refers
    /// to them.
    unsafe fn take_place(self, place: *mut u8) {
        // SAFETY: what is moved is this mapping; the caller vouches for what it replaces.
        let moved = unsafe {
            libc::mremap(
                self.at.cast(),
                self.length,
                self.length,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                place,
            )
        };
        assert!(
            moved != libc::MAP_FAILED,
            "cannot put the guest's memory in its place: {}",
            io::Error::last_os_error()
        );
        // From here on it goes with the rest of the guest's memory.
        std::mem::forget(self);
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // SAFETY: it has not moved, and nothing refers to it.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}

/// Whether two pages hold the same.
///
/// # Safety
/// Both are mapped, and nothing changes them meanwhile.
unsafe fn same(one: *const u8, other: *const u8) -> bool {
    // SAFETY: as the caller says.
    unsafe { libc::memcmp(one.cast(), other.cast(), PAGE) == 0 }
}

/// A page that holds nothing.
static ZEROS: [u8; PAGE] = [0; PAGE];

/// Has the file's own memory where a piece holds what the file holds.
fn share(memory: &Memory, file: &File, copy: &Copied) -> io::Result<()> {
    let length = usize::try_from(copy.length).map_err(io::Error::other)?;
    let slice = memory
        .get_slice(copy.start, length)
        .map_err(io::Error::other)?;
    let guard = slice.ptr_guard_mut();
    let own = guard.as_ptr();
    let new = Replacement::new(length, Some((file, copy.offset)))?;
    for at in (0..length).step_by(PAGE) {
        // SAFETY: both are mapped for `length` bytes, whole pages, do not overlap, and nothing refers to them.
        unsafe {
            let (own, new) = (own.add(at), new.at.add(at));
            if !same(own, new) {
                ptr::copy_nonoverlapping(own, new, PAGE);
            }
        }
    }
    // SAFETY: the guard keeps `length` bytes mapped, and page by page they are the same.
    unsafe { new.take_place(own) };
    Ok(())
}

/// Keeps of a piece of the guest's memory, whole pages, those that hold something. A large page brings hundreds that
/// nobody has asked for; and what of one is given back is free only when all of it is.
fn pack(memory: &Memory, piece: &Range<u64>) -> io::Result<()> {
    let length = usize::try_from(piece.end - piece.start).map_err(io::Error::other)?;
    let slice = memory
        .get_slice(GuestAddress(piece.start), length)
        .map_err(io::Error::other)?;
    let guard = slice.ptr_guard_mut();
    let own = guard.as_ptr();
    let mut there = vec![0_u8; length / PAGE];
    // SAFETY: the guard keeps `length` bytes mapped, whole pages, each of which has its byte in `there`.
    if unsafe { libc::mincore(own.cast(), length, there.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // What is nowhere in memory is left alone: it may have been swapped out.
    if there.iter().all(|page| page & 1 == 0) {
        return Ok(());
    }
    // SAFETY: the pages are in the guest's memory, which nothing changes now, and which nothing refers to.
    let holds = |at: &usize| unsafe { !same(own.add(*at), ZEROS.as_ptr()) };
    let kept: Vec<usize> = (0..length).step_by(PAGE).filter(holds).collect();
    if kept.len() == there.len() {
        return Ok(());
    }
    let new = Replacement::new(length, None)?;
    for at in kept {
        // SAFETY: both are mapped for `length` bytes, whole pages, do not overlap, and nothing refers to them.
        unsafe { ptr::copy_nonoverlapping(own.add(at), new.at.add(at), PAGE) };
    }
    // SAFETY: the guard keeps `length` bytes mapped, and page by page they are the same.
    unsafe { new.take_place(own) };
    Ok(())
}

/// What of the memory of an idle guest lies beside these pieces, none of it across a large page's boundary.
fn pieces(memory: &Memory, besides: &[Copied]) -> Vec<Range<u64>> {
    let end = first(memory) / LARGE_PAGE * LARGE_PAGE;
    let mut cuts: Vec<u64> = (0..=end / LARGE_PAGE)
        .map(|number| number * LARGE_PAGE)
        .collect();
    let copies = besides
        .iter()
        .map(|copy| copy.start.0..copy.start.0.saturating_add(copy.length));
    let copies: Vec<Range<u64>> = copies.collect();
    let ends = copies.iter().flat_map(|copy| [copy.start, copy.end]);
    cuts.extend(ends.filter(|cut| *cut < end));
    cuts.sort_unstable();
    cuts.dedup();
    let ranges = cuts.windows(2).filter_map(|cut| match cut {
        [start, end] => Some(*start..*end),
        _ => None,
    });
    ranges
        .filter(|range| !copies.iter().any(|copy| copy.contains(&range.start)))
        .collect()
}

#[cfg(test)]
mod tests;
