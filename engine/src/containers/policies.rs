//! What a container's health command, log and disk are to be.

use coracle_platform::{clock, size};
use images::image::config;

use super::{CreateRequest, Healthcheck};
use crate::{
    Error, ErrorKind, Kind, Result,
    state::{
        container::{Health, LogPolicy},
        disk,
        host::{Config as Host, State, Status},
    },
};

/// Bytes of each of a log's two files unless told otherwise.
const LOG_SIZE: u64 = 10 << 20;

/// The smallest log: a record is longer than less.
const MIN_LOG_SIZE: u64 = 256 << 10;

/// Nanoseconds between two runs of a health command, and that one may take: docker's.
const HEALTH_SPAN: u64 = 30 * clock::SECOND;

/// The shortest time between two runs: more often would be all that the guest does.
const MIN_HEALTH_SPAN: u64 = clock::SECOND / 1000;

/// First words of a health check's test.
const KINDS: [&str; 3] = ["NONE", "CMD", "CMD-SHELL"];

/// Failures in a row that make a container unhealthy: docker's.
const HEALTH_RETRIES: u32 = 3;

/// The health command that was asked for, or the image's; each number that is 0 is the image's, as docker's.
///
/// # Errors
/// When a number is negative.
pub(super) fn health(
    asked: Option<&Healthcheck>,
    image: Option<&config::Healthcheck>,
) -> Result<Option<Health>> {
    let nothing = Healthcheck::default();
    let asked = asked.unwrap_or(&nothing);
    let test = match &asked.test[..] {
        [] => image.map_or(&[][..], |image| &image.test),
        test => test,
    };
    let command = match test {
        [kind, line] if kind == "CMD-SHELL" => {
            vec!["/bin/sh".into(), "-c".into(), line.clone()]
        }
        [kind, command @ ..] if kind == "CMD" && !command.is_empty() => command.to_vec(),
        [kind, ..] if !asked.test.is_empty() && !KINDS.contains(&kind.as_str()) => {
            return Err(Error::invalid(format!(
                "unknown type of health check {kind:?}"
            )));
        }
        _ => return Ok(None),
    };
    let number = |what: &str, asked: i64, image: Option<i64>| {
        let asked = u64::try_from(asked)
            .map_err(|_| Error::invalid(format!("{what} of a health check cannot be negative")))?;
        let image = image.and_then(|number| u64::try_from(number).ok());
        let mut given = [Some(asked), image].into_iter().flatten();
        Ok::<_, Error>(given.find(|number| *number > 0))
    };
    let interval = number(
        "the interval",
        asked.interval,
        image.map(|one| one.interval),
    )?;
    let timeout = number("the timeout", asked.timeout, image.map(|one| one.timeout))?;
    let period = number(
        "the start period",
        asked.start_period,
        image.map(|one| one.start_period),
    )?;
    let retries = number(
        "the number of retries",
        asked.retries,
        image.map(|one| one.retries),
    )?;
    Ok(Some(Health {
        command,
        interval: interval.unwrap_or(HEALTH_SPAN).max(MIN_HEALTH_SPAN),
        timeout: timeout.unwrap_or(HEALTH_SPAN).max(MIN_HEALTH_SPAN),
        start_period: period.unwrap_or(0),
        retries: retries.map_or(HEALTH_RETRIES, |retries| {
            u32::try_from(retries).unwrap_or(u32::MAX)
        }),
    }))
}

/// What happens to the output.
///
/// # Errors
/// When there is no such driver, or no such option.
pub(super) fn log(request: &CreateRequest) -> Result<LogPolicy> {
    let log = &request.host_config.log_config;
    match log.kind.as_str() {
        "none" => return Ok(LogPolicy::None),
        // What is written is read in the same ways.
        "" | "local" | "json-file" => {}
        kind => {
            return Err(Error::invalid(format!(
                "unknown logging driver {kind:?}: use local, json-file or none"
            )));
        }
    }
    let mut bytes = LOG_SIZE;
    for (name, value) in &log.config {
        match name.as_str() {
            "max-size" => {
                let given = size::parse(value)
                    .map_err(|why| Error::invalid(why).context("--log-opt max-size"))?;
                bytes = given.max(MIN_LOG_SIZE);
            }
            // There are two, whatever is asked for.
            "max-file" => {}
            _ => {
                return Err(Error::invalid(format!(
                    "unknown log option {name:?}: only max-size is supported"
                )));
            }
        }
    }
    Ok(LogPolicy::Local(bytes))
}

