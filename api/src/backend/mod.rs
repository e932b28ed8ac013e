//! The engine, as the routes use it: in docker's words, and with a client that may go away.

mod create;
mod execs;
mod link;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use coracle_engine::{
    Engine, Error, ErrorKind,
    containers::{Container, Ended, StartOptions, WaitCondition, Waiter},
    kernel::Unobserved,
    state::{
        Directories,
        container::{Containers, Status},
    },
};

pub use execs::create_exec;
pub use link::Linked;

use crate::{
    error::{ApiError, whole},
    http::until_hangup,
};

/// The user's containers and images. What lives on lives in keepers.
#[derive(Debug)]
pub struct Backend {
    /// Containers and hosts.
    pub engine: Engine,
    /// The containers' records.
    pub records: Containers,
}

impl Backend {
    /// The user's.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            records: Containers::new(engine.directories()),
            engine,
        }
    }

    /// Where everything is.
    #[must_use]
    pub fn directories(&self) -> &Directories {
        self.engine.directories()
    }

    /// Where the images are.
    #[must_use]
    pub fn store(&self) -> &PathBuf {
        &self.directories().data
    }

    /// A container by its name, which docker writes with a slash, or its ID.
    ///
    /// # Errors
    /// In docker's words when there is none.
    pub fn find(&self, name: &str) -> Result<Container, ApiError> {
        let plain = name.strip_prefix('/').unwrap_or(name);
        let found = self.engine.containers().find(plain);
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ApiError::not_found(format!("No such container: {name}")),
            _ => error.into(),
        })
    }

    /// Starts a container, and waits until its process runs. Who is attached to it already gets its
    /// streams from their beginning on.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&self, container: &Container) -> Result<(), ApiError> {
        let begun = container.start(StartOptions::default(), &mut Unobserved);
        let link = begun.inspect_err(|_| {
            // What was created for one start goes with it; the failure is what the client is told.
            let _ = container.give_up();
        })?;
        match link.until_started()? {
            Some(Ended::Failed { message, code }) => Err(failed(&message, code)),
            Some(Ended::Exited(_)) | None => Ok(()),
        }
    }

    /// Waits for a container's end; gives its exit code, or nothing when the client is gone first.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(
        &self,
        mut waiter: Waiter,
        client: BorrowedFd<'_>,
    ) -> Result<Option<i32>, ApiError> {
        loop {
            if let Some(descriptor) = waiter.descriptor()
                && !until_hangup(client, descriptor, None)?
            {
                return Ok(None);
            }
            if let Some(outcome) = waiter.check()? {
                return Ok(Some(outcome.code));
            }
        }
    }
}

/// A container that runs: one that is restarting does not.
///
/// # Errors
/// In docker's words when it does not.
pub fn running(container: &Container) -> Result<(), ApiError> {
    let id = container.id();
    match container.state()?.status {
        Status::Running => Ok(()),
        Status::Paused => Err(ApiError::conflict(format!(
            "Container {id} is paused, unpause the container before exec"
        ))),
        Status::Restarting => Err(ApiError::conflict(format!(
            "Container {id} is restarting, wait until the container is running"
        ))),
        Status::Created | Status::Exited => {
            Err(ApiError::conflict(format!("container {id} is not running")))
        }
    }
}

/// What docker's clients can wait for.
///
/// # Errors
/// When it is something else.
pub fn condition(word: &str) -> Result<WaitCondition, ApiError> {
    match word {
        "" | "not-running" => Ok(WaitCondition::NotRunning),
        "next-exit" => Ok(WaitCondition::NextExit),
        "removed" => Ok(WaitCondition::Removed),
        other => Err(ApiError::invalid(format!("invalid condition: \"{other}\""))),
    }
}

/// A start that failed. Docker's command takes exit codes from the words: a runtime that finds no program
/// says so in these.
#[must_use]
pub fn failed(message: &str, code: u8) -> ApiError {
    let words = match code {
        126 => "permission denied",
        127 => "executable file not found in $PATH",
        _ => return ApiError::internal(message),
    };
    match message.contains(words) {
        true => ApiError::invalid(message),
        false => ApiError::invalid(format!("{message}: {words}")),
    }
}

/// The client of a request, also while it is being answered.
///
/// # Errors
/// When no descriptor is left.
pub fn client_of(exchange: &crate::http::Exchange<'_>) -> io::Result<std::os::fd::OwnedFd> {
    exchange.client().as_fd().try_clone_to_owned()
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::NotModified => 304,
            ErrorKind::Invalid => 400,
            ErrorKind::Unavailable => 503,
            ErrorKind::Internal => 500,
        };
        Self::new(status, whole(&error))
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Error::from(error).into()
    }
}
