//! Containers run by the server of the guest's init, on this machine's own kernel: the host's side
//! of the contract is played over unix sockets, the root is a directory with busybox in it.
//!
//! They need root, a version 2 cgroup hierarchy and `/bin/busybox`, so they run where that is:
//! `cargo test -p coracle-init --test containers -- --ignored`. The end-to-end tests run the same
//! code in a microVM.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which fail by panicking"
)]

mod beside;
mod network;
mod support;
mod users;

use contracts::guest::{
    ExitStatus, FailureKind, GuestMessage, HostMessage, Mount, Rlimit, SeccompProfile, Stdio,
    TerminalSize,
};
use support::{Guest, spec};

const NEEDS: &str = "needs root";

#[test]
#[ignore = "a helper: the other tests start it as a process of its own"]
fn server() {
    support::serve();
}

fn output(args: &[&str]) -> (String, String, ExitStatus) {
    output_of(spec(args))
}

fn output_of(spec: contracts::guest::ContainerSpec) -> (String, String, ExitStatus) {
    let mut guest = Guest::start(NEEDS);
    let result = guest.run(spec, b"");
    (
        String::from_utf8_lossy(&result.stdout).into_owned(),
        String::from_utf8_lossy(&result.stderr).into_owned(),
        result.status,
    )
}

fn shell(script: &str) -> String {
    let (out, err, status) = output(&["sh", "-c", script]);
    assert_eq!((err.as_str(), status), ("", ExitStatus::Code(0)), "{out}");
    out
}

#[test]
#[ignore = "needs root"]
fn output_and_exit_code_come_back() {
    let (out, err, status) = output(&["sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(out, "out\n");
    assert_eq!(err, "err\n");
    assert_eq!(status, ExitStatus::Code(42));
}

#[test]
#[ignore = "needs root"]
fn signal_that_ends_the_program_comes_back() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&["sleep", "1000"]);
    spec.stdio = Stdio::default();
    guest.send(&HostMessage::Run(Box::new(spec)));
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    guest.send(&HostMessage::Signal {
        id: "test".into(),
        signal: 9,
    });
    let GuestMessage::Exited { status, oom, .. } = guest.receive() else {
        panic!("no exit");
    };
    assert_eq!((status, oom), (ExitStatus::Signal(9), false));
}

#[test]
#[ignore = "needs root"]
fn interrupt_ends_what_leaves_it_to_the_default_and_nothing_else() {
    let caught = "trap '' INT; trap 'exit 7' HUP; echo ready; while :; do sleep 0.1; done";
    // It is said by the program that is signalled: the shell before it catches interrupts.
    let default = "echo ready >/dev/shm/said; exec tail -f /dev/shm/said";
    for (script, status) in [
        (default, ExitStatus::Signal(2)),
        (caught, ExitStatus::Code(7)),
    ] {
        let mut guest = Guest::start(NEEDS);
        let mut streams = guest.begin(spec(&["sh", "-c", script]));
        assert_eq!(streams.line(), "ready");
        for (signal, again) in [(2, false), (1, true), (1, false)] {
            let id = "test".into();
            guest.send(&HostMessage::Interrupt { id, signal, again });
        }
        assert_eq!(guest.exit(), status);
    }
}

#[test]
#[ignore = "needs root"]
fn megabytes_through_stdin_come_back_unchanged() {
    let mut guest = Guest::start(NEEDS);
    let sent: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n % 251).to_le_bytes()[0])
        .collect();
    let result = guest.run(spec(&["cat"]), &sent);
    assert_eq!(result.status, ExitStatus::Code(0));
    assert!(
        result.stdout == sent,
        "{} bytes came back",
        result.stdout.len()
    );
}

#[test]
#[ignore = "needs root"]
fn streams_that_the_host_did_not_take_at_first_lose_nothing() {
    let mut guest = Guest::start(NEEDS);
    guest.send(&HostMessage::Run(Box::new(spec(&["cat"]))));
    for _ in 0..20 {
        (0..3).for_each(|index| guest.refuse(index));
    }
    let (mut stdin, stdout) = (guest.accept(0), guest.accept(1));
    let _stderr = guest.accept(2);
    std::io::Write::write_all(&mut stdin, b"input").unwrap();
    drop(stdin);
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "input");
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    assert_eq!(guest.exit(), ExitStatus::Code(0));
}

