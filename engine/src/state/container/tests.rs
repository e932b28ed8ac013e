use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{ErrorKind, state::files::OtherVersion};

/// A record as the releases before requests were kept wrote it.
const OLD: &str = include_str!("old_record.json");

fn directories(root: &Path) -> Directories {
    Directories {
        data: root.into(),
        cache: root.into(),
        runtime: root.into(),
    }
}

fn config(id: &str, name: &str) -> Config {
    let mut config: Config = serde_json::from_str(OLD).unwrap();
    (config.id, config.name) = (id.repeat(64), name.into());
    config
}

/// Two containers, the second of which a later release has written.
fn with_a_later_one(root: &Path) -> Containers {
    let containers = Containers::new(&directories(root));
    containers.create(config("a", "first")).unwrap();
    let later = containers.create(config("b", "later")).unwrap();
    for file in ["config.json", "state.json"] {
        let path = later.directory().join(file);
        fs::write(path, r#"{"version": 2, "all": "different"}"#).unwrap();
    }
    containers
}

#[test]
fn record_of_an_earlier_release_is_read() {
    let config: Config = serde_json::from_str(OLD).unwrap();
    assert_eq!(config.version, VERSION);
    assert_eq!(config.asked, None);
    assert_eq!(config.spec.process.args, ["sh", "-c", "true"]);
}

/// Earlier releases kept the guest's own spec, and read it from a record of this one: what they need is there, by the
/// names that it had.
#[test]
fn record_has_the_form_that_earlier_releases_read() {
    let config: Config = serde_json::from_str(OLD).unwrap();
    let written = serde_json::to_value(&config).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(OLD).unwrap();
    // What a start fills in; they take its absence for these values.
    let spec = expected["spec"].as_object_mut().unwrap();
    assert_eq!(spec.remove("network").unwrap(), "None");
    let layer = spec["root"]["layers"][0].as_object_mut().unwrap();
    assert!(layer.remove("range").unwrap().is_null());
    assert_eq!(written, expected);
}

#[test]
fn guest_is_told_all_of_what_the_record_says() {
    use contracts::guest::{Network, Stdio};
    let config: Config = serde_json::from_str(OLD).unwrap();
    let spec = config.spec.for_guest(Network::Host, Stdio::default());
    let mut told = serde_json::to_value(spec).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(OLD).unwrap();
    assert_eq!(told["network"].take(), "Host");
    expected["spec"]["network"].take();
    assert_eq!(told, expected["spec"]);
}

#[test]
fn record_of_a_later_release_is_an_error_when_it_is_named() {
    let root = tempfile::tempdir().unwrap();
    let containers = with_a_later_one(root.path());
    let id = "b".repeat(64);
    for name in ["later", "bbb", &id] {
        let error = containers.find(name).unwrap_err();
        assert!(error.is::<OtherVersion>(), "{error:#}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Conflict);
    }
}

#[test]
fn record_of_a_later_release_hides_no_other() {
    let root = tempfile::tempdir().unwrap();
    let containers = with_a_later_one(root.path());
    let names: Vec<String> = containers
        .list()
        .unwrap()
        .into_iter()
        .map(|one| one.config.name)
        .collect();
    assert_eq!(names, ["first"]);
    let names: Vec<String> = containers
        .summaries()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["first"]);
    assert!(containers.list_all().is_err());
}

#[test]
fn name_in_use_and_an_ambiguous_id_are_errors_of_their_kinds() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::new(&directories(root.path()));
    let first = containers.create(config("a", "first")).unwrap();
    let error = containers.create(config("c", "first")).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Conflict);
    let error = containers.create(config("c", "-")).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    let mut other = config("a", "second");
    other.id.replace_range(60.., "0000");
    containers.create(other).unwrap();
    let error = containers.find("aaa").unwrap_err();
    assert!(error.to_string().contains("ambiguous"), "{error}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    assert_eq!(
        containers.find(&first.config.id).unwrap().config.name,
        "first"
    );
    let error = containers.find("nobody").unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::NotFound);
}

#[test]
fn ended_execs_are_of_the_last_life_and_outlive_their_container_for_a_while() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::new(&directories(root.path()));
    let remove = |id: &str, age: Duration| {
        let record = containers.create(config(id, &id.repeat(2))).unwrap();
        record.save_ended_execs(&["ended".to_owned()]).unwrap();
        let file = record.directory().join("execs.json");
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        let lock = record.keeper_lock().unwrap();
        containers.remove(&record, &lock).unwrap();
    };
    let known = |id: &str| {
        let all: Vec<String> = containers.ended_execs_of_removed(&id.repeat(32));
        all.len()
    };
    remove("a", Duration::ZERO);
    assert_eq!(known("a"), 1);
    let kept = root.path().join("containers/execs").join("a".repeat(64));
    let kept = fs::File::options().write(true).open(kept).unwrap();
    kept.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(known("a"), 0);
    // Each removal takes the old ones away, also one that leaves nothing.
    remove("b", Duration::from_secs(3600));
    assert_eq!(known("b"), 0);
    let execs = root.path().join("containers/execs");
    assert_eq!(fs::read_dir(execs).unwrap().count(), 0);
    remove("c", Duration::ZERO);
    assert_eq!(known("c"), 1);

    let record = containers.create(config("d", "dd")).unwrap();
    record.save_ended_execs(&["ended".to_owned()]).unwrap();
    assert_eq!(record.ended_execs::<String>(), ["ended"]);
    record.save_ended_execs::<String>(&[]).unwrap();
    assert!(record.ended_execs::<String>().is_empty());
}
