//! Names of every length and kind.

use crate::archive::{Entry, Tar};
use crate::image::{image, refused};

#[test]
fn long_names_of_gnu_tar_are_joined() {
    let name = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let target = "t".repeat(300);
    let terminated = |text: &str| [text.as_bytes(), b"\0"].concat();
    let image = image(&Tar::of([
        Entry::new(b'L', "././@LongLink").data(terminated(&name)),
        Entry::file("cut", "content"),
        Entry::new(b'K', "././@LongLink").data(terminated(&target)),
        Entry::new(b'L', "././@LongLink").data(terminated(&"l".repeat(150))),
        Entry::symlink("cut", "cut"),
        Entry::file("next", ""),
    ]));
    assert_eq!(image.get(&name).content, b"content");
    assert_eq!(image.get("l".repeat(150)).content, target.as_bytes());
    assert_eq!(image.get("next").size, 0);
}

#[test]
fn long_names_of_extended_headers_and_prefixes_are_joined() {
    let name = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    let image = image(&Tar::of([
        Entry::file("cut", "pax").pax("path", &name),
        Entry::file("name", "prefix").prefix("p".repeat(155)),
        Entry::file("f".repeat(100), "whole").prefix("q/q"),
        // GNU's magic: what stands in place of the prefix are times.
        Entry::file("gnu", "")
            .patch(257, b"ustar  \0")
            .patch(345, b"14715262403\0"),
        // star's trailer: the prefix ends where its times begin.
        Entry::file("star", "")
            .prefix("s")
            .patch(476, b"14715262403\0")
            .patch(508, b"tar\0"),
    ]));
    assert_eq!(image.get(&name).content, b"pax");
    assert_eq!(
        image.get(format!("{}/name", "p".repeat(155))).content,
        b"prefix"
    );
    assert_eq!(
        image.get(format!("q/q/{}", "f".repeat(100))).content,
        b"whole"
    );
    assert_eq!(image.get("gnu").size, 0);
    assert_eq!(image.get("s/star").size, 0);
}

#[test]
fn names_are_bytes() {
    let names: [&[u8]; 6] = [
        b"\xff\xfe",
        b"caf\xe9",
        b" ",
        b"\x01\n\t",
        b"back\\slash",
        "ünï/çode".as_bytes(),
    ];
    let image = image(&Tar::of(names.map(|name| Entry::file(name, name))));
    for name in names {
        assert_eq!(image.get(name).content, name);
    }
}

#[test]
fn names_that_sort_before_the_dots_are_found() {
    let names = ["!", "-", "+x", "#", "...", "..a", ".a", "a"];
    let mut tar = Tar::of(names.map(|name| Entry::file(name, name)));
    for name in names {
        tar.add(&Entry::file(format!("dir/{name}"), ""));
    }
    let image = image(&tar);
    for name in names {
        assert_eq!(image.get(name).content, name.as_bytes());
        assert_eq!(image.get(format!("dir/{name}")).size, 0);
    }
}

#[test]
fn root_entry_sets_the_attributes_of_the_root() {
    for name in ["./", ".", "/", "./."] {
        let root = Entry::directory(name)
            .mode(0o750)
            .owner(5, 6)
            .mtime(7)
            .xattr("user.r", "1");
        let image = image(&Tar::of([root, Entry::file("./a", "")]));
        let root = image.get("");
        assert_eq!(
            (root.mode, root.owner, root.mtime),
            (0o040_750, (5, 6), (7, 0))
        );
        assert_eq!(root.xattrs[&b"user.r"[..]], b"1");
        assert_eq!(image.names(), [&b""[..], b"a"]);
    }
}

#[test]
fn absolute_names_and_dots_mean_the_same_file() {
    let image = image(&Tar::of([
        Entry::file("/etc//./passwd", "1"),
        Entry::file("./etc/group", "2"),
    ]));
    assert_eq!(
        image.names(),
        [&b""[..], b"etc", b"etc/group", b"etc/passwd"]
    );
}

#[test]
fn missing_parents_are_made_and_may_come_later() {
    let image = image(&Tar::of([
        Entry::file("a/b/c", ""),
        Entry::directory("a").mode(0o700).owner(1, 2),
    ]));
    assert_eq!(
        (image.get("a").mode, image.get("a").owner),
        (0o040_700, (1, 2))
    );
    let implied = image.get("a/b");
    assert_eq!(
        (implied.mode, implied.owner, implied.mtime),
        (0o040_755, (0, 0), (0, 0))
    );
    // The guest sees what lower layers say of it.
    let mark = &b"trusted.coracle.implied"[..];
    assert!(implied.xattrs.contains_key(mark));
    assert!(image.get("").xattrs.contains_key(mark));
    assert!(!image.get("a").xattrs.contains_key(mark));
}

#[test]
fn file_whose_name_ends_in_a_slash_is_a_directory() {
    let image = image(&Tar::of([Entry::new(0, "old/").patch(257, [0; 8])]));
    assert_eq!(image.get("old").mode, 0o040_644);
}

#[test]
fn deep_nesting_is_kept_to_the_limit() {
    let path = "d/".repeat(2046) + "end";
    assert_eq!(path.len(), 4095);
    let image = image(&Tar::of([Entry::file("cut", "deep").pax("path", &path)]));
    assert_eq!(image.get(&path).content, b"deep");
    assert_eq!(image.nodes.len(), 2048);
    let text = refused(&Tar::of([Entry::file("cut", "").pax("path", path + "x")]).bytes());
    assert!(text.contains("it is too long"), "{text}");
}

#[test]
fn directories_of_thousands_of_entries_are_whole() {
    let mut tar = Tar::default();
    for number in (0..10_000).rev() {
        tar.add(&Entry::file(
            format!("big/entry-{number:x}"),
            number.to_string(),
        ));
        tar.add(&Entry::directory(format!("many/{number}")));
    }
    let image = image(&tar);
    assert_eq!(image.nodes.len(), 20_003);
    assert_eq!(image.get("big/entry-1f").content, b"31");
    assert_eq!(image.get("many").links, 10_002);
    assert_eq!(image.converted.inodes, 20_003);
}

#[test]
fn names_that_lead_out_or_are_none_are_refused() {
    for (name, reason) in [
        ("..", "leads out"),
        ("../a", "leads out"),
        ("a/../b", "leads out"),
        ("/../etc/passwd", "leads out"),
        ("a/..", "leads out"),
        ("", "it is empty"),
    ] {
        for entry in [
            Entry::file(name, ""),
            Entry::directory(name),
            Entry::symlink(name, "x"),
        ] {
            let text = refused(&Tar::of([entry]).bytes());
            assert!(text.contains(&format!("{name:?}")), "{text}");
            assert!(text.contains(reason), "{text}");
        }
    }
    let zero = Entry::file("x", "").pax("path", "a\0b");
    assert!(refused(&Tar::of([zero]).bytes()).contains("zero byte"));
    let long = Entry::file("x", "").pax("path", "n".repeat(256));
    assert!(refused(&Tar::of([long]).bytes()).contains("a component is too long"));
    let root = Entry::file("./", "").patch(156, b"2").link("x");
    assert!(refused(&Tar::of([root]).bytes()).contains("the root is always a directory"));
}