/// It ends, although it would have ended well without its output, or with none of its input.
#[test]
#[ignore = "needs root"]
fn container_without_a_stream_that_it_was_promised_has_failed() {
    for lost in 0..3 {
        let mut guest = Guest::start(NEEDS);
        guest.send(&HostMessage::Run(Box::new(spec(&["sleep", "1000"]))));
        let mut others = Vec::new();
        for index in (0..3).filter(|index| *index != lost) {
            others.push(guest.accept(index));
        }
        let message = loop {
            match guest.refuse_until_told(lost) {
                Some(GuestMessage::Started { .. }) | None => {}
                Some(GuestMessage::Failed { message, .. }) => break message,
                Some(other) => panic!("{other:?}"),
            }
        };
        assert!(message.contains("did not take"), "{message}");
    }
}

#[test]
#[ignore = "needs root"]
fn program_that_closes_its_input_ends_in_peace() {
    let mut guest = Guest::start(NEEDS);
    let result = guest.run(spec(&["sh", "-c", "exec <&-; echo done"]), &[b'x'; 1 << 20]);
    assert_eq!(result.stdout, b"done\n");
    assert_eq!(result.status, ExitStatus::Code(0));
}

#[test]
#[ignore = "needs root"]
fn missing_program_is_not_found() {
    let failure = Guest::start(NEEDS).failure(spec(&["no-such-program"]));
    assert_eq!(failure.0, FailureKind::NotFound);
    assert_eq!(
        failure.1,
        "exec: \"no-such-program\": executable file not found in $PATH"
    );
}

#[test]
#[ignore = "needs root"]
fn directory_and_plain_file_are_not_executable() {
    for name in ["/etc", "/etc/passwd"] {
        let (kind, message) = Guest::start(NEEDS).failure(spec(&[name]));
        assert_eq!(kind, FailureKind::NotExecutable, "{message}");
    }
}

#[test]
#[ignore = "needs root"]
fn script_without_interpreter_line_has_the_wrong_format() {
    let mut guest = Guest::start(NEEDS);
    guest.add_file("script", "echo hello\n", 0o755);
    let (kind, message) = guest.failure(spec(&["/script"]));
    assert_eq!(kind, FailureKind::NotExecutable);
    assert_eq!(message, "exec: \"/script\": exec format error");
}

#[test]
#[ignore = "needs root"]
fn container_is_alone_in_its_namespaces() {
    let out = shell(
        "echo $$; hostname; echo /proc/[0-9]*; grep ^0: /proc/self/cgroup; ls /sys/class/net",
    );

    assert_eq!(out, "1\nbox\n/proc/1\n0::/\nlo\n");
}

#[test]
#[ignore = "needs root"]
fn loopback_interface_is_up() {
    assert!(shell("cat /sys/class/net/lo/operstate /sys/class/net/lo/flags").contains("0x9"));
}

#[test]
#[ignore = "needs root"]
fn devices_and_links_are_dockers() {
    let out = shell(
        "cd /dev; ls; for l in fd stdin stdout stderr core ptmx; do readlink $l; done; stat -c '%a %t %T' null tty",
    );
    assert_eq!(
        out,
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n\
         urandom\nzero\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n\
         /proc/kcore\npts/ptmx\n666 1 3\n666 5 0\n"
    );
}

#[test]
#[ignore = "needs root"]
fn mounts_have_dockers_options() {
    let out = shell("sed 's/ 0 0$//' /proc/mounts");
    for line in [
        "proc /proc proc rw,nosuid,nodev,noexec,relatime",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755",
        // Docker has no limit, and one container can take all of the kernel's terminals there.
        "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666,max=1024",
        "tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
        "cgroup2 /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime",
        "proc /proc/sys proc ro,nosuid,nodev,noexec,relatime",
        "tmpfs /proc/uptime tmpfs rw,nosuid,size=65536k,mode=755",
        "tmpfs /sys/firmware tmpfs ro,nosuid,nodev,noexec,relatime,size=0k",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\nin\n{out}");
    }
}

#[test]
#[ignore = "needs root"]
fn masked_and_read_only_paths_hold() {
    let out = shell(
        "cat /proc/uptime | wc -c; ls /sys/firmware | wc -l; \
         echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused",
    );
    assert_eq!(out, "0\n0\nrefused\n");
}

