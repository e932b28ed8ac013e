//! Values that options take, written as docker takes them.

use std::{num::NonZeroU64, str::FromStr};

use coracle_engine::containers::{PortBinding, Ulimit, values};
use coracle_platform::size;

/// A number of bytes: `512m`, `1.5g`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        size::parse(text).map(Self)
    }
}

/// `--memory` of a container: a limit of at least 6 MiB, or 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) Option<u64>);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        values::memory(size::parse(text)?).map(Self)
    }
}

/// Least memory of a named host: a container of the least, its layers, and what it writes.
const MIN_MEMORY_OF_HOST: u64 = 32 << 20;

/// `--memory` of a named host.
pub(crate) fn memory_of_host(text: &str) -> Result<u64, String> {
    let Bytes(bytes) = text.parse()?;
    values::at_least(bytes, MIN_MEMORY_OF_HOST)
}

/// A number of processors, in thousandths: `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus {
    /// Thousandths of a processor.
    pub(crate) thousandths: NonZeroU64,
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid number of CPUs {text:?}: use a number such as 2 or 1.5");
        let (whole, fraction) = size::number(text).ok_or_else(wrong)?;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
        NonZeroU64::new(u64::from(whole) * 1000 + part)
            .map(|thousandths| Self { thousandths })
            .ok_or_else(wrong)
    }
}

/// `--ulimit`: `NAME=SOFT[:HARD]`, -1 for unlimited.
///
/// # Errors
/// When it is something else, or no such limit.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit {text:?}: use NAME=SOFT[:HARD]"))?;
    let limit = |value: &str| match value {
        "-1" | "unlimited" => Ok(-1),
        _ => value
            .parse::<u64>()
            .ok()
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| format!("invalid ulimit value {value:?}")),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    // Its name first: what is wrong with it explains the rest.
    let mut limits = Ulimit {
        name: name.into(),
        ..Ulimit::default()
    };
    values::rlimit(&limits)?;
    (limits.soft, limits.hard) = (limit(soft)?, limit(hard)?);
    values::rlimit(&limits)?;
    Ok(limits)
}

/// `--tmpfs`: `PATH[:OPTIONS]`, as the two.
///
/// # Errors
/// When the path cannot be one.
pub(crate) fn tmpfs(text: &str) -> Result<(String, String), String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    values::tmpfs(target, options)?;
    Ok((target.into(), options.into()))
}

/// A word that the engine reads; it has to be able to.
///
/// # Errors
/// When it is not.
pub(crate) fn checked<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<String, String> {
    read(text).map(|_| text.to_owned())
}

/// `--stop-signal`: a name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(pub(crate) u8);

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        values::signal(text).map(Self)
    }
}

/// `--publish`: `[[ADDRESS:]HOST-PORT:]PORT[/PROTOCOL]`, as the container's port and where it is published.
pub(crate) fn publish(text: &str) -> (String, PortBinding) {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, port) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (host_ip, host_port) = rest.rsplit_once(':').unwrap_or(("", rest));
    let binding = PortBinding {
        host_ip: host_ip.trim_matches(['[', ']']).into(),
        host_port: host_port.into(),
    };
    (format!("{port}/{protocol}"), binding)
}

/// `NAME=VALUE`, or `NAME` for the value that it has outside; without one there `NAME` stays alone,
/// and takes the image's value away, as with docker.
pub(crate) fn environment(text: &str) -> Result<String, String> {
    values::variable(text)?;
    if text.contains('=') {
        return Ok(text.to_owned());
    }
    match std::env::var(text) {
        Ok(value) => Ok(format!("{text}={value}")),
        Err(std::env::VarError::NotPresent) => Ok(text.to_owned()),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the value of {text} is no UTF-8 text"))
        }
    }
}

/// `KEY=VALUE`: the two sides of a separator.
pub(crate) fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((first, second)) if !first.is_empty() && !second.is_empty() => {
            Ok((first.into(), second.into()))
        }
        _ => Err(format!("invalid value {text:?}: use A{separator}B")),
    }
}

/// `--sysctl`: `NAME=VALUE`, the name with dots or as a path; here it has dots.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text, '=')?;
    Ok((values::sysctl_name(&name)?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_nothing_runs_in_is_refused() {
        assert_eq!("0".parse(), Ok(Memory(None)));
        assert_eq!("6m".parse(), Ok(Memory(Some(6 << 20))));
        assert_eq!(
            "10".parse::<Memory>().unwrap_err(),
            "10B is too small: the minimum is 6MiB (a number without a unit is in bytes)"
        );
        assert_eq!(memory_of_host("2g"), Ok(2 << 30));
        for text in ["0", "10", "1m"] {
            assert!(memory_of_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_are_counted_in_thousandths() {
        assert_eq!("1.5".parse::<Cpus>().unwrap().thousandths.get(), 1500);
        assert_eq!("0.05".parse::<Cpus>().unwrap().thousandths.get(), 50);
        assert_eq!(".5".parse::<Cpus>().unwrap().thousandths.get(), 500);
        assert_eq!("1.0000".parse::<Cpus>().unwrap().thousandths.get(), 1000);
        for text in [
            "", ".", "0", "0.0", ".0", "-1", "+1", "1.", "1.+5", "x", "1.0001",
        ] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn limits_have_a_soft_and_a_hard_value() {
        for (text, soft, hard) in [
            ("nofile=1024:2048", 1024, 2048),
            ("nofile=7", 7, 7),
            ("core=-1", -1, -1),
            ("core=unlimited", -1, -1),
        ] {
            let limit = ulimit(text).unwrap();
            assert_eq!((limit.soft, limit.hard), (soft, hard), "{text}");
        }
        for text in [
            "nofile",
            "nofile=",
            "nofile=2:1",
            "files=1",
            "nofile=1:x",
            "nofile=-2",
        ] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn published_port_is_written_as_docker_writes_it() {
        for (text, port, host_ip, host_port) in [
            ("80", "80/tcp", "", ""),
            ("8080:80", "80/tcp", "", "8080"),
            ("127.0.0.1:8080:80/udp", "80/udp", "127.0.0.1", "8080"),
            ("[::1]::80", "80/tcp", "::1", ""),
        ] {
            let (found, binding) = publish(text);
            assert_eq!(found, port, "{text}");
            assert_eq!(
                (&*binding.host_ip, &*binding.host_port),
                (host_ip, host_port)
            );
        }
    }

    #[test]
    fn variable_without_a_value_anywhere_stays_a_name() {
        assert_eq!(environment("A=b=c").unwrap(), "A=b=c");
        assert_eq!(environment("A=").unwrap(), "A=");
        assert_eq!(
            environment("CORACLE_NO_SUCH_VARIABLE").unwrap(),
            "CORACLE_NO_SUCH_VARIABLE"
        );
        assert!(environment("PATH").unwrap().starts_with("PATH=/"));
        for text in ["", "=", "=x", "A=\0"] {
            assert!(environment(text).is_err(), "{text:?}");
        }
    }
}
