//! Layers upon each other, of names that meet: links of lower layers are followed, hard links are to their files. What
//! becomes an image is one for an independent reader, and no name leads through a link or a file.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use images::layer::{Below, Compression, Limits, Onto, convert_onto};
use libfuzzer_sys::fuzz_target;
use rustix::fs::MemfdFlags;
use tar::{Builder, EntryType, Header};

/// Names, of which each byte of the input chooses one: few, so that entries meet.
const NAMES: [&str; 16] = [
    "a", "b", "l", "f", "a/b", "a/l", "a/f", "b/l", "l/f", "l/a", "l/l/f", "a/../b", "../a", "/a/l",
    ".wh.f", "a/.wh..wh..opq",
];
const KINDS: [EntryType; 8] = [
    EntryType::Regular,
    EntryType::Regular,
    EntryType::Directory,
    EntryType::Symlink,
    EntryType::Symlink,
    EntryType::Link,
    EntryType::Fifo,
    EntryType::Char,
];
/// Most layers of one image.
const MOST: usize = 4;

fn name(byte: u8) -> &'static [u8] {
    NAMES[usize::from(byte) % NAMES.len()].as_bytes()
}

/// An entry for each three bytes: kind, name, target.
fn archive(input: &[u8]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for entry in input.chunks_exact(3) {
        let mut header = Header::new_ustar();
        header.set_entry_type(KINDS[usize::from(entry[0]) % KINDS.len()]);
        header.as_old_mut().name[..name(entry[1]).len()].copy_from_slice(name(entry[1]));
        header.as_old_mut().linkname[..name(entry[2]).len()].copy_from_slice(name(entry[2]));
        header.set_mode(0o755);
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, &[][..]).expect("memory");
    }
    archive.into_inner().expect("memory")
}

fn memory() -> File {
    let memory = rustix::fs::memfd_create("image", MemfdFlags::CLOEXEC).expect("memory");
    File::from(memory)
}

fn convert(archive: &[u8], onto: Onto<'_>) -> Option<File> {
    let output = memory();
    let (plain, limits) = (Compression::None, Limits::default());
    convert_onto(archive, plain, None, onto, &output, &limits, &mut |_| {}).ok()?;
    Some(output)
}

fn read_back(output: &File) {
    let length = output.metadata().expect("memory").len();
    let mut bytes = vec![0; usize::try_from(length).expect("small")];
    output.read_exact_at(&mut bytes, 0).expect("memory");
    let image = EroFS::new(SliceImage::new(&bytes)).expect("an image that can be opened");
    for entry in image.walk_dir("/").expect("a root directory") {
        entry.expect("entries that can be read");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut layers: Vec<File> = Vec::new();
    for part in input.splitn(MOST, |byte| *byte == 0xff) {
        let archive = archive(part);
        let alone = convert(&archive, Onto::Unknown);
        let copies = layers.iter().map(|layer| layer.try_clone().expect("memory"));
        let below = Below::new(copies).expect("layers that can be read");
        let Some(joined) = convert(&archive, Onto::Layers(&below)) else {
            return;
        };
        assert!(alone.is_some(), "what is good upon others is good");
        read_back(&joined);
        layers.push(joined);
    }
});
