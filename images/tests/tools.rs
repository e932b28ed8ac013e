//! Archives as skopeo, umoci and GNU tar really write them. Needs the Debian packages skopeo and
//! umoci.

use std::fs;
use std::path::Path;
use std::process::Command;

use images::source::Input;
use images::store::Silent;

mod support;
use support::{Image, Place};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run {program} ({error}): apt-get install {program}")
        });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
}

/// A layout with an image of two layers, the second made by umoci.
fn layout(place: &Place) -> String {
    let directory = place.path("layout").display().to_string();
    let bundle = place.path("bundle");
    run("umoci", &["init", "--layout", &directory]);
    let image = format!("{directory}:latest");
    run("umoci", &["new", "--image", &image]);
    run(
        "umoci",
        &["unpack", "--rootless", "--image", &image, path(&bundle)],
    );
    fs::create_dir_all(bundle.join("rootfs/etc")).expect("a directory");
    fs::write(bundle.join("rootfs/etc/one"), "1").expect("a file");
    run("umoci", &["repack", "--image", &image, path(&bundle)]);
    fs::remove_file(bundle.join("rootfs/etc/one")).expect("a file");
    fs::write(bundle.join("rootfs/etc/two"), "2").expect("a file");
    run(
        "umoci",
        &[
            "repack",
            "--refresh-bundle",
            "--image",
            &image,
            path(&bundle),
        ],
    );
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.cmd",
            "sh",
            "--config.user",
            "7:8",
        ],
    );
    directory
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn skopeo(from: &str, to: &str) {
    run(
        "skopeo",
        &["copy", "--quiet", "--insecure-policy", from, to],
    );
}

#[test]
fn every_form_that_skopeo_writes_is_the_same_image() {
    let place = Place::new();
    let layout = layout(&place);
    let from = format!("oci:{layout}:latest");
    let archive = |name: &str| path(&place.path(name)).to_owned();
    skopeo(
        &from,
        &format!("oci-archive:{}:tools:1", archive("oci.tar")),
    );
    skopeo(
        &from,
        &format!("docker-archive:{}:tools:2", archive("docker.tar")),
    );
    skopeo(&from, &format!("oci:{}:tools:3", archive("copy")));
    let original = place.load_as(Path::new(&layout), Some("tools:0")).unwrap();
    for (name, reference) in [
        ("oci.tar", "tools:1"),
        ("docker.tar", "tools:2"),
        ("copy", "tools:3"),
    ] {
        let loaded = place.load_path(&place.path(name)).unwrap();
        assert_eq!(loaded[0].names[0].familiar(), reference);
        // Docker's configuration is another document than OCI's, the layers are the same.
        let image = place.store.resolve(reference).unwrap();
        assert_eq!(image.config.user, "7:8");
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.layers, place.store.resolve("tools:0").unwrap().layers);
    }
    assert_eq!(
        original[0].new_layers,
        place.store.resolve("tools:0").unwrap().layers.len()
    );
}

#[test]
fn docker_schema_2_in_a_directory_of_blobs_is_refused_as_no_layout() {
    let place = Place::with_image();
    let layout = layout(&place);
    let directory = path(&place.path("dir")).to_owned();
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--insecure-policy",
            "--format",
            "v2s2",
            &format!("oci:{layout}:latest"),
            &format!("dir:{directory}"),
        ],
    );
    let text = place.refused_path(Path::new(&directory));
    assert!(text.contains("manifest.json of docker archive"), "{text}");
}

#[test]
fn archives_by_gnu_tar_with_dot_names_and_compression_are_loaded() {
    let place = Place::new();
    let image = Image::new("tarred", &[("etc/one", "1")]);
    let layout = place.path("layout");
    image.write_oci_directory(&layout);
    for (option, name) in [
        ("-cf", "plain.tar"),
        ("-czf", "gzip.tar"),
        ("--zstd", "zstd.tar"),
    ] {
        let archive = place.path(name);
        let mut arguments = vec!["-C", path(&layout), option];
        if option == "--zstd" {
            arguments.push("-cf");
        }
        arguments.extend([path(&archive), "."]);
        run("tar", &arguments);
        let loaded = place.load_path(&archive).unwrap();
        assert_eq!(loaded[0].id.to_string(), image.id());
    }
}

#[test]
fn regular_file_on_standard_input_is_not_copied() {
    let place = Place::new();
    let archive = place.write(
        "input.tar",
        &Image::new("in", &[("etc/one", "1")]).docker_tar(),
    );
    let file = fs::File::open(archive).unwrap();
    let source = place.store.open_source(Input::Stream(file)).unwrap();
    place.store.load(&*source, None, &Silent).unwrap();
    assert!(place.store.resolve("in").is_ok());
}
