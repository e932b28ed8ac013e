//! Entries that come more than once: the last one counts, as when tar unpacks them.

use crate::archive::{Entry, Tar};
use crate::image::image;

#[test]
fn last_file_of_a_name_counts() {
    let image = image(&Tar::of([
        Entry::file("a", "first"),
        Entry::file("./a", "second"),
        Entry::symlink("a", "third"),
    ]));
    assert_eq!(image.get("a").content, b"third");
    assert_eq!(image.names(), [&b""[..], b"a"]);
}

#[test]
fn file_becomes_a_directory_and_a_file_again() {
    let image = image(&Tar::of([
        Entry::file("a", "file"),
        Entry::directory("a"),
        Entry::file("a/b", ""),
        Entry::file("a/c/d", ""),
        Entry::file("a", "again"),
        Entry::file("b", ""),
        Entry::directory("b").mode(0o711),
    ]));
    assert_eq!(image.names(), [&b""[..], b"a", b"b"]);
    assert_eq!(image.get("a").content, b"again");
    assert_eq!(image.get("b").mode, 0o040_711);
    assert_eq!(image.get("").links, 3);
}

#[test]
fn directory_that_comes_again_keeps_its_files_and_takes_the_new_attributes() {
    let image = image(&Tar::of([
        Entry::directory("a").mode(0o700).xattr("user.old", "1"),
        Entry::file("a/b", "kept"),
        Entry::directory("a/").mode(0o755).xattr("user.new", "2"),
    ]));
    assert_eq!(image.get("a/b").content, b"kept");
    assert_eq!(image.get("a").mode, 0o040_755);
    assert_eq!(
        image.get("a").xattrs.keys().collect::<Vec<_>>(),
        [b"user.new"]
    );
}

#[test]
fn links_into_a_directory_that_is_replaced_live_on() {
    let image = image(&Tar::of([
        Entry::file("dir/file", "kept"),
        Entry::hard_link("link", "dir/file"),
        Entry::symlink("dir", "elsewhere"),
    ]));
    assert_eq!(
        (
            image.get("link").content.as_slice(),
            image.get("link").links
        ),
        (&b"kept"[..], 1)
    );
}
