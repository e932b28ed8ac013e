//! What `inspect`, `ps`, `images` and `events` print, byte by byte, against what docker 26.1.5 prints of the same; where
//! an answer differs on purpose, the text below is ours (`docker-model/src/lib.rs` has the list and the reasons).

use std::fs;

use coracle_tests::Installation;

/// An installation with one container, which was not started; its ID.
fn with_a_container() -> (Installation, String) {
    let own = Installation::new(None);
    let create = ["create", "--name", "gold1", "--label", "a=b", "busybox"];
    let command = ["sh", "-c", "echo out; echo err >&2; sleep 60"];
    let made = own.run(&[&create[..], &command].concat()).expect(0);
    let id = made.stdout.trim().to_owned();
    (own, id)
}

/// A field of the container.
fn field(own: &Installation, field: &str) -> String {
    let format = format!("{{{{{field}}}}}");
    let told = own.run(&["inspect", "--format", &format, "gold1"]);
    told.expect(0).stdout.trim().to_owned()
}

/// The value of a key of JSON, as far as the next key.
fn part<'a>(json: &'a str, key: &str, next: &str) -> &'a str {
    let (_, rest) = json.split_once(&format!("\"{key}\":")).unwrap();
    rest.split_once(&format!(",\"{next}\":")).unwrap().0
}

#[test]
fn inspect_prints_a_container_as_docker_does() {
    let (own, id) = with_a_container();
    let told = own.run(&["inspect", "--format", "json", "gold1"]).expect(0);
    let told = told.stdout.trim();
    let image = field(&own, ".Image");
    assert!(image.starts_with("sha256:"), "{image}");
    assert!(
        told.starts_with(&format!("{{\"Id\":\"{id}\",\"Created\":\"")),
        "{told}"
    );
    assert!(told.contains(&format!(
        r#""Path":"sh","Args":["-c","echo out; echo err >&2; sleep 60"],"State":{{"Status":"created","Running":false,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":0,"Error":"","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}},"Image":"{image}","ResolvConfPath":"","HostnamePath":"","HostsPath":"","LogPath":"#
    )), "{told}");
    assert!(told.contains(
        r#","Name":"/gold1","RestartCount":0,"Driver":"erofs","Platform":"linux","MountLabel":"","ProcessLabel":"","AppArmorProfile":"","ExecIDs":null,"HostConfig":{"Binds":null,"#
    ), "{told}");
    // Between them the kernel's paths, which differ from one docker to the next.
    let host_config = part(told, "HostConfig", "MaskedPaths");
    assert_eq!(
        host_config,
        r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"local","Config":{"max-file":"2","max-size":"10485760"}},"NetworkMode":"none","PortBindings":null,"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"private","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"private","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":67108864,"Runtime":"coracle","Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0"#
    );
    assert!(
        told.contains(r#""GraphDriver":{"Data":null,"Name":"erofs"},"Mounts":[],"Config":"#),
        "{told}"
    );
    let hostname = &id[..12];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert!(
        told.contains(&format!(
            r#","Config":{{"Hostname":"{hostname}","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["{path}"],"Cmd":["sh","-c","echo out; echo err >&2; sleep 60"],"Image":"busybox","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{{"a":"b"}}}},"NetworkSettings":"#
        )),
        "{told}"
    );
    let network = r#"{"Bridge":"","SandboxID":"","SandboxKey":"","Ports":{},"HairpinMode":false,"LinkLocalIPv6Address":"","LinkLocalIPv6PrefixLen":0,"SecondaryIPAddresses":null,"SecondaryIPv6Addresses":null,"EndpointID":"","Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","MacAddress":"","Networks":{"none":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","NetworkID":"969cc54ea64d282a8e4e448d8b8bc31b51d3d3c8a585549ab35b44c394c55803","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DriverOpts":null,"DNSNames":null}}}"#;
    assert!(
        told.ends_with(&format!(
            r#""NetworkSettings":{network},"Coracle":{{"Host":null,"Jail":[],"KeeperPid":0}}}}"#
        )),
        "{told}"
    );
    // For people it is the same, in a list and over several lines.
    let pretty = own.run(&["inspect", "gold1"]).expect(0).stdout;
    assert!(
        pretty.starts_with(&format!(
            "[\n  {{\n    \"Id\": \"{id}\",\n    \"Created\": "
        )),
        "{pretty}"
    );
}

