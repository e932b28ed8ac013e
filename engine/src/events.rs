//! What happened to containers and hosts.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::PathBuf,
};

use anyhow::Context;
use serde::Deserialize;

use crate::{
    Engine, Result,
    containers::Next,
    state::{self, journal},
    watch::Watch,
};
use coracle_platform::clock;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// It, as docker writes it: JSON in one line.
    pub line: String,
}

/// What is looked at in an event.
#[derive(Deserialize)]
struct Time {
    #[serde(rename = "timeNano", default)]
    nanoseconds: u64,
}

/// Events as they happen. As an iterator it waits for them; [`next_now`](Self::next_now) does not.
#[derive(Debug)]
pub struct Events {
    since: u64,
    until: Option<u64>,
    watch: Watch,
    /// The journal that is read: the one before the current one first.
    reader: Option<BufReader<File>>,
    current: PathBuf,
    /// The current journal was not there yet.
    is_old: bool,
    /// Another one was begun than the one that is read.
    is_replaced: bool,
    /// The end was due when the journal was looked at last.
    over: bool,
}

impl Engine {
    /// Events since a time in nanoseconds since 1970, from now on without one, until another or for ever.
    ///
    /// # Errors
    /// When they cannot be watched.
    pub fn events(&self, since: Option<u64>, until: Option<u64>) -> Result<Events> {
        let [old, current] = journal::paths(&self.directories.data);
        let directory = current.parent().unwrap_or(&self.directories.data);
        state::create_directory(directory)?;
        Ok(Events {
            // Before the first look, so that nothing is missed after it.
            watch: Watch::new(directory)?,
            since: since.unwrap_or_else(clock::wall),
            until,
            reader: File::open(old).ok().map(BufReader::new),
            current,
            is_old: true,
            is_replaced: false,
            over: false,
        })
    }
}

impl Events {
    /// The next event, if there is one now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn next_now(&mut self) -> Result<Next<Event>> {
        self.watch.empty()?;
        loop {
            while let Some(line) = self.line()? {
                // One that another release has written is passed over.
                let Ok(Time { nanoseconds: time }) = serde_json::from_str(&line) else {
                    continue;
                };
                let late = self.until.is_some_and(|until| time > until);
                if time >= self.since && !late {
                    return Ok(Next::Piece(Event { time, line }));
                }
            }
            if !self.is_old && !self.is_replaced && self.is_other() {
                // Its last lines may have come before that.
                self.is_replaced = true;
                continue;
            }
            if (self.is_old || self.is_replaced)
                && let Ok(file) = File::open(&self.current)
            {
                self.reader = Some(BufReader::new(file));
                (self.is_old, self.is_replaced) = (false, false);
                continue;
            }
            if self.over {
                return Ok(Next::End);
            }
            // Looked at before what has happened is read once more.
            self.over = self.until.is_some_and(|until| clock::wall() >= until);
            if !self.over {
                self.watch.wanted();
                return Ok(Next::Later);
            }
        }
    }

    /// The next line that is whole.
    fn line(&mut self) -> Result<Option<String>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let mut line = String::new();
        let mut read = || {
            let length = reader.read_line(&mut line)?;
            if line.ends_with('\n') {
                return Ok(true);
            }
            // Half a line is read again when it is whole.
            let back = i64::try_from(length).unwrap_or(0);
            reader.seek_relative(-back)?;
            Ok::<_, std::io::Error>(false)
        };
        let whole = read().context("cannot read the events")?;
        Ok(whole.then_some(line))
    }

    /// Whether another journal was begun than the one that is read.
    fn is_other(&self) -> bool {
        let own = self
            .reader
            .as_ref()
            .map(|reader| reader.get_ref().metadata());
        let own = own.and_then(Result::ok);
        let there = fs::metadata(&self.current).ok();
        there.is_some_and(|there| own.is_none_or(|own| own.ino() != there.ino()))
    }
}

impl AsFd for Events {
    /// Readable when there may be more after [`Next::Later`], which the time of their end may be, too.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_now() {
                Ok(Next::Piece(event)) => return Some(Ok(event)),
                Ok(Next::End) => return None,
                Ok(Next::Later) => {}
                Err(error) => return Some(Err(error)),
            }
            if let Err(error) = self.watch.wait(self.until) {
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, path::Path};

    use super::*;
    use crate::{Settings, state::Directories};

    fn engine(directory: &Path) -> Engine {
        let below = |name| directory.join(name);
        let directories = Directories {
            data: below("data"),
            cache: below("cache"),
            runtime: below("run"),
        };
        Engine::open(Settings::new(directories)).unwrap()
    }

    fn note(engine: &Engine, journal: usize, text: &str) {
        let path = &journal::paths(&engine.directories.data)[journal];
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::options().append(true).create(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn times(events: &mut Events) -> Vec<u64> {
        let next = || match events.next_now().unwrap() {
            Next::Piece(event) => Some(event.time),
            Next::Later | Next::End => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn events_follow_over_a_change_of_the_journal_and_half_a_line_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(directory.path());
        note(&engine, 0, "{\"timeNano\":1}\nno JSON\n{\"timeNano\":2}\n");
        let mut events = engine.events(Some(2), None).unwrap();
        assert_eq!(times(&mut events), [2]);
        note(&engine, 1, "{\"timeNano\":3}\n{\"time");
        assert_eq!(times(&mut events), [3]);
        note(&engine, 1, "Nano\":4}\n");
        assert_eq!(times(&mut events), [4]);
        let [old, current] = journal::paths(&engine.directories.data);
        note(&engine, 1, "{\"timeNano\":5}\n");
        fs::rename(current, old).unwrap();
        note(&engine, 1, "{\"timeNano\":6}\n");
        assert_eq!(times(&mut events), [5, 6]);
    }

    #[test]
    fn events_end_at_a_time_with_what_was_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(directory.path());
        note(&engine, 1, "{\"timeNano\":1}\n{\"timeNano\":9}\n");
        let all: Vec<_> = engine.events(Some(0), Some(5)).unwrap().collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].as_ref().unwrap().time, 1);
    }
}
