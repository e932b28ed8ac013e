//! Named hosts on disk.
//!
//! ```text
//! hosts/<name>/config.json    what was asked for
//! hosts/<name>/state.json     what became of it; replaced as a whole by its keeper
//! hosts/<name>/lock           held by its keeper for as long as that lives
//! hosts/<name>/edit           held by a command that starts or removes it
//! hosts/.new-*, .removed-*    what is being made and removed
//! hosts/lock                  held while a host is made or removed
//! ```
//!
//! A container says in its own record which host it belongs to, by identifier: a host that is made
//! later under the same name is another one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Directories, MachineMode, NotFound, create_directory,
    files::{self, Lock, lock, write},
    journal::{self, Noted, Subject},
    words::{self, HOSTS},
};
use crate::{Error, ErrorKind};
use coracle_platform::{clock, size};

/// Version of both files; a later release that changes them reads this one too.
pub const VERSION: u32 = 1;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// [`VERSION`].
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, which is no other host's.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// Memory in bytes for all of its containers, and its processors.
    pub memory: u64,
    /// Number of its processors.
    pub cpus: u8,
    /// A kernel of the user's.
    pub kernel: Option<PathBuf>,
    /// When a software host is used.
    pub machine: MachineMode,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes of its disk, for what its containers write; without one they write to its memory.
    #[serde(default)]
    pub disk: Option<u64>,
    /// Most bytes of the disk for each of its containers that asks for nothing else; `None` for
    /// [`Config::container_disk`]'s own choice.
    #[serde(default)]
    pub container_disk: Option<u64>,
}

/// The part of a host's disk, one in so many, that a container may take unless told otherwise: however much it
/// writes, as much is left for all others.
const PART_OF_DISK: u64 = 2;

impl Config {
    /// Most bytes of its disk for a container that asks for nothing else, if it has a disk.
    #[must_use]
    pub fn container_disk(&self) -> Option<u64> {
        let disk = self.disk?;
        Some(self.container_disk.unwrap_or(disk / PART_OF_DISK))
    }

    /// Most bytes of its disk for a container that asks for so many, or for nothing; `None` where it has none.
    ///
    /// # Errors
    /// When more is asked for than there is.
    pub fn part_of_disk(&self, asked: Option<u64>) -> Result<Option<u64>> {
        let name = &self.name;
        match (asked, self.disk) {
            (None, _) => Ok(self.container_disk()),
            (Some(_), None) => bail!(
                "--storage-opt size: the named host {name} has no disk, and keeps what its containers write in its \
                 memory; 'coracle host create --disk SIZE' makes one that has"
            ),
            (Some(part), Some(disk)) if part > disk => bail!(
                "--storage-opt size={}: the disk of the named host {name} has {}",
                size::binary(part),
                size::binary(disk)
            ),
            (part, Some(_)) => Ok(part),
        }
    }
}

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was never started.
    Created,
    /// It is up.
    Running,
    /// It was stopped, or ended.
    Exited,
}

impl Status {
    /// Docker's word for a container of that status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

/// What became of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// Where it is in its life.
    pub status: Status,
    /// The process that looks after it, and the socket by which it is reached.
    pub keeper: u32,
    /// The socket of its keeper.
    pub socket: PathBuf,
    /// Version of what that process understands ([`contracts::keeper`]).
    #[serde(default)]
    pub wire: u16,
    /// Nanoseconds since 1970; 0 for never.
    pub started: u64,
    /// When it ended last, in nanoseconds since 1970; 0 for never.
    pub finished: u64,
    /// Why it is not up although nobody stopped it.
    pub error: String,
    /// The guest kernel's release, cleaned of what a terminal would obey.
    pub release: String,
    /// A person stopped it.
    pub stopped: bool,
    /// What stands around its monitor, in words.
    #[serde(default)]
    pub jail: String,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// That of a host that was never started.
    pub fn new() -> Self {
        Self {
            version: VERSION,
            status: Status::Created,
            keeper: 0,
            socket: PathBuf::new(),
            wire: 0,
            started: 0,
            finished: 0,
            error: String::new(),
            release: String::new(),
            stopped: false,
            jail: String::new(),
        }
    }
}

