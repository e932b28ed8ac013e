//! The measurement: all systems side by side, one start of each in turn, so that what disturbs the machine
//! meanwhile disturbs them all.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use crate::arguments::{Ladder, Subject};
use crate::environment;
use crate::ladder;
use crate::processes;
use crate::questions;
use crate::report::{Event, Report, Step, System, VERSION};
use crate::start;
use crate::statistics::summary;
use crate::systems::{self, Present, Scene};

/// Measures all systems.
///
/// # Errors
/// When a system that was asked for cannot be measured, or a start fails.
pub(crate) fn all(arguments: &Ladder) -> Result<Report> {
    load(&arguments.subject)?;
    let (image, program) = arguments.subject.image_and_command();
    let (mut present, mut absent) = systems::choose(&arguments.subject.systems)?;
    let scene = Scene::new(&image)?;
    scene.ready(&present);
    processes::adopt()?;
    let wanted = !arguments.subject.systems.is_empty();
    prepare(&mut present, &mut absent, &scene, &program, wanted)?;
    let measured = measure(&mut present, &scene, &program, arguments);
    for one in &mut present {
        one.system.clean(&scene);
    }
    let systems = measured?;
    Ok(Report {
        version: VERSION,
        taken: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        environment: environment::read(&scene),
        image,
        command: program,
        warmup: arguments.warmup,
        systems,
        absent,
    })
}

/// Loads an archive into Coracle's store.
///
/// # Errors
/// When it cannot be loaded.
pub(crate) fn load(subject: &Subject) -> Result<()> {
    load_archive(subject.load.as_deref())
}

pub(crate) fn load_archive(archive: Option<&std::path::Path>) -> Result<()> {
    if let Some(archive) = archive {
        let mut command = std::process::Command::new(crate::command::coracle()?);
        command.args(["load", "--input"]).arg(archive);
        crate::command::output(&mut command)?;
    }
    Ok(())
}

/// Prepares each, and tries it: what is installed may still be unable to start anything here. Those that
/// cannot be measured are absent, unless they were asked for.
fn prepare(
    present: &mut Vec<Present>,
    absent: &mut BTreeMap<String, String>,
    scene: &Scene,
    program: &[String],
    wanted: bool,
) -> Result<()> {
    let mut ready = Vec::new();
    for mut one in present.drain(..) {
        let prepared = one.system.prepare(scene);
        match prepared.and_then(|()| start_of(&mut one, scene, program)) {
            Ok(_) => ready.push(one),
            Err(error) => {
                one.system.clean(scene);
                if wanted {
                    for one in &mut ready {
                        one.system.clean(scene);
                    }
                    return Err(error.context(format!("cannot measure {}", one.name)));
                }
                absent.insert(one.name.into(), format!("{error:#}"));
            }
        }
    }
    if ready.is_empty() {
        let reasons: Vec<String> = absent
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        bail!("no system can be measured here; {}", reasons.join("; "));
    }
    *present = ready;
    Ok(())
}

fn measure(
    present: &mut [Present],
    scene: &Scene,
    program: &[String],
    arguments: &Ladder,
) -> Result<Vec<System>> {
    let mut starts: Vec<Vec<Vec<Event>>> = vec![Vec::new(); present.len()];
    for round in 0..arguments.warmup + arguments.starts {
        for (one, starts) in present.iter_mut().zip(&mut starts) {
            let events = start_of(one, scene, program)
                .with_context(|| format!("cannot measure {}", one.name))?;
            if round >= arguments.warmup {
                starts.push(events);
            }
        }
    }
    let mut systems = Vec::new();
    for (one, starts) in present.iter_mut().zip(starts) {
        let answers = match arguments.only_times {
            true => None,
            false => Some(
                questions::ask(one.system.as_mut(), scene)
                    .with_context(|| format!("cannot look into a container of {}", one.name))?,
            ),
        };
        systems.push(System {
            name: one.name.into(),
            about: one.system.about().into(),
            release: one.release.clone(),
            steps: steps(&starts),
            total: summary(&totals(&starts)),
            starts,
            answers,
        });
    }
    Ok(systems)
}

fn start_of(one: &mut Present, scene: &Scene, program: &[String]) -> Result<Vec<Event>> {
    let command = one.system.start(scene, program)?;
    let start = start::to_the_end(command)?;
    if start.code != 0 {
        bail!(
            "the container ended with {}: {}",
            start.code,
            start.reason()
        );
    }
    if let Some(why) = one.system.failure(&start.output) {
        bail!("{why}");
    }
    let mut events = ladder::events(&start, &one.system.told(&start.words));
    if one.system.has_daemon() {
        events.retain(|event| event.step != ladder::FREED);
    }
    Ok(events)
}

/// What each step took that was in all starts.
fn steps(starts: &[Vec<Event>]) -> Vec<Step> {
    let names = ladder::STEPS.iter().map(|(step, _)| *step);
    let steps = names.filter_map(|name| {
        let series = series(starts, name);
        (series.len() == starts.len()).then(|| Step {
            step: name.into(),
            took: summary(&series),
        })
    });
    steps.collect()
}

/// The times that a step took.
pub(crate) fn series(starts: &[Vec<Event>], name: &str) -> Vec<f64> {
    let took = starts.iter().filter_map(|start| {
        let all = ladder::durations(start);
        all.into_iter().find(|(step, _)| *step == name)
    });
    took.map(|(_, took)| took).collect()
}

/// The times from the command's start to its end.
pub(crate) fn totals(starts: &[Vec<Event>]) -> Vec<f64> {
    let ended = starts.iter().filter_map(|start| {
        let mut events = start.iter();
        events.find(|event| event.step == ladder::ENDED)
    });
    ended.map(|event| event.ms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(events: &[(&str, f64)]) -> Vec<Event> {
        let event = |(step, ms): &(&str, f64)| Event {
            step: (*step).into(),
            ms: *ms,
        };
        events.iter().map(event).collect()
    }

    #[test]
    fn steps_are_those_that_every_start_has() {
        let starts = [
            start(&[
                ("image ready", 1.0),
                (ladder::FIRST_BYTE, 3.0),
                (ladder::ENDED, 7.0),
            ]),
            start(&[("image ready", 2.0), (ladder::ENDED, 5.0)]),
        ];
        let names: Vec<String> = steps(&starts).into_iter().map(|step| step.step).collect();
        assert_eq!(names, ["image ready", ladder::ENDED]);
        assert_eq!(series(&starts, ladder::ENDED), [4.0, 3.0]);
        assert_eq!(totals(&starts), [7.0, 5.0]);
    }
}
