//! Values of a request that are words, as docker writes them. A front may check them by the same functions before it
//! asks for anything; errors are in words for a person.

use std::{net::IpAddr, str::FromStr};

use contracts::guest::{is_name, sysctl};
use coracle_platform::size;

use super::{RestartPolicy, Ulimit};
use crate::{
    capability, signal,
    state::container::{Isolation, Restart, spec::Rlimit},
};

/// Least memory of a container, in bytes: docker's.
pub const MIN_MEMORY: u64 = 6 << 20;

/// The longest time that can be waited for, about a hundred years in seconds: then as good as without an end.
pub const FOREVER: u64 = 100 * 365 * 86400;

/// Docker's word for the address by which a container reaches its host.
pub const HOST_GATEWAY: &str = "host-gateway";

/// Refuses a size that is too small, which is most often one whose unit was left out.
///
/// # Errors
/// When it is.
pub fn at_least(bytes: u64, least: u64) -> Result<u64, String> {
    if bytes >= least {
        return Ok(bytes);
    }
    Err(format!(
        "{} is too small: the minimum is {} (a number without a unit is in bytes)",
        size::binary(bytes),
        size::binary(least)
    ))
}

/// A memory limit in bytes; 0 is none.
///
/// # Errors
/// When nothing runs in so little.
pub fn memory(bytes: u64) -> Result<Option<u64>, String> {
    match bytes {
        0 => Ok(None),
        bytes => at_least(bytes, MIN_MEMORY).map(Some),
    }
}

/// Resources of `setrlimit(2)` by the names that docker gives them, at their Linux number.
pub const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// A resource limit as Linux takes it.
///
/// # Errors
/// When there is no such resource, or the soft limit is above the hard one.
pub fn rlimit(limit: &Ulimit) -> Result<Rlimit, String> {
    let resource = RLIMITS
        .iter()
        .position(|known| *known == limit.name)
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| {
            format!(
                "invalid ulimit type {:?}: use one of {}",
                limit.name,
                RLIMITS.join(", ")
            )
        })?;
    let number = |value: i64| match value {
        -1 => Ok(u64::MAX),
        value => u64::try_from(value).map_err(|_| format!("invalid ulimit value \"{value}\"")),
    };
    let (soft, hard) = (number(limit.soft)?, number(limit.hard)?);
    if soft > hard {
        return Err(format!(
            "ulimit soft limit {soft} must be less than or equal to hard limit {hard}"
        ));
    }
    Ok(Rlimit {
        resource,
        soft,
        hard,
    })
}

/// Target and options of a temporary file system.
///
/// # Errors
/// When the path cannot be one.
pub fn tmpfs(target: &str, options: &str) -> Result<(String, Vec<String>), String> {
    if !target.starts_with('/') || target == "/" {
        return Err(format!(
            "invalid tmpfs path {target:?}: must be absolute, and not /"
        ));
    }
    let options = options.split(',').filter(|option| !option.is_empty());
    Ok((target.into(), options.map(Into::into).collect()))
}

/// The bits of a capability, or of all.
///
/// # Errors
/// When there is none of this name.
pub fn capabilities(name: &str) -> Result<u64, String> {
    capability::parse(name)
        .ok_or_else(|| format!("unknown capability {name:?}: see capabilities(7), or use ALL"))
}

/// The number of a signal.
///
/// # Errors
/// When there is none of this name.
pub fn signal(name: &str) -> Result<u8, String> {
    signal::parse(name).ok_or_else(|| {
        format!("invalid signal {name:?}: use a name such as SIGTERM or RTMIN+3, or 1 to 64")
    })
}

/// A line of `/etc/hosts`, `NAME:ADDRESS` or `NAME=ADDRESS`, as name and address. The address may be in brackets, or
/// [`HOST_GATEWAY`].
///
/// # Errors
/// When it is something else.
pub fn extra_host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| format!("{text:?} is not NAME:ADDRESS"))?;
    if name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == '#')
    {
        return Err(format!("{name:?} is no name that a hosts file can have"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    if bare != HOST_GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(format!("{address:?} is no IP address"));
    }
    Ok((name.into(), bare.into()))
}

/// The name of a kernel setting with dots, where it may be written as a path.
///
/// # Errors
/// When it is none.
pub fn sysctl_name(name: &str) -> Result<String, String> {
    sysctl::name(name).ok_or_else(|| {
        format!("{name:?} is no name of a kernel setting such as net.core.somaxconn")
    })
}

/// A variable, `NAME=VALUE` or `NAME`.
///
/// # Errors
/// When it is none.
pub fn variable(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') || text.contains('\0') {
        return Err(format!("{text:?} is not NAME=VALUE"));
    }
    Ok(())
}

