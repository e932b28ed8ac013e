use images::image::ContainerConfig;

use super::*;
use crate::containers::{HostConfig, Mount, RestartPolicy, Ulimit};

fn image() -> Image {
    Image {
        id: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
        reference: None,
        manifest: None,
        platform: images::image::Platform::of_this_machine(),
        created: String::new(),
        config: ContainerConfig {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["serve".into()]),
            env: vec!["A=1".into()],
            labels: BTreeMap::from([("of".into(), "image".into()), ("a".into(), "image".into())]),
            stop_signal: Some("SIGQUIT".into()),
            ..ContainerConfig::default()
        },
        layers: Vec::new(),
    }
}

fn made(edit: impl FnOnce(&mut CreateRequest)) -> Result<Config> {
    let mut request = CreateRequest {
        image: "image".into(),
        ..CreateRequest::default()
    };
    edit(&mut request);
    config(&request, &image(), (Mode::None, None))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).into()).collect()
}

#[test]
fn request_that_asks_for_nothing_is_dockers_default() {
    let config = made(|_| {}).unwrap();
    assert_eq!(config.spec.process.args, ["/entry", "serve"]);
    assert_eq!((config.stop_signal, config.stop_timeout), (3, 10));
    assert_eq!((config.memory, config.cpu, config.disk), (None, None, None));
    assert_eq!(config.restart, Restart::No);
    assert_eq!(config.spec.shm_size, SHM_SIZE);
    assert_eq!(config.spec.process.terminal, None);
    assert!(!config.spec.user_namespace);
    assert_eq!(config.timeout, None);
}

#[test]
fn entry_point_and_command_are_merged_as_docker_merges_them() {
    for (entrypoint, cmd, expected) in [
        (None, None, Some(&["/entry", "serve"][..])),
        (None, Some(&["x"][..]), Some(&["/entry", "x"])),
        (Some(&["sh", "-c"][..]), None, Some(&["sh", "-c"])),
        (Some(&["sh", "-c"]), Some(&["x"]), Some(&["sh", "-c", "x"])),
        (Some(&[""]), Some(&["x"]), Some(&["x"])),
        (Some(&[""]), None, None),
        (Some(&[]), None, Some(&["serve"])),
    ] {
        let config = made(|request| {
            request.entrypoint = entrypoint.map(words);
            request.cmd = cmd.map(words);
        });
        let args = config.ok().map(|config| config.spec.process.args);
        assert_eq!(args, expected.map(words), "{entrypoint:?} {cmd:?}");
    }
}

#[test]
fn labels_and_stop_signal_of_the_request_win() {
    let config = made(|request| {
        request.labels = BTreeMap::from([("a".into(), "own".into())]);
        request.stop_signal = Some("TERM".into());
        request.stop_timeout = Some(-1);
    })
    .unwrap();
    assert_eq!(config.labels["a"], "own");
    assert_eq!(config.labels["of"], "image");
    assert_eq!(
        (config.stop_signal, config.stop_timeout),
        (15, values::FOREVER)
    );
}

#[test]
fn amounts_are_dockers() {
    type Edit = fn(&mut HostConfig);
    /// Thousandths of a processor, and bytes.
    type Amounts = (Option<u64>, Option<u64>);
    let cases: [(Edit, Option<Amounts>); 10] = [
        (
            |host| host.nano_cpus = 1_500_000_000,
            Some((Some(1500), None)),
        ),
        (|host| host.nano_cpus = 1, Some((Some(1), None))),
        (|host| host.cpu_quota = 50_000, Some((Some(500), None))),
        (|host| host.cpu_quota = -1, Some((None, None))),
        (
            |host| (host.cpu_quota, host.cpu_period) = (20_000, 10_000),
            Some((Some(2000), None)),
        ),
        (
            |host| (host.cpu_quota, host.nano_cpus) = (1, 1_000_000_000),
            None,
        ),
        (|host| host.nano_cpus = -1, None),
        (|host| host.memory = 64 << 20, Some((None, Some(64 << 20)))),
        (|host| host.memory = 1 << 20, None),
        (|host| host.memory = -1, None),
    ];
    for (number, (edit, expected)) in cases.into_iter().enumerate() {
        let config = made(|request| edit(&mut request.host_config));
        let amounts = config.map(|config| (config.cpu, config.memory));
        match expected {
            Some(expected) => assert_eq!(amounts.unwrap(), expected, "{number}"),
            None => assert_eq!(amounts.unwrap_err().kind(), Invalid, "{number}"),
        }
    }
}

