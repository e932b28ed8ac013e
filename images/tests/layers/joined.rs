//! Layers upon each other: what overlayfs shows of those in the store is what umoci unpacks of the image.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::archive::{Entry, Tar};
use crate::image::{Node, messages, read_with_library};
use crate::support::{Image, Place, descriptor};

/// What the tests compare of a file: type, permissions, owner, and content or target.
type Seen = (u32, (u32, u32), Vec<u8>);
/// A directory tree by its paths, as a layer has it and as it is seen.
type Tree = BTreeMap<Vec<u8>, Node>;
type View = BTreeMap<Vec<u8>, Seen>;

const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const IMPLIED: &[u8] = b"trusted.coracle.implied";

/// Loads an image of these layers; gives the trees of its layers, the lowest first.
fn load(place: &Place, layers: &[Vec<u8>]) -> Result<Vec<Tree>, String> {
    let image = Image::of_layers("joined", layers.to_vec());
    place
        .load_bytes(&image.oci_tar())
        .map_err(|error| messages(&error))?;
    Ok(trees(place, "joined"))
}

fn trees(place: &Place, name: &str) -> Vec<Tree> {
    let image = place.store.resolve(name).unwrap();
    let tree =
        |layer: &images::store::LayerFile| read_with_library(&fs::read(&layer.path).unwrap());
    image.layers.iter().map(tree).collect()
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with(b"/"))
}

/// What overlayfs shows, with directories that nothing describes as `inherit` of the guest has them.
fn merged(layers: &[Tree]) -> Tree {
    let mut shown: Tree = BTreeMap::new();
    for layer in layers {
        for (path, node) in layer.iter().filter(|(path, _)| !path.is_empty()) {
            let is_directory = |node: &Node| node.mode & FORMAT == DIRECTORY;
            let both = is_directory(node) && shown.get(path).is_some_and(is_directory);
            let merges = both && !node.xattrs.contains_key(OPAQUE);
            if !merges {
                shown.retain(|other, _| !is_below(other, path));
            }
            if node.mode & FORMAT == CHARACTER && node.device == (0, 0) {
                shown.remove(path);
            } else if !(both && node.xattrs.contains_key(IMPLIED)) {
                shown.insert(path.clone(), node.clone());
            }
        }
    }
    shown
}

fn seen(nodes: &Tree) -> View {
    nodes
        .iter()
        .map(|(path, node)| {
            let seen = (node.mode, node.owner, node.content.clone());
            (path.clone(), seen)
        })
        .collect()
}

/// What umoci unpacks; `None` when it refuses to.
fn unpacked(place: &Place, layers: &[Vec<u8>]) -> Option<View> {
    let mut image = Image::of_layers("joined", layers.to_vec());
    let manifest = image.seal().manifest.to_string().into_bytes();
    let mut entry = descriptor(crate::support::MANIFEST, &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "joined" });
    image.index["manifests"] = json!([entry]);
    let directory = tempfile::tempdir_in(place.directory.path()).unwrap();
    let layout = directory.path().join("layout");
    image.write_oci_directory(&layout);
    let bundle = directory.path().join("bundle");
    let done = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:joined", layout.display()))
        .arg(&bundle)
        .output()
        .expect("umoci is installed (apt-get install umoci)");
    if !done.status.success() {
        return None;
    }
    let mut nodes = BTreeMap::new();
    walk(&bundle.join("rootfs"), &mut Vec::new(), &mut nodes);
    Some(nodes)
}

fn walk(directory: &Path, path: &mut Vec<u8>, nodes: &mut View) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend(entry.file_name().as_bytes());
        let metadata = entry.path().symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            target.as_os_str().as_bytes().to_vec()
        } else if kind.is_file() {
            fs::read(entry.path()).unwrap()
        } else {
            Vec::new()
        };
        assert!(!kind.is_socket());
        let owner = (metadata.uid(), metadata.gid());
        nodes.insert(path.clone(), (metadata.mode(), owner, content));
        if kind.is_dir() {
            walk(&entry.path(), path, nodes);
        }
        path.truncate(length);
    }
}

