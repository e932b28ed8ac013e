//! Mirrors that go wrong: the registry itself is asked then, and nothing that they gave is kept.

use serde_json::json;

use super::{
    Image, User,
    front::{Action, Front, Request},
    gzip, image, layer, noise,
    server::Registry,
    sha256,
};

/// Bytes of the layer.
const LENGTH: usize = 3 << 20;

struct Scene {
    registry: Registry,
    image: Image,
    digest: String,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::start();
        let image = image("amd64", vec![gzip(layer("a", &noise(7, LENGTH)))]);
        registry.push("boat", "latest", &image);
        let digest = sha256(&image.layers[0].blob);
        Self {
            registry,
            image,
            digest,
        }
    }

    /// Pulls by a mirror and a registry that do so; gives both when the image is there and whole.
    fn pull(
        &self,
        mirror: impl Fn(&Request, usize) -> Action + Send + Sync + 'static,
        registry: impl Fn(&Request, usize) -> Action + Send + Sync + 'static,
    ) -> (Front, Front) {
        let mirror = Front::start(&self.registry.address, mirror);
        let own = Front::start(&self.registry.address, registry);
        let user = User::new();
        let mut mirrors = serde_json::Map::new();
        mirrors.insert(
            own.address.clone(),
            json!([format!("http://{}", mirror.address)]),
        );
        user.settings(&json!({ "mirrors": mirrors, "timeouts": { "stall": 1 } }));
        let _ = user.coracle(&["pull", &own.name("boat")]).expect(0);
        let layers = user.inspect(&own.name("boat"))["RootFS"]["Layers"].clone();
        assert_eq!(layers, json!([sha256(&self.image.layers[0].tar)]));
        let _ = user
            .coracle(&["image", "verify", &own.name("boat")])
            .expect(0);
        assert_eq!(user.files("partial").len(), 0);
        (mirror, own)
    }
}

/// Does something with one blob, and passes everything else on.
fn with_blob(digest: &str, action: Action) -> impl Fn(&Request, usize) -> Action + use<> {
    let digest = digest.to_owned();
    move |request, _| {
        if request.path.ends_with(&digest) {
            action.clone()
        } else {
            Action::Pass
        }
    }
}

#[test]
fn layer_that_a_mirror_breaks_off_is_had_from_the_registry_from_there_on() {
    let scene = Scene::new();
    for action in [
        Action::Truncate(1_000_000),
        Action::Stall(1_000_000),
        Action::Drip(1_000_000),
    ] {
        let (mirror, own) = scene.pull(with_blob(&scene.digest, action), |_, _| Action::Pass);
        assert_eq!(mirror.blob(&scene.digest).len(), 1);
        let asked = own.blob(&scene.digest);
        assert_eq!(asked.len(), 1);
        let range = asked[0].header("range").unwrap();
        let start: usize = range["bytes=".len()..range.len() - 1].parse().unwrap();
        assert!((1_000_000..1_100_000).contains(&start), "{range}");
    }
}

#[test]
fn layer_that_a_mirror_damages_is_had_from_the_registry_as_a_whole() {
    let scene = Scene::new();
    let (mirror, own) = scene.pull(
        with_blob(&scene.digest, Action::Corrupt(1_000_000)),
        |_, _| Action::Pass,
    );
    assert_eq!(mirror.blob(&scene.digest).len(), 1);
    let asked = own.blob(&scene.digest);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("range"), None);
}

#[test]
fn layer_of_another_length_or_refused_by_a_mirror_is_had_from_the_registry() {
    let scene = Scene::new();
    let short = || Action::Answer("200 OK", Vec::new(), "boat".to_owned());
    let busy = || {
        let wait = vec![("retry-after", "0".to_owned())];
        Action::Answer("503 Service Unavailable", wait, String::new())
    };
    let denied = || Action::Answer("403 Forbidden", Vec::new(), String::new());
    for action in [short(), busy(), denied()] {
        let (mirror, own) = scene.pull(with_blob(&scene.digest, action), |_, _| Action::Pass);
        assert_eq!(mirror.blob(&scene.digest).len(), 1);
        assert_eq!(own.blob(&scene.digest).len(), 1);
    }
}

#[test]
fn damaged_or_short_documents_of_a_mirror_are_had_from_the_registry() {
    let scene = Scene::new();
    let config = sha256(&scene.image.config);
    for path in ["manifests/latest".to_owned(), config] {
        for action in [
            Action::Truncate(20),
            Action::Corrupt(20),
            Action::Corrupt(100),
            Action::Answer("200 OK", Vec::new(), "{}".to_owned()),
        ] {
            let (_, own) = scene.pull(with_blob(&path, action), |_, _| Action::Pass);
            let asked = own.seen();
            assert!(asked.iter().any(|request| request.path.ends_with(&path)));
        }
    }
}

#[test]
fn manifest_of_a_mirror_that_names_what_nobody_has_is_not_the_last_word() {
    let scene = Scene::new();
    let absent = sha256(b"what nobody has");
    let text = String::from_utf8(scene.image.manifest.clone()).unwrap();
    let text = text.replace(&scene.digest, &absent);
    scene.pull(
        move |request, _| {
            if request.path.ends_with("manifests/latest") {
                let media_type = vec![("content-type", super::MANIFEST.to_owned())];
                return Action::Answer("200 OK", media_type, text.clone());
            }
            Action::Pass
        },
        |_, _| Action::Pass,
    );
}

#[test]
fn range_that_cannot_be_satisfied_is_asked_for_as_a_whole() {
    let scene = Scene::new();
    let digest = scene.digest.clone();
    let front = Front::start(&scene.registry.address, move |request, before| {
        if !request.path.ends_with(&digest) {
            Action::Pass
        } else if before == 0 {
            Action::Truncate(1_000_000)
        } else if request.header("range").is_some() {
            Action::Answer("416 Range Not Satisfiable", Vec::new(), String::new())
        } else {
            Action::Pass
        }
    });
    let user = User::new();
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    assert_eq!(front.blob(&scene.digest).len(), 3);
    assert_eq!(user.files("partial").len(), 0);
}
