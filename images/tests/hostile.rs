//! Bad input is named and refused, and the store is afterwards as it was before, byte by byte.

use std::os::unix::fs::symlink;

use images::digest::Digest;
use serde_json::json;

mod support;
use support::{INDEX, Image, MANIFEST, Place, TAR, append, append_link, descriptor, gzip, tar_of};

fn image() -> Image {
    Image::new("bad", &[("etc/one", "1"), ("etc/two", "2")])
}

/// An image whose second layer's blob is not what the manifest announces.
fn with_second_layer(change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut image = image();
    let digest = image.manifest["layers"][1]["digest"]
        .as_str()
        .expect("a second layer")
        .to_owned();
    change(image.blobs.get_mut(&digest).expect("a second layer"));
    image
}

#[track_caller]
fn assert_refused(image: &Image, with: &str) {
    let text = Place::with_image().refused(&image.oci_tar());
    assert!(text.contains(with), "{text}");
}

#[test]
fn layer_with_a_flipped_bit_is_refused() {
    let image = with_second_layer(|blob| *blob.last_mut().unwrap() ^= 1);
    assert_refused(&image, "is damaged: its digest is");
    let image = with_second_layer(|blob| {
        let middle = blob.len() / 2;
        blob[middle] ^= 0x10;
    });
    assert_refused(&image, "is damaged: its digest is");
}

/// The same with layers that are not compressed, whose digests and diff IDs are the same.
fn with_plain_second_layer(change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut image = image();
    let layers = image.layers.clone();
    let descriptors = layers.iter().map(|layer| descriptor(TAR, layer));
    image.manifest["layers"] = descriptors.collect();
    image.blobs.clear();
    for layer in &layers {
        image.add_blob(layer);
    }
    let second = Digest::of(&layers[1]).to_string();
    change(image.blobs.get_mut(&second).expect("a second layer"));
    image
}

#[test]
fn plain_layer_is_taken_only_as_it_was_announced() {
    let whole = with_plain_second_layer(|_| ()).oci_tar();
    assert_eq!(Place::new().load_bytes(&whole).unwrap().len(), 1);
    // In a header, in a file's content, and in what follows the last file.
    for place in [10, 512, 1024 + 700] {
        let image = with_plain_second_layer(|blob| blob[place] ^= 1);
        assert_refused(&image, "is damaged: its digest is");
    }
    let image = with_plain_second_layer(|blob| blob.truncate(blob.len() - 512));
    assert_refused(&image, "are announced");
}

#[test]
fn plain_layer_with_another_diff_id_is_refused() {
    // The blob is what its diff ID says, and the manifest announces another one.
    let mut image = with_plain_second_layer(|_| ());
    let other = Digest::of(b"another").to_string();
    let layer = image.layers[1].clone();
    image.manifest["layers"][1]["digest"] = json!(other);
    image.blobs.insert(other, layer);
    assert_refused(&image, "is damaged: its digest is");
    // The manifest is right about it, and the configuration is not.
    let mut image = with_plain_second_layer(|_| ());
    image.config["rootfs"]["diff_ids"][1] = json!(format!("sha256:{}", "0".repeat(64)));
    assert_refused(&image, "cannot be used");
}

#[test]
fn truncated_layer_is_refused() {
    let image = with_second_layer(|blob| blob.truncate(blob.len() - 9));
    assert_refused(&image, "are announced");
}

#[test]
fn layer_larger_than_announced_is_refused() {
    let image = with_second_layer(|blob| blob.extend_from_slice(b"more"));
    assert_refused(&image, "are announced");
}

#[test]
fn layer_with_another_content_than_its_diff_id_is_refused() {
    let mut image = image();
    image.config["rootfs"]["diff_ids"][1] = json!(format!("sha256:{}", "0".repeat(64)));
    assert_refused(&image, "cannot be used");
}