/// A name by which neighbours know a container.
///
/// # Errors
/// When it cannot be one.
pub fn alias(text: &str) -> Result<(), String> {
    if is_name(text) {
        return Ok(());
    }
    Err(format!(
        "invalid network alias {text:?}: use letters, digits, '.', '-' and '_'"
    ))
}

/// A restart policy as one word: `no`, `on-failure[:MAX-RETRIES]`, `always`, `unless-stopped`.
///
/// # Errors
/// When it is something else.
pub fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, most) = text.split_once(':').unwrap_or((text, "0"));
    let wrong = || {
        format!(
            "invalid restart policy {text:?}: use no, on-failure[:MAX-RETRIES], always, or unless-stopped"
        )
    };
    let policy = RestartPolicy {
        name: name.into(),
        maximum_retry_count: most.parse::<u32>().map_err(|_| wrong())?.into(),
    };
    if name.is_empty() || text.contains(':') && name != "on-failure" {
        return Err(wrong());
    }
    restart(&policy).map(|_| policy).map_err(|_| wrong())
}

/// When a container with this policy is started again.
///
/// # Errors
/// When there is no such policy.
pub fn restart(policy: &RestartPolicy) -> Result<Restart, String> {
    let count = policy.maximum_retry_count;
    let most = u32::try_from(count)
        .map_err(|_| format!("invalid restart policy: the maximum of retries cannot be {count}"))?;
    match (policy.name.as_str(), most) {
        ("on-failure", most) => Ok(Restart::OnFailure(most)),
        ("no" | "", 0) => Ok(Restart::No),
        ("always", 0) => Ok(Restart::Always),
        ("unless-stopped", 0) => Ok(Restart::UnlessStopped),
        ("no" | "" | "always" | "unless-stopped", _) => Err(
            "invalid restart policy: a maximum of retries can only be used with on-failure".into(),
        ),
        (name, _) => Err(format!(
            "invalid restart policy {name:?}: use no, on-failure, always, or unless-stopped"
        )),
    }
}

/// A security option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityOption {
    /// Nothing gets more rights by executing a file.
    NoNewPrivileges,
    /// No seccomp filter.
    SeccompUnconfined,
    /// What is so anyway: a guest's kernel has no such security module.
    Nothing,
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(['=', ':']).unwrap_or((text, "")) {
            ("no-new-privileges", "" | "true") => Ok(Self::NoNewPrivileges),
            ("seccomp", "unconfined") => Ok(Self::SeccompUnconfined),
            ("no-new-privileges", "false")
            | ("seccomp", "builtin")
            | ("apparmor", "unconfined")
            | ("label", _) => Ok(Self::Nothing),
            _ => Err(format!(
                "invalid security option {text:?}: use no-new-privileges or seccomp=unconfined"
            )),
        }
    }
}

