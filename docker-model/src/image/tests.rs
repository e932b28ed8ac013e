//! Answers against what dockerd 26.1.5 said of the same images.

use super::*;

const ID: &str = "sha256:6e6efb3435ca0656c72e306ffc5f9370180833f9fedf6e0e39996265a264cdc5";
const DIGEST: &str =
    "alpine@sha256:d6c53097e43a62b69c9d509a2a6b230103e5446fb618d09039989862afd19ab7";
const LAYER: &str = "sha256:b68973d1f319ae59e75f6240291a901d1b6644e8c49e180e0bf2c1770c2030c9";

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn inspect_is_dockerds() {
    let image = Image {
        id: ID.into(),
        tags: vec!["alpine:3.10".into()],
        digests: vec![DIGEST.into()],
        comment: "Imported from -".into(),
        created: "2026-12-01T06:44:39.380482698Z".into(),
        docker_version: "26.1.5+dfsg1".into(),
        config: Config {
            env: Some(vec!["PATH=/bin".into()]),
            cmd: Some(vec!["/bin/sh".into()]),
            ..Config::default()
        },
        architecture: "amd64".into(),
        os: "linux".into(),
        size: 1_982_560,
        layers: vec![LAYER.into()],
        ..Image::default()
    };
    assert_eq!(
        text(&inspect(&image)),
        format!(
            r#"{{"Id":"{ID}","RepoTags":["alpine:3.10"],"RepoDigests":["{DIGEST}"],"Parent":"","Comment":"Imported from -","Created":"2026-12-01T06:44:39.380482698Z","DockerVersion":"26.1.5+dfsg1","Author":"","Config":{{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}},"Architecture":"amd64","Os":"linux","Size":1982560,"GraphDriver":{{"Data":null,"Name":"erofs"}},"RootFS":{{"Type":"layers","Layers":["{LAYER}"]}},"Metadata":{{"LastTagTime":"0001-01-01T00:00:00Z"}},"Coracle":{{"Manifest":null,"Layers":[]}}}}"#
        )
    );
    let variant = Image {
        variant: "v8".into(),
        ..image
    };
    assert!(
        text(&inspect(&variant)).contains(r#""Architecture":"amd64","Variant":"v8","Os":"linux""#)
    );
}

#[test]
fn list_is_dockerds() {
    let image = Summary {
        id: ID.into(),
        tags: vec!["alpine:3.10".into()],
        digests: vec![DIGEST.into()],
        created: "2026-12-01T06:44:39.380482698Z".into(),
        size: 1_982_560,
        ..Summary::default()
    };
    assert_eq!(
        text(&list(&image)),
        format!(
            r#"{{"Containers":-1,"Created":1796107479,"Id":"{ID}","Labels":null,"ParentId":"","RepoDigests":["{DIGEST}"],"RepoTags":["alpine:3.10"],"SharedSize":-1,"Size":1982560}}"#
        )
    );
    // An image without a name has empty lists, and one of unknown age is as old as Go's zero time.
    let bare = text(&list(&Summary::default()));
    assert!(bare.contains(r#""RepoDigests":[],"RepoTags":[]"#), "{bare}");
    assert!(bare.contains(r#""Created":-62135596800"#), "{bare}");
}

#[test]
fn history_is_dockerds() {
    let tags = ["alpine:3.10".to_owned()];
    let newest = history(
        Some(ID),
        &tags,
        "2026-12-01T06:44:39.380482698Z",
        "",
        "Imported from -",
        1_982_560,
    );
    assert_eq!(
        text(&newest),
        format!(
            r#"{{"Comment":"Imported from -","Created":1796107479,"CreatedBy":"","Id":"{ID}","Size":1982560,"Tags":["alpine:3.10"]}}"#
        )
    );
    let below = history(None, &tags, "", "COPY . /", "", 0);
    assert_eq!((below.id.as_str(), below.tags), ("<missing>", None));
}
