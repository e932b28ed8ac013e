//! What runs beside a container's first process, in docker's words. Its container's keeper knows it by its
//! ID, from which any process finds the keeper.

use coracle_engine::{
    Error, ErrorKind,
    containers::{Attachment, Container},
    keeper::{
        client,
        wire::{ExecState, ExecStreams},
    },
};
use coracle_protocol::{Process, TerminalSize};

use super::{Backend, running};
use crate::error::ApiError;

/// Of one that is not there, docker's clients look for these words.
fn of(id: &str) -> impl FnOnce(Error) -> ApiError {
    move |error| match error.kind() {
        ErrorKind::NotFound => ApiError::not_found(format!("No such exec instance: {id}")),
        _ => error.into(),
    }
}

impl Backend {
    /// Makes one that is not started; gives its ID.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn create_exec(
        &self,
        container: &Container,
        process: Process,
        streams: ExecStreams,
    ) -> Result<String, ApiError> {
        running(container)?;
        Ok(client::exec_create(container.record(), process, streams)?)
    }

    /// How one is.
    ///
    /// # Errors
    /// When there is none, or its container does not run any more.
    pub fn inspect_exec(&self, id: &str) -> Result<ExecState, ApiError> {
        client::exec_inspect(id, self.directories()).map_err(of(id))
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
        let link = client::exec_start(id, detach, size, self.directories());
        Ok(Attachment::new(link.map_err(of(id))?))
    }

    /// Gives the terminal of one that runs another size.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<(), ApiError> {
        client::exec_resize(id, size, self.directories()).map_err(of(id))
    }
}
