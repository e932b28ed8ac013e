//! Names, IDs, removal and what is shown of images.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use images::reference::Reference;
use images::store::{StoreError, short_id};
use serde_json::json;

mod support;
use support::{Image, Place, messages, open, tree};

/// Three images: `one` and `two` share a layer, `three` shares none.
fn three() -> (Place, [Image; 3]) {
    let images = [
        Image::new("one", &[("etc/base", "0"), ("etc/one", "1")]),
        Image::new("two:2", &[("etc/base", "0"), ("etc/two", "2")]),
        Image::new("example.com/three:3", &[("etc/three", "3")]),
    ];
    let place = Place::new();
    for image in &images {
        place.load_bytes(&image.oci_tar()).expect("a good image");
    }
    (place, images)
}

fn layers(place: &Place) -> usize {
    fs::read_dir(place.store.root().join("layers"))
        .expect("a directory")
        .count()
}

#[test]
fn image_is_found_by_every_spelling_of_its_name_and_id() {
    let (place, images) = three();
    let id = images[0].id();
    let digits = &id["sha256:".len()..];
    for name in [
        "one",
        "one:latest",
        "library/one",
        "docker.io/one",
        "docker.io/library/one:latest",
        "index.docker.io/library/one",
        &id,
        digits,
        &digits[..12],
        &id[.."sha256:".len() + 12],
    ] {
        assert_eq!(
            place.store.resolve(name).unwrap().id.to_string(),
            id,
            "{name}"
        );
    }
    let listed = place.store.list().unwrap();
    let one = listed
        .iter()
        .find(|image| image.id.to_string() == id)
        .unwrap();
    let by_digest = place.store.resolve(&one.digests[0].to_string()).unwrap();
    assert_eq!(by_digest.id, one.id);
    assert_eq!(short_id(&one.id), digits[..12]);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let (place, _) = three();
    let text = messages(&place.store.resolve("two").unwrap_err());
    assert!(text.contains("no image \"two\" here, but two:2;"), "{text}");
    let text = messages(&place.store.resolve("two:3").unwrap_err());
    assert!(text.contains("but two:2;"), "{text}");
    assert!(matches!(
        place.store.resolve("four"),
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(
        place.store.resolve("ffffffffffff"),
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(
        place.store.resolve("Four"),
        Err(StoreError::Name { .. })
    ));
    assert!(matches!(
        place.store.resolve(""),
        Err(StoreError::Name { .. })
    ));
    let empty = Place::new();
    assert!(matches!(
        empty.store.resolve("one"),
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(empty.store.list().unwrap(), []);
}

#[test]
fn id_that_several_images_begin_with_is_ambiguous() {
    let place = Place::new();
    // Seventeen images, sixteen first digits.
    for number in 0..17 {
        let image = Image::new(&format!("i{number}"), &[("etc/base", "0")]);
        place.load_bytes(&image.oci_tar()).unwrap();
    }
    let firsts: Vec<String> = place
        .store
        .list()
        .unwrap()
        .iter()
        .map(|image| image.id.hex()[..1].to_owned())
        .collect();
    let twice = firsts
        .iter()
        .find(|first| firsts.iter().filter(|f| f == first).count() > 1);
    let error = place.store.resolve(twice.unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::Ambiguous { count: 2.., .. }));
}

#[test]
fn image_goes_with_its_last_name_and_shared_layers_stay() {
    let (place, images) = three();
    assert_eq!(layers(&place), 4);
    place.store.tag("one", &"again:1".parse().unwrap()).unwrap();
    let removed = place.store.remove("one", false).unwrap();
    assert_eq!(removed.untagged, ["one:latest"]);
    assert!(removed.deleted.is_empty());
    assert!(place.store.resolve("one").is_err());
    let removed = place.store.remove("again:1", false).unwrap();
    assert_eq!(removed.untagged[0], "again:1");
    assert_eq!(removed.deleted.len(), 2, "the image and its own layer");
    assert_eq!(removed.deleted[0].to_string(), images[0].id());
    assert_eq!(layers(&place), 3);
    for layer in place.store.resolve("two:2").unwrap().layers {
        assert!(layer.path.exists());
    }
}

#[test]
fn everything_removed_leaves_no_file_of_an_image() {
    let (place, _) = three();
    for name in ["one", "two:2", "example.com/three:3"] {
        place.store.remove(name, false).unwrap();
    }
    let root = place.store.root();
    let left: Vec<_> = tree(root)
        .into_iter()
        .filter_map(|(path, content)| content.map(|_| path.strip_prefix(root).unwrap().to_owned()))
        .collect();
    assert_eq!(
        left,
        ["index.json", "lock", "tmp.lock"].map(std::path::PathBuf::from)
    );
    assert_eq!(layers(&place), 0);
}

#[test]
fn id_of_an_image_with_several_names_needs_force() {
    let (place, images) = three();
    place.store.tag("one", &"other".parse().unwrap()).unwrap();
    let error = place.store.remove(&images[0].id(), false).unwrap_err();
    let text = messages(&error);
    assert!(
        text.contains("has the names one:latest, other:latest"),
        "{text}"
    );
    let removed = place.store.remove(&images[0].id(), true).unwrap();
    assert_eq!(removed.untagged[..2], ["one:latest", "other:latest"]);
    assert_eq!(removed.deleted.len(), 2);
    assert!(place.store.remove("one", false).is_err());
}

#[test]
fn open_layer_survives_the_removal_of_its_image() {
    use std::io::Read;
    let (place, _) = three();
    let path = place.store.resolve("example.com/three:3").unwrap().layers[0]
        .path
        .clone();
    let before = fs::read(&path).unwrap();
    let mut opened = fs::File::open(&path).unwrap();
    place.store.remove("example.com/three:3", false).unwrap();
    assert!(!path.exists());
    let mut after = Vec::new();
    opened.read_to_end(&mut after).unwrap();
    assert_eq!(before, after);
}

#[test]
fn name_moves_to_the_image_that_is_loaded_last() {
    let place = Place::new();
    let (old, new) = (
        Image::new("a", &[("etc/a", "1")]),
        Image::new("a", &[("etc/a", "2")]),
    );
    place.load_bytes(&old.oci_tar()).unwrap();
    let loaded = place.load_bytes(&new.oci_tar()).unwrap();
    assert_eq!(loaded[0].replaced.len(), 1);
    assert_eq!(loaded[0].replaced[0].1.to_string(), old.id());
    assert_eq!(place.store.resolve("a").unwrap().id.to_string(), new.id());
    let nameless = place.store.resolve(&old.id()).unwrap();
    assert_eq!(nameless.reference, None);
    let again = place.load_bytes(&new.oci_tar()).unwrap();
    assert!(again[0].known && again[0].replaced.is_empty() && again[0].new_layers == 0);
    assert_eq!(place.store.list().unwrap().len(), 2);
    place.store.remove(&old.id(), false).unwrap();
    assert_eq!(place.store.list().unwrap().len(), 1);
}

#[test]
fn given_name_takes_the_place_of_the_images_own() {
    let place = Place::new();
    let path = place.write("input", &Image::new("own", &[("etc/a", "1")]).oci_tar());
    place.load_as(&path, Some("mine")).unwrap();
    assert!(place.store.resolve("mine:latest").is_ok());
    assert!(place.store.resolve("own").is_err());
    let digest = format!("mine@sha256:{}", "a".repeat(64));
    assert!(matches!(
        place.load_as(&path, Some(&digest)),
        Err(StoreError::DigestAsTag(_))
    ));
}

#[test]
fn inspect_tells_all_that_the_image_says() {
    let (place, images) = three();
    let shown = place.store.inspect("example.com/three:3").unwrap();
    assert_eq!(shown.id.to_string(), images[2].id());
    let familiar: Vec<String> = shown.names.iter().map(Reference::familiar).collect();
    assert_eq!(familiar, ["example.com/three:3"]);
    assert_eq!(shown.digests[0].familiar_name(), "example.com/three");
    assert!(shown.digests[0].digest().is_some());
    assert_eq!(shown.platform.architecture, "amd64");
    assert_eq!(shown.platform.os, "linux");
    assert_eq!(shown.created, "2024-01-02T03:04:05Z");
    let config = &shown.config.config;
    assert_eq!(config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert_eq!(config.env, ["A=1"]);
    assert_eq!(config.entrypoint, None);
    let diff_ids: Vec<String> = shown
        .layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    assert_eq!(json!(diff_ids), images[2].config["rootfs"]["diff_ids"]);
    let size: u64 = place.store.resolve("example.com/three:3").unwrap().layers[0].size;
    assert_eq!(shown.size, size);
    assert!(shown.stored.is_some());
}

#[test]
fn history_is_the_newest_step_first_with_the_sizes_of_layers() {
    let mut image = Image::new("h", &[("etc/one", "1"), ("etc/two", "2")]);
    image.config["history"] = json!([
        { "created_by": "ADD one" },
        { "created_by": "ENV A=1", "empty_layer": true },
        { "created_by": "ADD two", "comment": "c", "created": "2024-01-02T03:04:05Z" },
    ]);
    let place = Place::new();
    place.load_bytes(&image.oci_tar()).unwrap();
    let history = place.store.history("h").unwrap();
    let by: Vec<&str> = history
        .iter()
        .map(|step| step.created_by.as_str())
        .collect();
    assert_eq!(by, ["ADD two", "ENV A=1", "ADD one"]);
    let layers = place.store.resolve("h").unwrap().layers;
    let sizes: Vec<u64> = history.iter().map(|step| step.size).collect();
    assert_eq!(sizes, [layers[1].size, 0, layers[0].size]);
    assert_eq!(history[0].id.as_ref().unwrap().to_string(), image.id());
    assert_eq!(history[1].id, None);
}

#[test]
fn damaged_files_of_the_store_are_named_with_what_to_do() {
    let (place, images) = three();
    let root = place.store.root();
    let record = root
        .join("images")
        .join(format!("{}.json", images[0].id().replace(':', "-")));
    fs::write(&record, "{").unwrap();
    let text = messages(&place.store.resolve("one").unwrap_err());
    assert!(
        text.contains("is damaged; remove the image with `coracle rmi`"),
        "{text}"
    );
    // And that works.
    place.store.remove("one", false).unwrap();
    assert_eq!(layers(&place), 3);
    fs::write(root.join("index.json"), r#"{"format":9}"#).unwrap();
    assert!(matches!(
        place.store.list(),
        Err(StoreError::Format { found: 9, .. })
    ));
    fs::write(root.join("index.json"), r#"{"format":1,"images":7}"#).unwrap();
    let text = messages(&place.store.list().unwrap_err());
    assert!(text.contains("remove the whole store"), "{text}");
}

#[test]
fn store_is_for_its_owner_only() {
    let (place, _) = three();
    for name in ["layers", "images", "blobs", "tmp"] {
        let mode = fs::metadata(place.store.root().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let file = place.write("file", b"");
    assert!(matches!(
        images::store::Store::open(&file),
        Err(StoreError::NotADirectory(_))
    ));
    // A store elsewhere sees nothing of this one.
    assert_eq!(open(&place.path("elsewhere")).list().unwrap(), []);
}

#[test]
fn name_that_reads_as_a_digest_is_not_given() {
    let (place, images) = three();
    let id = images[0].id();
    for name in ["sha256", "sha256:latest", id.as_str(), "sha512:a"] {
        let new = name.parse().expect("a name");
        let error = place.store.tag(&id, &new).expect_err("a refusal");
        let text = messages(&error);
        assert!(text.contains("read as a digest"), "{name}: {text}");
        let image = Image::new(name, &[("a", "a")]);
        let text = place.refused(&image.oci_tar());
        assert!(text.contains("read as a digest"), "{name}: {text}");
    }
    let name = "example.com/sha256:1".parse().expect("a name");
    place.store.tag(&id, &name).expect("a good name");
}
