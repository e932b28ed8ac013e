//! Programs beside a container's first process that have an ID, as docker's execs: they are created, started once,
//! looked at and resized by it, by any client. Nothing here does I/O.

use contracts::guest::{Process, TerminalSize};

use super::Number;
use contracts::keeper::{ExecState, ExecStreams};

use crate::{Error, ErrorKind, Result};

/// Most of a keeper's. One holds its process's words, at most what fits into a packet, for as long as its container
/// runs, and a client that looks for a port by `exec` may create ten in a second: those that have ended longest ago
/// make way.
const MAX: usize = 1024;

/// How many of a container's are known after its end: those that ended last, since a client that asks is about to do
/// so when it has seen the end.
const REMEMBERED: usize = 64;

/// Digits of a container's ID with which those of its execs begin, so that an exec's ID leads to its keeper.
pub(super) const SHARED_DIGITS: usize = 32;

/// All of a keeper's, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Vec<Session>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    /// Its container's number.
    pub(super) container: Number,
    pub(super) process: Process,
    pub(super) streams: ExecStreams,
    /// Its number in the guest, as a container's; 0 before it runs.
    pid: u32,
    life: Life,
}

/// Where one is.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Created,
    Running,
    /// It has ended with this code; in words why it was never started.
    Ended(u8, String),
}

impl Sessions {
    /// Creates one in a container, whose ID its own begins with.
    ///
    /// # Errors
    /// When there are as many that have not ended.
    pub(super) fn create(
        &mut self,
        container: (Number, &str),
        process: Process,
        streams: ExecStreams,
        random: &str,
    ) -> Result<String> {
        if self.all.len() >= MAX {
            let ended = |session: &Session| matches!(session.life, Life::Ended(..));
            let Some(oldest) = self.all.iter().position(ended) else {
                let words = format!("too many exec sessions: the maximum is {MAX}");
                return Err(Error::new(ErrorKind::Conflict, words));
            };
            self.all.remove(oldest);
        }
        let (number, id) = container;
        let first = id.get(..SHARED_DIGITS).unwrap_or(id);
        let rest = random.get(..SHARED_DIGITS).unwrap_or(random);
        let id = format!("{first}{rest}");
        self.all.push(Session {
            id: id.clone(),
            container: number,
            process,
            streams,
            pid: 0,
            life: Life::Created,
        });
        Ok(id)
    }

    fn find(&mut self, id: &str) -> Result<&mut Session> {
        let found = self.all.iter_mut().find(|session| session.id == id);
        found.ok_or_else(|| no_such(id))
    }

    /// Begins one, which is done once; a terminal has this size from its beginning.
    ///
    /// # Errors
    /// When there is none, or it was begun before.
    pub(super) fn begin(&mut self, id: &str, size: Option<TerminalSize>) -> Result<&Session> {
        let session = self.find(id)?;
        match session.life {
            Life::Created => session.life = Life::Running,
            Life::Running => {
                let words = format!("exec command {id} is already running");
                return Err(Error::new(ErrorKind::Conflict, words));
            }
            Life::Ended(..) => {
                let words = format!("exec command {id} has already run");
                return Err(Error::new(ErrorKind::Conflict, words));
            }
        }
        if let (Some(terminal), Some(size)) = (&mut session.process.terminal, size) {
            *terminal = size;
        }
        Ok(session)
    }

    /// The guest was never told of it: it can be begun again.
    pub(super) fn take_back(&mut self, id: &str) {
        if let Ok(session) = self.find(id)
            && session.life == Life::Running
        {
            session.life = Life::Created;
        }
    }

    /// One runs, as this process of the guest's. Others that run in a guest are none of these.
    pub(super) fn started(&mut self, id: &str, pid: u32) {
        if let Ok(session) = self.find(id)
            && session.life == Life::Running
        {
            session.pid = pid;
        }
    }

