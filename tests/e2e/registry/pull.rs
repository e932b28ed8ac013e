//! What is pulled, and what is refused.

use coracle_tests::{done, run, sample};
use serde_json::{Value, json};

use super::{
    GZIP, INDEX, MANIFEST, User,
    front::{Action, Front},
    gzip, image, layer, noise,
    server::Registry,
    sha256, tool,
};

fn busybox() -> String {
    format!("oci-archive:{}", sample("busybox").display())
}

#[test]
fn image_is_pulled_once_and_runs() {
    let registry = Registry::start();
    registry.copy(&busybox(), "boats/busybox:1", &[]);
    let front = Front::start(&registry.address, |_, _| Action::Pass);
    let name = front.name("boats/busybox:1");
    let user = User::new();
    let first = user.coracle(&["pull", &name]).expect(0);
    assert!(
        first.stdout.contains("Status: Downloaded newer image"),
        "{}",
        first.stdout
    );
    assert!(first.stdout.contains(": Pull complete"), "{}", first.stdout);
    assert!(
        first.stdout.ends_with(&format!("{name}\n")),
        "{}",
        first.stdout
    );
    let blobs = front.blobs().len();
    let second = user.coracle(&["pull", &name]).expect(0);
    assert!(
        second.stdout.contains("Status: Image is up to date"),
        "{}",
        second.stdout
    );
    assert!(
        second.stdout.contains(": Already exists"),
        "{}",
        second.stdout
    );
    // The configuration alone was asked for again.
    assert_eq!(front.blobs().len(), blobs + 1);
    let quiet = user.coracle(&["pull", "-q", &name]).expect(0);
    assert_eq!(quiet.stdout, format!("{name}\n"));
}

