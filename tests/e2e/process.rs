//! What a container's process finds: its environment, user, names and files.

use coracle_tests::{Detached, coracle, done, done_with_input, run};

fn output<const N: usize>(arguments: [&str; N]) -> String {
    run(arguments).expect(0).stdout
}

#[test]
fn guest_has_a_kernel_of_its_own() {
    let guest = output(["busybox", "uname", "-r"]);
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_ne!(guest, host);
    assert!(guest.starts_with("6.12"), "{guest}");
}

#[test]
fn environment_is_the_images_then_the_users() {
    let text = output(["-e", "A=1", "-e", "A=2", "busybox", "env"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"A=2"), "{text}");
    assert!(!lines.contains(&"A=1"), "{text}");
    assert!(
        lines.iter().any(|line| line.starts_with("PATH=/")),
        "{text}"
    );
    assert!(lines.contains(&"HOME=/root"), "{text}");
}

#[test]
fn environment_file_is_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"# a comment\nX=from file\n\nY=2\n").unwrap();
    let path = file.path().to_str().unwrap();
    let text = output([
        "--env-file",
        path,
        "-e",
        "Y=3",
        "busybox",
        "sh",
        "-c",
        "echo $X,$Y",
    ]);
    assert_eq!(text, "from file,3\n");
}

#[test]
fn environment_file_may_have_a_mark_and_no_blanks_in_names() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"\xef\xbb\xbfX=1\r\n  Y= 2 \n").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let show = "echo \"[$X][$Y]\"";
    let text = output(["--env-file", &path, "busybox", "sh", "-c", show]);
    assert_eq!(text, "[1][ 2 ]\n");
    std::io::Write::write_all(&mut file, b"A B=1\n").unwrap();
    let done = run(["--env-file", &path, "busybox", "true"]).expect(125);
    assert!(done.stderr.contains("line 3"), "{}", done.stderr);
    assert!(done.stderr.contains("\"A B\""), "{}", done.stderr);
}

#[test]
fn variable_that_is_not_set_takes_the_images_value_away() {
    let gone = output(["-e", "PYTHON_VERSION", "python", "env"]);
    let there = output(["-e", "PYTHON_VERSION=x", "python", "env"]);
    assert!(!gone.contains("PYTHON_VERSION"), "{gone}");
    assert!(there.contains("PYTHON_VERSION=x\n"), "{there}");
    let text = output(["-e", "A=1", "-e", "A", "busybox", "env"]);
    assert!(!text.contains("A="), "{text}");
}

#[test]
fn empty_arguments_are_kept_and_an_empty_command_is_not_found() {
    let text = output(["busybox", "sh", "-c", "echo $#", "", "", "x", ""]);
    assert_eq!(text, "3\n");
    let _ = run(["busybox", ""]).expect(127);
}

#[test]
fn extra_hosts_are_checked_and_written_with_their_address() {
    let text = output([
        "--add-host=six:[::1]",
        "--add-host=four=10.0.0.9",
        "busybox",
        "tail",
        "-n",
        "3",
        "/etc/hosts",
    ]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["::1\tsix", "10.0.0.9\tfour"]);
    for wrong in ["six:[::1", "four=10.0.0", "alone", "a b:10.0.0.1"] {
        let done = run(["--add-host", wrong, "busybox", "true"]);
        assert!(matches!(done.code, 2 | 125), "{wrong}: {done:?}");
    }
    let gateway = ["--add-host", "gate:host-gateway"];
    let done = run(gateway.into_iter().chain(["busybox", "true"])).expect(125);
    assert!(done.stderr.contains("no gateway"), "{}", done.stderr);
    let show = [
        "--network",
        "bridge",
        "busybox",
        "grep",
        "gate",
        "/etc/hosts",
    ];
    let text = run(gateway.into_iter().chain(show)).expect(0).stdout;
    assert_eq!(text, "172.17.0.1\tgate\n");
}

#[test]
fn mounts_are_made_parents_first() {
    let script = "touch /a/b/file && grep -c ' /a' /proc/mounts && ls /a";
    let text = output([
        "--tmpfs", "/a/b", "--tmpfs", "/a", "busybox", "sh", "-c", script,
    ]);
    assert_eq!(text, "2\nb\n");
}

