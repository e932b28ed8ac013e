//! Certificates.

use serde_json::json;

use super::{
    User, image, layer,
    server::{Options, Registry},
};

fn with(options: Options) -> Registry {
    let registry = Registry::with(options);
    registry.push("boat", "latest", &image("amd64", vec![layer("a", b"a")]));
    registry
}

fn certificate(user: &User, registry: &Registry, name: &str, from: &str) {
    let path = format!(".config/containers/certs.d/{}/{name}", registry.address);
    user.write(&path, &registry.file(from));
}

#[test]
fn unknown_authority_is_refused_until_it_is_known_or_allowed() {
    let registry = with(Options {
        tls: true,
        ..Options::default()
    });
    let name = registry.name("boat");
    let user = User::new();
    let words = user.coracle(&["pull", &name]).expect(1).stderr;
    assert!(
        words.contains("certs.d") && words.contains("--tls-verify=false"),
        "{words}"
    );
    let _ = user
        .coracle(&["pull", "--tls-verify=false", &name])
        .expect(0);

    let user = User::new();
    certificate(&user, &registry, "ca.crt", "ca.crt");
    let _ = user.coracle(&["pull", &name]).expect(0);

    let user = User::new();
    user.settings(&json!({ "insecure": [registry.address] }));
    let _ = user.coracle(&["pull", &name]).expect(0);
    let _ = user
        .coracle(&["pull", "--tls-verify=true", &name])
        .expect(1);
}

#[test]
fn authority_of_the_system_is_known() {
    let registry = with(Options {
        tls: true,
        ..Options::default()
    });
    let user = User::new();
    let file = user.write("system.crt", &registry.file("ca.crt"));
    let mut command = user.command(&["pull", &registry.name("boat")]);
    let _ = coracle_tests::done(command.env("SSL_CERT_FILE", file)).expect(0);
}

#[test]
fn certificate_of_the_client_is_shown_where_it_is_wanted() {
    let registry = with(Options {
        client_certificate: true,
        ..Options::default()
    });
    let name = registry.name("boat");
    let user = User::new();
    certificate(&user, &registry, "ca.crt", "ca.crt");
    let words = user.coracle(&["pull", &name]).expect(1).stderr;
    assert!(words.contains("client.cert"), "{words}");
    certificate(&user, &registry, "client.cert", "client.crt");
    let words = user.coracle(&["pull", &name]).expect(1).stderr;
    assert!(
        words.contains("client.key") && words.contains("missing"),
        "{words}"
    );
    certificate(&user, &registry, "client.key", "server.key");
    let words = user.coracle(&["pull", &name]).expect(1).stderr;
    assert!(words.contains("client.cert"), "{words}");
    certificate(&user, &registry, "client.key", "client.key");
    let _ = user.coracle(&["pull", &name]).expect(0);
}
