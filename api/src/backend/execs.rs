//! What was made to run beside containers, by its ID: before its start, while it runs, and for some time
//! after its end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use coracle_engine::keeper::{Link, wire::Request};
use coracle_protocol::{Process, TerminalSize};

use crate::error::ApiError;

/// Those that are remembered. Docker forgets them with their container; the oldest that have ended are
/// forgotten here.
const MAX_KEPT: usize = 4096;

/// Something that runs beside a container's first process.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The container's ID.
    pub container: String,
    /// What is run.
    pub process: Process,
    /// The client's input is its own.
    pub input: bool,
    /// The client gets its output.
    pub output: bool,
    /// The client gets its standard error.
    pub error: bool,
    /// It has been started.
    pub started: bool,
    /// How it ended.
    pub exit_code: Option<u8>,
    /// The connection to its keeper while a client is attached.
    link: Weak<Link>,
    /// When it was made, counted.
    number: u64,
}

impl Exec {
    /// One that was not started.
    #[must_use]
    pub fn new(container: &str, process: Process, [input, output, error]: [bool; 3]) -> Self {
        Self {
            container: container.into(),
            process,
            input,
            output,
            error,
            started: false,
            exit_code: None,
            link: Weak::new(),
            number: 0,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Execs(Mutex<BTreeMap<String, Exec>>);

impl Execs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one.
    pub fn add(&self, id: &str, mut exec: Exec) {
        let mut all = self.lock();
        exec.number = all.values().map(|exec| exec.number).max().unwrap_or(0) + 1;
        if all.len() >= MAX_KEPT {
            let over = all.iter().filter(|(_, exec)| exec.exit_code.is_some());
            let oldest = over.min_by_key(|(_, exec)| exec.number);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                all.remove(&id);
            }
        }
        all.insert(id.into(), exec);
    }

    /// One of them.
    ///
    /// # Errors
    /// In docker's words when there is none.
    pub fn get(&self, id: &str) -> Result<Exec, ApiError> {
        let found = self.lock().get(id).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
    }

    /// The IDs of a container's.
    pub fn of(&self, container: &str) -> Vec<String> {
        let all = self.lock();
        let own = all.iter().filter(|(_, exec)| exec.container == container);
        own.map(|(id, _)| id.clone()).collect()
    }

    /// Takes the right to start one; false when somebody had it before.
    pub fn begin(&self, id: &str) -> bool {
        let mut all = self.lock();
        all.get_mut(id)
            .is_some_and(|exec| !std::mem::replace(&mut exec.started, true))
    }

    /// One has ended.
    pub fn end(&self, id: &str, code: u8) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.exit_code = Some(code);
        }
    }

    /// One runs, with a client on this connection.
    pub fn run(&self, id: &str, link: Weak<Link>) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.link = link;
        }
    }

    /// Gives a terminal another size.
    pub fn resize(&self, id: &str, size: TerminalSize) {
        let link = match self.lock().get_mut(id) {
            Some(exec) if exec.process.terminal.is_some() => {
                exec.process.terminal = Some(size);
                exec.link.upgrade()
            }
            _ => None,
        };
        if let Some(link) = link {
            // One that has just ended has no terminal any more.
            let _ = link.send(&Request::Resize { size }, None);
        }
    }
}
