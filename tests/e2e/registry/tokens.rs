//! Token servers.

use serde_json::json;

use super::{
    User,
    front::{Action, Front, Request},
    image, layer,
    server::Registry,
};

/// A registry that wants the token `ticket`, which its token server gives to whoever `is_known`.
fn with_tokens(
    registry: &Registry,
    is_known: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> Front {
    registry.push("boat", "latest", &image("amd64", vec![layer("a", b"a")]));
    Front::start(&registry.address, move |request, _| {
        if request.path.starts_with("/token") {
            if !is_known(request) {
                let body = json!({ "details": "no such boat" }).to_string();
                return Action::Answer("401 Unauthorized", Vec::new(), body);
            }
            let body = json!({ "token": "ticket", "expires_in": 60 }).to_string();
            return Action::Answer("200 OK", Vec::new(), body);
        }
        if request.header("authorization") == Some("Bearer ticket") {
            return Action::Pass;
        }
        let host = request.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"harbour\"");
        Action::Answer(
            "401 Unauthorized",
            vec![("www-authenticate", challenge)],
            String::new(),
        )
    })
}

#[test]
fn anonymous_token_is_asked_for_once() {
    let registry = Registry::start();
    let front = with_tokens(&registry, |_| true);
    let _ = User::new()
        .coracle(&["pull", &front.name("boat")])
        .expect(0);
    let tokens: Vec<_> = front
        .seen()
        .into_iter()
        .filter(|request| request.path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].path,
        "/token?service=harbour&scope=repository%3Aboat%3Apull"
    );
    assert_eq!(tokens[0].header("authorization"), None);
}

#[test]
fn password_goes_to_the_token_server_and_not_to_the_registry() {
    let registry = Registry::start();
    let front = with_tokens(&registry, |request| {
        request.header("authorization") == Some("Basic Ym9hdDpzZWNyZXQ=")
    });
    let user = User::new();
    let words = user
        .coracle(&["pull", &front.name("boat")])
        .expect(1)
        .stderr;
    assert!(
        words.contains("no such boat") && words.contains("coracle login"),
        "{words}"
    );
    let auths = json!({ "auths": { front.address.as_str(): { "auth": "Ym9hdDpzZWNyZXQ=" } } });
    user.write(".docker/config.json", &auths.to_string());
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
    let leaked = front.seen().into_iter().any(|request| {
        let basic = request
            .header("authorization")
            .is_some_and(|value| value.starts_with("Basic"));
        basic && !request.path.starts_with("/token")
    });
    assert!(!leaked);
}

#[test]
fn identity_token_is_exchanged_by_post() {
    let registry = Registry::start();
    let front = with_tokens(&registry, |request| {
        request.method == "POST"
            && request.body
                == "grant_type=refresh_token&service=harbour&client_id=coracle\
                    &scope=repository%3Aboat%3Apull&refresh_token=long%2Ftoken"
    });
    let user = User::new();
    let auths = json!({ "auths": { front.address.as_str(): { "identitytoken": "long/token" } } });
    user.write(".docker/config.json", &auths.to_string());
    let _ = user.coracle(&["pull", &front.name("boat")]).expect(0);
}

#[test]
fn token_servers_that_make_no_sense_are_refused_in_words() {
    let registry = Registry::start();
    for (realm, answer, words) in [
        ("http://token.example/", "", "not asked without TLS"),
        ("nowhere", "", "not asked without TLS"),
        ("self", "{}", "no token"),
        ("self", "{\"token\":\"a\\r\\nb: c\"}", "no token"),
        ("self", "boat", "not JSON"),
    ] {
        let front = Front::start(&registry.address, move |request, _| {
            if request.path.starts_with("/token") {
                return Action::Answer("200 OK", Vec::new(), answer.to_owned());
            }
            let host = request.header("host").unwrap();
            let realm = realm.replace("self", &format!("http://{host}/token"));
            let challenge = vec![("www-authenticate", format!("Bearer realm=\"{realm}\""))];
            Action::Answer("401 Unauthorized", challenge, String::new())
        });
        let done = User::new()
            .coracle(&["pull", &front.name("boat")])
            .expect(1);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}

#[test]
fn denial_without_a_challenge_is_one() {
    let registry = Registry::start();
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let front = Front::start(&registry.address, move |_, _| {
            Action::Answer(status, Vec::new(), String::new())
        });
        let done = User::new()
            .coracle(&["pull", &front.name("boat")])
            .expect(1);
        assert!(done.stderr.contains("denies access"), "{}", done.stderr);
    }
}

#[test]
fn unknown_way_of_authentication_is_named() {
    let registry = Registry::start();
    let front = Front::start(&registry.address, |_, _| {
        let challenge = vec![("www-authenticate", "Negotiate".to_owned())];
        Action::Answer("401 Unauthorized", challenge, String::new())
    });
    let words = User::new()
        .coracle(&["pull", &front.name("boat")])
        .expect(1)
        .stderr;
    assert!(words.contains("Negotiate"), "{words}");
}
