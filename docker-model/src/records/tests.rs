//! Records of a container as docker's JSON.

use coracle_engine::state::MachineMode;
use images::image::ContainerConfig;
use serde_json::{Value, json};

use super::*;
use crate::container::{inspect, list};
use coracle_engine::state::container::{
    CreateRequest, Shown,
    spec::{Cpu, NoStreams, Process, Resources, Root, Shares, Spec, TerminalSize},
};

const ID: &str = "452cebf1e45e528f664fdea201c25fcd1bdca8a9356b3d36257b47ab82572c04";

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `create --name web -it --network bridge …` of an image, as its record is.
fn record() -> record::Config {
    record::Config {
        version: record::VERSION,
        id: ID.into(),
        name: "web".into(),
        created: 1_796_110_682_740_714_250,
        image: "alpine:3.10".into(),
        image_id: format!("sha256:{ID}"),
        layers: Vec::new(),
        labels: [("a".into(), "b".into())].into(),
        interactive: true,
        input_once: true,
        remove: true,
        log: LogPolicy::Local(10 << 20),
        restart: Restart::OnFailure(3),
        stop_signal: 15,
        stop_timeout: 10,
        timeout: None,
        memory: Some(64 << 20),
        cpu: Some(1500),
        disk: Some(1 << 30),
        kernel: None,
        machine: MachineMode::Auto,
        host: None,
        isolation: record::Isolation::Vm,
        network: Mode::Bridge,
        aliases: words(&["db"]),
        health: None,
        asked: None,
        spec: spec(),
    }
}

fn spec() -> Spec {
    Spec {
        id: ID.into(),
        root: Root {
            disk: 0,
            layers: Vec::new(),
            upper: Upper::Disk(1),
            read_only: true,
        },
        hostname: "web".into(),
        process: Process {
            args: words(&["sh", "-c", "a b"]),
            env: words(&["PATH=/bin"]),
            cwd: "/srv".into(),
            user: "www".into(),
            groups: words(&["audio"]),
            terminal: Some(TerminalSize {
                rows: 24,
                columns: 80,
            }),
            rlimits: vec![Rlimit {
                resource: 7,
                soft: 10,
                hard: u64::MAX,
            }],
            capabilities: capability::adjusted(&[1 << 12], &[1 << 27]),
            no_new_privileges: true,
            seccomp: SeccompProfile::Unconfined,
            init: true,
        },
        mounts: vec![Mount {
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            target: "/t".into(),
            options: words(&["nosuid", "nodev"]),
        }],
        shm_size: 1 << 20,
        masked_paths: words(&["/proc/kcore"]),
        readonly_paths: words(&["/proc/sys"]),
        sysctls: vec![("net.a".into(), "1".into())],
        resources: Resources {
            pids: Some(100),
            cpu: Some(Cpu {
                quota: 150_000,
                period: 100_000,
            }),
            ..Resources::default()
        },
        user_namespace: false,
        shares: Shares {
            ipc: true,
            ..Shares::default()
        },
        privileged: false,
        resolv_conf: None,
        extra_hosts: vec![("10.0.0.1".into(), "one".into())],
        no_streams: NoStreams::default(),
    }
}

fn state() -> record::State {
    record::State {
        status: record::Status::Running,
        keeper: 77,
        pid: 5,
        address: Some([172, 17, 0, 2]),
        started: 1_796_110_683_000_000_000,
        health: Some(Wellness::Healthy),
        ..record::State::new(Shown::from(&record()))
    }
}

fn shown(config: &record::Config, state: &record::State) -> Value {
    let around = record::Surroundings {
        log: "/log".into(),
        host: Some("blue".into()),
        jail: "seccomp, namespaces".into(),
        probes: vec![record::ProbeResult {
            start: 1_796_110_684_000_000_000,
            end: 1_796_110_684_500_000_000,
            exit_code: 0,
            output: "well\n".into(),
        }],
    };
    serde_json::to_value(inspect(&container(config, state, &around))).unwrap()
}