/// Where what the container writes goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Storage {
    /// Bytes of a disk that were asked for.
    pub(super) disk: Option<u64>,
    /// Bytes of memory, if that is limited.
    pub(super) memory: Option<u64>,
}

/// Where what the container writes is to go.
///
/// # Errors
/// When an option is unknown, or they contradict each other.
pub(super) fn storage(request: &CreateRequest) -> Result<Storage> {
    let mut storage = Storage::default();
    for (name, value) in &request.host_config.storage_opt {
        if !["size", "memory"].contains(&name.as_str()) {
            return Err(Error::invalid(format!(
                "unknown storage option {name:?}: only size and memory are supported"
            )));
        }
        let wrong = |why: String| Error::invalid(why).context("--storage-opt");
        let bytes = size::parse(value).map_err(wrong)?;
        match (name.as_str(), bytes) {
            ("size", _) => {
                let size = disk::size(bytes).map_err(|why| wrong(format!("{why:#}")))?;
                storage.disk = Some(size);
            }
            (_, 0) => {
                return Err(Error::invalid(
                    "--storage-opt memory=0 would leave no room at all",
                ));
            }
            _ => storage.memory = Some(bytes),
        }
    }
    if storage.disk.is_some() && storage.memory.is_some() {
        return Err(Error::invalid(
            "--storage-opt size and memory contradict each other: what is written goes to one of them",
        ));
    }
    Ok(storage)
}

/// Most bytes that a container may write to the disk of its named host, if that has one and it is not to be in
/// memory.
///
/// # Errors
/// When there is no such disk, or it is smaller.
pub(super) fn part_of_disk(request: &CreateRequest, host: &Host) -> Result<Option<u64>> {
    match storage(request)? {
        Storage {
            memory: Some(_), ..
        } => Ok(None),
        Storage { disk, memory: None } => host.part_of_disk(disk).kind(ErrorKind::Invalid),
    }
}

