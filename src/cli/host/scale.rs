//! `coracle host scale`: a set of like containers in a host, brought to a number.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context, Result};
use contracts::guest::is_name;

use super::super::{
    each, engine, flags::environment, moment::Seconds, options::Memory, start, told::Told,
};
use crate::kernel_build::Display;
use coracle_engine::{
    Engine,
    containers::{
        Container, CreateRequest, HostConfig, PullPolicy, RemoveOptions, StartOptions, StopOptions,
    },
    hosts::Host,
};
use coracle_platform::sys;
use coracle_terminal::output::Stream;

/// Most containers of one set: more than a guest's disk and sockets carry.
const MAX_REPLICAS: u32 = 1000;

/// The label by which the containers of a set are known; its value is the image as it was named.
const LABEL: &str = "coracle.scale";

/// Set the number of containers of an image in a host, by starting or removing some
#[derive(clap::Args)]
#[command(
    override_usage = "coracle host scale [OPTIONS] HOST IMAGE=NUMBER... [-- COMMAND [ARG...]]"
)]
pub(super) struct Arguments {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,
    /// Images, each with the number of containers
    #[arg(required = true, value_name = "IMAGE=NUMBER")]
    sets: Vec<Set>,
    /// Set an environment variable in containers that are started
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Memory limit of each container that is started
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Memory>,
    /// Time to wait before killing a container that is too many; -1 to wait forever [default: the container's]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "DURATION",
        allow_negative_numbers = true
    )]
    time: Option<Seconds>,
    /// Command and arguments, instead of the image's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How many containers of an image are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    image: String,
    number: u32,
}

impl FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an image with a number, such as nginx=3");
        let (image, number) = text.rsplit_once('=').ok_or_else(wrong)?;
        let number: u32 = number.parse().map_err(|_| wrong())?;
        if image.is_empty() {
            return Err(wrong());
        }
        if number > MAX_REPLICAS {
            return Err(format!(
                "{number} is too many; at most {MAX_REPLICAS} are possible"
            ));
        }
        Ok(Self {
            image: image.into(),
            number,
        })
    }
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    // As 'run' does: it waits for many starts.
    sys::show(&format!("coracle host scale {}", arguments.host));
    let engine = engine()?;
    let host = engine.hosts().find(&arguments.host)?;
    host.check_up()?;
    each(&arguments.sets, |set| {
        scale(&host, set, arguments, &engine)
            .with_context(|| format!("cannot scale {} to {}", set.image, set.number))
    })
}

fn scale(host: &Host, set: &Set, arguments: &Arguments, engine: &Engine) -> Result<()> {
    let mut own: Vec<Container> = host
        .containers()?
        .into_iter()
        .filter(|container| container.config().labels.get(LABEL) == Some(&set.image))
        .collect();
    let wanted = usize::try_from(set.number)?;
    // Those that do not run go first, then the newest.
    own.sort_by_cached_key(|container| {
        let runs = container.state().is_ok_and(|state| state.status.is_live());
        (!runs, container.config().created)
    });
    // The last first, all at once.
    let too_many = own.split_off(wanted.min(own.len())).into_iter().rev();
    let stopping = too_many.map(|container| {
        let options = StopOptions {
            signal: None,
            seconds: arguments.time.map(|Seconds(time)| time),
        };
        Ok((container.stop(options)?, container))
    });
    let stopping: Vec<Result<_>> = stopping.collect();
    for stopping in stopping {
        let (ending, container) = stopping?;
        ending.finish()?;
        if container.record().directory().is_dir() {
            container.remove(RemoveOptions { force: true })?;
        }
        outln!("removed {}", container.name());
    }
    for container in &own {
        if !container.state()?.status.is_live() {
            run(container)?;
        }
    }
    for _ in own.len()..wanted {
        let request = request(host, set, arguments)?;
        let told = Told::new(Stream::Error);
        let container = engine.containers().create(&request, &told)?;
        if let Err(error) = run(&container) {
            container.remove(RemoveOptions { force: true })?;
            return Err(error);
        }
    }
    outln!("{}: {wanted}", set.image);
    Ok(())
}

/// The name by which neighbours find all containers of a set: the image's, without where it comes
/// from and which version it is.
fn alias(image: &str) -> Option<&str> {
    let name = image.rsplit('/').next()?;
    let name = name.split([':', '@']).next()?;
    is_name(name).then_some(name)
}

/// One more container of a set.
fn request(host: &Host, set: &Set, arguments: &Arguments) -> Result<CreateRequest> {
    let command = arguments.command.clone();
    let memory = arguments.memory.and_then(|memory| memory.0).unwrap_or(0);
    let mut request = CreateRequest {
        image: set.image.clone(),
        pull: PullPolicy::Missing,
        cmd: Some(command).filter(|command| !command.is_empty()),
        env: environment(&arguments.env)?,
        labels: BTreeMap::from([(LABEL.into(), set.image.clone())]),
        host: Some(host.id().into()),
        host_config: HostConfig {
            memory: i64::try_from(memory)?,
            ..HostConfig::default()
        },
        ..CreateRequest::default()
    };
    request.add_aliases(alias(&set.image).map(str::to_owned));
    Ok(request)
}

fn run(container: &Container) -> Result<()> {
    let name = container.name();
    let link = container.start(StartOptions::default(), &mut Display::new())?;
    start::until_started(name, &link)?;
    outln!("started {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_stands_after_the_last_equals_sign() {
        let set: Set = "localhost:5000/web:1=3".parse().unwrap();
        assert_eq!(
            (set.image.as_str(), set.number),
            ("localhost:5000/web:1", 3)
        );
    }

    #[test]
    fn alias_is_the_images_name_alone() {
        for image in ["web", "localhost:5000/a/web:1", "web@sha256:00"] {
            assert_eq!(alias(image), Some("web"), "{image}");
        }
        assert_eq!(alias("a/:1"), None);
    }

    #[test]
    fn set_without_a_number_or_with_too_many_is_refused() {
        for text in ["web", "=3", "web=", "web=-1", "web=1001"] {
            assert!(text.parse::<Set>().is_err(), "{text}");
        }
    }
}
