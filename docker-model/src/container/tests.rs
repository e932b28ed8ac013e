//! Answers against what dockerd 26.1.5 said of the same containers.

use serde_json::{Value, json};

use super::*;
use crate::time::SECOND;

pub(super) const ID: &str = "452cebf1e45e528f664fdea201c25fcd1bdca8a9356b3d36257b47ab82572c04";
const IMAGE: &str = "sha256:6e6efb3435ca0656c72e306ffc5f9370180833f9fedf6e0e39996265a264cdc5";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `docker run -d --name gold1 --label a=b alpine:3.10 sh -c '…'`
pub(super) fn running() -> Container {
    let command = strings(&["sh", "-c", "echo out; echo err >&2; sleep 60"]);
    let mut config = Config {
        hostname: ID[..12].into(),
        cmd: Some(command.clone()),
        image: "alpine:3.10".into(),
        labels: Some([("a".into(), "b".into())].into()),
        ..Config::default()
    };
    config.take_from(&Config {
        env: Some(strings(&[PATH])),
        cmd: Some(strings(&["/bin/sh"])),
        ..Config::default()
    });
    let mut host_config = HostConfig {
        network_mode: "default".into(),
        ..HostConfig::default()
    };
    host_config.complete();
    Container {
        id: ID.into(),
        name: "gold1".into(),
        created: 1_796_110_682_740_714_250,
        image_id: IMAGE.into(),
        args: command,
        config,
        host_config,
        life: Life {
            status: Status::Running,
            pid: 14696,
            started: 1_796_110_683_002_782_110,
            ..Life::default()
        },
        networks: [("bridge".into(), bridge())].into(),
        log_path: "/log".into(),
        ..Container::default()
    }
}

fn bridge() -> Network {
    Network {
        id: id_of("bridge").into(),
        address: Some(Address {
            address: [172, 17, 0, 5],
            prefix: 16,
            gateway: [172, 17, 0, 1],
            hardware: [2, 0x42, 172, 17, 0, 5],
        }),
        ..Network::default()
    }
}

