use super::*;
use crate::json;

fn body(text: &str) -> Body {
    json::parse(text.as_bytes()).unwrap()
}

/// As docker's command sends it for `run -it --rm`: nearly everything is there, and means nothing.
const USUAL: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":true,"AttachStdout":true,
"AttachStderr":true,"Tty":true,"OpenStdin":true,"StdinOnce":true,"Env":null,"Cmd":["sh"],"Image":"busybox",
"Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},"HostConfig":{"Binds":null,
"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{},
"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"VolumeDriver":"","VolumesFrom":null,
"ConsoleSize":[40,120],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],
"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"",
"Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"",
"UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"",
"BlkioWeight":0,"BlkioWeightDevice":[],"CpuPeriod":0,"CpuQuota":0,"CpusetCpus":"","CpusetMems":"",
"Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,
"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"MaskedPaths":null,
"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,
"Aliases":null,"MacAddress":"","DriverOpts":null}}}}"#;

#[test]
fn usual_body_is_understood_and_nothing_of_it_refused() {
    let body = body(USUAL);
    assert!(body.tty && body.open_stdin && body.stdin_once);
    assert_eq!(body.cmd, Some(Command::Words(vec!["sh".into()])));
    assert_eq!(body.entrypoint, None);
    assert_eq!(body.host_config.console_size, [40, 120]);
    let request = request(&body, "").unwrap();
    assert_eq!(warnings(&body, &request), [""; 0]);
}