#[test]
fn missing_layer_is_refused() {
    let mut image = image();
    let digest = image.manifest["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    image.blobs.remove(&digest);
    assert_refused(&image, "it is incomplete");
}

#[test]
fn damaged_manifest_and_configuration_are_refused() {
    for wanted in ["manifest", "configuration"] {
        let mut image = image();
        image.seal();
        let digest = match wanted {
            "manifest" => image.index["manifests"][0]["digest"].clone(),
            _ => image.manifest["config"]["digest"].clone(),
        };
        let blob = image.blobs.get_mut(digest.as_str().unwrap()).unwrap();
        *blob.last_mut().unwrap() = b' ';
        let files = image.files();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let text = Place::with_image().refused(&tar_of(&files));
        assert!(
            text.contains(&format!("{wanted} {}", digest.as_str().unwrap())),
            "{text}"
        );
        assert!(text.contains("is damaged: its digest is"), "{text}");
    }
}

#[test]
fn indexes_within_indexes_end_at_the_limit() {
    let mut image = image();
    image.seal();
    let mut inner = image.index["manifests"][0].clone();
    for _ in 0..5 {
        let index = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
        image.add_blob(index.as_bytes());
        inner = descriptor(INDEX, index.as_bytes());
    }
    image.index["manifests"] = json!([inner]);
    assert_refused(&image, "indexes deep, or contains itself");
}

#[test]
fn index_that_names_itself_is_refused() {
    let mut image = image();
    image.seal();
    let digest = format!("sha256:{}", "c".repeat(64));
    let size = 300;
    let mut text = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": INDEX, "digest": digest, "size": size }],
    })
    .to_string();
    text.push_str(&" ".repeat(size - text.len()));
    image.blobs.insert(digest.clone(), text.into_bytes());
    image.index["manifests"] = json!([{ "mediaType": INDEX, "digest": digest, "size": size }]);
    assert_refused(&image, "is damaged: its digest is");
}

#[test]
fn unknown_media_types_are_refused_by_name() {
    let mut layer = image();
    layer.manifest["layers"][0]["mediaType"] = json!("application/x-cheese");
    assert_refused(&layer, "media type \"application/x-cheese\" of layer");
    let mut config = image();
    config.seal();
    config.manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    config.index = json!({ "schemaVersion": 2 });
    assert_refused(&config, "is not a container image");
    let mut manifest = image();
    manifest.seal();
    manifest.index["manifests"][0]["mediaType"] = json!("text/plain");
    assert_refused(&manifest, "media type \"text/plain\" of manifest");
    let mut both = image();
    both.manifest["mediaType"] = json!(INDEX);
    assert_refused(&both, "but says that it is");
}

#[test]
fn image_of_another_platform_is_refused_with_what_is_needed() {
    let mut windows = image();
    windows.config["os"] = json!("windows");
    assert_refused(
        &windows,
        "the image is for windows/amd64, not for linux/amd64",
    );
    assert_refused(&windows, "needs a Windows kernel");
    let mut arm = image();
    arm.config["architecture"] = json!("arm64");
    assert_refused(&arm, "the image is for linux/arm64, not for linux/amd64");
    let mut index = image();
    index.seal();
    let mut entries = Vec::new();
    for os in ["windows", "darwin"] {
        let mut entry = index.index["manifests"][0].clone();
        entry["platform"] = json!({ "os": os, "architecture": "amd64" });
        entries.push(entry);
    }
    index.index["manifests"] = json!(entries);
    assert_refused(&index, "windows/amd64, darwin/amd64, not for linux/amd64");
}

#[test]
fn other_number_of_diff_ids_than_layers_is_refused() {
    let mut fewer = image();
    fewer.config["rootfs"]["diff_ids"]
        .as_array_mut()
        .unwrap()
        .pop();
    assert_refused(&fewer, "has 2 layers but its configuration");
    let text = Place::with_image().refused(&fewer.docker_tar());
    assert!(
        text.contains("has 2 layers but its configuration"),
        "{text}"
    );
}