fn bytes(layers: &[&[Entry]]) -> Vec<Vec<u8>> {
    let layer = |entries: &&[Entry]| Tar::of(entries.iter().cloned()).bytes();
    layers.iter().map(layer).collect()
}

/// Loads these, compares with umoci, and gives what is seen and the trees.
#[track_caller]
fn same_as_umoci(layers: &[&[Entry]]) -> (View, Vec<Tree>) {
    let place = Place::new();
    let layers = bytes(layers);
    let trees = load(&place, &layers).unwrap_or_else(|error| panic!("{error}"));
    let ours = seen(&merged(&trees));
    let theirs = unpacked(&place, &layers).expect("umoci unpacks it");
    assert_eq!(named(&ours), named(&theirs));
    assert_eq!(place.store.verify("joined").unwrap().damage, [""; 0]);
    (ours, trees)
}

fn named(nodes: &View) -> BTreeMap<String, String> {
    nodes
        .iter()
        .map(|(path, (mode, owner, content))| {
            let content = String::from_utf8_lossy(content);
            let text = format!("{mode:o} {owner:?} {content}");
            (String::from_utf8_lossy(path).into_owned(), text)
        })
        .collect()
}

#[test]
fn entry_below_a_link_of_a_lower_layer_is_where_the_link_leads() {
    let base: &[Entry] = &[
        Entry::directory("usr"),
        Entry::directory("usr/lib").mode(0o711).owner(1, 2),
        Entry::file("usr/lib/loader", "loader"),
        Entry::file("usr/lib/gone", ""),
        Entry::directory("usr/lib/full"),
        Entry::file("usr/lib/full/gone", ""),
        Entry::symlink("lib", "usr/lib"),
        Entry::symlink("abs", "/lib"),
        Entry::symlink("up", "../../usr/./lib/../lib"),
        Entry::symlink("dangling", "not/there"),
        Entry::symlink("usr/back", ".."),
    ];
    let (ours, _) = same_as_umoci(&[
        base,
        &[
            Entry::file("lib/a", "a"),
            Entry::directory("abs/b"),
            Entry::symlink("up/c", "a"),
            Entry::file("dangling/d", "d"),
            Entry::file("usr/back/lib/e", "e"),
            Entry::device(b'3', "lib/null", 1, 3),
            Entry::new(b'6', "lib/pipe"),
            Entry::file("lib/.wh.gone", ""),
            Entry::file("lib/full/.wh..wh..opq", ""),
            Entry::file("lib/full/new", ""),
            Entry::hard_link("lib/f", "abs/a"),
        ],
        &[Entry::file("abs/a", "again"), Entry::file("lib/b/g", "g")],
    ]);
    assert_eq!(ours[&b"lib"[..]].2, b"usr/lib");
    assert_eq!(ours[&b"usr/lib/loader"[..]].2, b"loader");
    assert_eq!(ours[&b"usr/lib"[..]].0, 0o040_711);
    assert_eq!(ours[&b"not/there/d"[..]].2, b"d");
    assert_eq!(ours[&b"usr/lib/a"[..]].2, b"again");
    assert_eq!(ours[&b"usr/lib/f"[..]].2, b"a");
    assert!(!ours.contains_key(&b"usr/lib/gone"[..]));
    assert!(!ours.contains_key(&b"usr/lib/full/gone"[..]));
}

#[test]
fn directory_that_an_entry_describes_takes_a_links_place() {
    let base: &[Entry] = &[
        Entry::file("usr/lib/loader", ""),
        Entry::symlink("lib", "usr/lib"),
    ];
    // Only what comes after it is in it.
    let (ours, _) = same_as_umoci(&[
        base,
        &[
            Entry::file("lib/before", ""),
            Entry::directory("lib"),
            Entry::file("lib/behind", ""),
        ],
    ]);
    assert!(ours.contains_key(&b"usr/lib/before"[..]));
    assert!(ours.contains_key(&b"lib/behind"[..]));
    let (ours, _) = same_as_umoci(&[
        base,
        &[Entry::file("lib/a", ""), Entry::file(".wh.lib", "")],
    ]);
    assert!(ours.contains_key(&b"usr/lib/a"[..]));
    assert!(!ours.contains_key(&b"lib"[..]));
    let (ours, _) = same_as_umoci(&[
        base,
        &[Entry::file(".wh.lib", ""), Entry::file("lib/a", "")],
    ]);
    assert!(ours.contains_key(&b"lib/a"[..]));
    let _ = same_as_umoci(&[
        base,
        &[
            Entry::file("lib/a", ""),
            Entry::symlink("lib", "elsewhere"),
            Entry::file("lib/b", ""),
        ],
    ]);
}