#[test]
#[ignore = "needs root"]
fn files_of_etc_are_written_even_on_a_read_only_root() {
    let mut spec = spec(&[
        "sh",
        "-c",
        "cat /etc/hostname /etc/resolv.conf; tail -n 2 /etc/hosts; touch /x 2>/dev/null || echo sealed; touch /run/x",
    ]);
    spec.root.read_only = true;
    spec.resolv_conf = Some("nameserver 10.0.2.3\n".into());
    spec.extra_hosts = vec![("10.0.0.9".into(), "db".into())];
    spec.mounts = vec![Mount {
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        target: "/run".into(),
        options: vec!["rw,noexec,nosuid,nodev".into(), "size=1m".into()],
    }];
    let (out, err, _) = output_of(spec);
    assert_eq!(err, "");
    assert_eq!(
        out,
        "box\nnameserver 10.0.2.3\n10.0.0.9\tdb\n127.0.0.1\tbox\nsealed\n"
    );
}

#[test]
#[ignore = "needs root"]
fn files_of_etc_are_read_only_where_the_root_is() {
    let script = "for name in hosts hostname resolv.conf; do \
                  (echo x >>/etc/$name) 2>/dev/null && echo written; done; echo done";
    let mut spec = spec(&["sh", "-c", script]);
    spec.resolv_conf = Some("nameserver 10.0.2.3\n".into());
    assert_eq!(
        output_of(spec.clone()).0,
        "written\nwritten\nwritten\ndone\n"
    );
    spec.root.read_only = true;
    assert_eq!(output_of(spec).0, "done\n");
}

#[test]
#[ignore = "needs root"]
fn empty_arguments_arrive_and_an_empty_command_is_not_found() {
    let (out, _, _) = output(&["sh", "-c", "echo $#", "", "a", "", ""]);
    assert_eq!(out, "3\n");
    let (kind, message) = Guest::start(NEEDS).failure(spec(&[""]));
    assert_eq!(kind, FailureKind::NotFound, "{message}");
}

#[test]
#[ignore = "needs root"]
fn host_name_of_64_bytes_is_taken() {
    let mut spec = spec(&["hostname"]);
    spec.hostname = "h".repeat(64);
    assert_eq!(output_of(spec).0, format!("{}\n", "h".repeat(64)));
}

#[test]
#[ignore = "needs root"]
fn dangling_link_for_resolv_conf_is_followed_inside_the_root() {
    let mut guest = Guest::start(NEEDS);
    guest.add_link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    let mut spec = spec(&["cat", "/run/systemd/resolve/stub-resolv.conf"]);
    spec.resolv_conf = Some("nameserver 1.1.1.1\n".into());
    assert_eq!(guest.run(spec, b"").stdout, b"nameserver 1.1.1.1\n");
}

#[test]
#[ignore = "needs root"]
fn mount_point_that_is_a_link_is_refused() {
    let mut guest = Guest::start(NEEDS);
    guest.add_link("proc", "/tmp");
    let (kind, message) = guest.failure(spec(&["true"]));
    assert_eq!(kind, FailureKind::Setup);
    assert!(
        message.contains("/proc, which must be a directory"),
        "{message}"
    );
}

#[test]
#[ignore = "needs root"]
fn mount_target_cannot_lead_out_of_the_root() {
    let mut guest = Guest::start(NEEDS);
    guest.add_link("evil", "/../../../../inside");
    let mut spec = spec(&[
        "sh",
        "-c",
        "ls -d /inside && grep -c ' /inside ' /proc/mounts",
    ]);
    spec.mounts = vec![Mount {
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        target: "/evil".into(),
        options: vec![],
    }];
    assert_eq!(guest.run(spec, b"").stdout, b"/inside\n1\n");
    assert!(!std::path::Path::new("/inside").exists());
}

#[test]
#[ignore = "needs root"]
fn root_has_dockers_capabilities_and_filter() {
    let out = shell("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status");
    assert_eq!(
        out,
        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
         CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n"
    );
}

