//! Real trees through real programs: what GNU tar writes is what the kernel shows of the image.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::image::{Node, image_of, read_directory};

fn tar(directory: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(options)
        .args(["--sort=name", "--sparse", "-C"])
        .arg(directory)
        .args(["-cf", "-", "."])
        .output()
        .expect("tar runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tar {options:?}: {said}");
    output.stdout
}

/// A tree with something of everything that the calling user can make.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("usr/lib/deep/er")).unwrap();
    fs::write(root.join("usr/lib/small"), "small").unwrap();
    fs::write(root.join("usr/lib/large"), vec![9; 1_000_000]).unwrap();
    fs::hard_link(root.join("usr/lib/small"), root.join("usr/again")).unwrap();
    symlink("../etc/passwd", root.join("usr/link")).unwrap();
    symlink("t".repeat(300), root.join("usr/longlink")).unwrap();
    fs::write(root.join("n".repeat(255)), "long").unwrap();
    fs::write(root.join("program"), "#!").unwrap();
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o4711)).unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let holes = fs::File::create(root.join("holes")).unwrap();
    for run in 0..40 {
        holes.write_all_at(&[1; 5000], run * 100_000).unwrap();
    }
    holes.set_len(5_000_001).unwrap();
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(
            CWD,
            root.join("null"),
            FileType::CharacterDevice,
            Mode::RUSR,
            null,
        )
        .unwrap();
        std::os::unix::fs::chown(root.join("usr"), Some(70_000), Some(80_000)).unwrap();
    }
}

/// What an archive can keep of a file.
fn kept(node: &Node) -> Node {
    let directory = node.mode & 0o170_000 == 0o040_000;
    Node {
        inode: 0,
        // File systems differ in how large a directory is.
        size: if directory { 0 } else { node.size },
        ..node.clone()
    }
}

#[test]
fn tree_in_every_format_of_gnu_tar_comes_back_the_same() {
    let place = tempfile::tempdir().unwrap();
    tree(place.path());
    let original = read_directory(place.path());
    for options in [
        &["--format=gnu"][..],
        &["--format=pax"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let image = image_of(&tar(place.path(), options));
        let names: Vec<_> = original.keys().collect();
        assert_eq!(image.nodes.keys().collect::<Vec<_>>(), names, "{options:?}");
        for (name, node) in &original {
            let mut node = kept(node);
            let mut found = kept(image.get(name));
            if options == ["--format=gnu"] {
                // The old format has whole seconds only.
                (node.mtime.1, found.mtime.1) = (0, 0);
            }
            assert!(
                found == node,
                "{options:?}: {}",
                String::from_utf8_lossy(name)
            );
        }
    }
}

#[test]
fn attributes_that_gnu_tar_writes_come_back() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    let set = rustix::fs::setxattr(&file, "user.note", b"n\xff", XattrFlags::empty());
    if set == Err(rustix::io::Errno::NOTSUP) {
        eprintln!("skipped: the file system of temporary files keeps no attributes");
        return;
    }
    set.unwrap();
    let image = image_of(&tar(place.path(), &["--format=pax", "--xattrs"]));
    assert_eq!(image.get("file").xattrs[&b"user.note"[..]], b"n\xff");
}