#[test]
fn command_may_be_a_word_and_fields_be_unknown() {
    let body = body(r#"{"Image":"x","Cmd":"true","Entrypoint":[""],"stdin":true,"name":"y"}"#);
    assert_eq!(body.cmd.unwrap().words(), ["true"]);
    assert_eq!(body.entrypoint.unwrap().words(), [""]);
}

#[test]
fn what_cannot_be_had_is_refused_by_its_flag() {
    for (host, word) in [
        (r#"{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}"#, "-p"),
        (r#"{"PublishAllPorts":true}"#, "-P"),
        (r#"{"Binds":["/a:/b"]}"#, "-v"),
        (
            r#"{"Mounts":[{"Type":"bind","Source":"/a","Target":"/b"}]}"#,
            "--mount",
        ),
        (r#"{"Mounts":[{"Type":"volume","Target":"/b"}]}"#, "--mount"),
        (r#"{"VolumesFrom":["x"]}"#, "--volumes-from"),
        (r#"{"Devices":[{"PathOnHost":"/dev/kvm"}]}"#, "--device"),
        (r#"{"DeviceRequests":[{"Count":-1}]}"#, "--gpus"),
        (r#"{"Links":["a:b"]}"#, "--link"),
        (r#"{"Dns":["1.1.1.1"]}"#, "--dns"),
        (r#"{"LogConfig":{"Type":"syslog"}}"#, "--log-driver"),
        (r#"{"PidMode":"container:x"}"#, "--pid"),
        (r#"{"UTSMode":"host"}"#, "--uts"),
        (r#"{"CpusetCpus":"0"}"#, "--cpuset-cpus"),
        (r#"{"Runtime":"nvidia"}"#, "--runtime"),
        (r#"{"MaskedPaths":[]}"#, "--security-opt"),
        (r#"{"ReadonlyPaths":["/sys"]}"#, "--security-opt"),
    ] {
        let text = format!(r#"{{"Image":"x","HostConfig":{host}}}"#);
        let error = request(&body(&text), "").unwrap_err();
        assert_eq!(error.status, 501, "{host}");
        assert!(error.message.contains(word), "{host}: {}", error.message);
    }
    let links = r#"{"EndpointsConfig":{"bridge":{"Links":["a:b"]}}}"#;
    let links = body(&format!(r#"{{"Image":"x","NetworkingConfig":{links}}}"#));
    assert!(request(&links, "").unwrap_err().message.contains("--link"));
    // As old clients have it.
    let address = body(r#"{"Image":"x","MacAddress":"02:42:ac:11:00:09"}"#);
    let error = request(&address, "").unwrap_err();
    assert!(error.message.contains("--mac-address"));
    let anonymous = body(r#"{"Image":"x","Volumes":{"/data":{}}}"#);
    assert!(request(&anonymous, "").is_err());
    let address = r#"{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"172.17.0.9"}}}}"#;
    let address = body(&format!(r#"{{"Image":"x","NetworkingConfig":{address}}}"#));
    assert!(request(&address, "").unwrap_err().message.contains("--ip"));
}

#[test]
fn null_takes_no_key_away() {
    let volumes = body(r#"{"Image":"x","Volumes":{"/data":null}}"#);
    assert_eq!(request(&volumes, "").unwrap_err().status, 501);
    let ports = body(r#"{"Image":"x","ExposedPorts":{"80/tcp":null},"Labels":{"a":null}}"#);
    let request = ports.request("").unwrap();
    assert!(request.exposed_ports.iter().any(|port| port == "80/tcp"));
    assert_eq!(request.labels["a"], "");
    let words = body(r#"{"Image":"x","Cmd":["a",null],"Env":[null]}"#);
    assert_eq!(words.cmd.unwrap().words(), ["a", ""]);
    assert_eq!(words.env, [""]);
}

#[test]
fn tmpfs_mounts_and_ports_that_are_only_exposed_are_no_reason() {
    let body = body(
        r#"{"Image":"x","ExposedPorts":{"80/tcp":{}},"HostConfig":{"PortBindings":{"80/tcp":null},
        "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":4096}}]}}"#,
    );
    assert!(request(&body, "").is_ok());
    assert_eq!(body.host_config.mounts[0].tmpfs_options.size_bytes, 4096);
}

#[test]
fn what_is_passed_over_is_said() {
    let body = body(r#"{"Image":"x","HostConfig":{"CpuShares":512,"MemorySwap":-1}}"#);
    let request = body.request("").unwrap();
    let warnings = warnings(&body, &request);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("CPU shares"));
}

#[test]
fn each_that_has_no_effect_is_said() {
    for host in [
        r#"{"MemorySwappiness":10}"#,
        r#"{"BlkioWeightDevice":[{"Path":"/dev/sda","Weight":10}]}"#,
        r#"{"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":10}]}"#,
        r#"{"BlkioDeviceWriteBps":[{"Path":"/dev/sda","Rate":10}]}"#,
        r#"{"BlkioDeviceReadIOps":[{"Path":"/dev/sda","Rate":10}]}"#,
        r#"{"BlkioDeviceWriteIOps":[{"Path":"/dev/sda","Rate":10}]}"#,
        r#"{"CpuRealtimePeriod":1000}"#,
        r#"{"CpuRealtimeRuntime":1000}"#,
    ] {
        let body = body(&format!(r#"{{"Image":"x","HostConfig":{host}}}"#));
        let request = request(&body, "").unwrap();
        assert_eq!(warnings(&body, &request).len(), 1, "{host}");
    }
}

#[test]
fn names_are_docker_s() {
    for name in ["ab", "a_b.c-d", "0x"] {
        assert_eq!(check_name(name), Ok(()));
    }
    for name in ["", "a", "-a", "a/b", "ä1", "a b", "_a"] {
        let error = check_name(name).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(
            error
                .message
                .starts_with(&format!("Invalid container name ({name}), only"))
        );
    }
}

#[test]
fn usual_body_asks_the_engine_for_a_terminal_and_its_end() {
    let request = body(USUAL).request("one").unwrap();
    assert_eq!((&*request.name, &*request.image), ("one", "busybox"));
    assert_eq!(request.cmd.unwrap(), ["sh"]);
    assert_eq!(request.entrypoint, None);
    assert!(request.tty && request.open_stdin && request.stdin_once);
    assert!(request.attach_stdin && request.attach_stdout && request.attach_stderr);
    let host = request.host_config;
    assert!(host.auto_remove);
    assert_eq!(host.console_size, [40, 120]);
    assert_eq!((host.cap_add, host.ulimits, host.binds), (None, None, None));
    assert!(request.networks.is_empty());
}

#[test]
fn words_amounts_and_mounts_reach_the_engine_as_they_are() {
    let body = body(
        r#"{"Image":"x","Entrypoint":["a","b"],"Cmd":"c","Labels":{"coracle.host":"blue"},
        "Healthcheck":{"Test":["NONE"],"Retries":2,"StartInterval":7},
        "NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["web","web"]}}},
        "HostConfig":{"NetworkMode":"bridge","Memory":67108864,"NanoCpus":1500000000,
        "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Isolation":"namespace",
        "Ulimits":[{"Name":"nofile","Soft":10,"Hard":-1}],"Tmpfs":{"/a":"size=1m"},
        "Mounts":[{"Type":"tmpfs","Target":"/c","TmpfsOptions":{"SizeBytes":4096,"Mode":448}}]}}"#,
    );
    let request = body.request("").unwrap();
    assert_eq!(request.entrypoint.unwrap(), ["a", "b"]);
    assert_eq!(request.cmd.unwrap(), ["c"]);
    assert_eq!(request.host.as_deref(), Some("blue"));
    assert_eq!(request.networks["bridge"].aliases, ["web"]);
    let check = request.healthcheck.unwrap();
    assert_eq!((check.retries, check.start_interval), (2, 7));
    let host = request.host_config;
    assert_eq!((host.memory, host.nano_cpus), (64 << 20, 1_500_000_000));
    assert_eq!(host.restart_policy.maximum_retry_count, 3);
    assert_eq!(host.ulimits.unwrap()[0].hard, -1);
    assert_eq!(host.tmpfs["/a"], "size=1m");
    assert_eq!(host.mounts[0].options["TmpfsOptions"]["SizeBytes"], 4096);
}

#[test]
fn what_clients_look_at_is_in_docker_s_words() {
    for (text, status, words) in [
        (r#"{"Cmd":["x"]}"#, 400, "no image specified"),
        (
            r#"{"Image":"x","HostConfig":{"Memory":4}}"#,
            400,
            "Minimum memory limit allowed is 6MB",
        ),
        (
            r#"{"Image":"x","HostConfig":{"NetworkMode":"mine"}}"#,
            400,
            "network mine not found",
        ),
    ] {
        let error = body(text).request("").unwrap_err();
        assert_eq!((error.status, &*error.message), (status, words));
    }
}
