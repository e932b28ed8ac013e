use std::fs;

use super::*;
use crate::{ErrorKind, Settings, state::Directories};

fn engine(root: &std::path::Path) -> Engine {
    let directories = Directories {
        data: root.into(),
        cache: root.into(),
        runtime: root.into(),
    };
    Engine::open(Settings::new(directories)).unwrap()
}

#[test]
fn what_containers_of_a_later_release_need_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let container = root.path().join("containers").join("a".repeat(64));
    fs::create_dir_all(&container).unwrap();
    fs::write(container.join("config.json"), r#"{"version": 2}"#).unwrap();
    let images = engine(root.path()).images();
    let removed = images.remove("busybox", false).unwrap_err();
    let pruned = images.prune(true).unwrap_err();
    for error in [removed, pruned] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("later release"), "{error}");
    }
    // One that is damaged needs nothing.
    fs::write(container.join("config.json"), "{").unwrap();
    let error = images.remove("busybox", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(images.prune(true).is_ok());
}

#[test]
fn image_that_is_not_there_and_a_name_that_is_none_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let images = engine(root.path()).images();
    for (name, kind) in [
        ("busybox", ErrorKind::NotFound),
        ("Not A Name", ErrorKind::Invalid),
    ] {
        assert_eq!(images.find(name).unwrap_err().kind(), kind, "{name}");
        assert_eq!(images.inspect(name).unwrap_err().kind(), kind, "{name}");
    }
}

#[test]
fn registries_without_settings_of_the_users_check_certificates() {
    let settings = Registries::default().settings(Some(false)).unwrap();
    assert_eq!(settings.tls_verify, Some(false));
    assert!(settings.credentials.is_empty() && settings.mirrors.is_empty());
}
