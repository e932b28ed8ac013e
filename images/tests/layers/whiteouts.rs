//! What a layer hides of the layers below it (image specification, "Whiteouts").

use crate::archive::{Entry, Tar};
use crate::image::{image, refused};

const WHITEOUT_MODE: u32 = 0o020_000;
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

#[test]
fn whiteout_becomes_a_device_without_a_number() {
    let image = image(&Tar::of([
        Entry::directory("etc"),
        Entry::file("etc/.wh.passwd", ""),
        Entry::file("usr/.wh.lib", ""),
    ]));
    assert_eq!(
        image.names(),
        [&b""[..], b"etc", b"etc/passwd", b"usr", b"usr/lib"]
    );
    for name in ["etc/passwd", "usr/lib"] {
        let node = image.get(name);
        assert_eq!((node.mode, node.device), (WHITEOUT_MODE, (0, 0)));
        // One inode serves all of them.
        assert_eq!(node.links, 2);
        assert_eq!(node.inode, image.get("etc/passwd").inode);
    }
}

#[test]
fn opaque_directories_are_marked() {
    let image = image(&Tar::of([
        Entry::directory("a").xattr("user.kept", "1"),
        Entry::file("a/.wh..wh..opq", ""),
        Entry::file("a/new", "new"),
        Entry::file("implied/.wh..wh..opq", ""),
        Entry::directory("plain"),
    ]));
    assert_eq!(image.get("a").xattrs[OPAQUE], b"y");
    assert_eq!(image.get("a").xattrs[&b"user.kept"[..]], b"1");
    assert_eq!(image.get("implied").xattrs[OPAQUE], b"y");
    assert!(image.get("plain").xattrs.is_empty());
    assert!(image.get("a/new").xattrs.is_empty());
}

#[test]
fn root_can_be_opaque() {
    let image = image(&Tar::of([Entry::file(".wh..wh..opq", "")]));
    assert_eq!(image.get("").xattrs[OPAQUE], b"y");
}

#[test]
fn mark_stays_when_the_directory_itself_comes_later() {
    let image = image(&Tar::of([
        Entry::file("a/.wh..wh..opq", ""),
        Entry::directory("a").mode(0o700),
    ]));
    assert_eq!(image.get("a").xattrs[OPAQUE], b"y");
    assert_eq!(image.get("a").mode, 0o040_700);
}

#[test]
fn whiteout_hides_nothing_that_the_same_layer_brings() {
    let image = image(&Tar::of([
        Entry::file("before", "kept"),
        Entry::file(".wh.before", ""),
        Entry::file(".wh.after", ""),
        Entry::file("after", "kept"),
    ]));
    assert_eq!(image.get("before").content, b"kept");
    assert_eq!(image.get("after").content, b"kept");
}

#[test]
fn directory_that_is_hidden_and_made_again_is_opaque() {
    let image = image(&Tar::of([
        Entry::file(".wh.first", ""),
        Entry::file("first/new", ""),
        Entry::file("second/new", ""),
        Entry::file(".wh.second", ""),
    ]));
    assert_eq!(image.get("first").xattrs[OPAQUE], b"y");
    assert_eq!(image.get("second").xattrs[OPAQUE], b"y");
    assert_eq!(image.get("second/new").size, 0);
}

#[test]
fn other_marks_of_aufs_are_left_out() {
    let image = image(&Tar::of([
        Entry::directory(".wh..wh.plnk"),
        Entry::file(".wh..wh.plnk/12.34", "data"),
        Entry::file(".wh..wh.aufs", ""),
        Entry::file("kept", ""),
    ]));
    assert_eq!(image.names(), [&b""[..], b"kept"]);
}

#[test]
fn attributes_of_overlayfs_are_escaped() {
    let image = image(&Tar::of([
        Entry::directory("a").xattr("trusted.overlay.opaque", "y"),
        Entry::file("b", "").xattr("trusted.overlay.redirect", "/etc"),
    ]));
    assert!(!image.get("a").xattrs.contains_key(OPAQUE));
    assert_eq!(
        image.get("a").xattrs[&b"trusted.overlay.overlay.opaque"[..]],
        b"y"
    );
    assert_eq!(
        image.get("b").xattrs[&b"trusted.overlay.overlay.redirect"[..]],
        b"/etc"
    );
}

#[test]
fn whiteouts_without_a_meaning_are_refused() {
    for name in [".wh.", "a/.wh..", "a/.wh..."] {
        let text = refused(&Tar::of([Entry::file(name, "")]).bytes());
        assert!(text.contains("hides no name"), "{name}: {text}");
    }
    let text = refused(&Tar::of([Entry::file("a/.wh.b/c", "")]).bytes());
    assert!(text.contains("in a directory that is a whiteout"), "{text}");
}
