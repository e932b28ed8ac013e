//! `GET /version` and `GET /info`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{container::Status, time};

/// The version of the Engine API that answers are of, and the oldest that is spoken.
pub const API_VERSION: &str = "1.45";
/// Docker's own: a higher one would break clients that nobody updates.
pub const MIN_API_VERSION: &str = "1.24";

/// What is known of the program and the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// Coracle's version.
    pub version: String,
    /// The commit that it was built from; empty when unknown.
    pub commit: String,
    /// When it was built, RFC 3339; empty when unknown.
    pub built: String,
    /// Release of this machine's kernel.
    pub kernel: String,
    /// Architecture as `uname` says: `x86_64`.
    pub machine: String,
    /// Name of the operating system: `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// Its version: `12`.
    pub os_version: String,
    /// This machine's name.
    pub hostname: String,
    /// A stable ID of the installation.
    pub id: String,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Where everything is kept.
    pub root: String,
    /// Where each container is in its life.
    pub containers: Vec<Status>,
    /// Number of images.
    pub images: u64,
    /// Addresses of registries that stand before Docker Hub.
    pub mirrors: Vec<String>,
    /// Now, in nanoseconds since 1970.
    pub now: u64,
    /// Proxies, as the environment has them.
    pub proxies: Proxies,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Proxies of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Of plain HTTP.
    pub http: String,
    /// Of HTTPS.
    pub https: String,
    /// What is reached without one.
    pub none: String,
}

/// An architecture in Go's words: `amd64` for `x86_64`.
#[must_use]
pub fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        other => other,
    }
}

/// Docker's answer to `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Name of the product.
    pub platform: Platform,
    /// Its parts.
    pub components: Vec<Component>,
    /// Of the engine.
    pub version: String,
    /// Of the Engine API.
    pub api_version: &'static str,
    /// The oldest that is spoken.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: &'static str,
    /// The commit that it was built from.
    pub git_commit: String,
    /// Always empty here.
    pub go_version: String,
    /// In Go's words.
    pub os: &'static str,
    /// In Go's words.
    pub arch: String,
    /// Of this machine.
    pub kernel_version: String,
    /// When it was built.
    pub build_time: String,
}

/// Name of the product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// Shown above the versions.
    pub name: &'static str,
}

/// A part of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Component {
    /// Clients look for `Engine`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// Texts by name.
    pub details: BTreeMap<&'static str, String>,
}

/// Docker's answer to `version`.
#[must_use]
pub fn version(system: &System) -> Version {
    let arch = go_architecture(&system.machine);
    let details = BTreeMap::from([
        ("ApiVersion", API_VERSION.to_owned()),
        ("Arch", arch.into()),
        ("BuildTime", system.built.clone()),
        ("Experimental", "false".into()),
        ("GitCommit", system.commit.clone()),
        ("GoVersion", String::new()),
        ("KernelVersion", system.kernel.clone()),
        ("MinAPIVersion", MIN_API_VERSION.into()),
        ("Os", "linux".into()),
    ]);
    Version {
        platform: Platform { name: "Coracle" },
        components: vec![Component {
            name: "Engine",
            version: system.version.clone(),
            details,
        }],
        version: system.version.clone(),
        api_version: API_VERSION,
        min_api_version: MIN_API_VERSION,
        git_commit: system.commit.clone(),
        go_version: String::new(),
        os: "linux",
        arch: arch.into(),
        kernel_version: system.kernel.clone(),
        build_time: system.built.clone(),
    }
}

