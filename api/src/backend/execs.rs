//! What runs beside a container's first process, in docker's words. Any process finds it by its ID.

use coracle_engine::{
    Error, ErrorKind,
    containers::{Attachment, Container, ExecRequest, ExecState},
};
use coracle_protocol::TerminalSize;

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

impl Backend {
    /// How one is.
    ///
    /// # Errors
    /// When there is none, or its container does not run any more.
    pub fn inspect_exec(&self, id: &str) -> Result<ExecState, ApiError> {
        self.engine.containers().exec_inspect(id).map_err(of(id))
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
        containers.exec_start(id, detach, size).map_err(of(id))
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
