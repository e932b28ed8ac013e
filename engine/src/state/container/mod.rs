//! Containers on disk.
//!
//! ```text
//! containers/<id>/config.json    what was asked for; changed by its commands only
//! containers/<id>/state.json     what became of it; replaced as a whole by its keeper
//! containers/<id>/lock           held by its keeper for as long as that lives
//! containers/<id>/edit           held by a command that starts, renames or removes it
//! containers/<id>/execs.json     how what ran beside it before its last end ended; missing where nothing did
//! containers/<id>/health.json    the last runs of its health command; missing where none has ended
//! containers/<id>/log, log.1     what it wrote
//! containers/.new-*, .removed-*  what is being made and removed
//! containers/execs/<id>          a removed container's execs.json: read for a few minutes, gone with the next removal
//! containers/names/<name>        a link to the container's directory
//! containers/lock                held while a name is taken or given back
//! ```
//!
//! Any process may die between any two steps: a directory that is not whole has a name that begins
//! with a dot, a name whose container is missing is free, and a container that says that it runs
//! while nobody holds its lock has ended.

mod config;
mod execs;
mod probes;
mod request;
pub mod spec;
mod state;

use std::{
    borrow::Cow,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use config::{Asked, Config, Health, Isolation, LogPolicy, Restart};
pub use probes::{MAX_PROBE_OUTPUT, MAX_PROBES, ProbeResult, Probes};
pub use request::{
    CreateRequest, Device, Endpoint, Healthcheck, HostConfig, LogConfig, Mount, PortBinding,
    PullPolicy, RestartPolicy, Ulimit,
};
pub use state::{Shown, State, Status, Wellness};

use super::{
    Directories, NotFound, create_directory,
    disk::{self, Owner},
    files::{self, Lock, Reader, lock, read, write},
    host, journal,
    words::{self, CONTAINERS},
};
use crate::{Error, ErrorKind};
use coracle_platform::clock;

/// Version of both files; a later release that changes them reads this one too.
pub const VERSION: u32 = 1;

/// Digits of an identifier in lists, as docker's.
pub const SHORT_ID: usize = 12;

/// Exit code of a container whose end nobody saw, as docker's.
const UNKNOWN_EXIT: i32 = 255;
/// A container as lists show it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: State,
}

/// What is known of a container beside its own records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The named host that it belongs to; its ID where that was removed.
    pub host: Option<String>,
    /// What stands around the monitor, in words: that of its host, or its own.
    pub jail: String,
    /// Its log.
    pub log: PathBuf,
    /// The last runs of its health command, the oldest first.
    pub probes: Vec<ProbeResult>,
}

/// All containers of a user.
#[derive(Debug, Clone)]
pub struct Containers {
    root: PathBuf,
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    directory: PathBuf,
    /// What was asked for.
    pub config: Config,
}

impl Containers {
    /// Those in the user's directories.
    pub fn new(directories: &Directories) -> Self {
        Self {
            root: directories.data.join(CONTAINERS),
        }
    }

    /// Makes a container. An empty name gets one that is free; it is whole when this returns.
    ///
    /// # Errors
    /// When the name is not one, or in use.
    pub fn create(&self, mut config: Config) -> Result<Container> {
        if !config.name.is_empty() {
            words::check(&config.name)?;
        }
        create_directory(&self.root.join("names"))?;
        let _lock = self.lock()?;
        files::sweep(&self.root);
        if config.name.is_empty() {
            config.name = self.free_name(&config.id)?;
        } else if let Some(holder) = self.holder(&config.name) {
            return Err(in_use(&config.name, &holder).into());
        }
        let state = State::new(Shown::from(&config));
        let new = files::prepare(&self.root, &config.id, &config, &state)?;
        if let Some(size) = config.own_disk() {
            self.sweep_disks();
            disk::create(self.data(), &config.id, size)?;
        }
        self.link(&config.name, &config.id)?;
        let directory = self.root.join(&config.id);
        files::publish(&new, &directory)?;
        Ok(Container { directory, config })
    }