/// What is to be told of a limit on the disk of a host: a keeper of a release that knew no such limits holds none.
///
/// # Errors
/// When the host is up with such a keeper, and the limit was asked for.
pub(super) fn warn_of_part(
    request: &CreateRequest,
    host: &Host,
    state: &State,
) -> Result<Option<String>> {
    // Later keepers say which version of the wire they speak.
    let is_old = state.status == Status::Running && state.wire == 0;
    let name = &host.name;
    let again = format!("'coracle host stop {name}' and 'coracle host start {name}' change that");
    let words = format!(
        "host {name} was started by an earlier release of Coracle, which does not limit what each of its containers \
         writes to its disk; {again}"
    );
    match storage(request)? {
        _ if !is_old || host.disk.is_none() => Ok(None),
        Storage {
            memory: Some(_), ..
        } => Ok(None),
        Storage { disk: Some(_), .. } => Err(Error::new(
            ErrorKind::Conflict,
            format!("--storage-opt size: {words}"),
        )),
        Storage { .. } => Ok(Some(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of a host with a disk, by a release that knew no limits there.
    const HOST: &str = r#"{"version":1,"id":"0123","name":"old","created":1,"memory":1073741824,"cpus":1,
        "kernel":null,"machine":"auto","labels":{},"disk":1073741824}"#;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).into()).collect()
    }

    #[test]
    fn health_command_is_what_was_asked_for_or_the_images() {
        let image = ["CMD", "check"];
        for (asked, image, expected) in [
            (&[][..], &[][..], None),
            (&[], &image, Some(&["check"][..])),
            (&["NONE"], &image, None),
            (
                &["CMD-SHELL", "a b"],
                &image,
                Some(&["/bin/sh", "-c", "a b"]),
            ),
            (&["CMD", "own", "x"], &image, Some(&["own", "x"])),
            (&["CMD"], &image, None),
            (&[], &["CMD-SHELL", "c"], Some(&["/bin/sh", "-c", "c"])),
            (&[], &["NONE"], None),
        ] {
            let asked = Healthcheck {
                test: words(asked),
                ..Healthcheck::default()
            };
            let image = config::Healthcheck {
                test: words(image),
                ..config::Healthcheck::default()
            };
            let health = health(Some(&asked), Some(&image)).unwrap();
            assert_eq!(
                health.map(|health| health.command),
                expected.map(words),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn numbers_of_a_health_check_are_asked_for_or_the_images_or_dockers() {
        let image = config::Healthcheck {
            test: words(&["CMD", "check"]),
            interval: 7_000_000_000,
            retries: 9,
            ..config::Healthcheck::default()
        };
        let asked = Healthcheck {
            timeout: 5,
            retries: 2,
            ..Healthcheck::default()
        };
        let found = health(Some(&asked), Some(&image)).unwrap().unwrap();
        assert_eq!(found.interval, 7_000_000_000);
        assert_eq!(found.timeout, MIN_HEALTH_SPAN);
        assert_eq!((found.start_period, found.retries), (0, 2));
        let negative = Healthcheck {
            interval: -1,
            ..Healthcheck::default()
        };
        assert!(health(Some(&negative), Some(&image)).is_err());
        let unknown = Healthcheck {
            test: words(&["HTTP", "/"]),
            ..Healthcheck::default()
        };
        assert!(health(Some(&unknown), None).is_err());
        let found = health(None, Some(&image)).unwrap().unwrap();
        assert_eq!((found.timeout, found.retries), (HEALTH_SPAN, 9));
    }

    fn request(edit: impl FnOnce(&mut CreateRequest)) -> CreateRequest {
        let mut request = CreateRequest::default();
        edit(&mut request);
        request
    }

    #[test]
    fn log_is_local_files_or_nothing() {
        for (kind, option, expected) in [
            ("", None, Some(LogPolicy::Local(LOG_SIZE))),
            (
                "json-file",
                Some(("max-size", "1m")),
                Some(LogPolicy::Local(1 << 20)),
            ),
            (
                "local",
                Some(("max-size", "1")),
                Some(LogPolicy::Local(MIN_LOG_SIZE)),
            ),
            ("local", Some(("max-size", "x")), None),
            ("local", Some(("compress", "true")), None),
            (
                "json-file",
                Some(("max-file", "3")),
                Some(LogPolicy::Local(LOG_SIZE)),
            ),
            ("none", None, Some(LogPolicy::None)),
            ("syslog", None, None),
        ] {
            let request = request(|request| {
                let log = &mut request.host_config.log_config;
                log.kind = kind.into();
                log.config
                    .extend(option.map(|(name, value)| (name.to_owned(), value.to_owned())));
            });
            assert_eq!(log(&request).ok(), expected, "{kind} {option:?}");
        }
    }

    #[test]
    fn what_is_written_goes_to_a_disk_or_to_memory() {
        for (options, good) in [
            (&[][..], true),
            (&[("size", "1g")], true),
            (&[("memory", "64m")], true),
            (&[("size", "1g"), ("memory", "64m")], false),
            (&[("memory", "0")], false),
            (&[("inodes", "1")], false),
            (&[("size", "much")], false),
        ] {
            let request = request(|request| {
                let all = options.iter();
                request.host_config.storage_opt = all
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect();
            });
            assert_eq!(storage(&request).is_ok(), good, "{options:?}");
        }
    }

    #[test]
    fn limit_that_an_earlier_releases_keeper_does_not_hold_is_told() {
        let mut host: Host = serde_json::from_str(HOST).unwrap();
        let mut state = State::new();
        let mut request = CreateRequest::default();
        let mut ask = |option: Option<(&str, &str)>, host: &Host, state: &State| {
            let option = option.map(|(name, value)| (name.into(), value.into()));
            request.host_config.storage_opt = option.into_iter().collect();
            warn_of_part(&request, host, state)
        };
        let (size, memory) = (Some(("size", "16m")), Some(("memory", "16m")));
        // It is not up: who starts it next holds the limit. Nor is there one in a host without a disk.
        assert_eq!(ask(size, &host, &state).unwrap(), None);
        state.status = Status::Running;
        let disk = host.disk.take();
        assert_eq!(ask(None, &host, &state).unwrap(), None);
        host.disk = disk;
        assert_eq!(ask(memory, &host, &state).unwrap(), None);
        let warning = ask(None, &host, &state).unwrap().unwrap();
        assert!(warning.contains("'coracle host stop old'"), "{warning}");
        let refused = ask(size, &host, &state).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        state.wire = contracts::keeper::VERSION;
        assert_eq!(ask(size, &host, &state).unwrap(), None);
        assert_eq!(ask(None, &host, &state).unwrap(), None);
    }
}
