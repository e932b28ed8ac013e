//! What runs beside a container's first process, in docker's words. Any process finds it by its ID.

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

impl Backend {
    /// How one is.
    ///
    /// # Errors
    /// When there is none, or its container has been gone for long.
    pub fn inspect_exec(&self, id: &str) -> Result<ExecState, ApiError> {
        self.engine.containers().exec_inspect(id).map_err(of(id))
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