#[test]
fn run_pulls_what_is_missing_and_only_that() {
    let registry = Registry::start();
    registry.copy(&busybox(), "busybox:latest", &[]);
    let name = registry.name("busybox");
    let user = User::new();
    let never = user
        .coracle(&["run", "--pull", "never", &name, "true"])
        .expect(125);
    assert!(
        never.stderr.contains("there is no image"),
        "{}",
        never.stderr
    );
    let run = user.coracle(&["run", &name, "echo", "afloat"]).expect(0);
    assert_eq!(run.stdout, "afloat\n");
    assert!(
        run.stderr
            .contains(&format!("Unable to find image '{name}:latest' locally")),
        "{}",
        run.stderr
    );
    drop(registry);
    let run = user.coracle(&["run", &name, "echo", "afloat"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("afloat\n", ""));
    let always = user
        .coracle(&["run", "--pull=always", &name, "true"])
        .expect(125);
    assert!(always.stderr.contains("cannot reach"), "{}", always.stderr);
}

#[test]
fn image_of_another_processor_is_not_run() {
    let done = run(["--platform", "linux/arm64", "busybox", "true"]).expect(125);
    assert!(
        done.stderr.contains("cannot run an image for linux/arm64"),
        "{}",
        done.stderr
    );
}

#[test]
fn every_form_of_an_image_has_the_same_layers() {
    let registry = Registry::start();
    registry.copy(&busybox(), "form:oci", &["--format", "oci"]);
    registry.copy(&busybox(), "form:docker", &["--format", "v2s2"]);
    let zstd = ["--format", "oci", "--dest-compress-format", "zstd"];
    // Skopeo compresses again only what is not compressed.
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("plain").display().to_string();
    let plain = format!("dir:{directory}");
    let arguments = [
        "copy",
        "-q",
        "--insecure-policy",
        "--dest-decompress",
        &busybox(),
        &plain,
    ];
    tool(work.path(), "skopeo", &arguments);
    registry.copy(&plain, "form:zstd", &zstd);
    let user = User::new();
    let mut layers = Vec::new();
    for tag in ["oci", "docker", "zstd"] {
        let name = registry.name(&format!("form:{tag}"));
        let _ = user.coracle(&["pull", &name]).expect(0);
        layers.push(user.inspect(&name)["RootFS"]["Layers"].clone());
    }
    assert_eq!(layers[0], layers[1]);
    assert_eq!(layers[0], layers[2]);
}

#[test]
fn plain_and_compressed_layers_are_joined() {
    let registry = Registry::start();
    let layers = vec![layer("a", &noise(1, 5000)), gzip(layer("b", b"b"))];
    registry.push("mixed", "latest", &image("amd64", layers));
    let user = User::new();
    let _ = user.coracle(&["pull", &registry.name("mixed")]).expect(0);
    assert_eq!(user.files("layers").len(), 2);
}

/// A registry with an index of two platforms and an attestation; also the index's digest.
fn with_index() -> (Registry, String) {
    let registry = Registry::start();
    let mut entries = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let image = image(architecture, vec![layer("name", architecture.as_bytes())]);
        let digest = registry.push("many", architecture, &image);
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": image.manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let attestation = json!({
        "annotations": {
            "vnd.docker.reference.digest": entries[1]["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "mediaType": MANIFEST, "digest": entries[0]["digest"], "size": entries[0]["size"],
        "platform": { "os": "unknown", "architecture": "unknown" },
    });
    entries.insert(0, attestation);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let digest = registry.put_manifest("many", "latest", INDEX, index.to_string().as_bytes());
    (registry, digest)
}

#[test]
fn index_gives_the_image_of_this_machine_or_the_one_asked_for() {
    let (registry, digest) = with_index();
    let name = registry.name("many");
    let user = User::new();
    let pulled = user.coracle(&["pull", &name]).expect(0);
    assert!(
        pulled.stdout.contains(&format!("Digest: {digest}\n")),
        "{}",
        pulled.stdout
    );
    let image = user.inspect(&name);
    assert_eq!(image["Architecture"], "amd64");
    assert_eq!(image["RepoDigests"], json!([format!("{name}@{digest}")]));
    let _ = user
        .coracle(&["pull", "--platform", "linux/arm64", &name])
        .expect(0);
    assert_eq!(user.inspect(&name)["Architecture"], "arm64");
    let refused = user
        .coracle(&["pull", "--platform", "linux/s390x", &name])
        .expect(1);
    assert!(
        refused.stderr.contains("linux/arm64, linux/amd64"),
        "{}",
        refused.stderr
    );
}

#[test]
fn image_is_pulled_and_found_by_its_digest() {
    let (registry, digest) = with_index();
    let user = User::new();
    let name = format!("{}@{digest}", registry.name("many"));
    let _ = user.coracle(&["pull", &name]).expect(0);
    let image = user.inspect(&name);
    assert_eq!(image["RepoTags"], json!([]));
    assert_eq!(image["RepoDigests"], json!([name]));
    let wrong = format!("{}@{}", registry.name("many"), sha256(b"other"));
    let refused = user.coracle(&["pull", &wrong]).expect(1);
    assert!(
        refused.stderr.contains("has no manifest sha256:"),
        "{}",
        refused.stderr
    );
}

#[test]
fn all_tags_are_pulled() {
    let registry = Registry::start();
    for tag in ["1", "2", "3"] {
        registry.push(
            "tags",
            tag,
            &image("amd64", vec![layer("name", tag.as_bytes())]),
        );
    }
    let user = User::new();
    let _ = user
        .coracle(&["pull", "--all-tags", &registry.name("tags")])
        .expect(0);
    let listed = user.coracle(&["images", "--json"]).expect(0).stdout;
    assert_eq!(listed.lines().count(), 3);
}

/// Pulls what must be refused into a store that then has nothing of it.
fn refused(user: &User, name: &str) -> String {
    let words = user.coracle(&["pull", name]).expect(1).stderr;
    for folder in ["layers", "partial", "tmp", "images", "blobs/sha256"] {
        assert_eq!(
            user.files(folder),
            Vec::<String>::new(),
            "{folder}: {words}"
        );
    }
    words
}

#[test]
fn unknown_forms_are_refused_in_words() {
    let registry = Registry::start();
    let good = image("amd64", vec![gzip(layer("a", b"a"))]);
    registry.push("forms", "good", &good);
    let user = User::new();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest: Value = serde_json::from_slice(&good.manifest).unwrap();
        change(&mut manifest);
        let bytes = manifest.to_string().into_bytes();
        // The registry itself would not take most of these.
        let front = Front::start(&registry.address, move |request, _| {
            if request.path.contains("/manifests/") {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let value: Value = serde_json::from_str(&text).unwrap();
                let own = value["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
                return Action::Answer("200 OK", vec![("content-type", own)], text);
            }
            Action::Pass
        });
        refused(&user, &front.name("forms:good"))
    };
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let words = with(&|manifest| manifest["layers"][0]["mediaType"] = foreign.into());
    assert!(words.contains(foreign), "{words}");
    let words = with(&|manifest| manifest["config"]["mediaType"] = "application/x-boat".into());
    assert!(words.contains("application/x-boat"), "{words}");
    let first = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let words = with(&|manifest| manifest["mediaType"] = first.into());
    assert!(words.contains("schema version 1"), "{words}");
    let words = with(&|manifest| manifest["mediaType"] = "text/html".into());
    assert!(words.contains("text/html"), "{words}");
    let words = with(&|manifest| manifest["layers"] = json!([]));
    assert!(words.contains("0 layers"), "{words}");
    let words = with(&|manifest| manifest["layers"][0]["size"] = 1.into());
    assert!(words.contains("where the manifest announces 1"), "{words}");
    let words = with(&|manifest| manifest["layers"][0]["size"] = (1_u64 << 50).into());
    assert!(words.contains("refused as a bomb"), "{words}");
    let words = with(&|manifest| manifest["note"] = "x".repeat(5 << 20).into());
    assert!(words.contains("the most that is accepted"), "{words}");
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let registry = Registry::start();
    let user = User::new();
    let words = refused(&user, &registry.name("nothing"));
    assert!(
        words.contains("has no manifest latest of nothing"),
        "{words}"
    );
    assert!(words.contains("coracle login"), "{words}");
    let address = registry.address.clone();
    drop(registry);
    let done = user.coracle(&["pull", &format!("{address}/a")]).expect(1);
    assert!(
        done.stderr.contains("does a registry listen there?"),
        "{}",
        done.stderr
    );
    let done = user.coracle(&["pull", "UPPER"]).expect(125);
    assert!(done.stderr.contains("lower case"), "{}", done.stderr);
}

#[test]
fn damaged_layer_is_refused_and_nothing_of_it_stays() {
    let registry = Registry::start();
    let good = image("amd64", vec![gzip(layer("a", &noise(7, 50_000)))]);
    registry.push("damaged", "latest", &good);
    let digest = sha256(&good.layers[0].blob);
    let end = digest.clone();
    let front = Front::start(&registry.address, move |request, _| {
        if request.path.ends_with(&end) {
            Action::Corrupt(25_000)
        } else {
            Action::Pass
        }
    });
    let user = User::new();
    let words = refused(&user, &front.name("damaged"));
    assert!(
        words.contains("is damaged") && words.contains(&digest),
        "{words}"
    );
    assert_eq!(front.blob(&digest).len(), 1);
}

#[test]
fn layer_of_another_content_than_the_configuration_says_is_refused() {
    let registry = Registry::start();
    let mut wrong = image("amd64", vec![gzip(layer("a", b"a"))]);
    let other = gzip(layer("b", b"b"));
    let text = String::from_utf8(wrong.manifest).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["layers"][0] =
        json!({ "mediaType": GZIP, "digest": sha256(&other.blob), "size": other.blob.len() });
    wrong.manifest = manifest.to_string().into_bytes();
    wrong.layers = vec![other];
    registry.push("other", "latest", &wrong);
    let words = refused(&User::new(), &registry.name("other"));
    assert!(words.contains("the digest of its tar archive"), "{words}");
}

#[test]
fn mirror_is_asked_first_and_the_registry_when_it_has_nothing() {
    let registry = Registry::start();
    registry.push(
        "library/boat",
        "latest",
        &image("amd64", vec![layer("a", b"a")]),
    );
    let mirror = Front::start(&registry.address, |_, _| Action::Pass);
    let user = User::new();
    user.settings(&json!({
        "mirrors": { "docker.io": [format!("http://{}", mirror.address)] },
    }));
    let _ = user.coracle(&["pull", "boat"]).expect(0);
    assert!(!mirror.blobs().is_empty());
    let image = user.inspect("boat");
    assert_eq!(image["RepoTags"], json!(["boat:latest"]));

    let empty = Front::start(&registry.address, |_, _| {
        Action::Answer("404 Not Found", Vec::new(), String::new())
    });
    registry.push(
        "mine",
        "latest",
        &super::image("amd64", vec![layer("b", b"b")]),
    );
    let mut mirrors = serde_json::Map::new();
    mirrors.insert(
        registry.address.clone(),
        json!([format!("http://{}", empty.address)]),
    );
    user.settings(&json!({ "mirrors": mirrors }));
    let _ = user.coracle(&["pull", &registry.name("mine")]).expect(0);
    assert_eq!(empty.seen().len(), 1);
}

#[test]
fn malformed_settings_are_named() {
    let user = User::new();
    user.settings(&json!({ "insecur": [] }));
    let words = user.coracle(&["pull", "boat"]).expect(1).stderr;
    assert!(
        words.contains("registries.json") && words.contains("insecur"),
        "{words}"
    );
}

#[test]
fn proxy_of_the_environment_is_used_and_this_machine_is_reached_without() {
    let registry = Registry::start();
    registry.push("a", "latest", &image("amd64", vec![layer("a", b"a")]));
    let proxy = Front::start(&registry.address, |_, _| {
        Action::Answer("403 Forbidden", Vec::new(), String::new())
    });
    let user = User::new();
    let mut command = user.command(&["pull", "registry.example/a"]);
    let address = format!("http://{}", proxy.address);
    let _ = done(command.env("HTTPS_PROXY", &address)).expect(1);
    let seen = proxy.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("CONNECT", "registry.example:443")
    );
    // Without TLS only when that is allowed.
    assert!(
        seen.iter().all(|request| request.method == "CONNECT"),
        "{seen:?}"
    );
    let mut command = user.command(&["pull", &registry.name("a")]);
    let _ = done(
        command
            .env("HTTPS_PROXY", &address)
            .env("HTTP_PROXY", &address),
    )
    .expect(0);
    assert_eq!(proxy.seen().len(), seen.len());
}