#[test]
fn everything_that_the_record_tells_is_shown_by_docker_s_name() {
    let value = shown(&record(), &state());
    for (pointer, expected) in [
        ("/Id", json!(ID)),
        ("/Name", json!("/web")),
        ("/Created", json!("2026-12-01T07:38:02.74071425Z")),
        ("/Path", json!("sh")),
        ("/Args", json!(["-c", "a b"])),
        ("/LogPath", json!("/log")),
        ("/State/Status", json!("running")),
        ("/State/Pid", json!(5)),
        ("/State/StartedAt", json!("2026-12-01T07:38:03Z")),
        ("/State/Health/Status", json!("healthy")),
        (
            "/State/Health/Log",
            json!([{
                "Start": "2026-12-01T07:38:04Z", "End": "2026-12-01T07:38:04.5Z",
                "ExitCode": 0, "Output": "well\n",
            }]),
        ),
        ("/HostConfig/AutoRemove", json!(true)),
        (
            "/HostConfig/RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 3}),
        ),
        (
            "/HostConfig/LogConfig",
            json!({"Type": "local", "Config": {"max-file": "2", "max-size": "10485760"}}),
        ),
        ("/HostConfig/NetworkMode", json!("bridge")),
        ("/HostConfig/CapAdd", json!(["CAP_NET_ADMIN"])),
        ("/HostConfig/CapDrop", json!(["CAP_MKNOD"])),
        ("/HostConfig/ExtraHosts", json!(["one:10.0.0.1"])),
        ("/HostConfig/GroupAdd", json!(["audio"])),
        ("/HostConfig/IpcMode", json!("host")),
        ("/HostConfig/PidMode", json!("")),
        ("/HostConfig/ReadonlyRootfs", json!(true)),
        (
            "/HostConfig/SecurityOpt",
            json!(["no-new-privileges", "seccomp=unconfined"]),
        ),
        ("/HostConfig/StorageOpt", json!({"size": "1073741824"})),
        ("/HostConfig/Tmpfs", json!({"/t": "nosuid,nodev"})),
        ("/HostConfig/ShmSize", json!(1 << 20)),
        ("/HostConfig/Sysctls", json!({"net.a": "1"})),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/MemorySwap", json!(64 << 20)),
        ("/HostConfig/NanoCpus", json!(1_500_000_000)),
        ("/HostConfig/PidsLimit", json!(100)),
        (
            "/HostConfig/Ulimits",
            json!([{"Name": "nofile", "Hard": -1, "Soft": 10}]),
        ),
        ("/HostConfig/MaskedPaths", json!(["/proc/kcore"])),
        ("/HostConfig/Init", json!(true)),
        ("/HostConfig/Runtime", json!("coracle")),
        ("/Config/Hostname", json!("web")),
        ("/Config/User", json!("www")),
        ("/Config/Tty", json!(true)),
        ("/Config/OpenStdin", json!(true)),
        ("/Config/StdinOnce", json!(true)),
        ("/Config/Image", json!("alpine:3.10")),
        ("/Config/WorkingDir", json!("/srv")),
        ("/Config/Labels", json!({"a": "b"})),
        ("/Config/StopSignal", Value::Null),
        ("/NetworkSettings/IPAddress", json!("172.17.0.2")),
        (
            "/NetworkSettings/Networks/bridge/Gateway",
            json!("172.17.0.1"),
        ),
        ("/NetworkSettings/Networks/bridge/Aliases", json!(["db"])),
        (
            "/NetworkSettings/Networks/bridge/DNSNames",
            json!(["web", "452cebf1e45e", "db"]),
        ),
        ("/Mounts", json!([])),
        (
            "/Coracle",
            json!({"Host": "blue", "Jail": ["seccomp", "namespaces"], "KeeperPid": 77}),
        ),
    ] {
        let found = value.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{pointer}");
    }
}