/// What docker's `Isolation` says: empty and `default` are a microVM.
///
/// # Errors
/// When it is something else.
pub fn isolation(word: &str) -> Result<Isolation, String> {
    match word {
        "" | "default" | "vm" => Ok(Isolation::Vm),
        "namespace" => Ok(Isolation::Namespace),
        _ => Err(format!("invalid isolation {word:?}: use vm or namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_nothing_runs_in_is_refused() {
        assert_eq!(memory(0), Ok(None));
        assert_eq!(memory(6 << 20), Ok(Some(6 << 20)));
        assert_eq!(
            memory(10).unwrap_err(),
            "10B is too small: the minimum is 6MiB (a number without a unit is in bytes)"
        );
    }

    #[test]
    fn limits_have_linux_numbers() {
        for (name, soft, hard, expected) in [
            ("nofile", 1024, 2048, Some((7, 1024, 2048))),
            ("core", -1, -1, Some((4, u64::MAX, u64::MAX))),
            ("nofile", 1, -1, Some((7, 1, u64::MAX))),
            ("nofile", 2, 1, None),
            ("nofile", -1, 1, None),
            ("nofile", -2, -2, None),
            ("files", 1, 1, None),
        ] {
            let limit = Ulimit {
                name: name.into(),
                soft,
                hard,
            };
            let read = rlimit(&limit).ok();
            let read = read.map(|limit| (limit.resource, limit.soft, limit.hard));
            assert_eq!(read, expected, "{limit:?}");
        }
    }

    #[test]
    fn temporary_file_systems_need_an_absolute_path() {
        let (target, options) = tmpfs("/run", "size=64m,,mode=700").unwrap();
        assert_eq!(target, "/run");
        assert_eq!(options, ["size=64m", "mode=700"]);
        assert!(tmpfs("run", "").is_err());
        assert!(tmpfs("/", "").is_err());
    }

    #[test]
    fn extra_hosts_are_written_as_docker_writes_them() {
        for (text, name, address) in [
            ("db:10.0.0.1", "db", "10.0.0.1"),
            ("db=10.0.0.1", "db", "10.0.0.1"),
            ("db:::1", "db", "::1"),
            ("db=::1", "db", "::1"),
            ("db:[::1]", "db", "::1"),
            ("db=[fe80::1]", "db", "fe80::1"),
            ("db:[10.0.0.1]", "db", "10.0.0.1"),
            ("gate:host-gateway", "gate", "host-gateway"),
            ("gate=host-gateway", "gate", "host-gateway"),
        ] {
            let pair = extra_host(text).unwrap();
            assert_eq!(pair, (name.into(), address.into()), "{text}");
        }
        for text in [
            "db",
            "db:",
            ":10.0.0.1",
            "=10.0.0.1",
            "a:b=10.0.0.1",
            "db:10.0.0",
            "db:10.0.0.256",
            "db:[::1",
            "db:10.0.0.1 evil",
            "db:host",
            "a b:10.0.0.1",
            "a\n1.1.1.1\tb:10.0.0.1",
        ] {
            assert!(extra_host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn restart_policy_is_one_word_or_a_name_with_a_number() {
        for (text, expected) in [
            ("no", Some(Restart::No)),
            ("always", Some(Restart::Always)),
            ("unless-stopped", Some(Restart::UnlessStopped)),
            ("on-failure", Some(Restart::OnFailure(0))),
            ("on-failure:3", Some(Restart::OnFailure(3))),
            ("", None),
            ("on-failure:", None),
            ("on-failure:-1", None),
            ("on-failure:x", None),
            ("always:0", None),
            ("always:3", None),
            ("never", None),
        ] {
            let read = restart_policy(text).ok();
            assert_eq!(
                read.map(|policy| restart(&policy).unwrap()),
                expected,
                "{text}"
            );
        }
        for (name, count) in [("always", 1), ("no", 1), ("on-failure", -1), ("never", 0)] {
            let policy = RestartPolicy {
                name: name.into(),
                maximum_retry_count: count,
            };
            assert!(restart(&policy).is_err(), "{policy:?}");
        }
    }

    #[test]
    fn security_options_are_understood_or_refused() {
        for (text, expected) in [
            ("no-new-privileges", Some(SecurityOption::NoNewPrivileges)),
            (
                "no-new-privileges:true",
                Some(SecurityOption::NoNewPrivileges),
            ),
            ("no-new-privileges=false", Some(SecurityOption::Nothing)),
            (
                "seccomp=unconfined",
                Some(SecurityOption::SeccompUnconfined),
            ),
            ("label=disable", Some(SecurityOption::Nothing)),
            ("seccomp={}", None),
            ("apparmor=docker-default", None),
            ("no-new-privileges=maybe", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn variables_have_a_name() {
        for (text, good) in [
            ("A=b=c", true),
            ("A=", true),
            ("A", true),
            ("", false),
            ("=", false),
            ("=x", false),
            ("A=\0", false),
        ] {
            assert_eq!(variable(text).is_ok(), good, "{text:?}");
        }
    }
}