#[test]
fn counts_are_bounded() {
    let mut index = image();
    index.seal();
    let entry = index.index["manifests"][0].clone();
    index.index["manifests"] = json!(vec![entry; 10_000]);
    assert_refused(&index, "lists 10000 manifests; at most");
    let mut layers = image();
    let layer = layers.manifest["layers"][0].clone();
    layers.manifest["layers"] = json!(vec![layer; 128]);
    assert_refused(&layers, "lists 128 layers; at most");
    let entry = json!({ "Config": "c.json", "Layers": [] });
    let list = json!(vec![entry; 10_000]).to_string();
    let text = Place::with_image().refused(&tar_of(&[("manifest.json", list.as_bytes())]));
    assert!(text.contains("lists 10000 images; at most"), "{text}");
}

#[test]
fn layer_of_another_size_is_refused_even_if_it_is_here() {
    for change in [1_i64, -1] {
        let place = Place::with_image();
        let mut image = Image::new("kept", &[("kept", "kept")]);
        let size = image.manifest["layers"][0]["size"]
            .as_i64()
            .expect("a size");
        image.manifest["layers"][0]["size"] = json!(size + change);
        let text = place.refused(&image.oci_tar());
        assert!(text.contains("bytes"), "{text}");
        let mut image = Image::new("new", &[("new", "new")]);
        let size = image.manifest["layers"][0]["size"]
            .as_i64()
            .expect("a size");
        image.manifest["layers"][0]["size"] = json!(size + change);
        let text = place.refused(&image.oci_tar());
        assert!(text.contains("bytes"), "{text}");
    }
}

#[test]
fn docker_archive_that_says_another_size_is_refused() {
    let place = Place::with_image();
    let image = Image::new("sized", &[("a", "a")]);
    let layer = &image.layers[0];
    let config = image.config.to_string();
    let diff_id = Digest::of(layer).to_string();
    let archive = |size: usize| {
        let manifest = json!([{
            "Config": "config.json", "RepoTags": ["sized"], "Layers": ["layer.tar"],
            "LayerSources": { diff_id.as_str(): { "size": size, "digest": diff_id } },
        }]);
        tar_of(&[
            ("config.json", config.as_bytes()),
            ("layer.tar", layer),
            ("manifest.json", manifest.to_string().as_bytes()),
        ])
    };
    let text = place.refused(&archive(layer.len() + 1));
    assert!(text.contains("bytes"), "{text}");
    place
        .load_bytes(&archive(layer.len()))
        .expect("a good image");
}

#[test]
fn sizes_are_bounded_before_anything_is_read() {
    let mut image = image();
    image.seal();
    image.index["manifests"][0]["size"] = json!(1_u64 << 40);
    assert_refused(&image, "bytes; at most");
    let huge = vec![b' '; (4 << 20) + 1];
    let text = Place::with_image().refused(&tar_of(&[("manifest.json", &huge)]));
    assert!(text.contains("bytes; at most"), "{text}");
}

