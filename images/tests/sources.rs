//! Every form in which an image comes is loaded, and gives the same image.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;

use images::source::Input;
use images::store::Silent;
use serde_json::json;

mod support;
use support::{Image, MANIFEST, Place, append, descriptor, gzip, tar_of};

fn two_layers() -> Image {
    Image::new("example.com/a/b:1", &[("etc/one", "1"), ("etc/two", "2")])
}

#[test]
fn layout_in_a_tar_is_loaded_under_its_name() {
    let place = Place::new();
    let image = two_layers();
    let loaded = place.load_bytes(&image.oci_tar()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names[0].to_string(), "example.com/a/b:1");
    assert_eq!(loaded[0].new_layers, 2);
    let found = place.store.resolve("example.com/a/b:1").unwrap();
    assert_eq!(found.id.to_string(), image.id());
    assert_eq!(found.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert_eq!(found.config.env, ["A=1"]);
    assert_eq!(found.layers.len(), 2);
    for layer in &found.layers {
        assert_eq!(fs::metadata(&layer.path).unwrap().len(), layer.size);
    }
}

/// Bytes as a program compresses them, in two streams.
fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let pack = |bytes: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("a file");
        let mut command = std::process::Command::new(program);
        let output = command
            .arg("-9c")
            .arg(file.path())
            .output()
            .expect("it is installed");
        assert!(output.status.success(), "{program}");
        output.stdout
    };
    [pack(first), pack(second)].concat()
}

#[test]
fn layers_of_a_docker_archive_may_be_packed_in_any_way() {
    let plain = two_layers();
    type Pack = fn(&[u8]) -> Vec<u8>;
    let pack: [Pack; 4] = [
        |bytes| packed("xz", bytes),
        |bytes| packed("bzip2", bytes),
        gzip,
        |bytes| zstd::encode_all(bytes, 1).unwrap(),
    ];
    for pack in pack {
        let mut image = plain.clone();
        image.layers = image.layers.iter().map(|layer| pack(layer)).collect();
        let place = Place::new();
        let loaded = place.load_bytes(&image.docker_tar()).unwrap();
        assert_eq!(loaded[0].id.to_string(), plain.id());
        let mut saved = images::store::Archive::new(Vec::new());
        let names = [plain.name.clone()];
        place.store.save(&names, true, &mut saved).unwrap();
        let again = Place::new();
        let loaded = again.load_bytes(&saved.finish().unwrap()).unwrap();
        assert_eq!(loaded[0].id.to_string(), plain.id());
    }
}

#[test]
fn damaged_and_greedy_archives_are_refused() {
    let place = Place::with_image();
    let image = two_layers().oci_tar();
    for program in ["xz", "bzip2"] {
        let packed = packed(program, &image);
        let _ = place.refused(&packed[..packed.len() - 7]);
        let mut flipped = packed.clone();
        flipped[packed.len() / 2] ^= 0x10;
        let _ = place.refused(&flipped);
    }
    // A dictionary of 1.5 GiB.
    let file = place.write("large", &image);
    let mut command = std::process::Command::new("xz");
    let output = command
        .args(["-c", "--lzma2=preset=0,dict=1536MiB"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = place.refused(&output.stdout);
    assert!(text.contains("memory"), "{text}");
}

#[test]
fn all_forms_give_the_same_image() {
    let image = two_layers();
    let place = Place::new();
    image.write_oci_directory(&place.path("layout"));
    let forms = [
        place.write("oci.tar", &image.oci_tar()),
        place.write("oci.tar.gz", &gzip(&image.oci_tar())),
        place.write(
            "oci.tar.zst",
            &zstd::encode_all(&image.oci_tar()[..], 1).unwrap(),
        ),
        place.write("oci.tar.xz", &packed("xz", &image.oci_tar())),
        place.write("oci.tar.bz2", &packed("bzip2", &image.oci_tar())),
        place.write("docker.tar", &image.docker_tar()),
        place.write("docker.tar.gz", &gzip(&image.docker_tar())),
        place.write("docker.tar.xz", &packed("xz", &image.docker_tar())),
        place.path("layout"),
    ];
    for form in forms {
        let place = Place::new();
        let loaded = place.load_path(&form).unwrap();
        assert_eq!(loaded[0].id.to_string(), image.id(), "{}", form.display());
        assert_eq!(
            place
                .store
                .resolve("example.com/a/b:1")
                .unwrap()
                .layers
                .len(),
            2
        );
    }
}

#[test]
fn archive_is_loaded_from_a_pipe() {
    for bytes in [two_layers().docker_tar(), gzip(&two_layers().oci_tar())] {
        let place = Place::new();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&bytes));
        let input = Input::Stream(File::from(OwnedFd::from(reader)));
        let source = place.store.open_source(input).unwrap();
        let loaded = place.store.load(&*source, None, &Silent).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(loaded[0].id.to_string(), two_layers().id());
        assert_eq!(
            fs::read_dir(place.store.root().join("tmp"))
                .unwrap()
                .count(),
            0
        );
    }
}