/// The most memory that a pull has, in KiB.
fn memory_of_pull(user: &User, name: &str) -> u64 {
    // The most that a child of python's had.
    let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let pull = user.command(&["pull", "-q", name]);
    let mut measured = std::process::Command::new("python3");
    measured
        .args(["-c", script])
        .arg(pull.get_program())
        .args(pull.get_args());
    for (variable, value) in pull.get_envs() {
        match value {
            Some(value) => measured.env(variable, value),
            None => measured.env_remove(variable),
        };
    }
    let told = done(&mut measured).expect(0).stdout;
    told.lines().last().unwrap().parse().unwrap()
}

/// Most MiB of memory of a pull, however large its layers are.
const MEMORY: u64 = 100;

#[test]
fn pull_of_a_large_layer_takes_little_memory() {
    let registry = Registry::start();
    let archive = format!(
        "oci-archive:{}:latest",
        coracle_tests::sample("debian").display()
    );
    registry.copy(&archive, "debian", &[]);
    let user = User::new();
    let name = registry.name("debian");
    let most = memory_of_pull(&user, &name);
    assert!(most < MEMORY << 10, "{most} KiB");
    assert!(user.inspect(&name)["Size"].as_u64().unwrap() > 100 << 20);
}

#[test]
fn pull_of_a_layer_that_is_mostly_no_file_takes_little_memory() {
    let registry = Registry::start();
    let mut layer = layer("a", b"a");
    // Behind the end of the archive, where nobody looks; it belongs to what is saved all the same.
    layer.tar.extend(super::noise(11, 150 << 20));
    layer.blob.clone_from(&layer.tar);
    registry.push("noise", "latest", &image("amd64", vec![layer]));
    let user = User::new();
    let name = registry.name("noise");
    let most = memory_of_pull(&user, &name);
    assert!(most < MEMORY << 10, "{most} KiB");
    let path = user.path("saved.tar").display().to_string();
    let _ = user.coracle(&["save", "-o", &path, &name]).expect(0);
    assert!(std::fs::metadata(&path).unwrap().len() > 150 << 20);
    let _ = User::new().coracle(&["load", "-i", &path]).expect(0);
}
