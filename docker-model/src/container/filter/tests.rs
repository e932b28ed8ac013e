//! Which containers a list shows.

use serde_json::{Value, json};

use super::*;
use crate::container::{
    Container, PortBinding, id_of,
    tests::{ID, running, stopped},
};

/// A container is named by when it was made; there is one image.
struct Things;

impl Named for Things {
    type Error = FilterError;

    fn created(&mut self, container: &str) -> Result<u64, FilterError> {
        Ok(container.parse().unwrap_or(0))
    }

    fn image(&mut self, name: &str) -> Result<Option<String>, FilterError> {
        Ok((name == "other:1").then(|| running().image_id))
    }
}

fn filter(json: Value) -> Result<Filter, FilterError> {
    Filter::new(Filters::from_json(&json.to_string())?, &mut Things)
}

fn is_shown(json: Value, container: &Container) -> bool {
    let seen = Seen {
        host: "blue",
        host_id: "00ff",
    };
    filter(json)
        .unwrap()
        .matches(&Summary::from(container), seen)
}

#[test]
fn filters_hold_as_dockerds() {
    let mut container = running();
    container.config.labels = Some([("a".into(), "b".into()), ("c".into(), String::new())].into());
    container.published = [(
        "80/tcp".into(),
        vec![PortBinding {
            host_ip: "::".into(),
            host_port: "8080".into(),
        }],
    )]
    .into();
    for (filter, expected) in [
        (json!({}), true),
        (json!({"name": ["gold"]}), true),
        (json!({"name": ["^/gold1$", "other"]}), true),
        (json!({"name": ["^old"]}), false),
        (json!({"id": [&ID[..6]]}), true),
        (json!({"id": ["ff"]}), false),
        (json!({"label": {"a=b": true, "c": true}}), true),
        (json!({"label": {"a=b": true, "d": true}}), false),
        (json!({"status": ["exited", "running"]}), true),
        (json!({"status": ["paused"]}), false),
        (json!({"exited": ["0"]}), false),
        (json!({"health": ["none"]}), true),
        (json!({"health": ["healthy"]}), false),
        (json!({"network": ["bridge"]}), true),
        (json!({"network": [&id_of("bridge")[..12]]}), true),
        (json!({"network": ["host"]}), false),
        (json!({"expose": ["80"]}), true),
        (json!({"expose": ["70-90/tcp"]}), true),
        (json!({"expose": ["80/udp"]}), false),
        (json!({"publish": ["8080"]}), true),
        (json!({"publish": ["80"]}), false),
        (json!({"host": ["blue"]}), true),
        (json!({"host": ["00"]}), true),
        (json!({"host": ["red"]}), false),
        (json!({"since": ["1"]}), true),
        (json!({"before": ["1"]}), false),
        (json!({"volume": ["/d"]}), false),
        (json!({"ancestor": ["alpine:3.10"]}), true),
        (
            json!({"ancestor": ["docker.io/library/alpine:3.10", "none"]}),
            true,
        ),
        (json!({"ancestor": ["alpine"]}), false),
        (json!({"ancestor": ["other:1"]}), true),
        (json!({"ancestor": ["6e6efb3435ca"]}), true),
        (json!({"name": ["gold"], "status": ["exited"]}), false),
    ] {
        assert_eq!(is_shown(filter.clone(), &container), expected, "{filter}");
    }
    assert!(is_shown(json!({"exited": ["1", "137"]}), &stopped()));
    assert!(filter(json!({"status": ["exited"]})).unwrap().wants_all());
    assert!(!filter(json!({"name": ["a"]})).unwrap().wants_all());
}

#[test]
fn filters_that_mean_nothing_are_refused() {
    for (wrong, words) in [
        (json!({"nope": ["a"]}), "invalid filter 'nope'"),
        (json!({"status": ["up"]}), "invalid filter 'status=up'"),
        (json!({"exited": ["x"]}), "invalid filter 'exited=x'"),
        (json!({"health": ["well"]}), "invalid filter 'health=well'"),
    ] {
        assert_eq!(filter(wrong).unwrap_err().to_string(), words);
    }
    assert!(filter(json!({"name": ["web["]})).is_err());
}

const IMAGE_ID: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn containers_are_found_by_the_name_of_their_image_with_and_without_a_tag() {
    let of = |value: &str, image: &str| Ancestor::known_as(value, None).is_of(image, IMAGE_ID);
    assert!(of("web", "web"));
    assert!(of("web", "web:latest"));
    assert!(of("web:latest", "docker.io/library/web"));
    assert!(of("localhost:5000/web:1", "localhost:5000/web:1"));
    assert!(!of("web", "web:1"));
    assert!(!of("web:1", "web"));
    assert!(!of("localhost", "localhost:5000/web:1"));
    assert!(!of("web", "myweb"));
}

#[test]
fn containers_are_found_by_the_id_of_their_image() {
    let known = Ancestor::known_as("web:2", Some(IMAGE_ID.into()));
    assert!(known.is_of("web:1", IMAGE_ID));
    assert!(!known.is_of("web:1", "sha256:ff"));
    let gone = |value: &str| Ancestor::known_as(value, None).is_of("web:1", IMAGE_ID);
    assert!(gone(IMAGE_ID));
    assert!(gone("001122334455"));
    assert!(gone("sha256:001122334455"));
    assert!(
        !gone("0011"),
        "too few digits to mean an image that is not there"
    );
    assert!(!gone("sha256:"));
    assert!(!gone("ff1122334455"));
}
