//! Owners, permissions, times, devices, extended attributes.

use crate::archive::{Entry, Tar};
use crate::image::{image, refused};

#[test]
fn permissions_are_kept_with_their_special_bits() {
    let image = image(&Tar::of([
        Entry::file("setuid", "").mode(0o4755),
        Entry::file("setgid", "").mode(0o2711),
        Entry::file("none", "").mode(0),
        Entry::directory("sticky").mode(0o1777),
        // The type of a file in its mode, as some programs write it, does not count.
        Entry::file("typed", "").mode(0o100_640),
    ]));
    assert_eq!(image.get("setuid").mode, 0o104_755);
    assert_eq!(image.get("setgid").mode, 0o102_711);
    assert_eq!(image.get("none").mode, 0o100_000);
    assert_eq!(image.get("sticky").mode, 0o041_777);
    assert_eq!(image.get("typed").mode, 0o100_640);
}

#[test]
fn owners_have_32_bits() {
    let image = image(&Tar::of([
        Entry::file("small", "").owner(1000, 100),
        Entry::file("base256", "").owner(3_000_000, 70_000),
        Entry::file("pax", "")
            .pax("uid", "4294967294")
            .pax("gid", "100000"),
        Entry::directory("dir").owner(65_536, 65_537),
    ]));
    assert_eq!(image.get("small").owner, (1000, 100));
    assert_eq!(image.get("base256").owner, (3_000_000, 70_000));
    assert_eq!(image.get("pax").owner, (4_294_967_294, 100_000));
    assert_eq!(image.get("dir").owner, (65_536, 65_537));
}

#[test]
fn impossible_owners_are_refused() {
    for entry in [
        Entry::file("a", "").owner(-1, 0),
        Entry::file("a", "").owner(0, 1 << 32),
        Entry::file("a", "").pax("uid", "4294967296"),
        Entry::file("a", "").pax("gid", "-5"),
    ] {
        let text = refused(&Tar::of([entry]).bytes());
        assert!(text.contains("is out of range"), "{text}");
    }
}

#[test]
fn times_are_kept_to_the_nanosecond_in_both_directions() {
    let image = image(&Tar::of([
        Entry::file("plain", "").mtime(1_700_000_000),
        Entry::file("fraction", "").pax("mtime", "1700000000.123456789"),
        Entry::file("finer", "").pax("mtime", "5.1234567899999"),
        Entry::file("early", "").mtime(-86_400),
        Entry::file("early-fraction", "").pax("mtime", "-1.25"),
        Entry::file("late", "").mtime(1 << 34),
        Entry::directory("dir").pax("mtime", "4102444800.5"),
    ]));
    assert_eq!(image.get("plain").mtime, (1_700_000_000, 0));
    assert_eq!(image.get("fraction").mtime, (1_700_000_000, 123_456_789));
    assert_eq!(image.get("finer").mtime, (5, 123_456_789));
    assert_eq!(image.get("early").mtime, (-86_400, 0));
    assert_eq!(image.get("early-fraction").mtime, (-2, 750_000_000));
    assert_eq!(image.get("late").mtime, (1 << 34, 0));
    assert_eq!(image.get("dir").mtime, (4_102_444_800, 500_000_000));
}

#[test]
fn devices_and_pipes_are_made() {
    let image = image(&Tar::of([
        Entry::device(b'3', "null", 1, 3).mode(0o666),
        Entry::device(b'4', "sda", 8, 0).mode(0o660),
        Entry::device(b'3', "large", 4095, 1_048_575),
        Entry::new(b'6', "pipe").mode(0o620),
    ]));
    let found = |name| (image.get(name).mode, image.get(name).device);
    assert_eq!(found("null"), (0o020_666, (1, 3)));
    assert_eq!(found("sda"), (0o060_660, (8, 0)));
    assert_eq!(found("large"), (0o020_644, (4095, 1_048_575)));
    assert_eq!(found("pipe"), (0o010_620, (0, 0)));
}