/// Docker's answer to `info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "dockerd's list of what a kernel can do"
)]
#[expect(
    missing_docs,
    reason = "keys of dockerd's answer, of which most are constants here"
)]
pub struct Info {
    #[serde(rename = "ID")]
    pub id: String,
    pub containers: usize,
    pub containers_running: usize,
    pub containers_paused: usize,
    pub containers_stopped: usize,
    pub images: u64,
    pub driver: &'static str,
    /// Nothing that clients could take for containerd's snapshotter, which they choose other exporters for.
    pub driver_status: Vec<[String; 2]>,
    pub plugins: Plugins,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    pub bridge_nf_iptables: bool,
    pub bridge_nf_ip6tables: bool,
    pub debug: bool,
    pub n_fd: u32,
    pub oom_kill_disable: bool,
    pub n_goroutines: u32,
    pub system_time: String,
    pub logging_driver: &'static str,
    pub cgroup_driver: &'static str,
    pub cgroup_version: &'static str,
    pub n_events_listener: u32,
    pub kernel_version: String,
    pub operating_system: String,
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    #[serde(rename = "OSType")]
    pub os_type: &'static str,
    pub architecture: String,
    pub index_server_address: &'static str,
    pub registry_config: RegistryConfig,
    #[serde(rename = "NCPU")]
    pub ncpu: u32,
    pub mem_total: u64,
    pub generic_resources: Option<Vec<String>>,
    pub docker_root_dir: String,
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    pub name: String,
    pub labels: Vec<String>,
    pub experimental_build: bool,
    pub server_version: String,
    pub runtimes: BTreeMap<&'static str, Runtime>,
    pub default_runtime: &'static str,
    pub swarm: Swarm,
    pub live_restore_enabled: bool,
    pub isolation: String,
    pub init_binary: &'static str,
    pub containerd_commit: Commit,
    pub runc_commit: Commit,
    pub init_commit: Commit,
    pub security_options: Vec<&'static str>,
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    pub warnings: Vec<String>,
}

/// Kinds of plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "names of plugins by their kind")]
pub struct Plugins {
    pub volume: Vec<&'static str>,
    pub network: Vec<&'static str>,
    pub authorization: Option<Vec<&'static str>>,
    pub log: Vec<&'static str>,
}

/// What is known of registries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "keys of dockerd's answer")]
pub struct RegistryConfig {
    #[serde(rename = "AllowNondistributableArtifactsCIDRs")]
    pub allow_nondistributable_artifacts_cidrs: Option<Vec<String>>,
    pub allow_nondistributable_artifacts_hostnames: Option<Vec<String>>,
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<&'static str>,
    pub index_configs: BTreeMap<&'static str, IndexConfig>,
    pub mirrors: Vec<String>,
}

/// What is known of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "keys of dockerd's answer")]
pub struct IndexConfig {
    pub name: &'static str,
    pub mirrors: Vec<String>,
    pub secure: bool,
    pub official: bool,
}

/// What runs containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// The program.
    pub path: &'static str,
}

/// That this is no swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "keys of dockerd's answer")]
pub struct Swarm {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_addr: String,
    pub local_node_state: &'static str,
    pub control_available: bool,
    pub error: String,
    pub remote_managers: Option<Vec<String>>,
}

/// A commit of a program that docker is built of; none here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "keys of dockerd's answer")]
pub struct Commit {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Expected")]
    pub expected: String,
}

