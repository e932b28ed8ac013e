//! `coracle logs`.

use std::io::{self, Write};

use anyhow::Result;
use coracle_engine::{containers::LogOptions, state::log::Record};
use coracle_terminal::output::{self, Stream};
use docker_model::time;

use super::{engine, moment::Moment};

/// Fetch the logs of a container
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID
    container: String,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (RFC 3339 or Unix time) or relative (such as 10m)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Show logs before a timestamp or relative
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    tail: Tail,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
}

/// `--tail`.
#[derive(Debug, Clone, Copy)]
struct Tail(Option<usize>);

impl std::str::FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" | "-1" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|lines| Self(Some(lines)))
                .map_err(|_| format!("{text:?} is not a number of lines, nor 'all'")),
        }
    }
}

/// Prints lines; the two streams of a container go to those of this command.
struct Printer {
    timestamps: bool,
    /// Whether the next byte of a stream begins a line.
    at_start: [bool; 2],
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let container = engine()?.containers().find(&arguments.container)?;
    let logs = container.logs(LogOptions {
        since: arguments.since.map(|Moment(since)| since),
        until: arguments.until.map(|Moment(until)| until),
        tail: arguments.tail.0,
        follow: arguments.follow,
    })?;
    let mut printer = Printer {
        timestamps: arguments.timestamps,
        at_start: [true; 2],
    };
    let mut result = Ok(());
    for record in logs {
        result = record
            .map_err(Into::into)
            .and_then(|record| Ok(printer.print(&record)?));
        if result.is_err() {
            break;
        }
    }
    // What ends it may be a pipe that nobody reads any more.
    output::check()?;
    result
}

impl Printer {
    fn print(&mut self, record: &Record) -> io::Result<()> {
        match record.stream {
            2 => self.write(1, record, &mut output::raw(Stream::Error)),
            _ => self.write(0, record, &mut output::raw(Stream::Output)),
        }
    }

    fn write(&mut self, stream: usize, record: &Record, out: &mut impl Write) -> io::Result<()> {
        let Some(at_start) = self.at_start.get_mut(stream) else {
            return Ok(());
        };
        if !self.timestamps {
            out.write_all(&record.bytes)?;
            return out.flush();
        }
        for line in record.bytes.split_inclusive(|byte| *byte == b'\n') {
            if *at_start {
                write!(out, "{} ", time::rfc3339_fixed(record.time))?;
            }
            out.write_all(line)?;
            *at_start = line.ends_with(b"\n");
        }
        out.flush()
    }
}