#[test]
fn devices_that_linux_cannot_have_are_refused() {
    for (major, minor) in [(4096, 0), (0, 1 << 20), (-1, 0)] {
        let entry = Entry::device(b'3', "device", major, minor);
        let text = refused(&Tar::of([entry]).bytes());
        assert!(text.contains("device"), "{text}");
    }
}

#[test]
fn file_capabilities_and_other_attributes_are_kept() {
    // struct vfs_cap_data, version 2: cap_net_raw, effective.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let image = image(&Tar::of([
        Entry::file("ping", "program").xattr("security.capability", capability),
        Entry::directory("dir")
            .xattr("user.mime", "x")
            .xattr("user.empty", ""),
        Entry::file("labels", "").xattr("user.n", b"\0=\n\xff"),
        // The last one of a name counts.
        Entry::file("twice", "")
            .xattr("user.a", "1")
            .xattr("user.a", "2"),
        Entry::file("libarchive", "").pax("LIBARCHIVE.xattr.user.a%20b", "aGk="),
    ]));
    assert_eq!(
        image.get("ping").xattrs[&b"security.capability"[..]],
        capability
    );
    assert_eq!(image.get("ping").content, b"program");
    let xattrs = &image.get("dir").xattrs;
    assert_eq!(
        (xattrs[&b"user.mime"[..]].as_slice(), xattrs.len()),
        (&b"x"[..], 2)
    );
    assert_eq!(image.get("labels").xattrs[&b"user.n"[..]], b"\0=\n\xff");
    assert_eq!(image.get("twice").xattrs[&b"user.a"[..]], b"2");
    assert_eq!(image.get("libarchive").xattrs[&b"user.a b"[..]], b"hi");
}

#[test]
fn attributes_larger_than_a_block_are_kept() {
    let value = vec![7; 20_000];
    let image = image(&Tar::of([
        Entry::file("file", "tail").xattr("user.large", &value),
        Entry::file("blocks", vec![1; 9000]).xattr("user.large", &value),
        Entry::directory("dir").xattr("user.large", &value),
        Entry::file("dir/in", ""),
        Entry::symlink("link", "target").xattr("trusted.large", &value),
        Entry::file("exact", "").xattr("user.a", vec![1; 4096 - 64 - 12 - 4 - 1]),
        Entry::file("over", "x").xattr("user.a", vec![1; 4096 - 64 - 12 - 4 - 1]),
    ]));
    for name in ["file", "blocks", "dir"] {
        assert_eq!(image.get(name).xattrs[&b"user.large"[..]], value, "{name}");
    }
    assert_eq!(image.get("link").xattrs[&b"trusted.large"[..]], value);
    assert_eq!(image.get("link").content, b"target");
    assert_eq!(image.get("file").content, b"tail");
    assert_eq!(image.get("blocks").content, vec![1; 9000]);
    assert_eq!(image.get("over").content, b"x");
}

#[test]
fn attributes_that_linux_has_no_name_for_are_left_out() {
    let image = image(&Tar::of([Entry::file("a", "")
        .xattr("com.apple.quarantine", "x")
        .xattr("user.", "x")]));
    assert!(image.get("a").xattrs.is_empty());
}

#[test]
fn attributes_without_bound_are_refused() {
    let mut entry = Entry::file("greedy", "");
    for number in 0..9 {
        entry = entry.xattr(&format!("user.{number}"), vec![0; 8000]);
    }
    let text = refused(&Tar::of([entry]).bytes());
    assert!(text.contains("extended attributes of \"greedy\""), "{text}");
    let root = Entry::directory("./").xattr("user.a", vec![0; 3000]);
    let text = refused(&Tar::of([root]).bytes());
    assert!(
        text.contains("extended attributes of the root directory"),
        "{text}"
    );
    // 1,100 directories of 60 KiB each would stay in memory to the end.
    let value = vec![0; 60 << 10];
    let directories =
        (0..1_100).map(|number| Entry::directory(format!("{number}")).xattr("user.a", &value));
    let text = refused(&Tar::of(directories).bytes());
    assert!(text.contains("attributes of directories"), "{text}");
}