impl Noted for Config {
    fn subject(&self) -> Subject<'_> {
        Subject {
            kind: "host",
            id: &self.id,
            name: &self.name,
            image: None,
            labels: &self.labels,
        }
    }
}

/// All hosts of a user.
#[derive(Debug, Clone)]
pub struct Hosts {
    root: PathBuf,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    directory: PathBuf,
    /// What was asked for.
    pub config: Config,
}

impl Hosts {
    /// Those in the user's directories.
    pub fn new(directories: &Directories) -> Self {
        Self {
            root: directories.data.join(HOSTS),
        }
    }

    /// Makes a host; it is whole when this returns.
    ///
    /// # Errors
    /// When the name is not one, or in use.
    pub fn create(&self, config: Config) -> Result<Host> {
        words::check(&config.name)?;
        create_directory(&self.root)?;
        let _lock = files::lock_all(&self.root)?;
        files::sweep(&self.root);
        let directory = self.root.join(&config.name);
        if directory.is_dir() {
            let words = format!(
                "host {0} already exists; start it with 'coracle host start {0}', or choose another \
                 name",
                config.name
            );
            return Err(Error::new(ErrorKind::Conflict, words).into());
        }
        let new = files::prepare(&self.root, &config.id, &config, &State::new())?;
        files::publish(&new, &directory)?;
        let host = Host { directory, config };
        host.note("create");
        Ok(host)
    }

    /// Finds one by name, identifier, or the identifier's first digits.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, text: &str) -> Result<Host> {
        if words::check(text).is_ok() && self.root.join(text).is_dir() {
            return self.open(text);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let all = if digits { self.list()? } else { Vec::new() };
        let mut matching = all
            .into_iter()
            .filter(|host| host.config.id.starts_with(text));
        match (matching.next(), matching.next()) {
            (Some(host), None) => Ok(host),
            (Some(_), Some(_)) => Err(super::ambiguous("host", text).into()),
            (None, _) => Err(self.not_found(text).into()),
        }
    }

    fn not_found(&self, text: &str) -> NotFound {
        let data = self.root.parent().unwrap_or(&self.root);
        let hint = match words::is_container(data, text) {
            true => format!("{text} is a container: leave 'host' out"),
            false => "'coracle host ls' lists them, 'coracle host create' makes one".into(),
        };
        NotFound {
            kind: "host",
            name: text.into(),
            hint,
        }
    }

    /// All of them, by name. What is not whole is passed over; a record that cannot be read is told.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Host>> {
        let names = files::names(&self.root)?.into_iter();
        let names = names.filter(|name| words::check(name).is_ok());
        let mut all = Vec::new();
        for name in names {
            match self.open(&name) {
                Ok(host) => all.push(host),
                Err(error) if files::is_gone(&error) => {}
                Err(error) => log::warn!("host {name} is left out: {error:#}"),
            }
        }
        all.sort_by(|one, other| one.config.name.cmp(&other.config.name));
        Ok(all)
    }

    fn open(&self, name: &str) -> Result<Host> {
        let directory = self.root.join(name);
        let path = directory.join("config.json");
        let config = files::read_record(&path, VERSION, |config: &Config| config.version);
        let config = files::or_gone(config, &directory, "host", name)?;
        Ok(Host { directory, config })
    }

    /// Removes a host; the caller holds its lock, so that it has no keeper.
    ///
    /// # Errors
    /// As `rename(2)`; what cannot be deleted then is deleted by a later command.
    pub fn remove(&self, host: &Host, _lock: &Lock) -> Result<()> {
        let global = files::lock_all(&self.root)?;
        let away = files::put_away(&self.root, &host.config.id, &host.directory)?;
        drop(global);
        let _ = fs::remove_dir_all(&away);
        host.note("destroy");
        Ok(())
    }
}

impl Host {
    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What became of it. A host whose keeper died is put right first.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile; when its file cannot be read.
    pub fn state(&self) -> Result<State> {
        let is_live = |state: &State| state.status == Status::Running;
        let repair = |state: &mut State| {
            state.status = Status::Exited;
            state.finished = clock::wall();
            state.error = "its keeper ended by a signal or with the system".into();
            let _ = fs::remove_file(&state.socket);
        };
        self.or_gone(files::current(&self.directory, is_live, repair, || {
            self.note("die");
        }))
    }

