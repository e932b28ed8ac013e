//! `coracle run`.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use serde_json::json;

use super::{
    flags::{self, Flags, How},
    table,
    told::Told,
};
use crate::{
    attached::{self, Attached, Ended},
    kernel_build::Display,
};
use coracle_engine::Timeline;
use coracle_engine::containers::{Container, CreateRequest, Exit, StartOptions};
use coracle_platform::sys;
use coracle_terminal::output::{self, Stream};
use coracle_terminal::raw::DetachKeys;
use coracle_terminal::report;

/// Run a command in a new container, in a microVM of its own
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    override_usage = "coracle run [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Report how it ended as one JSON object on standard error
    #[arg(long)]
    json: bool,
    /// Show the start step by step on standard error
    #[arg(long)]
    timeline: bool,
}

/// A container to be made and run, and how this command goes with it.
pub(super) struct Run {
    /// What is asked for, if that could be put together.
    pub(super) request: Result<CreateRequest>,
    /// Its image, for people.
    pub(super) image: String,
    /// File for its ID.
    pub(super) cidfile: Option<PathBuf>,
    /// It is left alone.
    pub(super) detach: bool,
    /// Keys that detach from it.
    pub(super) detach_keys: Option<DetachKeys>,
    /// How it ended is told as JSON.
    pub(super) json: bool,
    /// Its start is shown step by step.
    pub(super) timeline: bool,
}

/// What a run that began came to.
struct Done {
    container: Container,
    ended: Ended,
}

/// Runs the container of the flags; gives its exit code.
pub(super) fn main(arguments: &Arguments, begun: u64) -> Result<u8> {
    let flags = &arguments.flags;
    let image = flags.image_and_command.first().cloned().unwrap_or_default();
    // Its arguments may hold secrets, and it lives as long as the container.
    sys::show(&format!("coracle run {image}"));
    let how = match arguments.detach {
        true => How::Detached,
        false => How::Attached,
    };
    let run = Run {
        request: flags.request(how),
        image,
        cidfile: flags.cidfile.clone(),
        detach: arguments.detach,
        detach_keys: arguments.detach_keys.clone(),
        json: arguments.json,
        timeline: arguments.timeline,
    };
    run.run(begun)
}

impl Run {
    /// Runs the container; gives its exit code.
    pub(super) fn run(self, begun: u64) -> Result<u8> {
        let arguments = &self;
        let mut timeline = Timeline::new("command line starts", begun);
        let result = run(arguments, &mut timeline);
        if let Ok(Done {
            ended: Ended::Exited(exit),
            ..
        }) = &result
        {
            for (step, at) in &exit.timeline {
                timeline.insert(step, *at);
            }
        }
        if arguments.timeline {
            print_timeline(&timeline);
        }
        if arguments.json {
            print_json(arguments, &result, &timeline);
        }
        match result {
            Ok(Done {
                container,
                ended: Ended::Exited(exit),
            }) => {
                explain(&container, &exit);
                Ok(exit.code)
            }
            Ok(Done {
                ended: Ended::Failed { message, code },
                ..
            }) => {
                report::error(&anyhow::Error::msg(message));
                Ok(code)
            }
            Ok(Done {
                ended: Ended::Detached,
                ..
            }) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn run(arguments: &Run, timeline: &mut Timeline) -> Result<Done> {
    let request = match &arguments.request {
        Ok(request) => request,
        Err(error) => return Err(anyhow!("{error:#}")),
    };
    let (tty, interactive) = (request.tty, request.open_stdin);
    let is_terminal = coracle_terminal::raw::standard_input_is_terminal();
    if tty && interactive && !arguments.detach && !is_terminal {
        bail!("the input device is not a TTY; omit -t, or run in a terminal");
    }
    // Before any thread exists: they inherit the mask.
    let signals = attached::take_signals()?;
    let engine = super::engine()?;
    let told = Told::noting(timeline);
    let container = flags::create(&engine, request, arguments.cidfile.as_deref(), &told)?;
    drop(told);
    timeline.mark("container created");
    let owner = !arguments.detach;
    let planned = || timeline.mark("plan made");
    let options = StartOptions {
        attach: owner.then_some(true),
        owner,
    };
    let link = match container.start_planned(options, &mut Display::new(), planned) {
        Ok(link) => link,
        Err(error) => {
            if let Err(error) = container.give_up() {
                report::warn(&format!("{error:#}"));
            }
            return Err(error.into());
        }
    };
    let ended = if arguments.detach {
        let ended = link.until_started()?.map(Ended::from);
        ended.unwrap_or_else(|| {
            outln!("{}", container.id());
            Ended::Detached
        })
    } else {
        let raw = attached::raw_terminal(tty)?;
        let keys = arguments.detach_keys.clone().unwrap_or_default();
        let keys = (tty && interactive).then_some(keys);
        let ended = Attached::new(link, signals, true, tty, keys)?.run();
        drop(raw);
        ended?
    };
    Ok(Done { container, ended })
}

/// Says what the exit code alone does not.
fn explain(container: &Container, exit: &Exit) {
    let short = container.record().short_id();
    if exit.timed_out {
        let seconds = container.config().timeout.unwrap_or_default();
        report::warn(&format!(
            "container {short} was killed after {seconds} s (--timeout)"
        ));
    }
    for warning in &exit.warnings {
        report::warn(warning);
    }
    if exit.oom {
        let limit = container
            .config()
            .memory
            .map_or("all of its guest's memory".into(), |bytes| {
                format!("limit {}, --memory", table::binary_size(bytes))
            });
        report::warn(&format!(
            "container {short} was killed: out of memory ({limit})"
        ));
    }
}

/// Prints it on standard error: time since the start, time since the step before, step.
fn print_timeline(timeline: &Timeline) {
    errln!("{:>10} {:>10}  step", "ms", "+ms");
    let mut before = 0.0;
    for (step, at) in timeline.sorted() {
        errln!("{at:>10.2} {:>10.2}  {step}", at - before);
        before = at;
    }
}

fn print_json(arguments: &Run, result: &Result<Done>, timeline: &Timeline) {
    let image = &arguments.image;
    let mut value = match result {
        Ok(Done {
            container,
            ended: Ended::Exited(exit),
        }) => json!({
            "id": container.id(),
            "name": container.name(),
            "image": image,
            "exit_code": exit.code,
            "oom_killed": exit.oom,
            "timed_out": exit.timed_out,
            "guest_kernel": exit.kernel,
            "timeline": timeline.json(),
        }),
        Ok(Done { container, ended }) => {
            let (error, code) = match ended {
                Ended::Failed { message, code } => (Some(message), Some(code)),
                _ => (None, None),
            };
            json!({
                "id": container.id(),
                "name": container.name(),
                "image": image,
                "exit_code": code,
                "error": error,
                "timeline": timeline.json(),
            })
        }
        Err(error) => json!({
            "image": image,
            "error": format!("{error:#}"),
            "timeline": timeline.json(),
        }),
    };
    value["timeline_began"] = timeline.began().into();
    output::json_text(Stream::Error, &value.to_string());
}
