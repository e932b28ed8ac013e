//! Events against dockerd 26.1.5's, and its filters.

use serde_json::{Value, json};

use super::*;

const ID: &str = "7a3ca6fb0a8c310ef6a333aff2271efb4192f4672e0a41a583f07a855b894b50";
const NOW: u64 = 1_796_110_676_535_899_562;

fn event(kind: &str, action: &str, attributes: &[(&str, &str)]) -> Event {
    let attributes = attributes
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Event::new(kind, ID, action, attributes.collect(), NOW)
}

fn of_container(action: &str) -> Event {
    event(
        "container",
        action,
        &[("image", "alpine:3.10"), ("name", "web"), ("a", "b")],
    )
}

#[test]
fn events_are_dockerds() {
    let created = of_container("create");
    let text = serde_json::to_string(&created).unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"status":"create","id":"{ID}","from":"alpine:3.10","Type":"container","Action":"create","Actor":{{"ID":"{ID}","Attributes":{{"a":"b","image":"alpine:3.10","name":"web"}}}},"scope":"local","time":1796110676,"timeNano":1796110676535899562}}"#
        )
    );
    assert_eq!(Event::read(&text), Some(created));
    let network = event(
        "network",
        "create",
        &[("name", "p3_default"), ("type", "bridge")],
    );
    assert_eq!(
        serde_json::to_string(&network).unwrap(),
        format!(
            r#"{{"Type":"network","Action":"create","Actor":{{"ID":"{ID}","Attributes":{{"name":"p3_default","type":"bridge"}}}},"scope":"local","time":1796110676,"timeNano":1796110676535899562}}"#
        )
    );
    assert_eq!(Event::read("{"), None);
    assert_eq!(Event::read("{}"), None);
}

#[test]
fn lines_for_people_have_every_attribute() {
    assert_eq!(
        of_container("die").line(),
        format!(
            "2026-12-01T07:37:56.535899562Z container die {ID} (a=b, image=alpine:3.10, name=web)"
        )
    );
}

fn matches(event: &Event, filters: &Value) -> bool {
    event.matches(&Filters::from_json(&filters.to_string()).unwrap())
}

#[test]
fn filters_hold_as_dockerds() {
    let exec = of_container("exec_start: sh -c true");
    for (filters, expected) in [
        (json!({}), true),
        (json!({"event": ["exec_start"]}), true),
        (json!({"event": ["exec_start: sh -c true"]}), true),
        (json!({"event": ["exec"]}), false),
        (json!({"event": ["start"]}), false),
        (json!({"event": ["start", "exec_start"]}), true),
        (json!({"type": ["container"]}), true),
        (json!({"type": ["image"]}), false),
        (json!({"container": ["web"]}), true),
        (json!({"container": [ID]}), true),
        (json!({"container": [&ID[..4]]}), true),
        (json!({"container": ["we"]}), false),
        (json!({"container": [""]}), false),
        (json!({"image": ["alpine:3.10"]}), true),
        (json!({"image": ["alpine"]}), true),
        (json!({"image": ["alp"]}), false),
        (json!({"label": {"a": true}}), true),
        (json!({"label": {"a=b": true, "a": true}}), true),
        (json!({"label": {"a=b": true, "c": true}}), false),
        (json!({"host": ["web"]}), false),
        (json!({"scope": ["local"]}), true),
        (json!({"scope": ["swarm"]}), false),
        (json!({"type": ["container"], "event": ["die"]}), false),
    ] {
        assert_eq!(matches(&exec, &filters), expected, "{filters}");
    }
}

#[test]
fn other_kinds_are_found_by_what_they_name() {
    let pull = Event::new(
        "image",
        "alpine:3.10",
        "pull",
        [("name".into(), "alpine".into())].into(),
        NOW,
    );
    assert!(matches(&pull, &json!({"image": ["alpine"]})));
    assert!(matches(&pull, &json!({"image": ["alpine:3.10"]})));
    assert!(!matches(&pull, &json!({"image": ["busybox"]})));
    let connect = event(
        "network",
        "connect",
        &[("container", "0123"), ("name", "mine")],
    );
    assert!(matches(&connect, &json!({"container": ["0123"]})));
    assert!(matches(&connect, &json!({"network": ["mine"]})));
    assert!(!matches(&connect, &json!({"network": ["other"]})));
    assert!(matches(
        &event("host", "start", &[("name", "blue")]),
        &json!({"host": ["blue"]})
    ));
}

#[test]
fn unknown_filters_are_refused() {
    let filters = Filters::from_pairs([("nope", "a")]);
    assert_eq!(
        check(&filters).unwrap_err().to_string(),
        "invalid filter 'nope'"
    );
}