    fn or_gone<T>(&self, result: Result<T>) -> Result<T> {
        files::or_gone(result, &self.directory, "host", &self.config.name)
    }

    /// Notes an event of the host's.
    pub fn note(&self, action: &str) {
        if let Some(data) = self.directory.parent().and_then(Path::parent) {
            journal::note(data, &self.config, action, &[]);
        }
    }

    /// Replaces its state as a whole.
    ///
    /// # Errors
    /// As `write(2)` and `rename(2)`.
    pub fn save(&self, state: &State) -> Result<()> {
        write(&self.directory.join("state.json"), state)
    }

    /// The keeper's lock, which others only hold for a moment when there is no keeper.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile.
    pub fn keeper_lock(&self) -> Result<Lock> {
        self.or_gone(lock(&self.directory.join("lock")))
    }

    /// The lock of those who start or remove it, waited for.
    ///
    /// # Errors
    /// [`NotFound`] when it was removed meanwhile.
    pub fn edit(&self) -> Result<Lock> {
        let edit = files::edit(&self.directory, || format!("host {}", self.config.name));
        self.or_gone(edit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(directory: &Path) -> Hosts {
        Hosts {
            root: directory.join("hosts"),
        }
    }

    fn config(name: &str, digit: &str) -> Config {
        Config {
            version: VERSION,
            id: digit.repeat(64),
            name: name.into(),
            created: 1,
            memory: 1 << 30,
            cpus: 1,
            kernel: None,
            machine: MachineMode::Auto,
            labels: BTreeMap::new(),
            disk: None,
            container_disk: None,
        }
    }

    #[test]
    fn container_has_half_of_the_disk_unless_something_else_was_asked_for() {
        let mut config = config("one", "1");
        assert_eq!(config.part_of_disk(None).unwrap(), None);
        assert!(config.part_of_disk(Some(1)).is_err());
        config.disk = Some(100);
        assert_eq!(config.part_of_disk(None).unwrap(), Some(50));
        assert_eq!(config.part_of_disk(Some(100)).unwrap(), Some(100));
        assert!(config.part_of_disk(Some(101)).is_err());
        config.container_disk = Some(30);
        assert_eq!(config.part_of_disk(None).unwrap(), Some(30));
    }

    #[test]
    fn record_of_an_earlier_release_has_a_limit_too() {
        let mut config = config("one", "1");
        config.disk = Some(100);
        let mut record = serde_json::to_value(&config).unwrap();
        record
            .as_object_mut()
            .unwrap()
            .remove("container_disk")
            .unwrap();
        let read: Config = serde_json::from_value(record).unwrap();
        assert_eq!(read.container_disk(), Some(50));
    }

    #[test]
    fn host_is_found_by_name_and_by_digits() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = hosts(directory.path());
        hosts.create(config("one", "1")).unwrap();
        hosts.create(config("two", "2")).unwrap();
        assert_eq!(hosts.find("two").unwrap().config.name, "two");
        assert_eq!(hosts.find("111").unwrap().config.name, "one");
        assert!(hosts.find("3").is_err());
        assert!(hosts.find("../hosts/one").is_err());
    }

    #[test]
    fn name_is_one_hosts_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = hosts(directory.path());
        let one = hosts.create(config("one", "1")).unwrap();
        assert!(hosts.create(config("one", "2")).is_err());
        let lock = one.keeper_lock().unwrap();
        hosts.remove(&one, &lock).unwrap();
        assert!(one.edit().is_err());
        hosts.create(config("one", "2")).unwrap();
        assert_eq!(hosts.list().unwrap().len(), 1);
    }

    #[test]
    fn host_that_says_it_is_up_without_a_keeper_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let host = hosts(directory.path()).create(config("one", "1")).unwrap();
        let mut state = State::new();
        state.status = Status::Running;
        host.save(&state).unwrap();
        let lock = host.keeper_lock().unwrap();
        assert_eq!(host.state().unwrap().status, Status::Running);
        drop(lock);
        assert_eq!(host.state().unwrap().status, Status::Exited);
    }
}