#[test]
fn inspect_tells_what_was_asked_for_from_what_the_image_says() {
    let own = Installation::new(None);
    let flags = "create -it --name asked -e A=1 --entrypoint /bin/sh --cap-add net_admin --memory 64m \
                 --stop-timeout 3 --stop-signal QUIT --ulimit nofile=10:20 --tmpfs /x:size=1m --restart on-failure:3 \
                 --health-cmd true --health-retries 5 --add-host one:10.0.0.1 --security-opt no-new-privileges \
                 --init --read-only busybox -c true";
    let _ = own
        .run(&flags.split_whitespace().collect::<Vec<_>>())
        .expect(0);
    let format = "{{.Path}} {{.Args}} {{json .Config}} {{json .HostConfig}}";
    let told = own
        .run(&["inspect", "--format", format, "asked"])
        .expect(0)
        .stdout;
    for part in [
        r#"/bin/sh ["-c","true"] {"Hostname":"#,
        r#""AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Tty":true,"OpenStdin":true,"StdinOnce":true,"Env":["A=1","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["-c","true"],"Healthcheck":{"Test":["CMD-SHELL","true"],"Retries":5},"Image":"busybox","Volumes":null,"WorkingDir":"","Entrypoint":["/bin/sh"],"OnBuild":null,"Labels":{},"StopSignal":"QUIT","StopTimeout":3}"#,
        r#""RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}"#,
        r#""CapAdd":["CAP_NET_ADMIN"],"CapDrop":null"#,
        r#""ExtraHosts":["one:10.0.0.1"]"#,
        r#""ReadonlyRootfs":true,"SecurityOpt":["no-new-privileges"],"Tmpfs":{"/x":"size=1m"}"#,
        r#""Memory":67108864,"NanoCpus":0"#,
        r#""Ulimits":[{"Name":"nofile","Hard":20,"Soft":10}]"#,
        r#""Init":true}"#,
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn inspect_prints_an_image_as_docker_does() {
    let own = Installation::new(None);
    let told = own
        .run(&["inspect", "--format", "json", "busybox"])
        .expect(0);
    let told = told.stdout.trim();
    assert!(
        told.contains(r#","RepoTags":["busybox:latest"],"RepoDigests":["#),
        "{told}"
    );
    assert!(told.contains(r#"],"Parent":"","Comment":""#), "{told}");
    assert!(told.contains(
        r#","Config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"],"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null},"Architecture":"#
    ), "{told}");
    assert!(told.contains(r#","GraphDriver":{"Data":null,"Name":"erofs"},"RootFS":{"Type":"layers","Layers":["sha256:"#), "{told}");
}

#[test]
fn lists_print_containers_and_images_as_docker_does() {
    let (own, id) = with_a_container();
    let short = &id[..12];
    let list = own.run(&["ps", "-a"]).expect(0).stdout;
    let age = |list: &str| {
        let (_, rest) = list.split_once("…\"  ").unwrap();
        rest.split_once("  ").unwrap().0.to_owned()
    };
    let created = age(&list);
    assert!(created.ends_with(" ago"), "{created}");
    let width = created.len().max("CREATED".len());
    assert_eq!(
        list,
        format!(
            "CONTAINER ID  IMAGE    COMMAND                 {:width$}  STATUS   PORTS  NAMES\n\
             {short}  busybox  \"sh -c 'echo out; ec…\"  {created}  Created         gold1\n",
            "CREATED"
        )
    );
    // What it would write is nowhere yet.
    let sized = own.run(&["ps", "-a", "--size"]).expect(0).stdout;
    let size = sized.lines().last().unwrap();
    assert!(
        sized.lines().next().unwrap().ends_with("  NAMES  SIZE"),
        "{sized}"
    );
    assert!(size.contains("  gold1  0B (virtual "), "{sized}");
    // An argument with a space is one.
    let whole = [
        "ps",
        "-a",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Command}} {{.Labels}}",
    ];
    assert_eq!(
        own.run(&whole).expect(0).stdout,
        format!("{id} \"sh -c 'echo out; echo err >&2; sleep 60'\" a=b\n")
    );
    let table = [
        "ps",
        "-a",
        "--format",
        "table {{.ID}}\\t{{.Names}}\\t{{.Status}}",
    ];
    assert_eq!(
        own.run(&table).expect(0).stdout,
        format!("CONTAINER ID  NAMES  STATUS\n{short}  gold1  Created\n")
    );
    let images = own.run(&["images"]).expect(0).stdout;
    let mut lines = images.lines();
    let headings = lines.next().unwrap().split_whitespace();
    assert!(
        headings.eq(["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]),
        "{images}"
    );
    let row = lines.next().unwrap();
    let image = field(&own, ".Image");
    let begins = format!("busybox     latest  {}  ", &image["sha256:".len()..][..12]);
    assert!(row.starts_with(&begins) && row.ends_with("MB"), "{images}");
}

#[test]
fn events_print_as_dockers_do() {
    let (own, id) = with_a_container();
    let past = ["events", "--since", "1h", "--until", "0s"];
    let lines = own.run(&past).expect(0).stdout;
    let (time, rest) = lines.split_once(' ').unwrap();
    assert_eq!(
        rest,
        format!("container create {id} (a=b, image=busybox, name=gold1)\n")
    );
    // Nine decimals, so that lines are aligned.
    assert!(
        time.ends_with('Z') && time.len() == "2026-12-01T07:38:02.740714250Z".len(),
        "{time}"
    );
    let json = own
        .run(&[&past[..], &["--format", "json"]].concat())
        .expect(0)
        .stdout;
    let begins = format!(
        r#"{{"status":"create","id":"{id}","from":"busybox","Type":"container","Action":"create","Actor":{{"ID":"{id}","Attributes":{{"a":"b","image":"busybox","name":"gold1"}}}},"scope":"local","time":"#
    );
    assert!(json.starts_with(&begins), "{json}");
}

#[test]
fn kinds_that_are_named_are_looked_up_alone() {
    let (own, _) = with_a_container();
    let image = own
        .run(&["image", "inspect", "--format", "{{.Os}}", "busybox"])
        .expect(0);
    assert_eq!(image.stdout, "linux\n");
    // There is a container of that name, and no image.
    let refused = own.run(&["image", "inspect", "gold1"]).expect(1);
    assert!(refused.stderr.contains("gold1"), "{}", refused.stderr);
    let refused = own
        .run(&["inspect", "--type", "container", "busybox"])
        .expect(1);
    assert!(
        refused.stderr.contains("no such container: busybox"),
        "{}",
        refused.stderr
    );
}

#[test]
fn ambiguous_name_is_said_to_be_so_whatever_it_could_be() {
    let own = Installation::new(None);
    let _ = own.run(&["host", "create", "one"]).expect(0);
    let _ = own.run(&["host", "stop", "one"]).expect(0);
    let id = own
        .run(&["host", "inspect", "--format", "{{.Id}}", "one"])
        .expect(0);
    let id = id.stdout.trim();
    // Another host, whose ID differs in its last digit.
    let hosts = own.path("data").join("coracle/hosts");
    fs::create_dir(hosts.join("two")).unwrap();
    for entry in fs::read_dir(hosts.join("one")).unwrap().flatten() {
        let name = entry.file_name();
        fs::copy(entry.path(), hosts.join("two").join(name)).unwrap();
    }
    let path = hosts.join("two/config.json");
    let last = if id.ends_with('0') { '1' } else { '0' };
    let other = format!("{}{last}", &id[..63]);
    let config = fs::read_to_string(&path).unwrap();
    let config = config.replace(id, &other).replace(r#""one""#, r#""two""#);
    fs::write(&path, config).unwrap();
    let refused = own.run(&["inspect", &id[..12]]).expect(1);
    assert!(refused.stderr.contains("ambiguous"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("no image"), "{}", refused.stderr);
    let named = own.run(&["inspect", "two"]).expect(1);
    assert!(named.stderr.contains("it is a host"), "{}", named.stderr);
}