#[test]
fn malformed_documents_are_refused() {
    let place = Place::with_image();
    let marker: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let text = place.refused(&tar_of(&[marker, ("index.json", b"{]")]));
    assert!(text.contains("index index.json is malformed"), "{text}");
    let old: (&str, &[u8]) = ("index.json", br#"{"schemaVersion":1,"manifests":[]}"#);
    assert!(
        place
            .refused(&tar_of(&[marker, old]))
            .contains("schema version 1")
    );
    let other: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert!(
        place
            .refused(&tar_of(&[other, old]))
            .contains("layout version \"2.0.0\"")
    );
    let deep = "[".repeat(1 << 20);
    let text = place.refused(&tar_of(&[("manifest.json", deep.as_bytes())]));
    assert!(text.contains("manifest.json of docker archive"), "{text}");
    let zero = json!([{ "Config": "../../etc/passwd", "Layers": [] }]).to_string();
    let text = place.refused(&tar_of(&[("manifest.json", zero.as_bytes())]));
    assert!(text.contains("leads out of the archive"), "{text}");
}

#[test]
fn duplicate_entries_are_refused() {
    let bytes = image().docker_tar();
    let mut archive = tar::Builder::new(Vec::new());
    let manifest = json!([{ "Config": "c", "Layers": [] }]).to_string();
    append(&mut archive, "manifest.json", manifest.as_bytes());
    let mut doubled = archive.into_inner().unwrap();
    doubled.truncate(doubled.len() - 1024);
    doubled.extend_from_slice(&bytes);
    let text = Place::with_image().refused(&doubled);
    assert!(
        text.contains("has more than one entry \"manifest.json\""),
        "{text}"
    );
}

#[test]
fn one_name_for_two_images_is_refused() {
    let one = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [] } });
    let mut two = one.clone();
    two["author"] = json!("another");
    let (one, two) = (one.to_string(), two.to_string());
    let entry = |config| json!({ "Config": config, "RepoTags": ["a:1"], "Layers": [] });
    let list = json!([entry("one"), entry("two")]).to_string();
    let text = Place::with_image().refused(&tar_of(&[
        ("manifest.json", list.as_bytes()),
        ("one", one.as_bytes()),
        ("two", two.as_bytes()),
    ]));
    assert!(
        text.contains("gives the name a:1 to two different images"),
        "{text}"
    );
}

#[test]
fn entries_that_lead_out_of_the_archive_are_refused() {
    let place = Place::with_image();
    for name in ["../manifest.json", "a/../../b", "/manifest.json"] {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "manifest.json", b"[]");
        append(&mut archive, name, b"x");
        let text = place.refused(&archive.into_inner().unwrap());
        assert!(text.contains("leads out of the archive"), "{name}: {text}");
    }
}

#[test]
fn layer_with_a_parent_in_a_name_is_refused() {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "../../etc/passwd", b"x");
    let good = tar_of(&[("etc/one", b"1")]);
    let bad = Image::of_layers("bad", vec![good, archive.into_inner().unwrap()]);
    assert_refused(&bad, "cannot be used");
}

#[test]
fn root_file_system_of_a_hard_link_out_of_it_is_refused() {
    let mut archive = tar::Builder::new(Vec::new());
    append_link(
        &mut archive,
        tar::EntryType::Link,
        "evil",
        "../../etc/passwd",
    );
    let text = Place::with_image().refused(&archive.into_inner().unwrap());
    assert!(
        text.contains("\"evil\" a hard link to \"../../etc/passwd\""),
        "{text}"
    );
}