    /// One has ended, or could not be started, which the words say; gives its container. Others that run in a guest
    /// are none of these.
    pub(super) fn end(&mut self, id: &str, code: u8, words: &str) -> Option<Number> {
        let session = self.find(id).ok()?;
        if session.life != Life::Running {
            return None;
        }
        session.life = Life::Ended(code, words.into());
        Some(session.container)
    }

    /// One has ended in another way than was known first.
    pub(super) fn amend(&mut self, id: &str, code: u8, words: &str) {
        if let Ok(session) = self.find(id)
            && let Life::Ended(own_code, own_words) = &mut session.life
        {
            *own_code = code;
            *own_words = words.into();
        }
    }

    /// How one is.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn inspect(&mut self, id: &str) -> Result<ExecState> {
        self.find(id).map(|session| session.state())
    }

    /// The container of one.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn container(&mut self, id: &str) -> Result<Number> {
        Ok(self.find(id)?.container)
    }

    /// Refuses what needs one that runs.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub(super) fn running(&mut self, id: &str) -> Result<()> {
        if self.find(id)?.life == Life::Running {
            return Ok(());
        }
        let words = format!("exec command {id} is not running");
        Err(Error::new(ErrorKind::Conflict, words))
    }

    /// Those of a container that have not ended, the oldest first.
    pub(super) fn of(&self, container: Number) -> Vec<String> {
        let all = self.all.iter();
        let own = all.filter(|session| {
            session.container == container && !matches!(session.life, Life::Ended(..))
        });
        own.map(|session| session.id.clone()).collect()
    }

    /// Those of a container that run, the oldest first.
    pub(super) fn running_in(&self, container: Number) -> Vec<String> {
        let all = self.all.iter();
        let own = all.filter(|one| one.container == container && one.life == Life::Running);
        own.map(|session| session.id.clone()).collect()
    }

    /// A container has ended, and so have its own; gives how those ended that were started, the oldest first, at most
    /// [`REMEMBERED`] of them.
    pub(super) fn forget(&mut self, container: Number) -> Vec<ExecState> {
        let own = self.all.extract_if(.., |one| one.container == container);
        let mut ended: Vec<Session> = own
            .filter(|session| matches!(session.life, Life::Ended(..)))
            .collect();
        let too_many = ended.len().saturating_sub(REMEMBERED);
        ended.drain(..too_many);
        ended.iter().map(Session::state).collect()
    }
}

impl Session {
    /// How it is; its container has no ID here.
    fn state(&self) -> ExecState {
        let (exit_code, error) = match &self.life {
            Life::Created | Life::Running => (None, String::new()),
            Life::Ended(code, error) => (Some(*code), error.clone()),
        };
        ExecState {
            exec: self.id.clone(),
            container: String::new(),
            running: self.life == Life::Running,
            exit_code,
            error,
            pid: self.pid,
            process: self.process.clone(),
            streams: self.streams,
        }
    }
}