#[test]
fn host_name_may_have_64_bytes() {
    let name = "h".repeat(64);
    assert_eq!(output(["-h", &name, "busybox", "hostname"]), name + "\n");
    let _ = run(["-h", &"h".repeat(65), "busybox", "true"]).expect(125);
}

#[test]
fn working_directory_is_made_when_missing() {
    assert_eq!(
        output(["-w", "/a/new/place", "busybox", "pwd"]),
        "/a/new/place\n"
    );
}

#[test]
fn host_name_is_given_or_made_from_the_identifier() {
    assert_eq!(
        output(["--hostname", "boat", "busybox", "hostname"]),
        "boat\n"
    );
    let own = output(["busybox", "hostname"]);
    assert_eq!(own.trim().len(), 12, "{own}");
    let hosts = output(["--hostname", "boat", "busybox", "cat", "/etc/hosts"]);
    assert!(
        hosts.contains("127.0.0.1") && hosts.contains("boat"),
        "{hosts}"
    );
    assert_eq!(
        output(["-h", "boat", "busybox", "cat", "/etc/hostname"]),
        "boat\n"
    );
}

#[test]
fn user_is_looked_up_in_the_image() {
    let text = output(["-u", "nobody", "debian", "id"]);
    assert!(
        text.starts_with("uid=65534(nobody) gid=65534(nogroup)"),
        "{text}"
    );
    let text = output(["-u", "1234:33", "debian", "id"]);
    assert!(text.starts_with("uid=1234 gid=33(www-data)"), "{text}");
    let done = run(["-u", "no-such-user", "debian", "id"]).expect(125);
    assert!(done.stderr.contains("no-such-user"), "{}", done.stderr);
}

#[test]
fn supplementary_groups_are_added() {
    let text = output([
        "--group-add",
        "audio",
        "--group-add",
        "777",
        "debian",
        "id",
        "-G",
    ]);
    let groups: Vec<&str> = text.split_whitespace().collect();
    assert!(groups.contains(&"29") && groups.contains(&"777"), "{text}");
}

#[test]
fn ordinary_user_has_no_capabilities() {
    let text = output(["-u", "1000", "busybox", "grep", "Cap", "/proc/self/status"]);
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
}

#[test]
fn root_file_system_is_writable_unless_asked_otherwise() {
    assert_eq!(
        output(["busybox", "sh", "-c", "echo x > /new && cat /new"]),
        "x\n"
    );
    for path in ["/new", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        let script = format!("echo x >>{path}");
        let done = run(["--read-only", "busybox", "sh", "-c", &script]).expect(1);
        assert!(done.stderr.contains("Read-only"), "{path}: {}", done.stderr);
        if path != "/new" {
            let _ = output(["busybox", "sh", "-c", &script]);
        }
    }
}

#[test]
fn temporary_file_system_is_writable_on_a_read_only_root() {
    let text = output([
        "--read-only",
        "--tmpfs",
        "/scratch:size=1m,mode=700",
        "busybox",
        "sh",
        "-c",
        "echo y > /scratch/f && cat /scratch/f && grep /scratch /proc/mounts",
    ]);
    assert!(text.starts_with("y\n"), "{text}");
    assert!(
        text.contains("noexec") && text.contains("size=1024k"),
        "{text}"
    );
}

#[test]
fn standard_mounts_and_devices_are_those_of_the_runtime_spec() {
    let text = output(["busybox", "cat", "/proc/mounts"]);
    for path in [
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
    ] {
        let mounted = text
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(path));
        assert!(mounted, "{path} is not mounted:\n{text}");
    }
    let script = "for d in null zero full random urandom tty ptmx fd stdin stdout stderr; do \
                  [ -e /dev/$d ] || [ -L /dev/$d ] || echo missing $d; done; \
                  head -c 3 /dev/zero | wc -c; echo gone > /dev/null";
    assert_eq!(output(["busybox", "sh", "-c", script]), "3\n");
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    let text = output([
        "--shm-size",
        "8m",
        "busybox",
        "grep",
        "/dev/shm",
        "/proc/mounts",
    ]);
    assert!(text.contains("size=8192k"), "{text}");
}

#[test]
fn command_is_pid_1_and_has_an_init_only_when_asked() {
    assert_eq!(output(["busybox", "sh", "-c", "echo $$"]), "1\n");
    assert_ne!(output(["--init", "busybox", "sh", "-c", "echo $$"]), "1\n");
}

