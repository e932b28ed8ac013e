//! Any bytes as a layer's tar archive. What becomes an image must be one for an independent reader,
//! to the last file.
#![no_main]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;
use images::layer::{Compression, Limits, convert};
use libfuzzer_sys::fuzz_target;
use rustix::fs::MemfdFlags;

/// Unit of a tar archive in bytes.
const BLOCK: usize = 512;
/// Where a header has its size and its checksum.
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Largest image that is read back, and most data of one file: holes make both large.
const MAX_IMAGE: u64 = 64 << 20;
const MAX_DATA: u64 = 1 << 20;

/// One image in so many is checked by fsck.erofs.
const ASKED: u8 = 64;

/// Makes the checksums of headers right: else hardly any input would get past the first one.
fn mend(archive: &mut [u8]) {
    let mut rest = archive;
    while let Some((header, behind)) = rest.split_at_mut_checked(BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let digits = std::str::from_utf8(&header[SIZE]).unwrap_or_default();
        let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        let skipped = size.next_multiple_of(BLOCK).min(behind.len());
        rest = &mut behind[skipped..];
    }
}

fn check(image: &EroFS<SliceImage<'_>>, inode: Inode) {
    image
        .xattrs_inode(inode)
        .expect("attributes that can be read");
    if inode.is_symlink() {
        image
            .read_link_inode(inode)
            .expect("a target that can be read");
    }
    if inode.is_file() {
        let file = image
            .open_inode_file(inode)
            .expect("a file that can be opened");
        let mut data = Vec::new();
        file.take(MAX_DATA)
            .read_to_end(&mut data)
            .expect("data that can be read");
        assert_eq!(data.len() as u64, inode.data_size().min(MAX_DATA));
    }
}

fn read_back(bytes: &[u8]) {
    let image = EroFS::new(SliceImage::new(bytes)).expect("an image that can be opened");
    let root = image.super_block().root_inode_id();
    check(&image, image.get_inode(root).expect("a root"));
    let mut names: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    for entry in image.walk_dir("/").expect("a root directory") {
        let entry = entry.expect("entries that can be read");
        check(&image, entry.inode);
        if !entry.inode.is_dir() {
            names
                .entry(entry.inode.id())
                .or_insert((0, entry.inode.nlink()))
                .0 += 1;
        }
    }
    assert!(names.values().all(|(found, said)| found == said));
}

/// What the file system's own tool says of an image; it is asked of one image in [`ASKED`], as starting it takes a
/// thousand times as long as all else.
fn fsck(output: &File) {
    let path = format!("/proc/{}/fd/{}", std::process::id(), output.as_raw_fd());
    let checked = Command::new("fsck.erofs").arg(path).output();
    let checked = checked.expect("fsck.erofs is installed (apt-get install erofs-utils)");
    let words = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{words}");
}

fuzz_target!(|input: (bool, &[u8])| {
    let (mended, archive) = input;
    let mut archive = archive.to_vec();
    if mended {
        mend(&mut archive);
    }
    let memory = rustix::fs::memfd_create("image", MemfdFlags::CLOEXEC).expect("memory");
    let output = File::from(memory);
    let limits = Limits::default();
    let converted = convert(
        &archive[..],
        Compression::None,
        None,
        &output,
        &limits,
        &mut |_| {},
    );
    let length = output.metadata().expect("memory").len();
    let Ok(converted) = converted else {
        // No superblock was written: this is no image.
        let mut start = [0; 4096];
        let read = output.read_at(&mut start, 0).expect("memory");
        assert!(start[..read].iter().all(|byte| *byte == 0));
        return;
    };
    assert_eq!(converted.image_bytes, length);
    if length <= MAX_IMAGE {
        let mut bytes = vec![0; usize::try_from(length).expect("small")];
        output.read_exact_at(&mut bytes, 0).expect("memory");
        read_back(&bytes);
        if converted.diff_id.sha256()[0] % ASKED == 0 {
            fsck(&output);
        }
    }
});