#[test]
fn root_file_system_with_a_terabyte_of_holes_is_refused_by_name() {
    let place = Place::with_image();
    let big = std::fs::File::create(place.path("big")).unwrap();
    big.set_len(1100 << 30).unwrap();
    for format in ["gnu", "pax"] {
        let archive = place.path("bomb.tar");
        let status = std::process::Command::new("tar")
            .args(["--sparse", &format!("--format={format}"), "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(place.path(""))
            .arg("big")
            .status();
        assert!(status.unwrap().success());
        let text = place.refused_path(&archive);
        assert!(text.contains("\"big\", of 1181116006400 bytes"), "{text}");
    }
}

/// A header that announces data which a file's end, far away, makes of zeros.
fn announcing(place: &Place, kind: tar::EntryType, size: u64) -> std::path::PathBuf {
    let mut header = tar::Header::new_gnu();
    header.set_path("big").expect("a short name");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let path = place.write("input", header.as_bytes());
    let file = std::fs::File::options()
        .append(true)
        .open(&path)
        .expect("a file");
    file.set_len(512 + size).expect("a file of holes");
    path
}

#[test]
fn headers_of_gigabytes_are_refused_before_they_are_read() {
    let place = Place::with_image();
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::GNULongLink,
        tar::EntryType::XHeader,
        tar::EntryType::XGlobalHeader,
    ] {
        let text = place.refused_path(&announcing(&place, kind, 6 << 30));
        assert!(
            text.contains("6442450944 bytes of extended headers"),
            "{text}"
        );
    }
}

#[test]
fn file_of_a_terabyte_is_refused_by_name_before_it_is_read() {
    let place = Place::with_image();
    let text = place.refused_path(&announcing(&place, tar::EntryType::Regular, 1 << 40));
    assert!(
        text.contains("a file \"big\" of 1099511627776 bytes"),
        "{text}"
    );
}

#[test]
fn links_in_a_circle_are_refused() {
    let mut archive = tar::Builder::new(Vec::new());
    append_link(
        &mut archive,
        tar::EntryType::Symlink,
        "manifest.json",
        "other",
    );
    append_link(
        &mut archive,
        tar::EntryType::Symlink,
        "other",
        "manifest.json",
    );
    let text = Place::with_image().refused(&archive.into_inner().unwrap());
    assert!(text.contains("leads in a circle"), "{text}");
}

#[test]
fn layout_directory_with_links_to_the_outside_is_refused() {
    let place = Place::with_image();
    let layout = place.path("layout");
    let image = image();
    image.write_oci_directory(&layout);
    let blob = image.manifest["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .replace(':', "/");
    let blob = layout.join("blobs").join(blob);
    let outside = place.path("outside");
    std::fs::rename(&blob, &outside).unwrap();
    symlink(&outside, &blob).unwrap();
    let text = place.refused_path(&layout);
    assert!(
        text.contains("leads in a circle or out of the archive"),
        "{text}"
    );
}

#[test]
fn fifo_in_a_layout_directory_does_not_hang() {
    let place = Place::with_image();
    let layout = place.path("layout");
    let image = image();
    image.write_oci_directory(&layout);
    let blob = image.manifest["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .replace(':', "/");
    let blob = layout.join("blobs").join(blob);
    std::fs::remove_file(&blob).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &blob,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(
        place
            .refused_path(&layout)
            .contains("is not a regular file")
    );
}

#[test]
fn truncated_archives_are_refused() {
    let place = Place::with_image();
    for bytes in [image().oci_tar(), image().docker_tar()] {
        let half = &bytes[..bytes.len() / 2 + 100];
        let text = place.refused(half);
        assert!(
            text.contains("is cut off at byte") || text.contains("incomplete"),
            "{text}"
        );
        let compressed = gzip(&bytes);
        let text = place.refused(&compressed[..compressed.len() - 20]);
        assert!(text.contains("cannot read the archive"), "{text}");
    }
}

#[test]
fn wrong_compression_is_refused() {
    let mut image = image();
    let plain = image.layers[1].clone();
    image.add_blob(&plain);
    image.manifest["layers"][1] = descriptor(&format!("{TAR}+gzip"), &plain);
    assert_refused(&image, "cannot be used");
    let mut image = self::image();
    let plain = image.layers[1].clone();
    image.add_blob(&plain);
    image.manifest["layers"][1] = descriptor(&format!("{TAR}+zstd"), &plain);
    assert_refused(&image, "cannot be used");
}

#[test]
fn docker_archive_with_a_configuration_of_another_digest_is_refused() {
    let image = image();
    let name = format!("{}.json", "d".repeat(64));
    let list = json!([{ "Config": name, "Layers": [] }]).to_string();
    let config = image.config.to_string();
    let text = Place::with_image().refused(&tar_of(&[
        ("manifest.json", list.as_bytes()),
        (&name, config.as_bytes()),
    ]));
    assert!(text.contains("is damaged: its digest is"), "{text}");
}

#[test]
fn failed_first_image_of_an_archive_takes_the_second_with_it() {
    let mut one = with_second_layer(|blob| *blob.last_mut().unwrap() ^= 1);
    let mut two = Image::new("good", &[("etc/good", "1")]);
    one.seal();
    two.seal();
    one.blobs.append(&mut two.blobs);
    let both = [&one.index["manifests"][0], &two.index["manifests"][0]];
    one.index["manifests"] = json!(both);
    assert_eq!(one.index["manifests"][1]["mediaType"], json!(MANIFEST));
    assert_refused(&one, "is damaged: its digest is");
}
