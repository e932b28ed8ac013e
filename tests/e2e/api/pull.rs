//! `docker pull` from the suite's registry.

use super::{Api, clients};
use coracle_tests::{done, sample};

use crate::registry::{
    User,
    front::{Action, Front},
    gzip, image, layer, noise,
    server::Registry,
    sha256,
};

#[test]
fn pull_is_told_as_docker_s_and_the_image_is_everybody_s() {
    let registry = Registry::start();
    let busybox = format!("oci-archive:{}", sample("busybox").display());
    registry.copy(&busybox, "boats/busybox:1", &[]);
    let name = registry.name("boats/busybox:1");
    let user = User::new();
    let api = Api::start_as(|arguments| user.command(arguments));
    let first = api.docker(&["pull", &name]).expect(0).stdout;
    assert!(first.contains("1: Pulling from boats/busybox\n"), "{first}");
    assert!(first.contains(": Pull complete\n"), "{first}");
    assert!(first.contains("Digest: sha256:"), "{first}");
    let status = format!("Status: Downloaded newer image for {name}\n");
    assert!(first.contains(&status), "{first}");
    for client in clients() {
        let again = done(&mut api.client(&client, &["pull", &name]))
            .expect(0)
            .stdout;
        assert!(
            again.contains(&format!("Status: Image is up to date for {name}\n")),
            "{again}"
        );
    }
    assert_eq!(user.inspect(&name)["RepoTags"][0], name);
    // One that is not there is an error before anything is told.
    let missing = registry.name("boats/nothing:1");
    let answer = api.ask("POST", &format!("/images/create?fromImage={missing}"), "");
    assert_eq!(answer.status, 404, "{answer:?}");
    let missing = api.docker(&["pull", &missing]).expect(1);
    assert!(
        missing.stderr.contains("manifest for"),
        "{}",
        missing.stderr
    );
}

#[test]
fn pull_ends_with_its_client_and_the_next_one_goes_on_where_it_ended() {
    let registry = Registry::start();
    let boat = image("amd64", vec![gzip(layer("a", &noise(3, 3 << 20)))]);
    registry.push("boat", "latest", &boat);
    let digest = sha256(&boat.layers[0].blob);
    let slow = digest.clone();
    let front = Front::start(&registry.address, move |request, before| {
        match request.path.ends_with(&slow) && before == 0 {
            // So slowly that the whole takes half a day.
            true => Action::Drip(1_000_000),
            false => Action::Pass,
        }
    });
    let user = User::new();
    let api = Api::start_as(|arguments| user.command(arguments));
    let target = format!("/images/create?fromImage={}", front.name("boat"));
    let mut client = api.send("POST", &target, "", "");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    while !String::from_utf8_lossy(&client.chunk()).contains("Downloading") {}
    drop(client);
    // It waits until the download is nobody's any more.
    let _ = api.docker(&["pull", &front.name("boat")]).expect(0);
    let second = front.blob(&digest)[1].clone();
    let from = second.header("range").unwrap_or_default();
    assert!(from.starts_with("bytes="), "{second:?}");
    assert!(user.files("partial").is_empty());
}
