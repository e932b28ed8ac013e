//! Names and passwords.

use std::{fs, os::unix::fs::PermissionsExt};

use coracle_tests::{done, done_with_input};
use serde_json::{Value, json};

use super::{
    User, image, layer,
    server::{Options, Registry},
};

/// A registry with a password, and an image in it.
fn locked() -> Registry {
    let registry = Registry::with(Options {
        password: true,
        ..Options::default()
    });
    registry.push("boat", "latest", &image("amd64", vec![layer("a", b"a")]));
    registry
}

#[test]
fn login_opens_a_registry_until_logout() {
    let registry = locked();
    let name = registry.name("boat");
    let user = User::new();
    let words = user.coracle(&["pull", &name]).expect(1).stderr;
    assert!(
        words.contains(&format!("coracle login {}", registry.address)),
        "{words}"
    );

    let login = ["login", &registry.address, "-u", "boat", "--password-stdin"];
    let wrong = done_with_input(&mut user.command(&login), b"wrong\n").expect(1);
    assert!(wrong.stderr.contains("denies access"), "{}", wrong.stderr);
    assert!(!user.path(".docker/config.json").exists());
    let right = done_with_input(&mut user.command(&login), b"secret\n").expect(0);
    assert_eq!(right.stdout, "Login Succeeded\n");
    let file = user.path(".docker/config.json");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        config["auths"][&registry.address]["auth"],
        "Ym9hdDpzZWNyZXQ="
    );
    let _ = user.coracle(&["pull", &name]).expect(0);

    let _ = user.coracle(&["logout", &registry.address]).expect(0);
    let _ = user.coracle(&["pull", &name]).expect(1);
}

#[test]
fn wrong_password_in_a_file_is_denied_and_not_tried_again_and_again() {
    let registry = locked();
    let user = User::new();
    let auths =
        json!({ "auths": { registry.address.as_str(): { "username": "boat", "password": "x" } } });
    user.write(".docker/config.json", &auths.to_string());
    let words = user
        .coracle(&["pull", &registry.name("boat")])
        .expect(1)
        .stderr;
    assert!(
        words.contains("denies access") && words.contains("log in again"),
        "{words}"
    );
}

#[test]
fn files_of_docker_and_podman_are_read() {
    let registry = locked();
    let auths = json!({ "auths": { registry.address.as_str(): { "auth": "Ym9hdDpzZWNyZXQ=" } } });
    let text = auths.to_string();
    for file in [".docker/config.json", ".config/containers/auth.json"] {
        let user = User::new();
        user.write(file, &text);
        let _ = user.coracle(&["pull", &registry.name("boat")]).expect(0);
    }
    for (variable, file) in [
        ("DOCKER_CONFIG", "d/config.json"),
        ("REGISTRY_AUTH_FILE", "d/auth"),
    ] {
        let user = User::new();
        let path = user.write(file, &text);
        let value = if variable == "DOCKER_CONFIG" {
            path.parent().unwrap()
        } else {
            &path
        };
        let mut command = user.command(&["pull", &registry.name("boat")]);
        let _ = done(command.env(variable, value)).expect(0);
    }
}

/// A credential helper that keeps what it is given in a file.
const HELPER: &str = "#!/bin/sh
store=$(dirname \"$0\")/kept
case $1 in
  store) cat >\"$store\" ;;
  erase) rm \"$store\" ;;
  get) cat \"$store\" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
esac
";

#[test]
fn credential_helper_keeps_the_password() {
    let registry = locked();
    let user = User::new();
    user.write(".docker/config.json", r#"{"credsStore":"test"}"#);
    let helper = user.write("bin/docker-credential-test", HELPER);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", user.path("bin").display());
    let pull = || {
        done(
            user.command(&["pull", &registry.name("boat")])
                .env("PATH", &path),
        )
    };
    let _ = pull().expect(1);
    let login = ["login", &registry.address, "-u", "boat", "--password-stdin"];
    let mut command = user.command(&login);
    let _ = done_with_input(command.env("PATH", &path), b"secret").expect(0);
    let kept = fs::read_to_string(user.path("bin/kept")).unwrap();
    assert!(kept.contains("secret"), "{kept}");
    let config = fs::read_to_string(user.path(".docker/config.json")).unwrap();
    assert_eq!(config, r#"{"credsStore":"test"}"#);
    let _ = pull().expect(0);
    let _ = done(
        user.command(&["logout", &registry.address])
            .env("PATH", &path),
    )
    .expect(0);
    assert!(!user.path("bin/kept").exists());

    user.write(".docker/config.json", r#"{"credsStore":"absent"}"#);
    let words = pull().expect(1).stderr;
    assert!(words.contains("docker-credential-absent"), "{words}");
}
