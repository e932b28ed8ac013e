//! Values that options take, written as docker takes them.

use std::{num::NonZeroU64, str::FromStr};

use docker_model::records::RLIMITS;

use super::table::binary_size;
use coracle_engine::{capability, signal};

/// The digits of a number before and behind its point, of which there may be no whole part (`.5`) or no fraction (`5`).
fn decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = match text.split_once('.') {
        None => (text, "0"),
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
    };
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole) && are_digits(fraction)).then_some((whole, fraction))
}

/// A number of bytes: `512m`, `1.5g`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("invalid size {text:?}: use a number with a unit, such as 512m or 2g");
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = lower.get(digits.len()..).unwrap_or_default();
        let digits = digits.strip_suffix(' ').unwrap_or(digits);
        let shift = match unit {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = decimal(digits).ok_or_else(wrong)?;
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let unit = 1_u64 << shift;
        // Nine digits of a fraction are more than anyone writes and cannot overflow.
        if fraction.len() > 9 {
            return Err(wrong());
        }
        let numerator: u64 = fraction.parse().map_err(|_| wrong())?;
        let denominator = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
        let part = u128::from(numerator) * u128::from(unit) / u128::from(denominator);
        whole
            .checked_mul(unit)
            .and_then(|bytes| bytes.checked_add(u64::try_from(part).ok()?))
            .map(Self)
            .ok_or_else(|| format!("size {text:?} is too large"))
    }
}

/// Least memory of a container: docker's.
const MIN_MEMORY: u64 = 6 << 20;

/// `--memory` of a container: a limit of at least 6 MiB, or 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) Option<u64>);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Bytes(0) => Ok(Self(None)),
            Bytes(bytes) => at_least(bytes, MIN_MEMORY).map(|bytes| Self(Some(bytes))),
        }
    }
}

/// Least memory of a named host: a container of the least, its layers, and what it writes.
const MIN_MEMORY_OF_HOST: u64 = 32 << 20;

/// `--memory` of a named host.
pub(crate) fn memory_of_host(text: &str) -> Result<u64, String> {
    let Bytes(bytes) = text.parse()?;
    at_least(bytes, MIN_MEMORY_OF_HOST)
}

/// Refuses a size that is too small, which is most often one whose unit was left out.
pub(crate) fn at_least(bytes: u64, least: u64) -> Result<u64, String> {
    if bytes >= least {
        return Ok(bytes);
    }
    Err(format!(
        "{} is too small: the minimum is {} (a number without a unit is in bytes)",
        binary_size(bytes),
        binary_size(least)
    ))
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
        let (whole, fraction) = decimal(text).ok_or_else(wrong)?;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    /// Linux's number of the resource.
    pub(crate) resource: u32,
    /// Soft limit.
    pub(crate) soft: u64,
    /// Hard limit.
    pub(crate) hard: u64,
}

impl FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| format!("invalid ulimit {text:?}: use NAME=SOFT[:HARD]"))?;
        let resource = RLIMITS
            .iter()
            .position(|known| *known == name)
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| {
                format!(
                    "invalid ulimit type {name:?}: use one of {}",
                    RLIMITS.join(", ")
                )
            })?;
        let limit = |value: &str| match value {
            "-1" | "unlimited" => Ok(u64::MAX),
            _ => value
                .parse()
                .map_err(|_| format!("invalid ulimit value {value:?}")),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        if soft > hard {
            return Err(format!(
                "ulimit soft limit {soft} must be less than or equal to hard limit {hard}"
            ));
        }
        Ok(Self {
            resource,
            soft,
            hard,
        })
    }
}

/// `--tmpfs`: `PATH[:OPTIONS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tmpfs {
    /// Absolute path in the container.
    pub(crate) target: String,
    /// Mount options, as the user gave them.
    pub(crate) options: Vec<String>,
}

impl FromStr for Tmpfs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        if !target.starts_with('/') || target == "/" {
            return Err(format!(
                "invalid tmpfs path {target:?}: must be absolute, and not /"
            ));
        }
        let options = options.split(',').filter(|option| !option.is_empty());
        Ok(Self {
            target: target.into(),
            options: options.map(Into::into).collect(),
        })
    }
}

/// `--cap-add` and `--cap-drop`: one capability, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

impl FromStr for Capabilities {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        capability::parse(text)
            .map(Self)
            .ok_or_else(|| format!("unknown capability {text:?}: see capabilities(7), or use ALL"))
    }
}

/// `--stop-signal`: a name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(pub(crate) u8);

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        signal::parse(text).map(Self).ok_or_else(|| {
            format!("invalid signal {text:?}: use a name such as SIGTERM or RTMIN+3, or 1 to 64")
        })
    }
}

/// `NAME=VALUE`, or `NAME` for the value that it has outside; without one there `NAME` stays alone,
/// and takes the image's value away, as with docker.
pub(crate) fn environment(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') || text.contains('\0') {
        return Err(format!("{text:?} is not NAME=VALUE"));
    }
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

/// Docker's word for the address by which a container reaches its host.
pub(crate) const HOST_GATEWAY: &str = "host-gateway";

/// `--add-host`: `NAME:ADDRESS` or `NAME=ADDRESS`, the address perhaps in brackets, or
/// [`HOST_GATEWAY`].
pub(crate) fn extra_host(text: &str) -> Result<(String, String), String> {
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
    if bare != HOST_GATEWAY && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{address:?} is no IP address"));
    }
    Ok((name.into(), bare.into()))
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
    match coracle_protocol::sysctl::name(&name) {
        Some(name) => Ok((name, value)),
        None => Err(format!(
            "{name:?} is no name of a kernel setting such as net.core.somaxconn"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            (".5g", 1 << 29),
            ("2GiB", 2 << 30),
            ("64KB", 64 << 10),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1.m",
            ".",
            ".m",
            "+5m",
            "1.+5m",
            "1.5.5m",
            "99999999999g",
            "1.0000000001g",
            "٣m",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

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
    fn limits_have_linux_numbers() {
        let limit = "nofile=1024:2048".parse::<Ulimit>().unwrap();
        assert_eq!(
            limit,
            Ulimit {
                resource: 7,
                soft: 1024,
                hard: 2048
            }
        );
        let limit = "core=-1".parse::<Ulimit>().unwrap();
        assert_eq!(
            limit,
            Ulimit {
                resource: 4,
                soft: u64::MAX,
                hard: u64::MAX
            }
        );
        for text in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=1:x"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
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
    fn temporary_file_systems_need_an_absolute_path() {
        let tmpfs = "/run:size=64m,mode=700".parse::<Tmpfs>().unwrap();
        assert_eq!(tmpfs.options, ["size=64m", "mode=700"]);
        assert!("run".parse::<Tmpfs>().is_err());
        assert!("/".parse::<Tmpfs>().is_err());
    }
}