#[test]
#[ignore = "needs root"]
fn user_by_name_has_its_groups_home_and_no_capabilities() {
    let mut spec = spec(&[
        "sh",
        "-c",
        "id; echo $HOME; grep CapEff /proc/self/status; echo x >/dev/stdout",
    ]);
    spec.process.user = "app".into();
    spec.process.no_new_privileges = true;
    spec.process.groups = vec!["77".into()];
    let (out, err, _) = output_of(spec);
    assert_eq!(err, "");
    assert_eq!(
        out,
        "uid=1000(app) gid=1001(app) groups=10(wheel),77,1001(app)\n/home/app\n\
         CapEff:\t0000000000000000\nx\n"
    );
}

#[test]
#[ignore = "needs root"]
fn unknown_user_is_refused_in_words() {
    let mut spec = spec(&["true"]);
    spec.process.user = "nobody-knows".into();
    let (kind, message) = Guest::start(NEEDS).failure(spec);
    assert_eq!(kind, FailureKind::Setup);
    assert_eq!(
        message,
        "unable to find user nobody-knows: no matching entries in passwd file"
    );
}

#[test]
#[ignore = "needs root"]
fn passwd_that_is_a_pipe_does_not_block() {
    let mut guest = Guest::start(NEEDS);
    guest.add_fifo("etc/passwd");
    assert_eq!(guest.run(spec(&["true"]), b"").status, ExitStatus::Code(0));
}

#[test]
#[ignore = "needs root"]
fn working_directory_is_made_and_limits_are_set() {
    let mut spec = spec(&[
        "sh",
        "-c",
        "pwd; ulimit -n; ulimit -Hn; umask; stat -c %a .",
    ]);
    spec.process.cwd = "/a/b/c".into();
    spec.process.rlimits = vec![Rlimit {
        resource: 7,
        soft: 100,
        hard: 200,
    }];
    assert_eq!(output_of(spec).0, "/a/b/c\n100\n200\n0022\n755\n");
}

#[test]
#[ignore = "needs root"]
fn no_descriptor_and_no_signal_mask_is_inherited() {
    let out = shell(
        "ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status; sh -c 'kill -PIPE $$; echo here'; :",
    );
    // The three streams and the directory that ls reads.
    assert_eq!(
        out,
        "4
SigBlk:	0000000000000000
"
    );
}

#[test]
#[ignore = "needs root"]
fn init_reaps_orphans_and_forwards_signals() {
    let script = "trap 'echo got; exit 7' TERM; (sleep 0 &); echo $$ $PPID; echo ready; \
                  while :; do sleep 1 & wait $!; done";
    let mut spec = spec(&["sh", "-c", script]);
    spec.process.init = true;
    let mut guest = Guest::start(NEEDS);
    let mut streams = guest.begin(spec);
    assert_eq!(streams.line(), "2 1");
    assert_eq!(streams.line(), "ready");
    guest.send(&HostMessage::Signal {
        id: "test".into(),
        signal: 15,
    });
    assert_eq!(streams.line(), "got");
    assert_eq!(guest.exit(), ExitStatus::Code(7));
}

#[test]
#[ignore = "needs root"]
fn terminal_has_a_size_a_name_and_ends_with_its_input() {
    let mut spec = spec(&[
        "sh",
        "-c",
        "tty; stty size; test -c /dev/console && cat; echo $?",
    ]);
    spec.process.terminal = Some(TerminalSize {
        rows: 33,
        columns: 99,
    });
    let result = Guest::start(NEEDS).run(spec, b"line\nrest");
    let out = String::from_utf8_lossy(&result.stdout);
    // What is typed is shown as it comes, between any two lines.
    assert!(out.contains("/dev/pts/0\r\n"), "{out:?}");
    assert!(out.contains("33 99\r\n"), "{out:?}");
    assert!(
        out.contains("line\r\n") && out.ends_with("rest0\r\n"),
        "{out:?}"
    );
    assert_eq!(result.status, ExitStatus::Code(0));
}

#[test]
#[ignore = "needs root"]
fn terminal_can_be_resized() {
    let mut spec = spec(&[
        "sh",
        "-c",
        "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 1 & wait $!; done",
    ]);
    spec.process.terminal = Some(TerminalSize {
        rows: 10,
        columns: 20,
    });
    let mut guest = Guest::start(NEEDS);
    let mut streams = guest.begin(spec);
    assert_eq!(streams.line(), "ready\r");
    guest.send(&HostMessage::Resize {
        id: "test".into(),
        size: TerminalSize {
            rows: 50,
            columns: 60,
        },
    });
    assert_eq!(streams.line(), "50 60\r");
    assert_eq!(guest.exit(), ExitStatus::Code(0));
}