#[test]
fn what_was_not_asked_for_is_not_shown() {
    let mut config = record();
    config.spec.process.capabilities = capability::adjusted(&[], &[]);
    config.spec.process.rlimits.clear();
    config.spec.extra_hosts.clear();
    config.spec.mounts.clear();
    config.spec.root.upper = Upper::Tmpfs(None);
    config.disk = None;
    config.memory = None;
    config.network = Mode::None;
    config.aliases.clear();
    config.stop_signal = 3;
    config.stop_timeout = 1;
    let mut state = state();
    state.status = record::Status::Exited;
    state.health = None;
    let value = shown(&config, &state);
    for pointer in [
        "/State/Health",
        "/HostConfig/CapAdd",
        "/HostConfig/CapDrop",
        "/HostConfig/Ulimits",
        "/HostConfig/ExtraHosts",
        "/HostConfig/Tmpfs",
        "/HostConfig/StorageOpt",
        "/NetworkSettings/Networks/none/DNSNames",
        "/NetworkSettings/Networks/none/Aliases",
    ] {
        let found = value.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &Value::Null, "{pointer}");
    }
    assert_eq!(value["NetworkSettings"]["IPAddress"], "");
    assert_eq!(value["HostConfig"]["NetworkMode"], "none");
    assert_eq!(value["Config"]["StopSignal"], "3");
    assert_eq!(value["Config"]["StopTimeout"], 1);
    assert_eq!(value["Coracle"]["KeeperPid"], 0);
}

#[test]
fn lists_need_the_small_record_only() {
    let summary = summary(record::Summary {
        name: "web".into(),
        state: state(),
    });
    let now = 1_796_110_690_000_000_000;
    let row = serde_json::to_value(list(&summary, now)).unwrap();
    assert_eq!(row["Names"], json!(["/web"]));
    assert_eq!(row["Command"], "sh -c 'a b'");
    assert_eq!(row["Status"], "Up 7 seconds (healthy)");
    assert_eq!(row["Labels"], json!({"a": "b"}));
    assert_eq!(row["HostConfig"]["NetworkMode"], "bridge");
    assert_eq!(
        row["NetworkSettings"]["Networks"]["bridge"]["IPAddress"],
        "172.17.0.2"
    );
    assert_eq!(row["Created"], 1_796_110_682);
}

#[test]
fn lists_show_ports_of_what_runs() {
    let exposed = |status| {
        let mut known = record::Summary {
            name: "web".into(),
            state: state(),
        };
        known.state.status = status;
        known.state.shown = Shown::from(&kept());
        let row = list(&summary(known), 0);
        serde_json::to_value(row.ports).unwrap()
    };
    let port = json!([{"PrivatePort": 80, "Type": "tcp"}]);
    assert_eq!(exposed(record::Status::Running), port);
    assert_eq!(exposed(record::Status::Exited), json!([]));
}

/// The same container, whose record keeps what was asked for.
fn kept() -> record::Config {
    let mut config = record();
    let request = CreateRequest {
        image: "alpine:3.10".into(),
        cmd: Some(words(&["-c", "a b"])),
        env: words(&["A=1"]),
        open_stdin: true,
        tty: true,
        attach_stdout: true,
        stop_timeout: Some(10),
        exposed_ports: ["80/tcp".into()].into(),
        host_config: record::HostConfig {
            cap_add: Some(words(&["net_admin", "CAP_SYS_TIME", "all"])),
            cap_drop: Some(Vec::new()),
            memory: 64 << 20,
            pids_limit: Some(-1),
            log_config: record::LogConfig {
                kind: "json-file".into(),
                ..record::LogConfig::default()
            },
            port_bindings: [("80/tcp".into(), Vec::new())].into(),
            mounts: vec![record::Mount {
                kind: "tmpfs".into(),
                target: "/cache".into(),
                options: [("TmpfsOptions".into(), json!({"SizeBytes": 1}))].into(),
                ..record::Mount::default()
            }],
            ..record::HostConfig::default()
        },
        ..CreateRequest::default()
    };
    let image = ContainerConfig {
        entrypoint: Some(words(&["sh"])),
        cmd: Some(words(&["serve"])),
        env: words(&["PATH=/bin", "A=0"]),
        stop_signal: Some("SIGQUIT".into()),
        ..ContainerConfig::default()
    };
    config.asked = Some(Box::new(record::Asked { request, image }));
    config
}

