//! What a container wrote.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
};

use anyhow::Context;

use super::Container;
use crate::{
    Error, ErrorKind, Result,
    state::{
        container::LogPolicy,
        log::{Reader, Record},
    },
    watch::Watch,
};

/// Which part of a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Nothing before this time, in nanoseconds since 1970.
    pub since: Option<u64>,
    /// Nothing after this time, in nanoseconds since 1970.
    pub until: Option<u64>,
    /// Of what there is already, so many lines at its end.
    pub tail: Option<usize>,
    /// What is written while the container runs follows.
    pub follow: bool,
}

/// What a log has to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<T> {
    /// The next piece.
    Piece(T),
    /// Nothing now; wait for the descriptor, and ask again.
    Later,
    /// Nothing more will come.
    End,
}

/// A log that is read, record by record: one stream's piece of output with its time. As an iterator it waits for what
/// follows; [`next_now`](Self::next_now) does not.
#[derive(Debug)]
pub struct Logs {
    container: Container,
    options: LogOptions,
    reader: Reader,
    watch: Option<Watch>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// What there is already is read, its last lines only.
    Tail(LastLines),
    /// Those last lines.
    Last(VecDeque<Record>),
    /// What there is already.
    Past,
    /// What is written meanwhile; whether the container ran when the end of the log was seen last.
    Following {
        live: bool,
    },
    Over,
}

impl Container {
    /// Reads its log.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it keeps none.
    pub fn logs(&self, options: LogOptions) -> Result<Logs> {
        if self.config().log == LogPolicy::None {
            let words = format!(
                "container {} was created with --log-driver none",
                self.name()
            );
            return Err(Error::new(ErrorKind::Invalid, words));
        }
        let directory = self.record.directory();
        // Before the first look, so that nothing is missed after it.
        let watch = match options.follow {
            // Its log grows there, and its state is replaced.
            true => Some(Watch::new(directory)?),
            false => None,
        };
        Ok(Logs {
            container: self.clone(),
            options,
            reader: Reader::open(directory).context("cannot read the log")?,
            watch,
            phase: match options.tail {
                Some(lines) => Phase::Tail(LastLines::new(lines)),
                None => Phase::Past,
            },
        })
    }
}

impl Logs {
    /// Readable when there may be more after [`Next::Later`]; `None` when the log is not followed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// The next record, if there is one now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn next_now(&mut self) -> Result<Next<Record>> {
        if let Some(watch) = &mut self.watch {
            watch.empty()?;
        }
        loop {
            if let Phase::Last(records) = &mut self.phase {
                match records.pop_front() {
                    Some(record) => return Ok(Next::Piece(record)),
                    None => self.follow(),
                }
            }
            if matches!(self.phase, Phase::Over) {
                return Ok(Next::End);
            }
            let Some(record) = self.reader.read_record().context("cannot read the log")? else {
                if self.at_end() {
                    return Ok(Next::Later);
                }
                continue;
            };
            let too_late = self.options.until.is_some_and(|until| record.time > until);
            if too_late && matches!(self.phase, Phase::Following { .. }) {
                self.phase = Phase::Over;
                continue;
            }
            let too_early = self.options.since.is_some_and(|since| record.time < since);
            match &mut self.phase {
                _ if too_late || too_early => {}
                Phase::Tail(last) => last.add(record),
                _ => return Ok(Next::Piece(record)),
            }
        }
    }

    /// Everything that there is was read; true when more may come.
    fn at_end(&mut self) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Tail(last) => self.phase = Phase::Last(last.records()),
            Phase::Past | Phase::Last(_) => self.follow(),
            Phase::Following { live: true } => {
                // What it wrote before its end is read once more after that was seen.
                let live = self
                    .container
                    .state()
                    .is_ok_and(|state| state.status.is_live());
                self.phase = Phase::Following { live };
                if live && let Some(watch) = &mut self.watch {
                    watch.wanted();
                    return true;
                }
            }
            Phase::Following { live: false } | Phase::Over => {}
        }
        false
    }

    fn follow(&mut self) {
        self.phase = match self.watch {
            Some(_) => Phase::Following { live: true },
            None => Phase::Over,
        };
    }
}

impl Iterator for Logs {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_now() {
                Ok(Next::Piece(record)) => return Some(Ok(record)),
                Ok(Next::End) => return None,
                Ok(Next::Later) => {}
                Err(error) => {
                    self.phase = Phase::Over;
                    return Some(Err(error));
                }
            }
            if let Some(watch) = &self.watch
                && let Err(error) = watch.wait(None)
            {
                self.phase = Phase::Over;
                return Some(Err(error));
            }
        }
    }
}

/// The last lines of a log, as pieces of records.
#[derive(Debug)]
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
