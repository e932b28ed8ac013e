//! A network and a registry that go wrong.

use serde_json::json;

use super::{
    Image, User,
    front::{Action, Front, Request},
    gzip, image, layer, noise,
    server::Registry,
    sha256,
};

/// Bytes of the layer that goes wrong.
const LENGTH: usize = 3 << 20;

/// A registry with an image, and that image's layer.
fn scene() -> (Registry, Image, String) {
    let registry = Registry::start();
    let image = image("amd64", vec![gzip(layer("a", &noise(3, LENGTH)))]);
    registry.push("boat", "latest", &image);
    let digest = sha256(&image.layers[0].blob);
    (registry, image, digest)
}

/// A front that does something with the first requests for one blob.
fn front(
    registry: &Registry,
    digest: &str,
    plan: impl Fn(&Request, usize) -> Action + Send + Sync + 'static,
) -> Front {
    let digest = digest.to_owned();
    Front::start(&registry.address, move |request, before| {
        if request.path.ends_with(&digest) {
            plan(request, before)
        } else {
            Action::Pass
        }
    })
}

/// A front that gives the beginning of one blob once, and then nothing of it.
fn broken(registry: &Registry, digest: &str) -> Front {
    front(registry, digest, |_, before| match before {
        0 => Action::Truncate(1_200_000),
        _ => Action::Truncate(0),
    })
}

#[test]
fn broken_download_goes_on_where_it_ended() {
    let (registry, _, digest) = scene();
    let front = front(&registry, &digest, |_, before| match before {
        0 => Action::Truncate(1_000_000),
        1 => Action::Truncate(500_000),
        _ => Action::Pass,
    });
    let user = User::new();
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    let ranges: Vec<_> = front
        .blob(&digest)
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    let from = |start: usize| Some(format!("bytes={start}-"));
    assert_eq!(ranges, [None, from(1_000_000), from(1_500_000)]);
}

#[test]
fn silent_connection_is_given_up_and_taken_up_again() {
    let (registry, _, digest) = scene();
    let front = front(&registry, &digest, |_, before| match before {
        0 => Action::Stall(700_000),
        _ => Action::Pass,
    });
    let user = User::new();
    user.settings(&json!({ "timeouts": { "stall": 1 } }));
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    let second = front.blob(&digest)[1].clone();
    assert_eq!(second.header("range"), Some("bytes=700000-"));
}

#[test]
fn registry_without_ranges_is_read_from_the_beginning() {
    let (registry, _, digest) = scene();
    let front = front(&registry, &digest, |_, before| match before {
        0 => Action::Truncate(1_000_000),
        _ => Action::PassWhole,
    });
    let user = User::new();
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    assert_eq!(front.blob(&digest).len(), 2);
}

#[test]
fn busy_registry_is_asked_again() {
    let (registry, _, digest) = scene();
    let wait = || vec![("retry-after", "0".to_owned())];
    let front = front(&registry, &digest, move |_, before| match before {
        0 => Action::Answer("429 Too Many Requests", wait(), String::new()),
        1 => Action::Answer("500 Internal Server Error", Vec::new(), String::new()),
        2 => Action::Answer("503 Service Unavailable", wait(), String::new()),
        _ => Action::Pass,
    });
    let user = User::new();
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    assert_eq!(front.blob(&digest).len(), 4);
}

#[test]
fn registry_that_stays_busy_is_given_up_in_words() {
    let (registry, ..) = scene();
    let front = Front::start(&registry.address, |_, _| {
        let body =
            json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": "too many boats" }] });
        let wait = vec![("retry-after", "0".to_owned())];
        Action::Answer("429 Too Many Requests", wait, body.to_string())
    });
    let words = User::new()
        .coracle(&["pull", &front.name("boat")])
        .expect(1)
        .stderr;
    assert!(
        words.contains("429") && words.contains("too many boats"),
        "{words}"
    );
    assert!(words.contains("coracle login"), "{words}");
    assert_eq!(front.seen().len(), 5);
}

#[test]
fn download_that_never_ends_is_kept_for_the_next_pull() {
    let (registry, image, digest) = scene();
    let bad = broken(&registry, &digest);
    let user = User::new();
    let words = user.coracle(&["pull", &bad.name("boat")]).expect(1).stderr;
    assert!(words.contains("1200000 of"), "{words}");
    assert!(words.contains("pull again to go on"), "{words}");
    assert_eq!(user.files("partial").len(), 1);
    let good = front(&registry, &digest, |_, _| Action::Pass);
    let _ = user.coracle(&["pull", &good.name("boat")]).expect(0);
    assert_eq!(
        good.blob(&digest)[0].header("range"),
        Some("bytes=1200000-")
    );
    assert_eq!(user.files("partial").len(), 0);
    let layers = user.inspect(&good.name("boat"))["RootFS"]["Layers"].clone();
    assert_eq!(layers, json!([sha256(&image.layers[0].tar)]));
}

#[test]
fn damaged_beginning_is_fetched_again() {
    let (registry, _, digest) = scene();
    let bad = broken(&registry, &digest);
    let user = User::new();
    let _ = user.coracle(&["pull", &bad.name("boat")]).expect(1);
    let partial = user.store().join("partial").join(&user.files("partial")[0]);
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[600_000] ^= 1;
    std::fs::write(&partial, bytes).unwrap();
    let good = front(&registry, &digest, |_, _| Action::Pass);
    let _ = user.coracle(&["pull", &good.name("boat")]).expect(0);
    let last = good.blob(&digest).pop().unwrap();
    assert_eq!(last.header("range"), None);
}

#[test]
fn redirect_is_followed_without_credentials() {
    let (registry, _, digest) = scene();
    let storage = Front::start(&registry.address, |_, _| Action::Pass);
    let target = format!("http://{}", storage.address);
    let front = Front::start(&registry.address, move |request, _| {
        if request.header("authorization").is_none() {
            let challenge = vec![("www-authenticate", "Basic realm=\"boats\"".to_owned())];
            return Action::Answer("401 Unauthorized", challenge, String::new());
        }
        if request.is_blob() {
            let location = vec![("location", format!("{target}{}", request.path))];
            return Action::Answer("307 Temporary Redirect", location, String::new());
        }
        Action::Pass
    });
    let user = User::new();
    let auths = json!({ "auths": { front.address.as_str(): { "username": "boat", "password": "secret" } } });
    user.write(".docker/config.json", &auths.to_string());
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    assert!(
        front
            .blob(&digest)
            .iter()
            .any(|request| request.header("authorization").is_some())
    );
    let stored = storage.seen();
    assert!(!stored.is_empty());
    assert!(
        stored
            .iter()
            .all(|request| request.header("authorization").is_none()),
        "{stored:?}"
    );
}

#[test]
fn redirects_that_lead_astray_are_not_followed() {
    let (registry, ..) = scene();
    for (location, words) in [
        ("/v2/boat/manifests/latest", "more than 5 times"),
        ("http://registry.example/v2/", "plain HTTP"),
        ("file:///etc/passwd", "no address"),
        ("http://me:secret@127.0.0.1/", "a name and a password"),
    ] {
        let front = Front::start(&registry.address, move |_, _| {
            let location = vec![("location", location.to_owned())];
            Action::Answer("302 Found", location, String::new())
        });
        let done = User::new()
            .coracle(&["pull", &front.name("boat")])
            .expect(1);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}
