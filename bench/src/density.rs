//! Containers that idle, one after the other: what the next start takes, and what the next one weighs.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::arguments::Density as Arguments;
use crate::clock::milliseconds;
use crate::measure;
use crate::memory;
use crate::processes;
use crate::report::Summary;
use crate::show::{self, table::Table};
use crate::start;
use crate::statistics::summary;
use crate::systems::{self, Present, Scene};
use crate::virtual_time;
use crate::warn;
use coracle_platform::size;
use coracle_terminal::output::{self, Stream};

/// Starts that the first and the last ones are taken from: one alone is chance.
const EDGE: usize = 5;

/// A measurement of one system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Density {
    pub(crate) system: String,
    pub(crate) release: String,
    pub(crate) image: String,
    pub(crate) containers: Vec<Container>,
    /// Milliseconds, of the first starts and of the last ones.
    pub(crate) first: Summary,
    pub(crate) last: Summary,
    /// The middle of the last starts by that of the first.
    pub(crate) growth: f64,
    /// Bytes that each container but the first added, as its processes weigh, and as the machine has less.
    pub(crate) memory: Option<u64>,
    pub(crate) available: Option<u64>,
}

/// One more container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Container {
    /// Milliseconds until the command that starts it has ended.
    pub(crate) ms: f64,
    /// Bytes of all containers' processes, a guest's memory among them; None where they are out of sight, and
    /// for most of many.
    pub(crate) memory: Option<u64>,
    /// Bytes that the machine has less than before the first.
    pub(crate) available: Option<u64>,
}

/// Measures, and shows it.
///
/// # Errors
/// When the system cannot be measured here, or a start fails.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let density = if arguments.virtual_time {
        serde_json::from_slice(&virtual_time::density(arguments)?)?
    } else {
        measure(arguments)?
    };
    let as_table = match &arguments.json {
        Some(path) => {
            show::write(
                path,
                &output::clean_json(&serde_json::to_string_pretty(&density)?),
            )?;
            !show::is_standard_output(path)
        }
        None => true,
    };
    if as_table {
        output::write(Stream::Output, &text(&density));
    }
    Ok(0)
}

fn measure(arguments: &Arguments) -> Result<Density> {
    measure::load_archive(arguments.load.as_deref())?;
    let (mut present, _) = systems::choose(std::slice::from_ref(&arguments.system))?;
    let scene = Scene::new(&arguments.image)?;
    scene.ready(&present);
    processes::adopt()?;
    let one = present.first_mut().context("no system was named")?;
    let prepared = one.system.prepare(&scene);
    let measured = prepared.and_then(|()| pile(one, &scene, arguments));
    one.system.clean(&scene);
    measured
}

fn pile(one: &mut Present, scene: &Scene, arguments: &Arguments) -> Result<Density> {
    // What the first start alone has to do is no matter of density.
    let program = ["true".to_owned()];
    let first = start::that_succeeds(one.system.start(scene, &program)?)?;
    if let Some(why) = one.system.failure(&first.output) {
        bail!("{why}");
    }
    let (mut up, mut containers) = (Vec::new(), Vec::new());
    let (number, idle) = (arguments.number, arguments.idle);
    let result = add_all(one, scene, (number, idle), &mut up, &mut containers);
    for name in &up {
        let ended = start::that_succeeds(one.system.end(scene, name));
        if let Err(error) = ended {
            warn(&error.context(format!("cannot end {name}")));
        }
    }
    result?;
    Ok(conclude(one, arguments, containers))
}