    /// Finds one by name, identifier, or the identifier's first digits.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, text: &str) -> Result<Container> {
        let plain = !text.is_empty() && !text.starts_with('.') && !text.contains('/');
        let exact = plain.then(|| self.holder(text)).flatten().or_else(|| {
            (plain && is_id(text) && self.root.join(text).is_dir()).then(|| text.into())
        });
        if let Some(id) = exact {
            return self.open(&id);
        }
        let hexadecimal = plain && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut found = self.ids()?.into_iter();
        let mut matching = found
            .by_ref()
            .filter(|id| hexadecimal && id.starts_with(text));
        match (matching.next(), matching.next()) {
            (Some(id), None) => self.open(&id),
            (Some(_), Some(_)) => Err(super::ambiguous("container", text).into()),
            (None, _) => Err(self.not_found(text).into()),
        }
    }

    /// The one whose identifier begins with these digits; `None` when there is none, or more than one.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn beginning_with(&self, digits: &str) -> Result<Option<Container>> {
        let ids = self.ids()?;
        let mut matching = ids.iter().filter(|id| id.starts_with(digits));
        match (matching.next(), matching.next()) {
            (Some(id), None) => self.open(id).map(Some),
            _ => Ok(None),
        }
    }

    fn not_found(&self, text: &str) -> NotFound {
        let hint = match words::is_host(self.data(), text) {
            true => format!("{text} is a host: see 'coracle host --help'"),
            false => "'coracle ps --all' lists them".into(),
        };
        NotFound {
            kind: "container",
            name: text.into(),
            hint,
        }
    }

    /// All of them, newest first. What is not whole is passed over; a record that cannot be read is told.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        let mut all = Vec::new();
        for read in self.records()? {
            match read {
                Ok(container) => all.push(container),
                Err(error) => log::warn!("a container is left out: {error:#}"),
            }
        }
        Ok(all)
    }

    /// All of them, for who removes what none of them needs. One that is damaged needs nothing; it is told.
    ///
    /// # Errors
    /// [`files::OtherVersion`] when another release has written one: what that needs is not known.
    pub fn list_all(&self) -> Result<Vec<Container>> {
        let mut all = Vec::new();
        for read in self.records()? {
            match read {
                Ok(container) => all.push(container),
                Err(error) if error.is::<files::OtherVersion>() => return Err(error),
                Err(error) => log::warn!("a container is left out: {error:#}"),
            }
        }
        Ok(all)
    }

    /// The records that are there, newest first, or why one cannot be read.
    fn records(&self) -> Result<Vec<Result<Container>>> {
        let mut all: Vec<_> = self.ids()?.iter().map(|id| self.open(id)).collect();
        all.retain(|read| !read.as_ref().is_err_and(files::is_gone));
        let created = |read: &Result<Container>| read.as_ref().map_or(0, |one| one.config.created);
        all.sort_by_key(|read| std::cmp::Reverse(created(read)));
        Ok(all)
    }

    /// What lists show of all of them, newest first. What is not whole is passed over; a record that cannot be read is
    /// told.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn summaries(&self) -> Result<Vec<Summary>> {
        let names = self.root.join("names");
        let links = files::names(&names)?;
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let reader = Reader::new(&names);
        let mut reader = reader.with_context(|| format!("cannot open {}", names.display()))?;
        let mut keepers = Vec::new();
        // Rows are large: neither a list that grows nor a second one to sort by.
        let mut all = Vec::with_capacity(links.len());
        let found = links.into_iter();
        all.extend(found.filter_map(|name| self.summary(name, &mut reader, &mut keepers)));
        all.sort_unstable_by_key(|summary| std::cmp::Reverse(summary.state.shown.created));
        // One that is being renamed has two names.
        all.dedup_by(|one, other| one.state.shown.id == other.state.shown.id);
        Ok(all)
    }

    /// What lists show of one; `keepers` are those that are known to live.
    fn summary(
        &self,
        name: String,
        reader: &mut Reader,
        keepers: &mut Vec<(u32, PathBuf)>,
    ) -> Option<Summary> {
        // By the link, which leads to the container's directory.
        let path = format!("{name}/state.json");
        let read: Option<State> = reader.read(&path);
        let Some(mut state) = read.filter(|state| state.version == VERSION) else {
            self.tell_unreadable(&name, &path);
            return None;
        };
        // Who keeps one of its containers keeps them all: it writes down what has ended.
        let known =
            |(pid, socket): &(u32, PathBuf)| (*pid, socket) == (state.keeper, &state.socket);
        if state.status.is_live() && !keepers.iter().rev().any(known) {
            if reader.is_locked(&format!("{name}/lock"))? {
                keepers.push((state.keeper, state.socket.clone()));
            } else {
                state = current(&self.root.join(&state.shown.id)).ok()?;
            }
        }
        Some(Summary { name, state })
    }

    /// Tells why a container is not in a list, unless it is gone.
    fn tell_unreadable(&self, name: &str, path: &str) {
        let path = self.root.join("names").join(path);
        let read = files::read_record(&path, VERSION, |state: &State| state.version);
        if let Some(error) = read.err().filter(|error| !files::is_gone(error)) {
            log::warn!("container {name} is left out: {error:#}");
        }
    }

    fn ids(&self) -> Result<Vec<String>> {
        let names = files::names(&self.root)?.into_iter();
        Ok(names.filter(|name| is_id(name)).collect())
    }

    /// The container of this identifier.
    ///
    /// # Errors
    /// [`NotFound`] when it is missing; when it is damaged, or was written by a later release.
    pub fn open(&self, id: &str) -> Result<Container> {
        let directory = self.root.join(id);
        let path = directory.join("config.json");
        let config = files::read_record(&path, VERSION, |config: &Config| config.version);
        let config = or_gone(config, &directory, id)?;
        Ok(Container { directory, config })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// When the name is not one, or in use.
    pub fn rename(&self, container: &mut Container, name: &str) -> Result<()> {
        words::check(name)?;
        let _edit = container.edit()?;
        let _lock = self.lock()?;
        if let Some(holder) = self.holder(name) {
            return Err(in_use(name, &holder).into());
        }
        self.link(name, &container.config.id)?;
        let before = std::mem::replace(&mut container.config.name, name.into());
        write(&container.directory.join("config.json"), &container.config)?;
        self.unlink(&before);
        Ok(())
    }

    /// What was asked for, with the name that the container has now: a command may have changed it since
    /// the record was read.
    pub fn as_named_now<'a>(&self, container: &'a Container) -> Cow<'a, Config> {
        let config = &container.config;
        if self.named(&config.name).as_deref() == Some(&config.id) {
            return Cow::Borrowed(config);
        }
        match read::<Config>(&container.directory.join("config.json")) {
            Ok(config) => Cow::Owned(config),
            Err(_) => Cow::Borrowed(config),
        }
    }

    /// Removes a container; the caller holds its lock, so that it has no keeper.
    ///
    /// # Errors
    /// As `rename(2)`; what cannot be deleted then is deleted by a later command.
    pub fn remove(&self, container: &Container, _lock: &Lock) -> Result<()> {
        let global = self.lock()?;
        let id = &container.config.id;
        self.keep_ended_execs(id, &container.directory);
        let away = files::put_away(&self.root, id, &container.directory)?;
        // Its name may have changed since it was read.
        let name = read::<Config>(&away.join("config.json")).map(|config| config.name);
        let name = name.as_deref().unwrap_or(&container.config.name);
        if self.named(name).as_deref() == Some(id) {
            self.unlink(name);
        }
        if container.config.own_disk().is_some() {
            self.sweep_disks();
        }
        drop(global);
        let _ = fs::remove_dir_all(&away);
        Ok(())
    }

    /// The user's data, in which this directory lies.
    fn data(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Removes the disks of containers that are gone.
    fn sweep_disks(&self) {
        disk::sweep(self.data(), |owner| match owner {
            Owner::Container(id) => is_id(id) && self.root.join(id).is_dir(),
            Owner::Host(name) => words::is_host(self.data(), name),
        });
    }

    fn lock(&self) -> Result<Lock> {
        files::lock_all(&self.root)
    }

    /// The identifier that a name's link gives.
    fn named(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.root.join("names").join(name)).ok()?;
        let id = target.to_str()?.strip_prefix("../")?;
        is_id(id).then(|| id.into())
    }

    /// The container that has a name.
    fn holder(&self, name: &str) -> Option<String> {
        self.named(name).filter(|id| self.root.join(id).is_dir())
    }

    fn link(&self, name: &str, id: &str) -> Result<()> {
        let path = self.root.join("names").join(name);
        // Of a container that is gone.
        let _ = fs::remove_file(&path);
        symlink(format!("../{id}"), &path)
            .with_context(|| format!("cannot create {}", path.display()))
    }

    fn unlink(&self, name: &str) {
        let _ = fs::remove_file(self.root.join("names").join(name));
    }

    fn free_name(&self, id: &str) -> Result<String> {
        let mut names = words::names(id);
        names
            .find(|name| self.holder(name).is_none())
            .context("cannot find a free name; use --name")
    }
}

