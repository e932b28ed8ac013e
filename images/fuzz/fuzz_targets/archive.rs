//! Archives of images: any bytes as a tar archive, and any text as the manifest of one of docker's.
#![no_main]

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use images::image::Platform;
use images::source::{Input, open};
use libfuzzer_sys::fuzz_target;
use rustix::fs::MemfdFlags;

fn look_at(archive: &[u8]) {
    let memory = rustix::fs::memfd_create("archive", MemfdFlags::CLOEXEC).expect("memory");
    let mut file = File::from(memory);
    file.write_all(archive).expect("memory");
    let Ok(source) = open(Input::Stream(file), Path::new("/dev/shm")) else {
        return;
    };
    let Ok(images) = source.images(&Platform::of_this_machine()) else {
        return;
    };
    for layer in images.iter().flat_map(|image| &image.layers) {
        if let Ok(reader) = source.open_layer(layer) {
            drop(io::copy(&mut reader.take(1 << 20), &mut io::sink()));
        }
    }
}

fn docker_archive(manifest: &[u8], config: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("manifest.json", manifest), ("c", config), ("l", b"layer")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, content)
            .expect("memory");
    }
    archive.into_inner().expect("memory")
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        // A manifest, a zero byte, a configuration.
        Some((b'd', documents)) => {
            let mut documents = documents.splitn(2, |byte| *byte == 0);
            let mut next = || documents.next().unwrap_or_default();
            let (manifest, config) = (next(), next());
            look_at(&docker_archive(manifest, config));
        }
        Some((_, archive)) => look_at(archive),
        None => {}
    }
});
