use super::*;

fn digest(digit: &str) -> Digest {
    format!("sha256:{}", digit.repeat(64)).parse().unwrap()
}

fn descriptor(os: &str, architecture: &str, variant: Option<&str>, digit: &str) -> Descriptor {
    let platform = Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    };
    Descriptor {
        media_type: String::new(),
        digest: digest(digit),
        size: 0,
        platform: Some(platform),
        annotations: None,
    }
}

fn platform(architecture: &str, variant: Option<&str>) -> Platform {
    let variant = variant.map(str::to_owned);
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant,
    }
}

#[test]
fn configuration_with_nulls_is_as_good_as_an_empty_one() {
    let text = br#"{"architecture":"amd64","os":"linux","history":null,"config":{"Env":null,
        "Cmd":null,"Entrypoint":[],"Labels":null,"Volumes":null,"ExposedPorts":null,"User":null,
        "WorkingDir":null,"OnBuild":null,"Healthcheck":null},"rootfs":{"type":"layers",
        "diff_ids":null}}"#;
    let config = ImageConfig::parse("c", text).unwrap();
    assert_eq!(config.config, ContainerConfig::default());
    assert_eq!(config.rootfs.diff_ids, []);
    let text = br#"{"config":null,"rootfs":{}}"#;
    assert_eq!(
        ImageConfig::parse("c", text).unwrap().config,
        ContainerConfig::default()
    );
}

#[test]
fn configuration_keeps_what_running_needs() {
    let text = br#"{"os":"linux","architecture":"arm64","variant":"v8","unknown":[1],"config":{
        "User":"1:2","Env":["A=b"],"Entrypoint":["/e"],"Cmd":"one","WorkingDir":"/w",
        "ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"StopSignal":"SIGINT","StopTimeout":3,
        "Labels":{"l":"m"},"Healthcheck":{"Test":["CMD","x"],"Interval":5}},
        "rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = ImageConfig::parse("c", text).unwrap();
    assert_eq!(config.platform().to_string(), "linux/arm64/v8");
    let config = config.config;
    assert_eq!(config.entrypoint.unwrap(), ["/e"]);
    assert_eq!(config.cmd.unwrap(), ["one"]);
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp"]);
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/v"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(config.stop_timeout, Some(3));
    assert_eq!(config.healthcheck.unwrap().interval, 5);
}

#[test]
fn configuration_that_cannot_be_run_is_refused() {
    let refused = |text: &str| {
        ImageConfig::parse("c", text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(r#"{"rootfs":{"type":"tree"}}"#).contains("only \"layers\" is known"));
    let zero = r#"{"config":{"Env":["A=\u0000"]},"rootfs":{}}"#;
    assert!(refused(zero).contains("zero byte"));
    let many = format!(
        r#"{{"rootfs":{{}},"history":[{}]}}"#,
        vec!["{}"; MAX_HISTORY + 1].join(",")
    );
    assert!(refused(&many).contains("history entries"));
    assert!(refused("{}").contains("malformed"));
}

#[test]
fn media_types_are_known_in_both_dialects() {
    for (text, meaning) in [
        (
            "application/vnd.docker.distribution.manifest.v2+json",
            MediaType::Document(DocumentKind::Manifest),
        ),
        (
            "application/vnd.oci.image.index.v1+json; charset=utf-8",
            MediaType::Document(DocumentKind::Index),
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            MediaType::Layer(LayerKind::Gzip),
        ),
        (
            "application/vnd.oci.image.layer.v1.tar+zstd",
            MediaType::Layer(LayerKind::Zstd),
        ),
    ] {
        assert_eq!(MediaType::parse(text), Some(meaning), "{text}");
    }
    assert_eq!(
        MediaType::parse("application/vnd.docker.distribution.manifest.v1+json"),
        None
    );
}

#[test]
fn fitting_variant_is_chosen_from_an_index() {
    let all = [
        descriptor("windows", "amd64", None, "1"),
        descriptor("linux", "arm", Some("v6"), "2"),
        descriptor("linux", "arm", Some("v7"), "3"),
        descriptor("linux", "arm64", Some("v8"), "4"),
        descriptor("linux", "amd64", None, "5"),
    ];
    let chosen = |wanted: Platform| wanted.select("i", &all).unwrap().digest.clone();
    assert_eq!(chosen(platform("amd64", None)), digest("5"));
    assert_eq!(chosen(platform("arm64", None)), digest("4"));
    assert_eq!(chosen(platform("arm", Some("v7"))), digest("3"));
    let error = platform("riscv64", None)
        .select("i", &all)
        .unwrap_err()
        .to_string();
    assert!(error.contains("windows/amd64, linux/arm/v6"), "{error}");
    assert!(error.contains("not for linux/riscv64"), "{error}");
}

#[test]
fn index_of_attestations_only_has_no_image() {
    let mut attestation = descriptor("unknown", "unknown", None, "1");
    let kind = (
        "vnd.docker.reference.type".to_owned(),
        "attestation-manifest".to_owned(),
    );
    attestation.annotations = Some([kind].into());
    let error = platform("amd64", None)
        .select("i", &[attestation])
        .unwrap_err();
    assert!(matches!(error, ImageError::EmptyIndex { .. }));
}