#[test]
fn what_was_asked_for_is_shown_apart_from_what_came_of_it() {
    let value = shown(&kept(), &state());
    for (pointer, expected) in [
        ("/Path", json!("sh")),
        ("/Config/Entrypoint", json!(["sh"])),
        ("/Config/Cmd", json!(["-c", "a b"])),
        ("/Config/Env", json!(["A=1", "PATH=/bin"])),
        ("/Config/AttachStdout", json!(true)),
        ("/Config/AttachStdin", json!(false)),
        ("/Config/StopSignal", json!("SIGQUIT")),
        ("/Config/StopTimeout", json!(10)),
        ("/Config/ExposedPorts", json!({"80/tcp": {}})),
        ("/Config/Labels", json!({"a": "b"})),
        ("/Config/Hostname", json!("web")),
        (
            "/HostConfig/CapAdd",
            json!(["CAP_NET_ADMIN", "CAP_SYS_TIME", "ALL"]),
        ),
        ("/HostConfig/CapDrop", json!([])),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/PidsLimit", json!(null)),
        // The part of its host's disk, for which nobody asked.
        ("/HostConfig/StorageOpt", json!({"size": "1073741824"})),
        ("/HostConfig/Ulimits", json!(null)),
        (
            "/HostConfig/LogConfig",
            json!({"Type": "json-file", "Config": {}}),
        ),
        ("/HostConfig/PortBindings", json!({"80/tcp": []})),
        ("/HostConfig/IpcMode", json!("private")),
        ("/HostConfig/ShmSize", json!(64 << 20)),
        ("/HostConfig/Runtime", json!("coracle")),
        ("/HostConfig/NetworkMode", json!("bridge")),
        (
            "/HostConfig/Mounts",
            json!([{"Type": "tmpfs", "Target": "/cache", "TmpfsOptions": {"SizeBytes": 1}}]),
        ),
        (
            "/Mounts",
            json!([{"Type": "tmpfs", "Source": "", "Destination": "/cache", "Mode": "", "RW": true, "Propagation": ""}]),
        ),
        ("/NetworkSettings/Ports", json!({"80/tcp": null})),
    ] {
        let found = value.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{pointer}");
    }
}

/// A lookup that knows nothing.
struct Nothing;

impl crate::container::Named for Nothing {
    type Error = crate::filters::FilterError;

    fn created(&mut self, _: &str) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn image(&mut self, _: &str) -> Result<Option<String>, Self::Error> {
        Ok(None)
    }
}

#[test]
fn lists_show_what_runs_unless_more_is_asked_for() {
    let known = |name: &str, status| record::Summary {
        name: name.into(),
        state: record::State { status, ..state() },
    };
    let list = [
        known("one", record::Status::Running),
        known("two", record::Status::Exited),
        known("three", record::Status::Paused),
    ];
    let names = |filters: &[(&str, &str)], all, limit| -> Vec<String> {
        let filters = crate::filters::Filters::from_pairs(filters.iter().copied());
        let filter = Filter::new(filters, &mut Nothing).unwrap();
        let rows = rows(list.to_vec(), &[], &filter, all, limit);
        rows.map(|row| row.summary.name).collect()
    };
    assert_eq!(names(&[], false, None), ["one", "three"]);
    assert_eq!(names(&[], true, None), ["one", "two", "three"]);
    assert_eq!(names(&[], false, Some(2)), ["one", "two"]);
    assert_eq!(names(&[("status", "exited")], false, None), ["two"]);
    assert_eq!(names(&[("name", "t")], false, None), ["three"]);
    assert_eq!(names(&[("name", "t")], true, Some(1)), ["two"]);
}
