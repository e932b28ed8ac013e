//! `GET /containers/{}/logs`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    os::fd::AsFd,
};

use coracle_engine::state::{
    container::{Container, LogPolicy},
    log::{Reader, Record},
};
use docker_model::{moment, time};

use crate::{
    backend::{Backend, drain, until, watch},
    error::ApiError,
    frame::{self, Channel},
    routes::{Call, MULTIPLEXED, RAW},
};

/// What is wanted of a log.
struct Wishes {
    output: bool,
    error: bool,
    since: Option<u64>,
    until: Option<u64>,
    tail: Option<usize>,
    follow: bool,
    timestamps: bool,
    frames: bool,
}

/// The log of a container.
///
/// # Errors
/// When it has none.
pub fn reader(container: &Container) -> Result<Reader, ApiError> {
    if container.config.log == LogPolicy::None {
        return Err(ApiError::unsupported(
            "configured logging driver does not support reading",
        ));
    }
    Ok(Reader::open(container.directory())?)
}

/// Answers with a container's log.
pub fn logs(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let query = &call.query;
    let terminal = container.config.spec.process.terminal.is_some();
    let wishes = Wishes {
        output: query.flag("stdout"),
        error: query.flag("stderr"),
        since: time_of(query.text("since"))?,
        until: time_of(query.text("until"))?,
        tail: match query.text("tail") {
            None | Some("all") => None,
            // As docker: what is no number of lines is all of them.
            Some(text) => text.parse().ok(),
        },
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        frames: !terminal,
    };
    if !wishes.output && !wishes.error {
        return Err(ApiError::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let mut reader = reader(&container)?;
    // Before the first look, so that nothing is missed after it.
    let changes = watch(container.directory())?;
    let content_type = if wishes.frames { MULTIPLEXED } else { RAW };
    let client = call.exchange.client().try_clone_to_owned()?;
    let mut stream = call.stream(content_type)?;
    let mut printer = Printer {
        wishes,
        at_start: [true; 2],
        out: &mut stream,
    };
    printer.print_past(&mut reader)?;
    while printer.wishes.follow {
        // Looked at first: what is written before its end is then read below.
        let live = container.state().is_ok_and(|state| state.status.is_live());
        let over = printer.print(&mut reader)?;
        if over || !live {
            break;
        }
        if !until(&[changes.as_fd()], client.as_fd())? {
            return Ok(());
        }
        drain(&changes)?;
    }
    stream.finish()?;
    Ok(())
}

/// A time in seconds with a fraction, as docker's clients send it; 0 is none.
fn time_of(text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match moment::absolute(text) {
        Some(0) => Ok(None),
        Some(moment) => Ok(Some(moment)),
        None => Err(ApiError::invalid(format!(
            "invalid value for a time: {text:?}"
        ))),
    }
}

struct Printer<'w, W> {
    wishes: Wishes,
    /// Whether the next byte of a stream begins a line.
    at_start: [bool; 2],
    out: &'w mut W,
}

impl<W: Write> Printer<'_, W> {
    fn is_wanted(&self, record: &Record) -> bool {
        let wishes = &self.wishes;
        let stream = match record.stream {
            2 => wishes.error,
            _ => wishes.output,
        };
        stream
            && wishes.since.is_none_or(|since| record.time >= since)
            && wishes.until.is_none_or(|until| record.time <= until)
    }

    /// What was written so far.
    fn print_past(&mut self, reader: &mut Reader) -> io::Result<()> {
        let Some(lines) = self.wishes.tail else {
            self.print(reader)?;
            return Ok(());
        };
        let mut last = LastLines::new(lines);
        while let Some(record) = reader.read_record()? {
            if self.is_wanted(&record) {
                last.add(record);
            }
        }
        for record in last.records() {
            self.write(&record)?;
        }
        Ok(())
    }

    /// What was written since; true when it is later than is wanted.
    fn print(&mut self, reader: &mut Reader) -> io::Result<bool> {
        while let Some(record) = reader.read_record()? {
            if self.wishes.until.is_some_and(|until| record.time > until) {
                return Ok(true);
            }
            if self.is_wanted(&record) {
                self.write(&record)?;
            }
        }
        Ok(false)
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let (channel, index) = match record.stream {
            2 => (Channel::Error, 1),
            _ => (Channel::Output, 0),
        };
        let mut bytes = Vec::new();
        let at_start = self.at_start.get_mut(index);
        if let Some(at_start) = at_start.filter(|_| self.wishes.timestamps) {
            for line in record.bytes.split_inclusive(|byte| *byte == b'\n') {
                if *at_start {
                    bytes.extend_from_slice(time::rfc3339_fixed(record.time).as_bytes());
                    bytes.push(b' ');
                }
                bytes.extend_from_slice(line);
                *at_start = line.ends_with(b"\n");
            }
        } else {
            bytes.extend_from_slice(&record.bytes);
        }
        if !self.wishes.frames {
            return self.out.write_all(&bytes);
        }
        let mut frames = Vec::with_capacity(bytes.len() + 8);
        frame::append(&mut frames, channel, &bytes);
        self.out.write_all(&frames)
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
