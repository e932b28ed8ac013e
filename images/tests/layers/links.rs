//! Hard and symbolic links.

use crate::archive::{Entry, Tar};
use crate::image::{image, refused};

#[test]
fn hard_links_are_names_of_one_inode() {
    let image = image(&Tar::of([
        Entry::file("a", "content").mode(0o600),
        Entry::hard_link("b", "a"),
        Entry::hard_link("deep/c", "./b"),
        Entry::hard_link("d", "/deep/c"),
        Entry::file("single", ""),
    ]));
    for name in ["a", "b", "deep/c", "d"] {
        let node = image.get(name);
        assert_eq!((node.inode, node.links), (image.get("a").inode, 4));
        assert_eq!(node.content, b"content");
    }
    assert_eq!(image.get("single").links, 1);
}

#[test]
fn symbolic_links_and_devices_can_have_hard_links() {
    let image = image(&Tar::of([
        Entry::symlink("link", "nowhere"),
        Entry::hard_link("link2", "link"),
        Entry::device(b'3', "null", 1, 3),
        Entry::hard_link("null2", "null"),
    ]));
    assert_eq!(image.get("link2").content, b"nowhere");
    assert_eq!((image.get("link2").links, image.get("null2").links), (2, 2));
    assert_eq!(image.get("null2").device, (1, 3));
}

#[test]
fn hard_link_keeps_the_content_when_its_target_is_replaced() {
    let image = image(&Tar::of([
        Entry::file("a", "old"),
        Entry::hard_link("b", "a"),
        Entry::file("a", "new"),
    ]));
    assert_eq!(
        (image.get("a").content.as_slice(), image.get("a").links),
        (&b"new"[..], 1)
    );
    assert_eq!(
        (image.get("b").content.as_slice(), image.get("b").links),
        (&b"old"[..], 1)
    );
}

#[test]
fn hard_link_to_itself_changes_nothing() {
    let image = image(&Tar::of([
        Entry::file("a", "content"),
        Entry::hard_link("a", "a"),
    ]));
    assert_eq!(image.get("a").links, 1);
    assert_eq!(image.get("a").content, b"content");
}

#[test]
fn many_hard_links_are_counted() {
    let mut tar = Tar::of([Entry::file("first", "x")]);
    for number in 0..70_000 {
        tar.add(&Entry::hard_link(format!("links/{number}"), "first"));
    }
    assert_eq!(image(&tar).get("first").links, 70_001);
}

#[test]
fn hard_links_to_nothing_are_refused_with_both_names() {
    let refused = |entries: &[Entry]| refused(&Tar::of(entries.iter().cloned()).bytes());
    for (target, reason) in [
        ("absent", "not in this layer before it"),
        ("evil", "not in this layer before it"),
        ("../../etc/passwd", "not the name of a file in the tree"),
        ("a/../file", "not the name of a file in the tree"),
        ("", "not the name of a file in the tree"),
        ("dir", "a directory"),
        (".", "a directory"),
        ("gone", "removed by this layer"),
        ("link/passwd", "not in this layer before it"),
    ] {
        let text = refused(&[
            Entry::directory("dir"),
            Entry::symlink("link", "/etc"),
            Entry::file(".wh.gone", ""),
            Entry::hard_link("evil", target),
        ]);
        assert!(
            text.contains(&format!("\"evil\" a hard link to {target:?}")),
            "{text}"
        );
        assert!(text.contains(reason), "{target}: {text}");
    }
}

#[test]
fn symbolic_links_keep_their_targets_to_the_byte() {
    let long = "x/".repeat(2047);
    let image = image(&Tar::of([
        Entry::symlink("absolute", "/etc/passwd"),
        Entry::symlink("parent", "../../../../etc/passwd"),
        Entry::symlink("bytes", b"\xff\xfe//./"),
        Entry::symlink("loop", "loop"),
        Entry::symlink("long", "").pax("linkpath", &long),
        Entry::symlink("mode", "x").mode(0o600),
    ]));
    assert_eq!(image.get("absolute").content, b"/etc/passwd");
    assert_eq!(image.get("parent").content, b"../../../../etc/passwd");
    assert_eq!(image.get("bytes").content, b"\xff\xfe//./");
    assert_eq!(image.get("loop").content, b"loop");
    assert_eq!(image.get("long").content, long.as_bytes());
    assert_eq!(image.get("mode").mode, 0o120_777);
}