/// Docker's answer to `info`.
#[must_use]
pub fn info(system: &System) -> Info {
    let count = |wanted: Status| {
        let containers = system.containers.iter();
        containers.filter(|status| **status == wanted).count()
    };
    let (paused, all) = (count(Status::Paused), system.containers.len());
    let running = count(Status::Running) + count(Status::Restarting);
    Info {
        id: system.id.clone(),
        containers: all,
        containers_running: running,
        containers_paused: paused,
        containers_stopped: all - running - paused,
        images: system.images,
        driver: crate::container::DRIVER,
        driver_status: Vec::new(),
        plugins: Plugins {
            volume: vec!["local"],
            network: vec!["bridge", "host", "null"],
            authorization: None,
            log: vec!["local"],
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: true,
        bridge_nf_iptables: false,
        bridge_nf_ip6tables: false,
        debug: false,
        n_fd: 0,
        oom_kill_disable: false,
        n_goroutines: 0,
        system_time: time::rfc3339(system.now),
        logging_driver: "local",
        cgroup_driver: "cgroupfs",
        cgroup_version: "2",
        n_events_listener: 0,
        kernel_version: system.kernel.clone(),
        operating_system: system.operating_system.clone(),
        os_version: system.os_version.clone(),
        os_type: "linux",
        architecture: system.machine.clone(),
        index_server_address: "https://index.docker.io/v1/",
        registry_config: registries(&system.mirrors),
        ncpu: system.cpus,
        mem_total: system.memory,
        generic_resources: None,
        docker_root_dir: system.root.clone(),
        http_proxy: system.proxies.http.clone(),
        https_proxy: system.proxies.https.clone(),
        no_proxy: system.proxies.none.clone(),
        name: system.hostname.clone(),
        labels: Vec::new(),
        experimental_build: false,
        server_version: system.version.clone(),
        runtimes: BTreeMap::from([(
            RUNTIME,
            Runtime {
                path: "coracle-vmm",
            },
        )]),
        default_runtime: RUNTIME,
        swarm: Swarm {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive",
            control_available: false,
            error: String::new(),
            remote_managers: None,
        },
        live_restore_enabled: true,
        isolation: String::new(),
        init_binary: "coracle-init",
        containerd_commit: Commit::default(),
        runc_commit: Commit::default(),
        init_commit: Commit::default(),
        security_options: vec!["name=seccomp,profile=builtin", "name=cgroupns"],
        cdi_spec_dirs: Vec::new(),
        warnings: system.warnings.clone(),
    }
}

/// What runs containers, in docker's `Runtime`.
pub const RUNTIME: &str = "coracle";

fn registries(mirrors: &[String]) -> RegistryConfig {
    let hub = IndexConfig {
        name: "docker.io",
        mirrors: mirrors.to_vec(),
        secure: true,
        official: true,
    };
    RegistryConfig {
        allow_nondistributable_artifacts_cidrs: None,
        allow_nondistributable_artifacts_hostnames: None,
        insecure_registry_cidrs: vec!["127.0.0.0/8"],
        index_configs: BTreeMap::from([("docker.io", hub)]),
        mirrors: mirrors.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn system() -> System {
        System {
            version: "0.1.0".into(),
            machine: "x86_64".into(),
            containers: vec![
                Status::Running,
                Status::Paused,
                Status::Exited,
                Status::Created,
            ],
            mirrors: vec!["http://127.0.0.1:5000/".into()],
            now: 1_796_110_682_677_368_292,
            ..System::default()
        }
    }

    #[test]
    fn version_is_what_clients_negotiate_by() {
        let value = serde_json::to_value(version(&system())).unwrap();
        assert_eq!(value["ApiVersion"], "1.45");
        assert_eq!(value["MinAPIVersion"], "1.24");
        assert_eq!(value["Arch"], "amd64");
        assert_eq!(value["Components"][0]["Name"], "Engine");
        assert_eq!(value["Components"][0]["Details"]["MinAPIVersion"], "1.24");
    }

    #[test]
    fn info_has_the_lists_and_words_that_clients_rely_on() {
        let value = serde_json::to_value(info(&system())).unwrap();
        for (pointer, expected) in [
            ("/Architecture", json!("x86_64")),
            ("/Containers", json!(4)),
            ("/ContainersRunning", json!(1)),
            ("/ContainersPaused", json!(1)),
            ("/ContainersStopped", json!(2)),
            ("/SystemTime", json!("2026-12-01T07:38:02.677368292Z")),
            ("/Swarm/LocalNodeState", json!("inactive")),
            ("/Swarm/RemoteManagers", json!(null)),
            ("/Plugins/Volume", json!(["local"])),
            ("/Plugins/Authorization", json!(null)),
            ("/DriverStatus", json!([])),
            ("/Labels", json!([])),
            (
                "/RegistryConfig/IndexConfigs/docker.io/Official",
                json!(true),
            ),
            (
                "/RegistryConfig/InsecureRegistryCIDRs",
                json!(["127.0.0.0/8"]),
            ),
            ("/NFd", json!(0)),
            ("/NGoroutines", json!(0)),
            ("/NEventsListener", json!(0)),
            ("/BridgeNfIp6tables", json!(false)),
            ("/CPUShares", json!(true)),
            ("/IPv4Forwarding", json!(true)),
            ("/OSType", json!("linux")),
            ("/DefaultRuntime", json!("coracle")),
            ("/Warnings", json!([])),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
    }
}