/// What is said of an ID that nobody knows.
pub(super) fn no_such(id: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("no such exec instance: {id}; those of a container are known until its next start"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::Config;

    const CONTAINER: &str = include_str!("fuzzing/container.json");

    fn process() -> Process {
        let config: Config = serde_json::from_str(CONTAINER).unwrap();
        config.spec.process.for_guest()
    }

    fn create(sessions: &mut Sessions, container: u64) -> Result<String> {
        let id = container.to_string().repeat(64);
        let random = crate::identifier().unwrap();
        sessions.create(
            (container.into(), &id),
            process(),
            ExecStreams::default(),
            &random,
        )
    }

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn id_begins_as_its_containers_and_is_as_long() {
        let mut sessions = Sessions::default();
        let [one, other] = [(); 2].map(|()| create(&mut sessions, 7).unwrap());
        assert_ne!(one, other);
        assert!(one.len() == 64 && one.starts_with(&"7".repeat(SHARED_DIGITS)));
    }

    /// What may be done with one, step by step.
    #[test]
    fn exec_is_started_once_and_ends_once() {
        let mut sessions = Sessions::default();
        let id = create(&mut sessions, 1).unwrap();
        let state = |sessions: &mut Sessions| {
            let state = sessions.inspect(&id).unwrap();
            (state.running, state.exit_code, state.error)
        };
        let conflict = Some(ErrorKind::Conflict);
        assert_eq!(state(&mut sessions), (false, None, String::new()));
        assert_eq!(kind(sessions.running(&id)), conflict);
        // It cannot end before it was begun.
        assert_eq!(sessions.end(&id, 3, ""), None);
        sessions.begin(&id, None).unwrap();
        sessions.take_back(&id);
        assert_eq!(state(&mut sessions), (false, None, String::new()));
        sessions.begin(&id, None).unwrap();
        assert_eq!(state(&mut sessions), (true, None, String::new()));
        assert_eq!(kind(sessions.running(&id)), None);
        assert_eq!(kind(sessions.begin(&id, None)), conflict);
        assert_eq!(sessions.end(&id, 127, "no such program"), Some(1.into()));
        sessions.take_back(&id);
        assert_eq!(sessions.end(&id, 0, ""), None);
        let ended = (false, Some(127), "no such program".to_owned());
        assert_eq!(state(&mut sessions), ended);
        let error = sessions.begin(&id, None).unwrap_err();
        assert!(error.to_string().contains("already run"), "{error}");
        assert_eq!(kind(sessions.running(&id)), conflict);
        let missing = "f".repeat(64);
        assert_eq!(kind(sessions.inspect(&missing)), Some(ErrorKind::NotFound));
        assert_eq!(
            kind(sessions.begin(&missing, None)),
            Some(ErrorKind::NotFound)
        );
        assert_eq!(sessions.end(&missing, 0, ""), None);
    }

    #[test]
    fn terminal_has_the_size_of_its_start() {
        let size = TerminalSize {
            rows: 24,
            columns: 80,
        };
        let mut sessions = Sessions::default();
        let without = create(&mut sessions, 1).unwrap();
        let begun = sessions.begin(&without, Some(size)).unwrap();
        assert_eq!(begun.process.terminal, None);
        let mut with = process();
        with.terminal = Some(TerminalSize {
            rows: 0,
            columns: 0,
        });
        let id = "1".repeat(64);
        let random = crate::identifier().unwrap();
        let id = sessions.create((1.into(), &id), with, ExecStreams::default(), &random);
        let begun = sessions.begin(&id.unwrap(), Some(size)).unwrap();
        assert_eq!(begun.process.terminal, Some(size));
    }

    #[test]
    fn those_that_have_ended_make_way_and_others_do_not() {
        let mut sessions = Sessions::default();
        let all: Vec<String> = (0..MAX)
            .map(|_| create(&mut sessions, 1).unwrap())
            .collect();
        assert_eq!(kind(create(&mut sessions, 1)), Some(ErrorKind::Conflict));
        for id in &all[3..5] {
            sessions.begin(id, None).unwrap();
            let _ = sessions.end(id, 0, "");
        }
        create(&mut sessions, 1).unwrap();
        assert!(sessions.inspect(&all[3]).is_err());
        assert!(sessions.inspect(&all[4]).is_ok());
        assert_eq!(sessions.all.len(), MAX);
    }

    #[test]
    fn end_of_a_container_is_the_end_of_its_own() {
        let mut sessions = Sessions::default();
        let [one, two] = [1, 2].map(|number| create(&mut sessions, number).unwrap());
        let ended = create(&mut sessions, 2).unwrap();
        sessions.begin(&ended, None).unwrap();
        let _ = sessions.end(&ended, 0, "");
        assert_eq!(sessions.of(2.into()), std::slice::from_ref(&two));
        sessions.forget(1.into());
        assert_eq!(kind(sessions.inspect(&one)), Some(ErrorKind::NotFound));
        assert_eq!(sessions.container(&two).unwrap(), 2.into());
    }
}