pub(super) fn stopped() -> Container {
    let mut container = running();
    container.life.status = Status::Exited;
    container.life.pid = 0;
    container.life.exit_code = 137;
    container.life.finished = container.life.started + 10 * SECOND;
    container
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn keys(text: &str) -> Vec<String> {
    // In their order, which a map of serde_json would lose.
    let mut depth = 0;
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        let (mark, after) = rest[at..].split_at(1);
        rest = after;
        match mark {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {
                let (word, after) = rest.split_once('"').unwrap();
                rest = after;
                if depth == 1 && rest.starts_with(':') {
                    found.push(word.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn inspect_has_dockerds_keys_in_its_order() {
    let expected = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount \
                    Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts \
                    Config NetworkSettings Coracle";
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(keys(&text(&inspect(&running()))), expected);
}

#[test]
fn state_is_dockerds() {
    assert_eq!(
        text(&inspect(&running()).state),
        r#"{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":14696,"ExitCode":0,"Error":"","StartedAt":"2026-12-01T07:38:03.00278211Z","FinishedAt":"0001-01-01T00:00:00Z"}"#
    );
    let state = inspect(&stopped()).state;
    assert_eq!(
        (state.running, state.status, state.exit_code),
        (false, "exited", 137)
    );
    assert_eq!(state.finished_at, "2026-12-01T07:38:13.00278211Z");
    let mut container = running();
    for (status, running, paused, restarting) in [
        (Status::Created, false, false, false),
        (Status::Paused, true, true, false),
        (Status::Restarting, true, false, true),
    ] {
        container.life.status = status;
        let state = inspect(&container).state;
        assert_eq!(
            (state.running, state.paused, state.restarting),
            (running, paused, restarting)
        );
    }
}

#[test]
fn health_is_there_with_a_health_check_only() {
    let mut container = running();
    container.life.health = Some(Health {
        status: "starting",
        failing_streak: 0,
        log: Vec::new(),
    });
    let state = text(&inspect(&container).state);
    assert!(
        state.ends_with(r#","Health":{"Status":"starting","FailingStreak":0,"Log":[]}}"#),
        "{state}"
    );
}

#[test]
fn host_config_is_dockerds() {
    let HostConfig { .. } = running().host_config;
    assert_eq!(
        text(&running().host_config),
        r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"bridge","PortBindings":null,"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"private","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"private","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":67108864,"Runtime":"coracle","Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}"#
    );
}

#[test]
fn what_a_client_asked_for_is_shown_as_dockerd_shows_it() {
    // The parts of a body of docker's command in which it asks for something.
    let body = json!({
        "Binds": ["v1:/d", "/tmp:/h:ro"], "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": null, "Devices": [],
        "Dns": [], "Init": true, "LogConfig": {"Config": {"max-size": "1m"}, "Type": ""}, "Memory": 67_108_864,
        "MemorySwappiness": -1, "Mounts": [{"Target": "/t", "Type": "tmpfs"}], "NanoCpus": 1_500_000_000,
        "NetworkMode": "default", "PidsLimit": 0, "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"MaximumRetryCount": 3, "Name": "on-failure"}, "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/x": ""}, "Ulimits": [{"Hard": 20, "Name": "nofile", "Soft": 10}], "Unknown": {"a": 1},
    });
    let mut config: HostConfig = serde_json::from_value(body).unwrap();
    config.complete();
    let shown = text(&config);
    for part in [
        r#""Binds":["v1:/d","/tmp:/h:ro"]"#,
        r#""LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}"#,
        r#""NetworkMode":"bridge","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#,
        r#""RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}"#,
        r#""CapAdd":["CAP_NET_ADMIN"],"CapDrop":null"#,
        r#""Dns":[],"DnsOptions":null"#,
        r#""SecurityOpt":["no-new-privileges"],"Tmpfs":{"/x":""},"UTSMode":"""#,
        r#""Memory":67108864,"NanoCpus":1500000000"#,
        r#""Devices":[],"DeviceCgroupRules":null"#,
        r#""MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":[{"Name":"nofile","Hard":20,"Soft":10}]"#,
        r#""IOMaximumBandwidth":0,"Mounts":[{"Type":"tmpfs","Target":"/t"}],"MaskedPaths""#,
        r#""Init":true}"#,
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn bodies_may_have_null_wherever_docker_takes_it() {
    let body = json!({
        "HostConfig": null, "Hostname": null, "Env": null, "Cmd": "top", "Entrypoint": null, "Labels": null,
        "ExposedPorts": null, "Volumes": null, "Tty": null, "Healthcheck": {"Test": null, "Interval": null},
    });
    let config: Config = serde_json::from_value(body).unwrap();
    assert_eq!(config.cmd, Some(strings(&["top"])));
    // Every key of what is written for nothing, with null for its value.
    for written in [text(&HostConfig::default()), text(&Config::default())] {
        let nulls: serde_json::Map<String, Value> = keys(&written)
            .into_iter()
            .map(|key| (key, Value::Null))
            .collect();
        let nulls = Value::Object(nulls);
        assert!(
            serde_json::from_value::<HostConfig>(nulls.clone())
                .is_ok_and(|read| read == HostConfig::default())
        );
        assert!(
            serde_json::from_value::<Config>(nulls).is_ok_and(|read| read == Config::default())
        );
    }
}

#[test]
fn config_is_dockerds() {
    assert_eq!(
        text(&running().config),
        format!(
            r#"{{"Hostname":"452cebf1e45e","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["{PATH}"],"Cmd":["sh","-c","echo out; echo err >&2; sleep 60"],"Image":"alpine:3.10","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{{"a":"b"}}}}"#
        )
    );
    let everything = Config {
        exposed_ports: Some([("80/tcp".into(), crate::null::Empty {})].into()),
        healthcheck: Some(Healthcheck {
            test: strings(&["CMD", "true"]),
            interval: 1_000_000_000,
            timeout: 1_000_000_000,
            retries: 3,
            ..Healthcheck::default()
        }),
        stop_signal: Some("SIGQUIT".into()),
        stop_timeout: Some(-1),
        shell: Some(strings(&["/bin/sh"])),
        ..Config::default()
    };
    let shown = text(&everything);
    for part in [
        r#""AttachStderr":false,"ExposedPorts":{"80/tcp":{}},"Tty":false"#,
        r#""Env":null,"Cmd":null,"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Timeout":1000000000,"Retries":3},"Image":"""#,
        r#""OnBuild":null,"Labels":null,"StopSignal":"SIGQUIT","StopTimeout":-1,"Shell":["/bin/sh"]}"#,
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

fn image() -> Config {
    Config {
        user: "www".into(),
        env: Some(strings(&["PATH=/bin", "A=1"])),
        entrypoint: Some(strings(&["/entry"])),
        cmd: Some(strings(&["serve"])),
        working_dir: "/srv".into(),
        labels: Some([("of".into(), "image".into()), ("a".into(), "image".into())].into()),
        exposed_ports: Some([("80/tcp".into(), crate::null::Empty {})].into()),
        volumes: Some([("/data".into(), crate::null::Empty {})].into()),
        stop_signal: Some("SIGQUIT".into()),
        healthcheck: Some(Healthcheck {
            test: strings(&["CMD", "true"]),
            retries: 5,
            ..Healthcheck::default()
        }),
        ..Config::default()
    }
}

fn taken(mut config: Config) -> Config {
    config.take_from(&image());
    config
}

#[test]
fn command_of_the_image_goes_with_its_entry_point() {
    let words = |entrypoint: Option<&[&str]>, cmd: Option<&[&str]>| {
        let config = taken(Config {
            entrypoint: entrypoint.map(strings),
            cmd: cmd.map(strings),
            ..Config::default()
        });
        (config.entrypoint, config.cmd)
    };
    let (entry, serve) = (Some(strings(&["/entry"])), Some(strings(&["serve"])));
    assert_eq!(words(None, None), (entry.clone(), serve.clone()));
    assert_eq!(words(None, Some(&["x"])), (entry, Some(strings(&["x"]))));
    assert_eq!(words(Some(&["sh"]), None), (Some(strings(&["sh"])), None));
    // One that is empty takes the image's away.
    assert_eq!(
        words(Some(&[""]), Some(&["x"])),
        (None, Some(strings(&["x"])))
    );
    assert_eq!(words(Some(&[]), None), (None, serve));
}

#[test]
fn what_the_user_does_not_say_is_the_images() {
    let config = taken(Config {
        env: Some(strings(&["A=2", "B=3"])),
        labels: Some([("a".into(), "user".into())].into()),
        healthcheck: Some(Healthcheck {
            interval: 7,
            ..Healthcheck::default()
        }),
        ..Config::default()
    });
    assert_eq!(config.env, Some(strings(&["A=2", "B=3", "PATH=/bin"])));
    let labels = [("a".into(), "user".into()), ("of".into(), "image".into())];
    assert_eq!(config.labels, Some(labels.into()));
    assert_eq!((&*config.user, &*config.working_dir), ("www", "/srv"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    let health = config.healthcheck.unwrap();
    assert_eq!(
        (health.test, health.interval, health.retries),
        (strings(&["CMD", "true"]), 7, 5)
    );
    assert_eq!(text(&config.volumes), r#"{"/data":{}}"#);
    // Labels are never null in a container.
    let mut bare = Config::default();
    bare.take_from(&Config::default());
    assert_eq!(text(&bare.labels), "{}");
}

const DOWN: &str = r#""EndpointID":"","Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","MacAddress":"""#;

#[test]
fn network_settings_are_dockerds() {
    let bridge = id_of("bridge");
    let expected = format!(
        r#"{{"Bridge":"","SandboxID":"{ID}","SandboxKey":"","Ports":{{}},"HairpinMode":false,"LinkLocalIPv6Address":"","LinkLocalIPv6PrefixLen":0,"SecondaryIPAddresses":null,"SecondaryIPv6Addresses":null,"EndpointID":"{ID}","Gateway":"172.17.0.1","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPAddress":"172.17.0.5","IPPrefixLen":16,"IPv6Gateway":"","MacAddress":"02:42:ac:11:00:05","Networks":{{"bridge":{{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"02:42:ac:11:00:05","NetworkID":"{bridge}","EndpointID":"{ID}","Gateway":"172.17.0.1","IPAddress":"172.17.0.5","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DriverOpts":null,"DNSNames":null}}}}}}"#
    );
    assert_eq!(text(&inspect(&running()).network_settings), expected);
    // One that is down is in its network, without an address.
    let down = text(&inspect(&stopped()).network_settings);
    assert!(down.contains(DOWN), "{down}");
    assert!(
        down.contains(&format!(
            r#""NetworkID":"{bridge}","EndpointID":"","Gateway":"","IPAddress":"""#
        )),
        "{down}"
    );
    assert!(down.contains(r#""SandboxID":"""#), "{down}");
}

#[test]
fn old_fields_are_of_the_default_bridge_only() {
    let mut container = running();
    let mut network = bridge();
    network.aliases = Some(strings(&["web"]));
    network.dns_names = Some(strings(&["web", "452cebf1e45e"]));
    container.networks = [("mine".into(), network)].into();
    let settings = text(&inspect(&container).network_settings);
    assert!(settings.contains(DOWN), "{settings}");
    assert!(
        settings.contains(r#""mine":{"IPAMConfig":null,"Links":null,"Aliases":["web"]"#),
        "{settings}"
    );
    assert!(
        settings.contains(r#""DNSNames":["web","452cebf1e45e"]"#),
        "{settings}"
    );
}

#[test]
fn every_exposed_port_is_there_while_it_is_up() {
    let mut container = running();
    let exposed = ["80/tcp", "53/udp"].map(|port| (port.into(), crate::null::Empty {}));
    container.config.exposed_ports = Some(exposed.into());
    let binding = |ip: &str| PortBinding {
        host_ip: ip.into(),
        host_port: "18081".into(),
    };
    container.published = [("80/tcp".into(), vec![binding("0.0.0.0"), binding("::")])].into();
    assert_eq!(
        text(&inspect(&container).network_settings.ports),
        r#"{"53/udp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"18081"},{"HostIp":"::","HostPort":"18081"}]}"#
    );
    assert_eq!(
        text(&list(&Summary::from(&container), 0).ports),
        r#"[{"PrivatePort":53,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":18081,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":18081,"Type":"tcp"}]"#
    );
    container.life.status = Status::Exited;
    assert_eq!(text(&inspect(&container).network_settings.ports), "{}");
    assert_eq!(text(&list(&Summary::from(&container), 0).ports), "[]");
}

#[test]
fn list_is_dockerds() {
    let now = 1_796_110_683_500_000_000;
    let bridge = id_of("bridge");
    assert_eq!(
        text(&list(&Summary::from(&running()), now)),
        format!(
            r#"{{"Id":"{ID}","Names":["/gold1"],"Image":"alpine:3.10","ImageID":"{IMAGE}","Command":"sh -c 'echo out; echo err >&2; sleep 60'","Created":1796110682,"Ports":[],"Labels":{{"a":"b"}},"State":"running","Status":"Up Less than a second","HostConfig":{{"NetworkMode":"bridge"}},"NetworkSettings":{{"Networks":{{"bridge":{{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"02:42:ac:11:00:05","NetworkID":"{bridge}","EndpointID":"{ID}","Gateway":"172.17.0.1","IPAddress":"172.17.0.5","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DriverOpts":null,"DNSNames":null}}}}}},"Mounts":[]}}"#
        )
    );
}

#[test]
fn sizes_are_there_when_they_were_asked_for() {
    let mut container = running();
    container.size = Some(Size {
        written: Some(5),
        root: 1_982_560,
    });
    let shown = text(&inspect(&container));
    assert!(
        shown.contains(r#""SizeRw":5,"SizeRootFs":1982560,"Mounts":[]"#),
        "{shown}"
    );
    let shown = text(&list(&Summary::from(&container), 0));
    assert!(
        shown.contains(r#""Ports":[],"SizeRw":5,"SizeRootFs":1982560,"Labels""#),
        "{shown}"
    );
}

#[test]
fn mounts_are_dockerds() {
    let mut container = running();
    container.mounts = vec![
        MountPoint {
            kind: "volume".into(),
            name: "v1".into(),
            source: "/var/lib/docker/volumes/v1/_data".into(),
            destination: "/d".into(),
            driver: "local".into(),
            mode: "z".into(),
            writable: true,
            propagation: String::new(),
        },
        MountPoint {
            kind: "bind".into(),
            source: "/tmp".into(),
            destination: "/h".into(),
            mode: "ro".into(),
            propagation: "rprivate".into(),
            ..MountPoint::default()
        },
    ];
    assert_eq!(
        text(&inspect(&container).mounts),
        r#"[{"Type":"volume","Name":"v1","Source":"/var/lib/docker/volumes/v1/_data","Destination":"/d","Driver":"local","Mode":"z","RW":true,"Propagation":""},{"Type":"bind","Source":"/tmp","Destination":"/h","Mode":"ro","RW":false,"Propagation":"rprivate"}]"#
    );
}

#[test]
fn command_lines_are_as_dockerd_joins_them() {
    for (args, line) in [
        (&["top"][..], "top"),
        (&["wc", "-c"], "wc -c"),
        (&["bash", "-c", "uname -a"], "bash -c 'uname -a'"),
        // Nothing is escaped.
        (
            &["/bin/sh", "-c", "trap 'echo no' TERM"],
            "/bin/sh -c 'trap 'echo no' TERM'",
        ),
        (&["a b"], "a b"),
        (&[], ""),
    ] {
        assert_eq!(command_line(&strings(args)), line);
    }
}

#[test]
fn statuses_are_in_dockerds_words() {
    let start = 1_796_110_683 * SECOND;
    let now = start + 130 * SECOND;
    let health = |status| {
        Some(Health {
            status,
            failing_streak: 0,
            log: Vec::new(),
        })
    };
    for (at, health, words) in [
        (Status::Created, None, "Created"),
        (Status::Running, None, "Up 2 minutes"),
        (
            Status::Running,
            health("starting"),
            "Up 2 minutes (health: starting)",
        ),
        (Status::Running, health("healthy"), "Up 2 minutes (healthy)"),
        (
            Status::Running,
            health("unhealthy"),
            "Up 2 minutes (unhealthy)",
        ),
        (Status::Paused, health("healthy"), "Up 2 minutes (Paused)"),
        (Status::Restarting, None, "Restarting (137) 10 seconds ago"),
        (Status::Exited, None, "Exited (137) 10 seconds ago"),
    ] {
        let life = Life {
            status: at,
            exit_code: 137,
            started: start,
            finished: now - 10 * SECOND,
            health,
            ..Life::default()
        };
        assert_eq!(status(&life, now), words);
    }
}

#[test]
fn ports_are_told_as_docker_s_table_has_them() {
    let text = |ports: &[(&str, &[(&str, &str)])]| {
        let all = ports.iter().map(|(port, bindings)| {
            let bindings = bindings.iter().map(|(ip, port)| PortBinding {
                host_ip: (*ip).into(),
                host_port: (*port).into(),
            });
            ((*port).into(), Some(bindings.collect()))
        });
        ports_text(&all.collect())
    };
    assert_eq!(text(&[]), "");
    assert_eq!(text(&[("80/tcp", &[])]), "80/tcp");
    let several: [(&str, &[(&str, &str)]); 6] = [
        ("9/tcp", &[]),
        ("10/tcp", &[]),
        ("11/tcp", &[]),
        ("13/tcp", &[]),
        ("10/udp", &[]),
        ("80/tcp", &[("0.0.0.0", "8080"), ("::", "8080")]),
    ];
    assert_eq!(
        text(&several),
        "9-11/tcp, 13/tcp, 10/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    );
    let own: [(&str, &[(&str, &str)]); 2] = [
        ("80/tcp", &[("0.0.0.0", "80")]),
        ("81/tcp", &[("0.0.0.0", "81")]),
    ];
    assert_eq!(text(&own), "0.0.0.0:80-81->80-81/tcp");
}