#[test]
fn words_that_are_none_are_refused_as_invalid() {
    type Edit = fn(&mut CreateRequest);
    let cases: [(Edit, &str); 11] = [
        (|request| request.env = words(&["=x"]), "NAME=VALUE"),
        (|request| request.stop_signal = Some("X".into()), "signal"),
        (
            |request| request.host_config.cap_add = Some(words(&["X"])),
            "capability",
        ),
        (
            |request| request.host_config.security_opt = Some(words(&["x"])),
            "security option",
        ),
        (
            |request| request.host_config.extra_hosts = Some(words(&["x"])),
            "NAME:ADDRESS",
        ),
        (
            |request| request.host_config.ulimits = Some(vec![Ulimit::default()]),
            "ulimit",
        ),
        (
            |request| {
                request
                    .host_config
                    .tmpfs
                    .insert("run".into(), String::new());
            },
            "tmpfs",
        ),
        (
            |request| request.host_config.sysctls = BTreeMap::from([(String::new(), "1".into())]),
            "kernel setting",
        ),
        (
            |request| request.host_config.restart_policy.name = "sometimes".into(),
            "restart policy",
        ),
        (|request| request.host_config.shm_size = -1, "/dev/shm"),
        (|request| request.working_dir = "x".into(), "absolute"),
    ];
    for (edit, expected) in cases {
        let error = made(edit).unwrap_err();
        assert_eq!(error.kind(), Invalid, "{error}");
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn container_that_removes_itself_is_not_started_again() {
    let with = |name: &str| {
        made(|request| {
            request.host_config.auto_remove = true;
            request.host_config.restart_policy = RestartPolicy {
                name: name.into(),
                maximum_retry_count: 0,
            };
        })
    };
    assert!(with("no").is_ok());
    assert!(with("").is_ok());
    assert!(with("always").is_err());
}

#[test]
fn terminal_has_the_size_that_is_given_or_the_usual_one() {
    let size = |console_size| {
        let config = made(|request| {
            request.tty = true;
            request.host_config.console_size = console_size;
        });
        let size = config.unwrap().spec.process.terminal.unwrap();
        (size.rows, size.columns)
    };
    assert_eq!(size([50, 132]), (50, 132));
    assert_eq!(size([0, 0]), (24, 80));
}

#[test]
fn temporary_file_systems_of_both_forms_are_mounted() {
    let config = made(|request| {
        request.host_config.tmpfs = BTreeMap::from([("/run".into(), "size=1m".into())]);
        request.host_config.mounts = vec![Mount {
            kind: "tmpfs".into(),
            target: "/cache".into(),
            read_only: true,
            options: BTreeMap::from([(
                "TmpfsOptions".into(),
                serde_json::json!({"SizeBytes": 4096, "Mode": 0o1777}),
            )]),
            ..Mount::default()
        }];
    });
    let mounts = config.unwrap().spec.mounts;
    let has = |target: &str, option: &str| {
        let is = |mount: &&container::spec::Mount| mount.target == target;
        let mount = mounts.iter().find(is).unwrap();
        mount.options.iter().any(|other| other == option)
    };
    assert!(has("/run", "size=1m"));
    assert!(has("/cache", "size=4096") && has("/cache", "mode=1777") && has("/cache", "ro"));
}

#[test]
fn container_is_made_again_from_its_record() {
    let first = made(|request| {
        request.hostname = "here".into();
        request.env = words(&["A=2", "B"]);
        request.cmd = Some(words(&["x"]));
        request.open_stdin = true;
        request.healthcheck = Some(crate::containers::Healthcheck {
            test: words(&["CMD", "true"]),
            retries: 2,
            ..Default::default()
        });
        let host = &mut request.host_config;
        host.memory = 64 << 20;
        host.cap_drop = Some(words(&["ALL"]));
        host.sysctls = BTreeMap::from([("net/core/somaxconn".into(), "9".into())]);
        host.storage_opt = BTreeMap::from([("memory".into(), "1m".into())]);
    });
    let text = serde_json::to_string(&first.unwrap()).unwrap();
    let first: Config = serde_json::from_str(&text).unwrap();
    let asked = first.asked.clone().unwrap();
    let image = Image {
        config: asked.image,
        ..image()
    };
    let mut again = config(&asked.request, &image, (Mode::None, None)).unwrap();
    (again.id, again.created) = (first.id.clone(), first.created);
    again.spec.id.clone_from(&first.spec.id);
    assert_eq!(again, first);
}

#[test]
fn record_keeps_entry_point_and_command_apart() {
    let config = made(|request| request.cmd = Some(words(&["x"]))).unwrap();
    let asked = config.asked.unwrap();
    assert_eq!(asked.request.entrypoint, None);
    assert_eq!(asked.request.cmd, Some(words(&["x"])));
    assert_eq!(asked.image.entrypoint, Some(words(&["/entry"])));
}

#[test]
fn request_is_read_with_fields_missing_and_with_unknown_ones() {
    let text = r#"{"image": "a", "later": 1, "host_config": {"memory": 5, "later": {}}}"#;
    let request: CreateRequest = serde_json::from_str(text).unwrap();
    assert_eq!((&*request.image, request.host_config.memory), ("a", 5));
    // What asks for nothing takes no room in a record.
    let text = serde_json::to_string(&CreateRequest::default()).unwrap();
    assert_eq!(text, r#"{"image":""}"#);
}