fn add_all(
    one: &mut Present,
    scene: &Scene,
    (number, idle): (u32, u64),
    up: &mut Vec<String>,
    containers: &mut Vec<Container>,
) -> Result<()> {
    let besides = match one.system.counts_what_was_there() {
        true => std::collections::BTreeSet::new(),
        false => processes::children()?,
    };
    let before = memory::available()?;
    for index in 1..=number {
        let name = format!("{}-{index}", scene.unique);
        let command = one.system.idle(scene, &name)?;
        let started = start::that_succeeds(command)
            .with_context(|| format!("cannot start container {index} of {number}"))?;
        up.push(name);
        let visible = systems::is_visible(one.system.as_ref(), scene) && is_shown(index, number);
        if visible {
            memory::let_idle(idle);
        }
        containers.push(Container {
            ms: milliseconds(started.ended - started.begun),
            memory: (visible && !one.system.has_daemon())
                .then(|| memory::of_descendants(&besides))
                .transpose()?,
            available: visible
                .then(memory::available)
                .transpose()?
                .map(|now| before.saturating_sub(now)),
        });
    }
    Ok(())
}

/// Whether so many containers are worth a line: to weigh all of them takes longer than a start.
fn is_shown(index: u32, number: u32) -> bool {
    index == 1 || index == number || index.is_multiple_of((number / 10).max(1))
}

fn conclude(one: &Present, arguments: &Arguments, containers: Vec<Container>) -> Density {
    let times: Vec<f64> = containers.iter().map(|container| container.ms).collect();
    let edge = EDGE.min(times.len() / 2).max(1);
    let first = summary(times.get(..edge).unwrap_or_default());
    let last = summary(times.get(times.len() - edge..).unwrap_or_default());
    Density {
        system: one.name.into(),
        release: one.release.clone(),
        image: arguments.image.clone(),
        growth: last.p50 / first.p50.max(f64::MIN_POSITIVE),
        first,
        last,
        memory: per_container(&containers, |container| container.memory),
        available: per_container(&containers, |container| container.available),
        containers,
    }
}

/// What each container but the first added.
fn per_container(containers: &[Container], of: impl Fn(&Container) -> Option<u64>) -> Option<u64> {
    let (first, last) = (of(containers.first()?)?, of(containers.last()?)?);
    let more = u64::try_from(containers.len()).ok()?.checked_sub(1)?;
    last.saturating_sub(first).checked_div(more)
}

fn text(density: &Density) -> String {
    let mut table = Table::new(&["CONTAINERS", "START MS", "MEMORY", "MACHINE HAS LESS"]);
    let count = u32::try_from(density.containers.len()).unwrap_or(u32::MAX);
    let size = |bytes: Option<u64>| bytes.map_or("?".into(), size::binary);
    for (number, container) in (1..).zip(&density.containers) {
        if is_shown(number, count) {
            table.row([
                number.to_string(),
                format!("{:.1}", container.ms),
                size(container.memory),
                size(container.available),
            ]);
        }
    }
    let mut text = table.text(show::columns());
    let mut notes = vec![format!(
        "{}: the last starts take {:.2} times as long as the first ({:.1} and {:.1} ms)",
        density.system, density.growth, density.last.p50, density.first.p50
    )];
    notes.push(match (density.memory, density.available) {
        (Some(_), _) => format!(
            "one more container: {} by its processes, {} by what the machine has less",
            size(density.memory),
            size(density.available)
        ),
        (None, Some(less)) => format!(
            "one more container: {} by what the machine has less; its processes are a daemon's, out of sight",
            size::binary(less)
        ),
        (None, None) => "memory is out of sight: monitors run in a software host".into(),
    });
    for note in notes {
        for line in show::table::wrapped(&note, show::columns()) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(ms: f64, memory: u64) -> Container {
        Container {
            ms,
            memory: Some(memory),
            available: None,
        }
    }

    #[test]
    fn first_container_pays_for_what_all_share() {
        let all = [
            container(1.0, 100),
            container(1.0, 110),
            container(1.0, 120),
        ];
        assert_eq!(per_container(&all, |one| one.memory), Some(10));
        assert_eq!(per_container(&all, |one| one.available), None);
        assert_eq!(per_container(&all[..1], |one| one.memory), None);
    }
}
