//! Files of the kernel's, devices, terminals.

use coracle_tests::{Host, attacker_image, coracle, done, outcomes, run};

/// Files by which containers have taken machines over. What a guest's kernel has not is as good as refused.
const FILES: [(&str, &str); 25] = [
    ("write /proc/sys/kernel/core_pattern", "EROFS"),
    ("write /proc/sys/kernel/modprobe", "ENOENT|EROFS"),
    ("write /proc/sys/kernel/hotplug", "ENOENT|EROFS"),
    ("write /proc/sys/kernel/ns_last_pid", "ENOENT|EROFS"),
    ("write /proc/sys/vm/overcommit_memory", "EROFS"),
    ("write /proc/sys/vm/drop_caches", "EROFS"),
    ("write /proc/sys/fs/binfmt_misc/register", "ENOENT|EROFS"),
    ("write /proc/sysrq-trigger", "ENOENT|EROFS"),
    ("write /proc/irq/default_smp_affinity", "EROFS"),
    ("write /proc/kcore", "ENOENT|EACCES"),
    ("write /proc/kmem", "ENOENT"),
    ("write /proc/mem", "ENOENT"),
    ("write /proc/kallsyms", "EACCES"),
    ("write /proc/timer_list", "EACCES"),
    ("write /proc/sched_debug", "ENOENT|EACCES"),
    ("write /proc/latency_stats", "ENOENT|EACCES"),
    ("write /sys/kernel/uevent_helper", "ENOENT|EROFS"),
    ("write /sys/fs/cgroup/release_agent", "ENOENT|EROFS"),
    ("write /sys/fs/cgroup/cgroup.procs", "EROFS"),
    ("write /sys/fs/cgroup/memory.max", "EROFS"),
    ("write /sys/fs/cgroup/cgroup.freeze", "EROFS"),
    ("write /dev/mem", "ENOENT"),
    ("writable in all", "0"),
    ("walked", "many"),
    ("make a control group", "EROFS"),
];

/// Docker's devices, and no more; `/dev/tty` is nobody's here.
const DEVICES: [(&str, &str); 3] = [
    ("devices c", "1:3 1:5 1:7 1:8 1:9"),
    ("devices b", ""),
    ("nodes made", "many"),
];

const TERMINAL: [(&str, &str); 7] = [
    ("type by TIOCSTI", "EIO|EPERM"),
    ("type by TIOCLINUX", "ENOTTY|EPERM"),
    ("take the console", "EPERM"),
    ("line discipline", "EPERM|EINVAL"),
    ("console", "its own"),
    ("hang up all terminals", "EPERM"),
    ("open the kernel's console", "ENOENT"),
];

#[test]
fn nothing_of_proc_sys_and_control_groups_can_be_written_and_only_dockers_devices_open() {
    let image = attacker_image();
    let host = Host::create("hostile-files", &[]);
    let tried = |flags: &[&str], attack| {
        let program = [image, "/attacker", attack];
        let done = host.run(&[&["--rm"], flags, &program].concat());
        done.expect(0).stdout.replace('\r', "")
    };
    outcomes(&tried(&[], "files"), &FILES);
    outcomes(&tried(&[], "devices"), &DEVICES);
    outcomes(&tried(&["--tty"], "terminal"), &TERMINAL);
}

/// The guest's root may call a disk what it likes: the monitor has it to read.
const DISK: [(&str, &str); 6] = [
    // The kernel minds only the write.
    ("open to write", "done|EACCES|EROFS|EPERM"),
    ("call it writable", "done|EACCES|EROFS"),
    ("write", "EACCES|EROFS|EPERM|EIO"),
    ("discard", "EOPNOTSUPP|EACCES|EROFS|EPERM|EBADF|EIO"),
    ("SCSI command", "ENOTTY|EINVAL|EPERM"),
    ("content", "as it was"),
];

#[test]
fn layers_stay_as_they_are_whatever_the_guests_root_does() {
    let image = attacker_image();
    let host = Host::create("hostile-disk", &[]);
    let privileged = ["--rm", "--privileged", image, "/attacker", "disk"];
    outcomes(&host.run(&privileged).expect(0).stdout, &DISK);
    // From a new guest, which has read nothing yet.
    let verified = run(["--rm", image, "/attacker", "known-files"]).expect(0);
    assert!(
        verified.stdout.contains("core_pattern: EROFS"),
        "{verified:?}"
    );
    let verify = done(&mut coracle(["image", "verify", image])).expect(0);
    assert!(!verify.stdout.is_empty() || verify.stderr.is_empty());
}
