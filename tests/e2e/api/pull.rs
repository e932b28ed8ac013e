//! `docker pull` from the suite's registry.

use super::{Api, clients};
use coracle_tests::{done, sample};

use crate::registry::{User, server::Registry};

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