#[test]
fn init_reaps_orphans() {
    // The orphan's end is seen when its number is gone, however long that takes.
    let script = "sh -c 'sleep 0.1 & echo $! > /orphan'; read -r orphan < /orphan; \
                  while [ -d /proc/$orphan ]; do sleep 0.05; done; echo reaped; exit 7";
    let done = run(["--init", "busybox", "sh", "-c", script]).expect(7);
    assert_eq!(done.stdout, "reaped\n");
}

#[test]
fn limits_and_entry_point_are_taken() {
    assert_eq!(
        output([
            "--ulimit",
            "nofile=99:100",
            "busybox",
            "sh",
            "-c",
            "ulimit -n"
        ]),
        "99\n"
    );
    assert_eq!(
        output(["--entrypoint", "echo", "busybox", "a", "b"]),
        "a b\n"
    );
}

#[test]
fn loopback_is_the_only_interface_and_works() {
    let text = output([
        "busybox",
        "sh",
        "-c",
        "ls /sys/class/net; ping -c 1 -w 5 127.0.0.1",
    ]);
    assert!(text.starts_with("lo\n"), "{text}");
    assert!(text.contains("1 packets received"), "{text}");
}

#[test]
fn several_processors_are_seen() {
    assert_eq!(output(["--cpus", "2", "busybox", "nproc"]), "2\n");
}

/// What a container sees of users and files, whoever its own are outside.
const OWNERS: &str = "id -u; stat -c '%u %g' / /bin/busybox /etc/passwd /etc/hosts; \
    mkdir /dir && touch /dir/mine && chown 1000:1001 /dir/mine && stat -c '%u %g' /dir /dir/mine; \
    cp -p /bin/busybox /tmp/copy && chmod 4755 /tmp/copy && stat -c '%u %a' /tmp/copy; \
    echo x >/dev/stdout; echo 10.0.0.1 mine >>/etc/hosts; rm /etc/passwd; ulimit -l";

#[test]
fn user_namespace_of_its_own_is_shifted_and_looks_like_any_other() {
    let script = format!("{OWNERS}; cat /proc/self/uid_map; readlink /proc/self/ns/user");
    let command = [
        "--ulimit",
        "memlock=1073741824",
        "busybox",
        "sh",
        "-c",
        &script,
    ];
    let plain = run(command).expect(0).stdout;
    let shifted = run(["--userns", "private"].into_iter().chain(command)).expect(0);
    let (plain, _) = plain.rsplit_once("\n         0").unwrap();
    let (seen, rest) = shifted.stdout.rsplit_once("\n         0").unwrap();
    assert_eq!(seen, plain);
    let (map, namespace) = rest.split_once('\n').unwrap();
    let numbers: Vec<u32> = map
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert!(numbers[0] >= 0x7000_0000 && numbers[1] == 65536, "{map}");
    // The first one has this number on every Linux (PROC_USER_INIT_INO).
    assert!(!namespace.contains("user:[4026531837]"), "{namespace}");
}

#[test]
fn copies_programs_and_changes_agree_about_owners_in_a_user_namespace() {
    let flags = ["--userns", "private", "busybox", "sleep", "1000"];
    let own = Detached::start("shifted", &flags);
    let script =
        "touch /mine && chown 1000:1001 /mine && echo content >/mine && stat -c '%u %g' /mine";
    assert_eq!(
        own.exec(&["sh", "-c", script]).expect(0).stdout,
        "1000 1001\n"
    );
    let mut copy = coracle(["cp", "shifted:/mine", "-"]);
    let archive = done(&mut copy).expect(0).stdout;
    // Owner and group of the first entry, in octal digits.
    assert_eq!(
        (&archive[108..115], &archive[116..123]),
        ("0001750", "0001751")
    );
    let mut copy = coracle(["cp", "-", "shifted:/tmp"]);
    let _ = done_with_input(&mut copy, archive.as_bytes()).expect(0);
    let text = own
        .exec(&["stat", "-c", "%u %g", "/tmp/mine"])
        .expect(0)
        .stdout;
    assert_eq!(text, "1000 1001\n");
    let changes = own.does(&["diff"]).expect(0).stdout;
    assert!(changes.contains("A /mine\n"), "{changes}");
}
