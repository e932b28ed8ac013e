//! What runs beside a container's first process, in docker's words. Any process finds it by its ID.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use contracts::guest::TerminalSize;
use coracle_engine::{
    Error, ErrorKind,
    containers::{Attachment, Container, ExecRequest, ExecState},
};

use super::{Backend, running};
use crate::error::ApiError;

/// Of one that is not there, docker's clients look for these words.
fn of(id: &str) -> impl FnOnce(Error) -> ApiError {
    move |error| match error.kind() {
        ErrorKind::NotFound => ApiError::not_found(format!("No such exec instance: {id}")),
        _ => error.into(),
    }
}

/// Makes one that is not started; gives its ID.
///
/// # Errors
/// When the container does not run.
pub fn create_exec(container: &Container, request: &ExecRequest) -> Result<String, ApiError> {
    running(container)?;
    Ok(container.exec_create(request)?)
}

/// Digits of its container's ID that an exec's begins with.
const SHARED: usize = 32;

/// The exit code of what was killed.
const KILLED: u8 = 137;

/// As many ended programs are remembered: their clients ask at once.
const REMEMBERED: usize = 256;

/// Ended programs, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<VecDeque<ExecState>>);

impl Ended {
    fn add(&self, exec: ExecState) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(exec);
        if all.len() > REMEMBERED {
            all.pop_front();
        }
    }

    fn find(&self, id: &str) -> Option<ExecState> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().rev().find(|exec| exec.exec == id).cloned()
    }
}

impl Backend {
    /// How one is.
    ///
    /// # Errors
    /// When there is none, or its container does not run any more.
    pub fn inspect_exec(&self, id: &str) -> Result<ExecState, ApiError> {
        match self.engine.containers().exec_inspect(id) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.ended.find(id).ok_or_else(|| of(id)(error))
            }
            other => other.map_err(of(id)),
        }
    }

    /// What one has become whose streams a client was given: the client asks for its exit code next, and it
    /// may have been its container's end. Without a code, it went with that.
    pub fn note_end(&self, mut exec: ExecState, code: Option<u8>) {
        exec.running = false;
        exec.pid = 0;
        exec.exit_code = Some(code.unwrap_or(KILLED));
        self.ended.add(exec);
    }

    /// Refuses one that cannot start, since its container does not run any more.
    ///
    /// # Errors
    /// In docker's words.
    pub fn check_startable(&self, id: &str) -> Result<(), ApiError> {
        // Its ID begins as the container's.
        let Some(prefix) = id.get(..SHARED).filter(|_| id.len() == 2 * SHARED) else {
            return Ok(());
        };
        match self.find(prefix) {
            Ok(container) if container.id().starts_with(prefix) => running(&container),
            _ => Ok(()),
        }
    }

    /// Starts one; what is said of it comes on the link, with its streams where nobody detaches.
    ///
    /// # Errors
    /// When there is none, or its container does not run any more.
    pub fn start_exec(
        &self,
        id: &str,
        detach: bool,
        size: Option<TerminalSize>,
    ) -> Result<Attachment, ApiError> {
        let containers = self.engine.containers();
        let started = containers.exec_start(id, detach, size);
        if matches!(&started, Err(error) if error.kind() == ErrorKind::NotFound) {
            self.check_startable(id)?;
        }
        started.map_err(of(id))
    }

    /// Gives the terminal of one that runs another size.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<(), ApiError> {
        let containers = self.engine.containers();
        containers.exec_resize(id, size).map_err(of(id))
    }
}

#[cfg(test)]
mod tests {
    use contracts::guest::{Process, SeccompProfile};
    use coracle_engine::containers::ExecStreams;

    use super::*;

    fn exec(id: usize) -> ExecState {
        ExecState {
            exec: id.to_string(),
            container: "c".into(),
            running: false,
            exit_code: Some(3),
            error: String::new(),
            pid: 0,
            process: Process {
                args: vec!["true".into()],
                env: Vec::new(),
                cwd: "/".into(),
                user: String::new(),
                groups: Vec::new(),
                terminal: None,
                rlimits: Vec::new(),
                capabilities: 0,
                no_new_privileges: false,
                seccomp: SeccompProfile::Default,
                init: false,
            },
            streams: ExecStreams::default(),
        }
    }

    #[test]
    fn ended_ones_are_remembered_for_a_while() {
        let ended = Ended::default();
        assert!(ended.find("0").is_none());
        for id in 0..=REMEMBERED {
            ended.add(exec(id));
        }
        assert!(ended.find("0").is_none());
        assert_eq!(ended.find("1").unwrap().exit_code, Some(3));
        assert!(ended.find(&REMEMBERED.to_string()).is_some());
    }
}
