//! `GET /events`: what has happened, and what happens.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    time::Duration,
};

use coracle_engine::state::{create_directory, journal};
use coracle_platform::clock;
use docker_model::{
    event::{self, Event},
    filters::Filters,
    moment,
};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::{
    backend::{Backend, drain},
    error::ApiError,
    http::until_hangup,
    routes::{Call, JSON},
};

/// Which events are told.
struct Wishes {
    since: u64,
    until: Option<u64>,
    filters: Filters,
}

/// Tells events, one in a line.
pub fn events(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let time = |name: &str| -> Result<Option<u64>, ApiError> {
        call.query
            .text(name)
            .map(|text| {
                moment::absolute(text)
                    .ok_or_else(|| ApiError::invalid(format!("invalid value for {name}: {text:?}")))
            })
            .transpose()
    };
    let filters = Filters::from_json(call.query.get("filters").unwrap_or_default());
    let filters = filters.map_err(|error| ApiError::invalid(error.to_string()))?;
    event::check(&filters).map_err(|error| ApiError::invalid(error.to_string()))?;
    let wishes = Wishes {
        since: time("since")?.unwrap_or_else(clock::wall),
        until: time("until")?,
        filters,
    };
    let [old, current] = journal::paths(&api.directories.data);
    let directory = current.parent().unwrap_or(Path::new("/"));
    create_directory(directory)?;
    // Before the first look, so that nothing is missed after it.
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .and_then(|changes| {
            inotify::add_watch(&changes, directory, WatchFlags::MODIFY | WatchFlags::CREATE)?;
            Ok(changes)
        })
        .map_err(io::Error::from)?;
    let client = call.exchange.client().try_clone_to_owned()?;
    let mut stream = call.stream(JSON)?;
    if let Ok(file) = File::open(&old) {
        tell(&mut BufReader::new(file), &wishes, &mut stream)?;
    }
    let mut reader: Option<BufReader<File>> = None;
    loop {
        // The end is looked at first, so that what happens before it is read below.
        let over = wishes.until.is_some_and(|until| clock::wall() >= until);
        if let Some(reader) = &mut reader {
            tell(reader, &wishes, &mut stream)?;
        }
        if is_other(reader.as_ref(), &current)
            && let Ok(file) = File::open(&current)
        {
            reader = Some(BufReader::new(file));
            continue;
        }
        if over {
            stream.finish()?;
            return Ok(());
        }
        let left = wishes
            .until
            .map(|until| Duration::from_nanos(until.saturating_sub(clock::wall())));
        if !until_hangup(client.as_fd(), changes.as_fd(), left)? {
            return Ok(());
        }
        drain(&changes)?;
    }
}

/// Whether another journal was begun than the one that is read.
fn is_other(reader: Option<&BufReader<File>>, current: &Path) -> bool {
    let own = reader.and_then(|reader| reader.get_ref().metadata().ok());
    let there = std::fs::metadata(current).ok();
    there.is_some_and(|there| own.is_none_or(|own| own.ino() != there.ino()))
}

/// Tells the events that are whole and wanted.
fn tell(
    reader: &mut BufReader<File>,
    wishes: &Wishes,
    out: &mut impl Write,
) -> Result<(), ApiError> {
    loop {
        let at = reader.stream_position()?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if !line.ends_with('\n') {
            // Half a line is read again when it is whole.
            reader.seek(SeekFrom::Start(at))?;
            return Ok(());
        }
        let Some(event) = Event::read(&line) else {
            continue;
        };
        let late = wishes.until.is_some_and(|until| event.time_nano > until);
        if event.time_nano >= wishes.since && !late && event.matches(&wishes.filters) {
            let text = serde_json::to_string(&event).unwrap_or_default() + "\n";
            out.write_all(text.as_bytes())?;
        }
    }
}
