//! `coracle logs`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::{
    buffer::spare_capacity,
    fs::inotify::{self, CreateFlags, WatchFlags},
};

use super::moment::Moment;
use coracle_engine::state::{
    Directories,
    container::{Container, Containers, LogPolicy},
    log::{Reader, Record},
};
use coracle_terminal::output::{self, Stream};
use docker_model::time;

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
    let container =
        Containers::new(&Directories::from_environment()?).find(&arguments.container)?;
    if container.config.log == LogPolicy::None {
        bail!(
            "container {} was created with --log-driver none",
            container.config.name
        );
    }
    let directory = container.directory();
    // Before the first look, so that nothing is missed after it.
    let changes = match arguments.follow {
        true => Some(watch(directory)?),
        false => None,
    };
    let mut reader = Reader::open(directory).context("cannot read the log")?;
    let mut printer = Printer {
        timestamps: arguments.timestamps,
        at_start: [true; 2],
    };
    let result = print(arguments, &container, &mut reader, &mut printer, changes);
    // What ends it may be a pipe that nobody reads any more.
    output::check()?;
    result
}

fn print(
    arguments: &Arguments,
    container: &Container,
    reader: &mut Reader,
    printer: &mut Printer,
    changes: Option<rustix::fd::OwnedFd>,
) -> Result<()> {
    let wanted = |record: &Record| {
        arguments
            .since
            .is_none_or(|Moment(since)| record.time >= since)
            && arguments
                .until
                .is_none_or(|Moment(until)| record.time <= until)
    };
    match arguments.tail.0 {
        None => {
            while let Some(record) = reader.read_record()? {
                if wanted(&record) {
                    printer.print(&record)?;
                }
            }
        }
        Some(lines) => {
            let mut last = LastLines::new(lines);
            while let Some(record) = reader.read_record()? {
                if wanted(&record) {
                    last.add(record);
                }
            }
            for record in last.records() {
                printer.print(&record)?;
            }
        }
    }
    let Some(changes) = changes else {
        return Ok(());
    };
    loop {
        // Looked at first: what is written before its end is then read below.
        let live = container.state().is_ok_and(|state| state.status.is_live());
        while let Some(record) = reader.read_record()? {
            if arguments
                .until
                .is_some_and(|Moment(until)| record.time > until)
            {
                return Ok(());
            }
            if wanted(&record) {
                printer.print(&record)?;
            }
        }
        if !live {
            return Ok(());
        }
        wait(&changes)?;
    }
}

/// Watches a container's directory: its log grows there, and its state is replaced.
fn watch(directory: &Path) -> Result<rustix::fd::OwnedFd> {
    let watch = || {
        let changes = inotify::init(CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        inotify::add_watch(&changes, directory, flags)?;
        Ok::<_, rustix::io::Errno>(changes)
    };
    watch().with_context(|| format!("cannot watch {}", directory.display()))
}

/// Waits until something has changed; what it was does not matter.
fn wait(changes: &rustix::fd::OwnedFd) -> Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    rustix::io::retry_on_intr(|| rustix::io::read(changes, spare_capacity(&mut buffer)))
        .context("cannot wait for the log")?;
    Ok(())
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

/// The last lines of a log, as pieces of records.
struct LastLines {
    lines: usize,
    records: VecDeque<Record>,
    /// Line ends in them.
    ends: usize,
}

impl LastLines {
    fn new(lines: usize) -> Self {
        Self {
            lines,
            records: VecDeque::new(),
            ends: 0,
        }
    }

    fn add(&mut self, record: Record) {
        self.ends += ends(&record.bytes);
        self.records.push_back(record);
        // Whole records at the front that cannot be part of the last lines.
        while let Some(first) = self.records.front()
            && self.ends - ends(&first.bytes) > self.lines
        {
            self.ends -= ends(&first.bytes);
            self.records.pop_front();
        }
    }

    /// The records, the first one cut at the beginning of its first line.
    fn records(mut self) -> VecDeque<Record> {
        // A line that has not ended counts.
        let open = self
            .records
            .back()
            .is_some_and(|record| !record.bytes.ends_with(b"\n"));
        let total = self.ends + usize::from(open);
        let mut skip = total.saturating_sub(self.lines);
        while skip > 0
            && let Some(first) = self.records.front_mut()
        {
            match first.bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    first.bytes.drain(..=end);
                    skip -= 1;
                }
                None => first.bytes.clear(),
            }
            if first.bytes.is_empty() {
                self.records.pop_front();
            }
        }
        if self.lines == 0 {
            self.records.clear();
        }
        self.records
    }
}

fn ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lines: usize, pieces: &[&str]) -> String {
        let mut last = LastLines::new(lines);
        for piece in pieces {
            last.add(Record {
                stream: 1,
                time: 0,
                bytes: piece.as_bytes().into(),
            });
        }
        let records = last.records();
        let bytes: Vec<u8> = records
            .into_iter()
            .flat_map(|record| record.bytes)
            .collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn last_lines_are_counted_over_records() {
        assert_eq!(last(2, &["a\nb\nc\nd\n"]), "c\nd\n");
        assert_eq!(last(2, &["a\nb", "b\nc\n"]), "bb\nc\n");
        assert_eq!(last(1, &["a\nb\n", "open"]), "open");
        assert_eq!(last(9, &["a\n", "b\n"]), "a\nb\n");
        assert_eq!(last(0, &["a\n"]), "");
    }
}
