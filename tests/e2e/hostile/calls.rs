//! System calls.

use coracle_tests::{Host, attacker_image, outcomes, run};

use super::without_machine;

/// An attack, and its outcome in a container as docker makes it, in one without a filter (as root and as a user),
/// and in a privileged one, which shows that the attack is worth its name: where the guest's root is refused too,
/// the kernel has no such thing.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// No such thing in the guest's kernel, which a filter hides behind its own refusal.
const ABSENT: (&str, &str, &str) = ("EPERM", "ENOSYS|EPERM", "ENOSYS");

const fn row(name: &'static str, outcomes: (&'static str, &'static str, &'static str)) -> Row {
    (name, outcomes.0, outcomes.1, outcomes.2)
}

const CALLS: [Row; 52] = [
    ("unshare user", "EPERM", "done", "done"),
    ("unshare mount", "EPERM", "EPERM", "done"),
    ("unshare network", "EPERM", "EPERM", "done"),
    ("unshare cgroup", "EPERM", "EPERM", "done"),
    ("clone3 user", "ENOSYS", "done", "done"),
    ("setns of itself", "EPERM", "EPERM", "done"),
    ("mount tmpfs", "EPERM", "EPERM", "done"),
    ("mount proc", "EPERM", "EPERM", "done"),
    ("mount sysfs", "EPERM", "EPERM", "done"),
    ("mount cgroup2", "EPERM", "EPERM", "done"),
    ("mount devtmpfs", "EPERM", "EPERM", "done"),
    // Nothing is read-only or masked there.
    ("remount /proc/sys", "EPERM", "EPERM", "EINVAL"),
    ("remount /sys", "EPERM", "EPERM", "done"),
    ("umount /proc/sys", "EPERM", "EPERM", "EINVAL"),
    ("fsopen", "EPERM", "EPERM", "done"),
    ("open_tree", "EPERM", "EPERM", "done"),
    ("move_mount", "EPERM", "EPERM", "EINVAL"),
    ("mount_setattr", "EPERM", "EPERM", "EINVAL"),
    ("pivot_root", "EPERM", "EPERM", "EBUSY"),
    // The handle is of no file of an overlay.
    ("open by handle", "EPERM", "EPERM", "error 116"),
    row("swapon", ABSENT),
    // Its arguments are none; tests/e2e/hostile/quota.rs has others.
    ("quotactl", "EPERM", "EINVAL", "EINVAL"),
    row("init_module", ABSENT),
    row("finit_module", ABSENT),
    row("delete_module", ABSENT),
    row("kexec_load", ABSENT),
    row("kexec_file_load", ABSENT),
    ("reboot", "EPERM", "EPERM", "EINVAL"),
    row("iopl", ABSENT),
    row("ioperm", ABSENT),
    row("acct", ABSENT),
    ("syslog", "EPERM", "EPERM", "done"),
    // The time is one before the guest's start, which the kernel refuses.
    ("clock_settime", "EPERM", "EPERM", "EINVAL"),
    ("sethostname", "EPERM", "EPERM", "done"),
    ("bpf", "EPERM", "EPERM", "done"),
    ("perf_event_open", "EPERM", "EACCES", "done"),
    row("userfaultfd", ABSENT),
    ("io_uring_setup", "EPERM", "done|EPERM", "done"),
    row("add_key", ABSENT),
    row("keyctl", ABSENT),
    // It is the attacker itself.
    ("ptrace of PID 1", "done", "done", "done"),
    ("personality", "EPERM", "done", "done"),
    (
        "socket AF_ALG",
        "EPERM|EAFNOSUPPORT",
        "EPERM|EAFNOSUPPORT",
        "EAFNOSUPPORT",
    ),
    // The control channel and the streams of all neighbours: refused to all but the guest's root.
    ("socket AF_VSOCK", "EPERM", "EPERM", "done"),
    (
        "socketpair AF_VSOCK",
        "EPERM|EOPNOTSUPP",
        "EPERM|EOPNOTSUPP",
        "EOPNOTSUPP",
    ),
    ("socket AF_PACKET", "done", "done|EPERM", "done"),
    ("socket AF_INET raw", "done", "done|EPERM", "done"),
    ("connect to the control port", "EPERM", "EPERM", "done"),
    (
        "getpid by x32",
        "ENOSYS|EPERM|signal 31",
        "ENOSYS|EPERM|signal 31",
        "ENOSYS",
    ),
    (
        "getpid by int 80",
        "signal 11|signal 31",
        "signal 11|signal 31",
        "signal 11",
    ),
    (
        "vsock by int 80",
        "signal 11|signal 31",
        "signal 11|signal 31",
        "signal 11",
    ),
    (
        "vsock by socketcall",
        "signal 11|signal 31",
        "signal 11|signal 31",
        "signal 11",
    ),
];

fn column(which: fn(&Row) -> &'static str) -> Vec<(&'static str, &'static str)> {
    CALLS.iter().map(|row| (row.0, which(row))).collect()
}

#[test]
fn system_calls_are_refused_as_docker_does_and_the_guests_sockets_to_all() {
    let image = attacker_image();
    let host = Host::create("hostile-calls", &[]);
    let tried = |flags: &[&str]| {
        let program = [image, "/attacker", "calls"];
        let done = host.run(&[&["--rm"], flags, &program].concat());
        done.expect(0).stdout
    };
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    let as_user = [&unconfined[..], &["--user", "1000:1000"]].concat();
    outcomes(&tried(&[]), &column(|row| row.1));
    outcomes(&tried(&unconfined), &column(|row| row.2));
    outcomes(&tried(&as_user), &column(|row| row.2));
    outcomes(&tried(&["--privileged"]), &column(|row| row.3));
}

/// What a filter of this machine's own kernel must hold, whose interfaces may be more than a guest's.
const MACHINE: [(&str, &str); 9] = [
    ("unshare user", "EPERM"),
    ("mount proc", "EPERM"),
    ("remount /proc/sys", "EPERM"),
    ("kexec_load", "EPERM"),
    ("bpf", "EPERM"),
    ("socket AF_ALG", "EPERM|EAFNOSUPPORT"),
    ("socket AF_VSOCK", "EPERM"),
    ("vsock by int 80", "EPERM|signal 11|signal 31"),
    ("vsock by socketcall", "EPERM|ENOSYS|signal 11|signal 31"),
];

#[test]
fn without_a_machine_the_filter_also_holds_for_calls_of_32_bits() {
    if !without_machine() {
        return;
    }
    let image = attacker_image();
    let flags = ["--rm", "--isolation", "namespace"];
    let text = run([&flags[..], &[image, "/attacker", "calls"]].concat())
        .expect(0)
        .stdout;
    let mine = |line: &&str| {
        MACHINE
            .iter()
            .any(|(name, _)| line.starts_with(&format!("{name}: ")))
    };
    let lines: Vec<&str> = text.lines().filter(mine).collect();
    outcomes(&lines.join("\n"), &MACHINE);
}