impl Container {
    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The identifier's first digits.
    pub fn short_id(&self) -> &str {
        short(&self.config.id)
    }

    /// What became of it. A container whose keeper died is put right first.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile; when its file cannot be read.
    pub fn state(&self) -> Result<State> {
        self.or_gone(current(&self.directory))
    }

    fn or_gone<T>(&self, result: Result<T>) -> Result<T> {
        or_gone(result, &self.directory, &self.config.name)
    }

    /// What is known of it beside its own records.
    pub fn surroundings(&self, state: &State, hosts: &host::Hosts) -> Surroundings {
        let host = self.config.host.as_ref().map(|id| (id, hosts.find(id)));
        Surroundings {
            jail: match &host {
                Some((_, Ok(host))) => host.state().map(|state| state.jail).unwrap_or_default(),
                Some((_, Err(_))) => String::new(),
                None => state.jail.clone(),
            },
            host: host.map(|(id, host)| host.map_or_else(|_| id.clone(), |host| host.config.name)),
            log: self.directory.join("log"),
            probes: match state.health {
                Some(_) => self.probes(state.started),
                None => Vec::new(),
            },
        }
    }

    /// Replaces its state as a whole.
    ///
    /// # Errors
    /// As `write(2)` and `rename(2)`.
    pub fn save(&self, state: &State) -> Result<()> {
        write(&self.directory.join("state.json"), state)
    }

