//! User namespaces.

use contracts::guest::{ExitStatus, FailureKind, GuestMessage, HostMessage, Rlimit, TerminalSize};

use crate::{
    NEEDS, output_of,
    support::{Guest, spec},
};

#[test]
#[ignore = "needs root"]
fn user_namespace_looks_as_any_other_container_from_inside() {
    let script = "id -u; stat -c '%u %g' / /bin/busybox /etc/hosts /etc/passwd; \
                  echo x >/dev/null; echo 10.0.0.1 mine >>/etc/hosts; echo out >/dev/stdout; \
                  touch /tmp/mine && chown 1000:1001 /tmp/mine && stat -c '%u %g' /tmp/mine; \
                  ls /dev | wc -l; ulimit -l; hostname";
    let mut plain = spec(&["sh", "-c", script]);
    plain.process.rlimits = vec![Rlimit {
        resource: 8,
        soft: 1 << 20,
        hard: 2 << 20,
    }];
    let mut shifted = plain.clone();
    shifted.user_namespace = true;
    let plain = output_of(plain);
    assert_eq!((plain.1.as_str(), plain.2), ("", ExitStatus::Code(0)));
    assert_eq!(output_of(shifted), plain);
}

#[test]
#[ignore = "needs root"]
fn user_of_a_user_namespace_is_at_home_there_and_has_a_terminal() {
    let script = "id -u; stat -c '%u %g' $(tty) /dev/console; echo x >$(tty); echo y >/dev/stdout";
    for user in ["", "app"] {
        let mut plain = spec(&["sh", "-c", script]);
        plain.process.user = user.into();
        plain.process.terminal = Some(TerminalSize {
            rows: 10,
            columns: 20,
        });
        let mut shifted = plain.clone();
        shifted.user_namespace = true;
        let plain = output_of(plain);
        assert!(plain.0.contains("x\r\ny\r\n"), "{plain:?}");
        assert_eq!(output_of(shifted), plain);
    }
    let mut shifted = spec(&[
        "sh",
        "-c",
        "id -u; echo x >/dev/stdout; echo y >/dev/stderr",
    ]);
    shifted.user_namespace = true;
    shifted.process.user = "app".into();
    let (out, err, _) = output_of(shifted);
    assert_eq!((&*out, &*err), ("1000\nx\n", "y\n"));
}

#[test]
#[ignore = "needs root"]
fn user_that_a_user_namespace_has_not_is_refused_in_words() {
    let mut spec = spec(&["id", "-u"]);
    spec.process.user = "70000".into();
    assert_eq!(output_of(spec.clone()).0, "70000\n");
    spec.user_namespace = true;
    let (kind, message) = Guest::start(NEEDS).failure(spec);
    assert_eq!(kind, FailureKind::Setup);
    assert!(message.contains("user or group 70000"), "{message}");
}

#[test]
#[ignore = "needs root"]
fn root_of_a_user_namespace_is_nobody_outside() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; cat"]);
    spec.user_namespace = true;
    spec.stdio.stderr = None;
    guest.send(&HostMessage::Run(Box::new(spec)));
    let (_stdin, stdout) = (guest.accept(0), guest.accept(1));
    let GuestMessage::Started { pid, .. } = guest.receive() else {
        panic!("not started");
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let outside: u32 = line
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(outside >= 0x7000_0000, "{outside}");
    let mut lines = std::io::BufReader::new(stdout);
    for _ in 0..2 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        let numbers: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(numbers, ["0", &*outside.to_string(), "65536"]);
    }
}

#[test]
#[ignore = "needs root"]
fn user_namespace_of_ones_own_and_the_guests_processes_are_refused_together() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&["true"]);
    spec.user_namespace = true;
    spec.shares.processes = true;
    guest.send(&HostMessage::Run(Box::new(spec)));
    let GuestMessage::Failed { message, .. } = guest.receive() else {
        panic!("it was started");
    };
    assert!(message.contains("--userns private"), "{message}");
}

#[test]
#[ignore = "needs root"]
fn sysctls_of_every_own_namespace_are_set_with_and_without_a_user_namespace() {
    for user_namespace in [false, true] {
        let mut spec = spec(&[
            "cat",
            "/proc/sys/kernel/shmmax",
            "/proc/sys/fs/mqueue/msg_max",
            "/proc/sys/net/core/somaxconn",
        ]);
        spec.user_namespace = user_namespace;
        spec.sysctls = [
            ("kernel.shmmax", "1000000"),
            ("fs.mqueue.msg_max", "20"),
            ("net.core.somaxconn", "99"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
        assert_eq!(output_of(spec).0, "1000000\n20\n99\n", "{user_namespace}");
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/shmmax").unwrap();
    assert_ne!(own, "1000000\n");
}