#[test]
fn symbolic_links_without_a_target_are_refused() {
    for target in [String::new(), "x".repeat(4096), "a\0b".to_owned()] {
        let entry = Entry::symlink("link", "").pax("linkpath", &target);
        let text = refused(&Tar::of([entry]).bytes());
        assert!(
            text.contains("\"link\"") && text.contains("cannot have this target"),
            "{text}"
        );
    }
}

#[test]
fn nothing_is_placed_below_a_file() {
    for (entry, kind) in [
        (Entry::file("a", ""), "file"),
        (Entry::new(b'6', "a"), "named pipe"),
        (Entry::device(b'4', "a", 8, 0), "device"),
    ] {
        for below in [
            Entry::file("a/b", ""),
            Entry::file("a/b/c", ""),
            Entry::directory("a/b"),
            Entry::file("a/.wh.b", ""),
            Entry::file("a/.wh..wh..opq", ""),
        ] {
            let text = refused(&Tar::of([entry.clone(), below]).bytes());
            assert!(
                text.contains(&format!("below \"a\", which is a {kind}")),
                "{text}"
            );
        }
    }
}

#[test]
fn entry_below_a_symbolic_link_is_where_that_leads_in_the_root() {
    for (at, target) in [
        ("lib", "usr/lib"),
        ("lib", "/usr/lib"),
        ("lib", "../../../usr//./lib/"),
        ("lib", "usr/share/../lib"),
        ("a/b", "../usr/lib"),
        ("lib", "second"),
    ] {
        let image = image(&Tar::of([
            Entry::directory("usr/lib").mode(0o700),
            Entry::symlink("second", "/third"),
            Entry::symlink("third", "usr/lib"),
            Entry::symlink(at, target),
            Entry::file(format!("{at}/x"), "x"),
            Entry::file(format!("/{at}/./deep//y"), "y"),
            Entry::hard_link(format!("{at}/z"), format!("./{at}/x")),
            Entry::file(format!("{at}/.wh.gone"), ""),
        ]));
        assert_eq!(image.get("usr/lib/x").content, b"x");
        assert_eq!(image.get("usr/lib/deep/y").content, b"y");
        assert_eq!(image.get("usr/lib/z").links, 2);
        assert_eq!(image.get("usr/lib/gone").mode, 0o020_000);
        assert_eq!(image.get("usr/lib").mode, 0o040_700);
        assert_eq!(image.get(at).content, target.as_bytes());
    }
}

#[test]
fn link_that_leads_nowhere_makes_directories() {
    let image = image(&Tar::of([
        Entry::symlink("link", "not/there"),
        Entry::file("link/x", "x"),
    ]));
    assert_eq!(image.get("not/there/x").content, b"x");
    // A later link takes the place of a directory with what is in it.
    let image = crate::image::image(&Tar::of([
        Entry::file("lib/x", "x"),
        Entry::symlink("lib", "usr/lib"),
        Entry::file("lib/y", "y"),
    ]));
    assert_eq!(
        image.names(),
        [&b""[..], b"lib", b"usr", b"usr/lib", b"usr/lib/y"]
    );
}

#[test]
fn links_without_an_end_are_refused() {
    for links in [
        vec![Entry::symlink("a", "a")],
        vec![Entry::symlink("a", "b"), Entry::symlink("b", "./a")],
        (0..300)
            .map(|number| Entry::symlink(format!("l{number}"), format!("l{}", number + 1)))
            .chain([Entry::symlink("a", "l0")])
            .collect(),
    ] {
        let tar = Tar::of(links.into_iter().chain([Entry::file("a/x", "")]));
        assert!(refused(&tar.bytes()).contains("in a circle"));
    }
    let chain = (0..200)
        .map(|number| Entry::symlink(format!("l{number}"), format!("l{}", number + 1)))
        .chain([Entry::directory("l200"), Entry::file("l0/x", "")]);
    assert_eq!(image(&Tar::of(chain)).get("l200/x").size, 0);
}

#[test]
fn names_that_links_make_too_long_are_refused() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(2000);
    for target in [&long, &deep] {
        let tar = Tar::of([
            Entry::symlink("a", "").pax("linkpath", target),
            Entry::file(format!("a/{}", "e/".repeat(100) + "x"), ""),
        ]);
        let text = refused(&tar.bytes());
        assert!(text.contains("too long"), "{text}");
    }
    let tar = Tar::of([Entry::symlink("a", ".wh.b"), Entry::file("a/x", "")]);
    assert!(refused(&tar.bytes()).contains("whiteout"));
}
