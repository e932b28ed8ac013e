use std::fs;

use super::{
    samples::{bz_image, elf, note, pvh_elf},
    *,
};

fn fault(bytes: &[u8]) -> String {
    match inspect(bytes) {
        Err(Fault::Is(text)) => text,
        Err(Fault::Truncated { needed }) => format!("truncated, {needed} needed"),
        Ok(info) => panic!("accepted: {info:?}"),
    }
}

fn accepted(bytes: &[u8]) -> KernelInfo {
    match inspect(bytes) {
        Ok(info) => info,
        Err(_) => panic!("refused: {}", fault(bytes)),
    }
}

#[test]
fn elf_with_pvh_note_is_accepted() {
    let info = accepted(&pvh_elf());
    assert_eq!(info.format, Format::Elf { pvh: true });
    assert_eq!(info.version, "6.12.7-test");
    assert_eq!(info.size, pvh_elf().len() as u64);
}

#[test]
fn pvh_note_is_found_behind_others() {
    let notes = [note(b"GNU\0", 18), note(b"Xen\0", 6), note(b"Xen\0", 18)].concat();
    assert_eq!(accepted(&elf(62, &notes)).format, Format::Elf { pvh: true });
}

#[test]
fn elf_without_pvh_note_has_the_64_bit_entry() {
    assert_eq!(
        accepted(&elf(62, &note(b"GNU\0", 18))).format,
        Format::Elf { pvh: false }
    );
}

#[test]
fn note_with_sizes_beyond_its_segment_is_not_followed() {
    let mut notes = note(b"GNU\0", 1);
    notes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        accepted(&elf(62, &notes)).format,
        Format::Elf { pvh: false }
    );
}

#[test]
fn bz_image_is_accepted() {
    let info = accepted(&bz_image());
    assert_eq!(
        (info.format, info.version.as_str()),
        (Format::BzImage, "6.1.0-9")
    );
}

#[test]
fn bz_image_for_32_bit_is_refused() {
    let mut image = bz_image();
    image[0x236] = 0;
    assert!(fault(&image).contains("32-bit"));
}

#[test]
fn cut_off_bz_image_is_refused() {
    let image = bz_image();
    assert_eq!(fault(&image[..image.len() - 1]), "truncated, 1536 needed");
}

#[test]
fn elf_cut_off_anywhere_is_refused() {
    let file = pvh_elf();
    for length in 4..file.len() {
        assert!(
            fault(&file[..length]).starts_with("truncated"),
            "at {length}"
        );
    }
}

#[test]
fn kernel_for_aarch64_is_refused_by_name() {
    assert!(fault(&elf(183, &[])).contains("aarch64"));
}

#[test]
fn image_for_aarch64_is_refused_by_name() {
    let mut image = vec![0; 64];
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    assert!(fault(&image).contains("aarch64"));
}

#[test]
fn program_without_the_banner_is_no_kernel() {
    let mut program = pvh_elf();
    let digit = program
        .windows(4)
        .position(|bytes| bytes == b"6.12")
        .unwrap();
    program[digit] = b'x';
    assert!(fault(&program).contains("no Linux kernel"));
}

#[test]
fn other_files_are_refused_by_their_kind() {
    assert_eq!(fault(b""), "is empty");
    assert_eq!(fault(b"\xff\xd8\xff\xe0\0\x10JFIF"), "is a JPEG picture");
    assert_eq!(fault(b"#!/bin/sh\n"), "is a script");
    assert_eq!(fault(b"hello\n"), "is a text file");
    assert!(fault(b"\x1f\x8b\x08\0\0").contains("gzip"));
    assert!(fault(&[0; 4096]).contains("neither"));
}

#[test]
fn directory_missing_file_and_device_are_refused_with_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let error = check(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is a directory"), "{error}");
    let missing = directory.path().join("no-such-kernel");
    let error = check(&missing).unwrap_err();
    assert!(matches!(error, KernelError::ReadKernel { .. }));
    assert!(error.to_string().contains("no-such-kernel"));
    let error = check(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.contains("no ordinary file"), "{error}");
}

#[test]
fn truncated_kernel_is_told_with_both_sizes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vmlinux");
    let file = pvh_elf();
    fs::write(&path, &file[..file.len() - 3]).unwrap();
    let error = check(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("{} bytes", file.len())), "{error}");
    assert!(error.contains(&(file.len() - 3).to_string()), "{error}");
}
