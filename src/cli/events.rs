//! `coracle events`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use docker_model::{
    event::{Event, FILTERS},
    filters::Filters,
};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};

use super::{
    filter,
    format::{self, Format},
    moment::Moment,
};
use coracle_engine::state::{self, Directories, journal};
use coracle_platform::clock;
use coracle_terminal::output;

/// Get real time events of containers and hosts
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Filter output based on conditions: event, container, host, image, label, type, and others of docker's
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// Format output as json, or by a Go template such as '{{.Action}} {{.Actor.ID}}'
    #[arg(long)]
    format: Option<Format>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let filters = filter::filters(&arguments.filter, &FILTERS)?;
    let [old, current] = journal::paths(&Directories::from_environment()?.data);
    let directory = current.parent().unwrap_or(Path::new("/"));
    state::create_directory(directory)?;
    let changes = inotify::init(CreateFlags::CLOEXEC).context("cannot wait for events")?;
    inotify::add_watch(&changes, directory, WatchFlags::MODIFY | WatchFlags::CREATE)
        .with_context(|| format!("cannot watch {}", directory.display()))?;
    let since = arguments
        .since
        .map_or_else(clock::wall, |Moment(since)| since);
    if let Ok(file) = File::open(&old) {
        print_all(&mut BufReader::new(file), arguments, &filters, since)?;
    }
    let mut reader: Option<BufReader<File>> = None;
    loop {
        // The end is looked at first, so that what happens before it is read below.
        let over = arguments
            .until
            .is_some_and(|Moment(until)| clock::wall() >= until);
        if let Some(reader) = &mut reader {
            print_all(reader, arguments, &filters, since)?;
        }
        if is_other(reader.as_ref(), &current)
            && let Ok(file) = File::open(&current)
        {
            reader = Some(BufReader::new(file));
            continue;
        }
        if over {
            return Ok(());
        }
        wait(&changes, arguments.until)?;
    }
}

/// Whether another journal was begun than the one that is read.
fn is_other(reader: Option<&BufReader<File>>, current: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = reader.and_then(|reader| reader.get_ref().metadata().ok());
    let there = std::fs::metadata(current).ok();
    there.is_some_and(|there| own.is_none_or(|own| own.ino() != there.ino()))
}

/// Prints the events that are whole.
fn print_all(
    reader: &mut BufReader<File>,
    arguments: &Arguments,
    filters: &Filters,
    since: u64,
) -> Result<()> {
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
        let time = event.time_nano;
        let late = arguments.until.is_some_and(|Moment(until)| time > until);
        if time >= since && !late && event.matches(filters) {
            print(&event, arguments)?;
            output::check()?;
        }
    }
}

fn wait(changes: &rustix::fd::OwnedFd, until: Option<Moment>) -> Result<()> {
    let timeout = until.map(|Moment(until)| {
        let left = until.saturating_sub(clock::wall());
        Timespec {
            tv_sec: i64::try_from(left / clock::SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left % clock::SECOND).unwrap_or(0),
        }
    });
    let mut ready = [PollFd::new(changes, PollFlags::IN)];
    let count = rustix::io::retry_on_intr(|| poll(&mut ready, timeout.as_ref()))
        .context("cannot wait for events")?;
    if count > 0 {
        let mut buffer = Vec::with_capacity(4096);
        rustix::io::retry_on_intr(|| rustix::io::read(changes, spare_capacity(&mut buffer)))
            .context("cannot wait for events")?;
    }
    Ok(())
}

fn print(event: &Event, arguments: &Arguments) -> Result<()> {
    match &arguments.format {
        Some(format) => format::print(format, std::slice::from_ref(event))?,
        None => outln!("{}", event.line()),
    }
    Ok(())
}