#[test]
fn docker_archive_of_the_new_form_is_loaded() {
    let image = two_layers();
    let config = image.config.to_string();
    let blob = |bytes: &[u8]| {
        let digest = descriptor("", bytes)["digest"].as_str().unwrap().to_owned();
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let layers: Vec<String> = image.layers.iter().map(|layer| blob(layer)).collect();
    let manifest = json!([{
        "Config": blob(config.as_bytes()), "RepoTags": ["new:form"], "Layers": layers,
    }])
    .to_string();
    let bytes = tar_of(&[
        ("manifest.json", manifest.as_bytes()),
        (&blob(config.as_bytes()), config.as_bytes()),
        (&layers[0], &image.layers[0]),
        (&layers[1], &image.layers[1]),
    ]);
    let place = Place::new();
    assert_eq!(
        place.load_bytes(&bytes).unwrap()[0].id.to_string(),
        image.id()
    );
    assert_eq!(place.store.resolve("new:form").unwrap().layers.len(), 2);
}

#[test]
fn layout_with_several_images_gives_each_its_name() {
    let (mut one, mut two) = (two_layers(), Image::new("two", &[("etc/one", "1")]));
    one.seal();
    two.seal();
    one.blobs.append(&mut two.blobs.clone());
    let mut manifests = one.index["manifests"].as_array().unwrap().clone();
    let mut tagged = two.index["manifests"][0].clone();
    tagged["annotations"] = json!({ "org.opencontainers.image.ref.name": "two:2" });
    manifests.extend([two.index["manifests"][0].clone(), tagged]);
    one.index["manifests"] = json!(manifests);
    let place = Place::new();
    let loaded = place.load_bytes(&one.oci_tar()).unwrap();
    assert_eq!(loaded.len(), 2);
    let names: Vec<String> = loaded[1].names.iter().map(|name| name.familiar()).collect();
    assert_eq!(names, ["two:2", "two:latest"]);
    // The layer with etc/one is shared.
    assert_eq!(
        fs::read_dir(place.store.root().join("layers"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn index_is_followed_to_the_image_of_this_platform() {
    let mut image = two_layers();
    image.seal();
    let own = image.manifest.to_string();
    let mut entries = Vec::new();
    for (architecture, digest) in [("arm64", "a"), ("amd64", ""), ("s390x", "b")] {
        let mut entry = descriptor(MANIFEST, own.as_bytes());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        if !digest.is_empty() {
            entry["digest"] = json!(format!("sha256:{}", digest.repeat(64)));
        }
        entries.push(entry);
    }
    let mut attestation = descriptor(MANIFEST, b"none");
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    entries.push(attestation);
    let inner = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
    image.add_blob(inner.as_bytes());
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let mut outer = descriptor(list, inner.as_bytes());
    outer["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/multi:1" });
    image.index["manifests"] = json!([outer]);
    let place = Place::new();
    let loaded = place.load_bytes(&image.oci_tar()).unwrap();
    assert_eq!(loaded[0].id.to_string(), image.id());
    assert!(place.store.resolve("multi:1").is_ok());
}

#[test]
fn root_file_system_in_a_tar_becomes_an_image_of_one_layer() {
    let place = Place::new();
    let tar = tar_of(&[
        ("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        ("bin/sh", b"\x7fELF"),
    ]);
    let path = place.write("rootfs.tar", &tar);
    let compressed = place.write("rootfs.tar.gz", &gzip(&tar));
    let loaded = place.load_as(&path, Some("mine:1")).unwrap();
    let image = place.store.resolve("mine:1").unwrap();
    assert_eq!(loaded[0].id, image.id);
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.layers[0].diff_id, images::digest::Digest::of(&tar));
    assert_eq!(
        image.config.cmd.as_deref(),
        Some(&["/bin/sh".to_owned()][..])
    );
    // The same content under another name needs no other layer.
    assert_eq!(
        place.load_as(&compressed, Some("other")).unwrap()[0].new_layers,
        0
    );
    assert_eq!(
        place.load_as(&path, Some("mine:1")).unwrap()[0].id,
        image.id
    );
}

#[test]
fn root_file_system_in_a_directory_becomes_an_image() {
    let place = Place::new();
    let root = place.path("rootfs");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/hostname"), "x").unwrap();
    fs::hard_link(root.join("etc/hostname"), root.join("etc/again")).unwrap();
    symlink("/nowhere", root.join("link")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    let first = place.load_as(&root, Some("dir")).unwrap();
    let second = place.load_as(&root, Some("dir")).unwrap();
    assert_eq!(first[0].id, second[0].id);
    assert_eq!(place.store.resolve("dir").unwrap().layers.len(), 1);
}

#[test]
fn root_file_system_without_a_name_is_an_image_with_an_id_only() {
    let place = Place::new();
    let loaded = place.load_bytes(&tar_of(&[("bin/sh", b"x")])).unwrap();
    assert!(loaded[0].names.is_empty());
    let image = place.store.resolve(&loaded[0].id.to_string()).unwrap();
    assert_eq!((image.reference, image.layers.len()), (None, 1));
}

#[test]
fn root_file_system_with_absolute_names_is_taken_below_its_root() {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "/bin/sh", b"x");
    let place = Place::new();
    let loaded = place.load_bytes(&archive.into_inner().unwrap()).unwrap();
    assert_eq!(loaded[0].new_layers, 1);
}

#[test]
fn what_is_no_image_is_refused_as_what_it_is() {
    let place = Place::with_image();
    let refused = |bytes: &[u8]| place.refused(bytes);
    assert!(refused(b"").contains("is empty"));
    assert!(refused(b"\xff\xd8\xff\xe0 JFIF").contains("a JPEG picture"));
    assert!(refused(b"\x7fELF").contains("a program"));
    assert!(refused(&gzip(b"hello")).contains("no archive"));
    assert!(refused(&tar_of(&[])).contains("an archive without entries"));
    assert!(refused(&tar_of(&[("repositories", b"{}")])).contains("older than 1.10"));
    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    assert!(place.refused_path(&empty).contains("an empty directory"));
    assert!(
        place
            .refused_path(&place.path("absent"))
            .contains("cannot open")
    );
}

#[test]
fn progress_counts_every_byte_of_new_layers_only() {
    use images::store::Event;
    use std::sync::atomic::{AtomicU64, Ordering};
    let place = Place::new();
    place
        .load_bytes(&Image::new("base", &[("etc/one", "1")]).oci_tar())
        .unwrap();
    let path = place.write("input", &two_layers().oci_tar());
    let source = place.store.open_source(Input::Path(&path)).unwrap();
    let (announced, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |event: Event<'_>| match event {
        Event::Begin {
            layers,
            present,
            bytes,
        } => {
            assert_eq!((layers, present), (1, 1));
            announced.store(bytes, Ordering::Relaxed);
        }
        Event::LayerRead { bytes, .. } => read.store(bytes, Ordering::Relaxed),
        _ => {}
    };
    place.store.load(&*source, None, &progress).unwrap();
    assert!(announced.load(Ordering::Relaxed) > 0);
    assert_eq!(read.into_inner(), announced.into_inner());
}