#[test]
#[ignore = "needs root"]
fn filter_stops_what_docker_stops() {
    let out = shell(
        "unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1 | grep -c denied; chroot / echo chrooted",
    );
    assert!(
        out.contains("not permitted") && out.ends_with("chrooted\n"),
        "{out}"
    );
}

#[test]
#[ignore = "needs root"]
fn only_what_is_privileged_has_no_filter() {
    let mut spec = spec(&["grep", "Seccomp:", "/proc/self/status"]);
    spec.process.seccomp = SeccompProfile::Off;
    assert_eq!(output_of(spec.clone()).0, "Seccomp:\t0\n");
    // Docker's unconfined, less what reaches the host.
    spec.process.seccomp = SeccompProfile::Unconfined;
    assert_eq!(output_of(spec).0, "Seccomp:\t2\n");
}

#[test]
#[ignore = "needs root"]
fn processes_among_the_guests_end_with_their_container() {
    let mut guest = Guest::start(NEEDS);
    let script = "sleep 1234.5 & (sleep 1234.5 &) ; readlink /proc/self/ns/pid; exit 4";
    let mut spec = spec(&["sh", "-c", script]);
    spec.shares.processes = true;
    let ended = guest.run(spec, b"");
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let seen = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(seen.trim(), own.to_str().unwrap());
    assert_eq!(ended.status, ExitStatus::Code(4));
    let all = std::process::Command::new("pgrep")
        .args(["-f", "sleep 1234.5"])
        .output();
    assert_eq!(String::from_utf8_lossy(&all.unwrap().stdout), "");
}

/// What this process may do, which may be less than all, where a microVM's root may do everything.
fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
#[ignore = "needs root"]
fn privileged_container_has_the_guests_devices_and_may_write_to_its_kernel() {
    let script = "test -c /dev/kmsg && test -e /dev/null && grep -c ' /sys sysfs rw' /proc/mounts";
    let mut spec = spec(&["sh", "-c", script]);
    spec.privileged = true;
    spec.process.capabilities = own_capabilities();
    spec.process.seccomp = SeccompProfile::Off;
    assert_eq!(
        output_of(spec),
        ("1\n".into(), String::new(), ExitStatus::Code(0))
    );
}

#[test]
#[ignore = "needs root"]
fn sysctl_of_the_network_is_set() {
    let mut spec = spec(&["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]);
    spec.sysctls = vec![("net.ipv4.ip_unprivileged_port_start".into(), "0".into())];
    assert_eq!(output_of(spec).0, "0\n");
}

#[test]
#[ignore = "needs root"]
fn two_containers_live_side_by_side() {
    let mut guest = Guest::start(NEEDS);
    let mut first = spec(&["sleep", "1000"]);
    first.id = "first".into();
    first.stdio = Stdio::default();
    guest.send(&HostMessage::Run(Box::new(first)));
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    let second = guest.run(spec(&["sh", "-c", "echo /proc/[0-9]*"]), b"");
    assert_eq!(second.stdout, b"/proc/1\n");
    guest.send(&HostMessage::Signal {
        id: "first".into(),
        signal: 9,
    });
    assert_eq!(guest.exit(), ExitStatus::Signal(9));
}

#[test]
#[ignore = "needs root"]
fn name_of_a_running_container_is_refused() {
    let mut guest = Guest::start(NEEDS);
    let mut first = spec(&["sleep", "1000"]);
    first.stdio = Stdio::default();
    guest.send(&HostMessage::Run(Box::new(first)));
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    let (_, message) = guest.failure(spec(&["true"]));
    assert_eq!(message, "a container of this name is running");
}

#[test]
#[ignore = "needs root"]
fn lost_host_ends_everything() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&["sleep", "1000"]);
    spec.stdio = Stdio::default();
    guest.send(&HostMessage::Run(Box::new(spec)));
    let GuestMessage::Started { pid, .. } = guest.receive() else {
        panic!("not started");
    };
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    guest.hang_up();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