#[test]
fn hard_link_to_a_file_of_a_lower_layer_is_that_file() {
    let (ours, trees) = same_as_umoci(&[
        &[
            Entry::file("dir/file", "content")
                .mode(0o4755)
                .owner(7, 8)
                .xattr("user.a", "b"),
            Entry::symlink("link", "dir"),
            Entry::symlink("dir/soft", "nowhere"),
            Entry::device(b'3', "null", 1, 3),
            Entry::file("empty", ""),
            Entry::file("large", vec![b'x'; 200_000]),
        ],
        &[Entry::file("other", "")],
        &[
            Entry::hard_link("a", "dir/file").mode(0o4755).owner(7, 8),
            Entry::hard_link("b", "link/file").mode(0o4755).owner(7, 8),
            Entry::hard_link("c", "dir/soft").mode(0o777),
            Entry::hard_link("d", "null"),
            Entry::hard_link("e", "empty"),
            Entry::hard_link("f", "large"),
            Entry::hard_link("g", "f"),
        ],
    ]);
    assert_eq!(ours[&b"a"[..]].2, b"content");
    // Both names, and the one that the file had, are one file, as after link(2) in an overlay.
    let top = &trees[2];
    let file = &top[&b"dir/file"[..]];
    assert_eq!(file.links, 3);
    assert_eq!(file.xattrs[&b"user.a"[..]], b"b");
    assert_eq!(file.inode, top[&b"a"[..]].inode);
    assert_eq!(file.inode, top[&b"b"[..]].inode);
    assert_eq!(top[&b"large"[..]].links, 3);
}

#[test]
fn hard_link_to_what_no_layer_has_is_refused() {
    let base: &[Entry] = &[
        Entry::directory("dir"),
        Entry::file("gone", ""),
        Entry::file("hidden/a", ""),
    ];
    for (entries, words) in [
        (vec![Entry::hard_link("a", "none")], "nor in one below"),
        (vec![Entry::hard_link("a", "dir")], "a directory"),
        (
            vec![Entry::file(".wh.gone", ""), Entry::hard_link("a", "gone")],
            "removed by this layer",
        ),
        (
            vec![
                Entry::file("hidden/.wh..wh..opq", ""),
                Entry::hard_link("a", "hidden/a"),
            ],
            "nor in one below",
        ),
    ] {
        let place = Place::with_image();
        let text = place.refused(&Image::of_layers("x", bytes(&[base, &entries])).oci_tar());
        assert!(text.contains(words), "{text}");
    }
    let alone = Image::of_layers("x", bytes(&[&[Entry::hard_link("a", "none")]]));
    let text = Place::with_image().refused(&alone.oci_tar());
    assert!(text.contains("nor in one below"), "{text}");
}

#[test]
fn nothing_is_placed_below_a_file_of_a_lower_layer() {
    let base: &[Entry] = &[Entry::file("file", ""), Entry::symlink("link", "file")];
    for path in ["file/a", "link/a"] {
        let image = Image::of_layers("x", bytes(&[base, &[Entry::file(path, "")]]));
        let text = Place::with_image().refused(&image.oci_tar());
        assert!(text.contains("which is a file"), "{text}");
    }
}

#[test]
fn links_in_a_circle_are_refused() {
    let base: &[Entry] = &[
        Entry::symlink("self", "self"),
        Entry::symlink("one", "two/x"),
        Entry::symlink("two", "/one"),
    ];
    for path in ["self/a", "one/a"] {
        let image = Image::of_layers("x", bytes(&[base, &[Entry::file(path, "")]]));
        let text = Place::with_image().refused(&image.oci_tar());
        assert!(text.contains("in a circle"), "{text}");
    }
}

