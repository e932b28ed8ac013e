//! Linux capabilities by name, and the set that a container has unless told otherwise.

/// Names, without `CAP_`, at their number (`linux/capability.h`, Linux 6.12).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// Docker's default: what images expect, without what reaches beyond a container.
pub const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// What a container may not have where its kernel is this machine's, since it reaches beyond any
/// namespace, with the reason.
///
/// The others stay. `NET_ADMIN`, `NET_BROADCAST` and `IPC_OWNER` end at namespaces that are always the
/// container's own there. `SYS_RESOURCE` and `IPC_LOCK` take more of the machine, within the
/// container's control group, and nothing from it. [`BY_MACHINES_ROOT`] says when two more do.
const OF_THE_MACHINE: [(&str, &str); 15] = [
    (
        "SYS_ADMIN",
        "it mounts the machine's kernel settings writable",
    ),
    ("SYS_MODULE", "it loads code into the machine's kernel"),
    ("SYS_RAWIO", "it reaches the machine's memory and ports"),
    (
        "DAC_READ_SEARCH",
        "it opens files of the machine by their numbers",
    ),
    (
        "SYS_BOOT",
        "it restarts the machine, and loads another kernel",
    ),
    ("SYS_TIME", "it sets the machine's clock"),
    (
        "MAC_OVERRIDE",
        "it passes over the machine's security module",
    ),
    ("MAC_ADMIN", "it changes the machine's security module"),
    ("BPF", "it loads programs into the machine's kernel"),
    ("PERFMON", "it watches all of the machine"),
    ("SYSLOG", "it reads the machine's kernel log and addresses"),
    ("AUDIT_CONTROL", "it changes what the machine audits"),
    ("AUDIT_READ", "it reads what the machine audits"),
    ("WAKE_ALARM", "it wakes the machine up"),
    ("BLOCK_SUSPEND", "it keeps the machine awake"),
];

/// What it may not have there either while its root is the machine's own.
///
/// In a user namespace of its own the kernel makes nobody a realtime process, which would come before all
/// others of the machine: no control group's share holds that back. And what may trace gets at a program
/// that init has just sent into the container, and by its socket at a descriptor for init: the filter refuses
/// that, but where the machine's kernel runs programs of 32 bits it cannot see all of their calls' arguments.
/// There a descriptor for init is of no use to a root that is nobody.
const BY_MACHINES_ROOT: [(&str, &str); 2] = [
    (
        "SYS_PTRACE",
        "it takes over processes of the machine's root on their way into the container",
    ),
    (
        "SYS_NICE",
        "it takes the machine's processors before everyone else",
    ),
];

/// The first of these capabilities that reaches the machine where its kernel is the container's, and
/// what it would do.
pub fn of_the_machine(capabilities: u64) -> Option<(&'static str, &'static str)> {
    first(&OF_THE_MACHINE, capabilities)
}

/// The first that does so, beside those, where the container has no user namespace of its own.
pub fn by_machines_root(capabilities: u64) -> Option<(&'static str, &'static str)> {
    first(&BY_MACHINES_ROOT, capabilities)
}

fn first(
    list: &[(&'static str, &'static str)],
    capabilities: u64,
) -> Option<(&'static str, &'static str)> {
    list.iter()
        .copied()
        .find(|(name, _)| parse(name).is_some_and(|bit| capabilities & bit != 0))
}

/// The bits of a name as docker takes it: any case, with or without `CAP_`, or `ALL`.
pub fn parse(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" {
        return Some(ALL);
    }
    NAMES
        .iter()
        .position(|known| *known == bare)
        .map(|number| 1 << number)
}

/// Names, without `CAP_`, of the capabilities of a set.
pub fn names(capabilities: u64) -> Vec<&'static str> {
    let all = NAMES.iter().enumerate();
    all.filter(|(number, _)| capabilities >> number & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

/// The default set with what is added and dropped. As docker does it: `ALL` on one side gives way
/// to single names on the other; otherwise what is dropped stays dropped.
pub fn adjusted(add: &[u64], drop: &[u64]) -> u64 {
    let default = DEFAULT
        .iter()
        .filter_map(|name| parse(name))
        .fold(0, |set, bit| set | bit);
    let all = |list: &[u64]| list.contains(&ALL);
    let single = |list: &[u64]| {
        list.iter()
            .filter(|bits| **bits != ALL)
            .fold(0, |a, b| a | b)
    };
    match (all(add), all(drop)) {
        (true, _) => ALL & !single(drop),
        (false, true) => single(add),
        (false, false) => (default | single(add)) & !single(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_the_mask_that_docker_gives() {
        assert_eq!(adjusted(&[], &[]), 0xa804_25fb);
    }

    #[test]
    fn names_are_taken_in_any_form() {
        assert_eq!(parse("cap_sys_admin"), Some(1 << 21));
        assert_eq!(parse("NET_ADMIN"), Some(1 << 12));
        assert_eq!(parse("NET_ADMINISTRATOR"), None);
    }

    #[test]
    fn names_are_those_that_are_parsed() {
        assert_eq!(names(1 << 12 | 1 << 21), ["NET_ADMIN", "SYS_ADMIN"]);
        assert_eq!(names(ALL).len(), NAMES.len());
        assert_eq!(names(0), [""; 0]);
    }

    #[test]
    fn default_set_reaches_no_machine_and_all_does() {
        assert_eq!(of_the_machine(adjusted(&[], &[])), None);
        assert!(of_the_machine(ALL).is_some());
        for (name, _) in OF_THE_MACHINE {
            let bit = parse(name).unwrap();
            assert_eq!(of_the_machine(bit).map(|(name, _)| name), Some(name));
        }
        for name in ["SYS_PTRACE", "SYS_NICE", "NET_ADMIN", "SYS_RESOURCE"] {
            assert_eq!(of_the_machine(parse(name).unwrap()), None, "{name}");
        }
        assert_eq!(by_machines_root(adjusted(&[], &[])), None);
        for name in ["SYS_PTRACE", "SYS_NICE"] {
            let found = by_machines_root(parse(name).unwrap());
            assert_eq!(found.map(|(name, _)| name), Some(name));
        }
        for name in ["NET_ADMIN", "SYS_RESOURCE"] {
            assert_eq!(by_machines_root(parse(name).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn dropping_all_and_adding_one_leaves_one() {
        assert_eq!(adjusted(&[1 << 10], &[ALL]), 1 << 10);
        assert_eq!(adjusted(&[ALL], &[1 << 21]), ALL & !(1 << 21));
        assert_eq!(adjusted(&[], &[1]) & 1, 0);
    }
}