    /// The keeper's lock; `None` while someone holds it.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        self.or_gone(files::try_lock(&self.directory.join("lock")))
    }

    /// The keeper's lock, which others only hold for a moment when there is no keeper.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile.
    pub fn keeper_lock(&self) -> Result<Lock> {
        self.or_gone(lock(&self.directory.join("lock")))
    }

    /// The lock of those who start, rename or remove it, waited for.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile.
    pub fn edit(&self) -> Result<Lock> {
        let edit = files::edit(&self.directory, || format!("container {}", self.short_id()));
        self.or_gone(edit)
    }
}

fn or_gone<T>(result: Result<T>, directory: &Path, name: &str) -> Result<T> {
    files::or_gone(result, directory, "container", name)
}

/// What became of the container in a directory. One whose keeper died is put right first.
fn current(directory: &Path) -> Result<State> {
    let is_live = |state: &State| state.status.is_live();
    let repair = |state: &mut State| {
        state.status = Status::Exited;
        state.exit_code = UNKNOWN_EXIT;
        state.finished = clock::wall();
        state.error = "its keeper ended before it did, by a signal or with the system".into();
        state.health = None;
        let _ = fs::remove_file(&state.socket);
    };
    // The event that its keeper could not note.
    let repaired = || {
        let config = read::<Config>(&directory.join("config.json"));
        let data = directory.parent().and_then(Path::parent);
        if let (Ok(config), Some(data)) = (config, data) {
            let code = [("exitCode", UNKNOWN_EXIT.to_string())];
            journal::note(data, &config, "die", &code);
        }
    };
    files::current(directory, is_live, repair, repaired)
}

/// The first digits of an identifier.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn in_use(name: &str, holder: &str) -> Error {
    let words = format!(
        "the container name {name:?} is in use by container {}; remove or rename that one, or \
         choose another name",
        short(holder)
    );
    Error::new(ErrorKind::Conflict, words)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
