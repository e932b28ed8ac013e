use std::io::{Read, Seek};
use std::process::Command;

use super::*;
use crate::layer::{self, Compression, Limits};

/// The archive of a directory that a script fills, made by GNU tar.
fn archive(script: &str, options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("bash")
        .args(["-euc", script])
        .current_dir(&directory)
        .status();
    assert!(status.unwrap().success());
    let output = Command::new("tar")
        .args(options)
        .args(["-cf", "-", "."])
        .current_dir(&directory)
        .output();
    output.unwrap().stdout
}

/// Converts an archive whose pieces come as they may, and puts it together again.
fn rebuilt(tar: &[u8], piece: usize) -> Option<Vec<u8>> {
    let image = tempfile::tempfile().unwrap();
    let limits = Limits::default();
    layer::convert(tar, Compression::None, None, &image, &limits, &mut |_| {}).unwrap();
    let mut scanner = Scanner::new(tempfile::tempfile().unwrap()).unwrap();
    tar.chunks(piece).for_each(|bytes| scanner.add(bytes));
    let mut recipe = tempfile::tempfile().unwrap();
    if !write(scanner, &image, recipe.try_clone().unwrap()).unwrap() {
        return None;
    }
    recipe.rewind().unwrap();
    let mut bytes = Vec::new();
    Rebuilt::new(recipe, &image)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    Some(bytes)
}

/// Files of all lengths around blocks, long names, links, twins, attributes.
const FILES: &str = "
    for size in 0 1 63 64 65 511 512 513 4095 4096 4097 8191 100000; do
      head -c $size /dev/urandom >$size
    done
    cp 4097 twin; ln 100000 hard; ln -s 100000 soft; mkdir -p d/e; head -c 5000 /dev/urandom >d/e/f
    mkdir -p $(printf 'x%.0s' {1..90})/$(printf 'y%.0s' {1..90}); mkfifo pipe
    head -c 5000 /dev/urandom >$(printf 'x%.0s' {1..90})/$(printf 'y%.0s' {1..90})/z
    head -c 9000 /dev/urandom >attributed; python3 -c 'import os; os.setxattr(\"attributed\", \"user.a\", b\"b\")' || true";

#[test]
fn archive_comes_back_byte_by_byte() {
    for format in ["--format=gnu", "--format=pax", "--format=ustar"] {
        let tar = archive(FILES, &[format, "--xattrs"]);
        for piece in [7, 511, 512, 100_000, usize::MAX] {
            let piece = piece.min(tar.len());
            assert!(
                rebuilt(&tar, piece).as_deref() == Some(tar.as_slice()),
                "{format} {piece}"
            );
        }
    }
}

#[test]
fn archive_that_replaces_its_own_file_has_no_recipe() {
    let mut builder = ::tar::Builder::new(Vec::new());
    for content in [[b'a'; 100], [b'b'; 100]] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(100);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "same", content.as_slice())
            .unwrap();
    }
    let tar = builder.into_inner().unwrap();
    assert_eq!(rebuilt(&tar, 512), None);
}

#[test]
fn file_with_holes_has_no_recipe() {
    let script =
        "truncate -s 1M holes; printf x | dd of=holes bs=1 seek=500000 conv=notrunc status=none";
    let tar = archive(script, &["--sparse", "--format=pax"]);
    assert_eq!(rebuilt(&tar, 4096), None);
}

#[test]
fn what_follows_the_end_comes_back_too() {
    let mut tar = archive("echo a >a", &[]);
    // Bytes that a header of a large file could begin with, and no whole block.
    let mut header = ::tar::Header::new_gnu();
    header.set_size(1 << 40);
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(b"and more");
    assert_eq!(rebuilt(&tar, 512).as_deref(), Some(tar.as_slice()));
}
