//! The program's arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use coracle_platform::duration::span;

/// Starts of each system unless told otherwise: enough for a 99th percentile to be more than the maximum
/// of a few.
const STARTS: u32 = 20;

/// Starts that are not counted: caches fill during the first two.
const WARMUP: u32 = 2;

/// Measure what a container's start takes, step by step, beside other systems
#[derive(Parser)]
#[command(
    name = "coracle bench",
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "coracle bench [OPTIONS] [IMAGE [COMMAND] [ARG...]]\n       \
        coracle bench density [OPTIONS] [IMAGE]\n       coracle bench compare BEFORE.json AFTER.json"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) work: Option<Work>,
    #[command(flatten)]
    pub(crate) ladder: Ladder,
}

/// What is measured.
#[derive(Args)]
pub(crate) struct Ladder {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Starts of each system that count
    #[arg(short = 'n', long = "starts", value_name = "NUMBER", default_value_t = STARTS,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) starts: u32,
    /// Starts of each system before those
    #[arg(long, value_name = "NUMBER", default_value_t = WARMUP)]
    pub(crate) warmup: u32,
    /// Only times: leave out what containers see, weigh and share
    #[arg(long)]
    pub(crate) only_times: bool,
    /// Measure in a machine whose clock counts instructions, which no other load disturbs
    #[arg(long)]
    pub(crate) virtual_time: bool,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

/// What is started.
#[derive(Args)]
pub(crate) struct Subject {
    /// Systems by name, with commas between them [default: all that are here]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) systems: Vec<String>,
    /// Load this archive first
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) load: Option<PathBuf>,
    /// Image and, after it, the command with its arguments [default: busybox echo started]
    #[arg(trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub(crate) image_and_command: Vec<String>,
}

/// What is started unless told otherwise: something that writes, so that its first byte can be seen.
const SUBJECT: [&str; 3] = ["busybox", "echo", "started"];

impl Subject {
    /// The image, and what runs in it; nothing for what the image says.
    pub(crate) fn image_and_command(&self) -> (String, Vec<String>) {
        match self.image_and_command.split_first() {
            Some((image, command)) => (image.clone(), command.to_vec()),
            None => {
                let [image, command @ ..] = SUBJECT;
                (image.into(), command.map(String::from).to_vec())
            }
        }
    }
}

/// Where results go.
#[derive(Args)]
pub(crate) struct Outputs {
    /// Write everything as JSON; - for standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write each step of each start as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a page with pictures, which needs nothing beside itself
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Other things to do.
#[derive(Subcommand)]
pub(crate) enum Work {
    /// Tell what became better or worse between two results; ends with 1 when something became worse
    Compare(Files),
    /// Start containers that idle, one after the other, and tell what each start and each container takes
    Density(Density),
}

/// Two results.
#[derive(Args)]
pub(crate) struct Files {
    /// Result of the time before, as --json writes it
    #[arg(value_name = "BEFORE.json")]
    pub(crate) before: PathBuf,
    /// Result of the time after
    #[arg(value_name = "AFTER.json")]
    pub(crate) after: PathBuf,
}

/// Containers of one system.
#[derive(Args)]
pub(crate) struct Density {
    /// Containers that are up in the end
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) number: u32,
    /// Time for which containers idle before they are weighed
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = seconds)]
    pub(crate) idle: u64,
    /// The system
    #[arg(long, value_name = "NAME", default_value = "coracle")]
    pub(crate) system: String,
    /// Load this archive first
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) load: Option<PathBuf>,
    /// Measure in a machine whose clock counts instructions, which no other load disturbs
    #[arg(long)]
    pub(crate) virtual_time: bool,
    /// Write everything as JSON; - for standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Image, in which a program `sleep` is
    #[arg(value_name = "IMAGE", default_value = "busybox")]
    pub(crate) image: String,
}

/// A span of time in whole seconds, rounded up.
fn seconds(text: &str) -> Result<u64, String> {
    Ok(span(text)?.div_ceil(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["coracle-bench"], words].concat()).unwrap()
    }

    #[test]
    fn arguments_are_in_order() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_of_the_command_are_its_own() {
        let arguments = parsed(&["-n", "3", "--systems", "a,b", "img", "ls", "-n", "--json"]);
        let (image, command) = arguments.ladder.subject.image_and_command();
        assert_eq!(
            (image.as_str(), command.join(" ")),
            ("img", "ls -n --json".into())
        );
        assert_eq!(arguments.ladder.starts, 3);
        assert_eq!(arguments.ladder.subject.systems, ["a", "b"]);
    }

    #[test]
    fn without_an_image_something_that_writes_is_started() {
        let (image, command) = parsed(&[]).ladder.subject.image_and_command();
        assert_eq!((image.as_str(), command.len()), ("busybox", 2));
    }

    #[test]
    fn density_and_compare_are_told_apart_from_images() {
        let density = parsed(&["density", "-n", "7"]).work;
        assert!(matches!(
            density,
            Some(Work::Density(Density { number: 7, .. }))
        ));
        assert!(matches!(
            parsed(&["compare", "a", "b"]).work,
            Some(Work::Compare(_))
        ));
    }
}