#[test]
fn opaque_root_hides_all_lower_layers() {
    let (ours, _) = same_as_umoci(&[
        &[
            Entry::file("dir/a", ""),
            Entry::file("file", ""),
            Entry::file("other/b", ""),
        ],
        &[Entry::file("dir/c", ""), Entry::file(".wh..wh..opq", "")],
        &[Entry::file("other/d", "")],
    ]);
    let names: Vec<&[u8]> = ours.keys().map(Vec::as_slice).collect();
    assert_eq!(names, [&b"dir"[..], b"dir/c", b"other", b"other/d"]);
}

#[test]
fn layer_is_made_again_only_where_it_means_something_else_and_saved_as_it_came() {
    let place = Place::new();
    let merged_usr = bytes(&[&[
        Entry::file("usr/lib/a", ""),
        Entry::symlink("lib", "usr/lib"),
    ]]);
    let plain = bytes(&[&[Entry::file("lib/a", "")]]);
    let top = bytes(&[&[Entry::file("lib/x", "x")]]);
    let count = || {
        fs::read_dir(place.store.root().join("layers"))
            .unwrap()
            .count()
    };
    let image = |name, base: &[Vec<u8>]| Image::of_layers(name, [base, &top].concat());
    place.load_bytes(&image("plain", &plain).oci_tar()).unwrap();
    assert_eq!(count(), 2);
    place
        .load_bytes(&image("merged", &merged_usr).oci_tar())
        .unwrap();
    assert_eq!(count(), 4);
    // The same chain with more on it has all of it already.
    let mut more = image("more", &merged_usr);
    more.config["config"]["Cmd"] = json!(["other"]);
    place.load_bytes(&more.oci_tar()).unwrap();
    assert_eq!(count(), 4);
    let plain_top = trees(&place, "plain").pop().unwrap();
    let merged_top = trees(&place, "merged").pop().unwrap();
    assert!(plain_top.contains_key(&b"lib/x"[..]));
    assert!(merged_top.contains_key(&b"usr/lib/x"[..]));
    assert!(!merged_top.contains_key(&b"lib"[..]));
    let mut saved = images::store::Archive::new(Vec::new());
    place
        .store
        .save(&["merged".to_owned()], true, &mut saved)
        .unwrap();
    let saved = saved.finish().unwrap();
    let other = Place::new();
    let loaded = other.load_bytes(&saved).unwrap();
    assert_eq!(loaded[0].id.to_string(), image("merged", &merged_usr).id());
    assert_eq!(
        seen(&merged(&trees(&other, "merged"))),
        seen(&merged(&trees(&place, "merged")))
    );
    // What was made goes with the last image that has it.
    for name in ["merged", "more"] {
        assert_eq!(count(), 4);
        let _ = place.store.remove(name, false).unwrap();
    }
    assert_eq!(count(), 2);
    assert_eq!(place.store.verify("plain").unwrap().damage, [""; 0]);
}

/// Numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// A path to one of these names; mostly below directories, or links to some.
    fn path(&mut self, last: &[&'static str]) -> String {
        let depth = self.below(3);
        let parents = (0..depth).map(|_| ["a", "b", "l"][self.below(3)]);
        let mut names: Vec<&str> = parents.collect();
        names.push(last[self.below(last.len())]);
        names.join("/")
    }

    fn target(&mut self) -> String {
        let path = self.path(&["a", "b", "l", "f"]);
        match self.below(4) {
            0 => format!("/{path}"),
            1 => format!("../{path}"),
            2 => format!("{path}/.."),
            _ => path,
        }
    }

    fn entry(&mut self, number: usize) -> Entry {
        const FILES: &[&str] = &["f", "g"];
        const DIRECTORIES: &[&str] = &["a", "b", "l"];
        match self.below(20) {
            0..6 => Entry::file(self.path(FILES), format!("{number}")),
            6..9 => Entry::directory(self.path(DIRECTORIES)).mode([0o755, 0o700][self.below(2)]),
            9..14 => Entry::symlink(self.path(&["l", "l", "a", "g"]), self.target()),
            14..16 => Entry::hard_link(self.path(FILES), self.path(FILES)),
            16 => Entry::file(self.path(DIRECTORIES), "a file"),
            17 => Entry::file(self.path(DIRECTORIES) + "/.wh..wh..opq", ""),
            _ => Entry::file(self.path(FILES), vec![b'x'; 5000]),
        }
    }

    fn whiteout(&mut self) -> Entry {
        let path = self.path(&["a", "b", "l", "f", "g"]);
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", &path));
        Entry::file(format!("{parent}/.wh.{name}"), "")
    }

    fn layers(&mut self) -> Vec<Vec<u8>> {
        // Something to meet.
        let base = ["a", "b", "a/b", "b/a", "a/a"].map(Entry::directory);
        let files = ["f", "a/f", "b/g", "a/b/f"].map(|path| Entry::file(path, path));
        let mut layers = vec![[&base[..], &files[..]].concat()];
        for _ in 0..2 + self.below(2) {
            let entries = 2 + self.below(6);
            // What a layer hides of itself is a question to which the specification and programs have several answers.
            let mut layer: Vec<Entry> = (0..self.below(3)).map(|_| self.whiteout()).collect();
            layer.extend((0..entries).map(|number| self.entry(number)));
            layers.push(layer);
        }
        let layers: Vec<&[Entry]> = layers.iter().map(Vec::as_slice).collect();
        bytes(&layers)
    }
}

/// Layers as tar lists them.
fn listed(layers: &[Vec<u8>]) -> Vec<Vec<String>> {
    let listed = |layer: &Vec<u8>| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), layer).unwrap();
        let path = file.path().to_str().unwrap();
        let output = Command::new("tar").args(["-tvPf", path]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    layers.iter().map(listed).collect()
}

/// Images that nobody thought of. `CORACLE_TEST_SEEDS` takes others, as many as there is time for.
#[test]
fn whatever_layers_do_to_each_other_is_what_umoci_makes_of_it() {
    const USUAL: u64 = 60;
    const EMPTY: &str = "40755 (0, 0) ";
    let seeds = std::env::var("CORACLE_TEST_SEEDS").ok();
    let seeds = seeds.and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    let (mut compared, mut wrong) = (0, Vec::new());
    for seed in 1..=seeds {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let layers = numbers.layers();
        let place = Place::new();
        let ours = load(&place, &layers).map(|trees| named(&seen(&merged(&trees))));
        // As containerd, we make the directory that a whiteout is in, and refuse one below a file.
        if ours
            .as_ref()
            .is_err_and(|text| text.contains("which is a file"))
        {
            continue;
        }
        let Some(theirs) = unpacked(&place, &layers) else {
            continue;
        };
        compared += 1;
        let theirs = named(&theirs);
        let same = ours.as_ref().is_ok_and(|ours| {
            let made = |(path, what): (&String, &String)| {
                theirs.get(path) == Some(what) || what == EMPTY && !theirs.contains_key(path)
            };
            ours.iter().all(made) && theirs.keys().all(|path| ours.contains_key(path))
        });
        if !same {
            wrong.push((seed, listed(&layers), ours, theirs));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}: {wrong:#?}",
        wrong.len()
    );
    assert!(compared * 4 > seeds, "umoci refuses most of them");
}

#[test]
fn nothing_stays_of_a_pull_whose_layers_do_not_fit_each_other() {
    use images::source::Input;
    let place = Place::new();
    let layers: [&[Entry]; 2] = [&[Entry::file("file", "")], &[Entry::file("file/a", "")]];
    let image = Image::of_layers("x", bytes(&layers));
    let path = place.write("input", &image.oci_tar());
    let source = place.store.open_source(Input::Path(&path)).unwrap();
    let error = place.store.pull(&*source, &images::store::Silent);
    let text = messages(&error.unwrap_err());
    assert!(text.contains("which is a file"), "{text}");
    let left = crate::support::tree(&place.store.root().join("layers"));
    let files = left.values().filter(|content| content.is_some()).count();
    assert_eq!(files, 0, "{:?}", left.keys());
}
