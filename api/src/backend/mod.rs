//! The engine, as the routes use it.

mod create;
mod end;
mod execs;
mod link;
mod start;

use std::path::PathBuf;

use coracle_engine::{
    Error, ErrorKind,
    keeper::{
        self, Link,
        wire::{Event, Reason, Request},
    },
    state::{
        Directories,
        container::{Container, Containers, Status},
    },
};
use images::source::registry::{RegistryError, Settings};

pub use end::{Condition, Waiting, drain, until, watch};
pub use link::Linked;

use crate::error::{ApiError, whole};

/// The user's containers and images. It remembers nothing: what lives on lives in keepers.
#[derive(Debug)]
pub struct Backend {
    /// Where everything is.
    pub directories: Directories,
    /// The containers' records.
    pub containers: Containers,
    /// How registries are reached, as the front knows.
    registries: fn() -> Result<Settings, RegistryError>,
}

impl Backend {
    /// The user's.
    #[must_use]
    pub fn new(
        directories: Directories,
        registries: fn() -> Result<Settings, RegistryError>,
    ) -> Self {
        Self {
            containers: Containers::new(&directories),
            directories,
            registries,
        }
    }

    /// Where the images are.
    #[must_use]
    pub fn store(&self) -> &PathBuf {
        &self.directories.data
    }

    /// How registries are reached.
    ///
    /// # Errors
    /// When the files that say so cannot be read.
    pub fn registries(&self) -> Result<Settings, RegistryError> {
        (self.registries)()
    }

    /// A container by its name, which docker writes with a slash, or its ID.
    ///
    /// # Errors
    /// In docker's words when there is none.
    pub fn find(&self, name: &str) -> Result<Container, ApiError> {
        let plain = name.strip_prefix('/').unwrap_or(name);
        self.containers.find(plain).map_err(|error| {
            let error = Error::from(error);
            match error.kind() {
                ErrorKind::NotFound => ApiError::not_found(format!("No such container: {name}")),
                _ => error.into(),
            }
        })
    }

    /// Asks the keeper of a container that runs for something; `None` when it has just ended.
    ///
    /// # Errors
    /// When the container's record cannot be read.
    pub fn ask(&self, container: &Container, request: &Request) -> Result<Option<Link>, ApiError> {
        let state = container.state()?;
        if !state.status.is_live() {
            return Ok(None);
        }
        let link = keeper::connect(&state.socket, state.wire)?;
        Ok(link.filter(|link| link.send(request, None).is_ok()))
    }

    /// Asks for something that only a container that runs can do, and waits until it is done.
    ///
    /// # Errors
    /// In docker's words when it does not run, or refuses.
    pub fn request(&self, container: &Container, request: &Request) -> Result<(), ApiError> {
        match self.ask(container, request)? {
            Some(link) => answer(&link),
            None => Err(not_running(container)),
        }
    }

    /// A container that runs: one that is restarting does not.
    ///
    /// # Errors
    /// In docker's words when it does not.
    pub fn running(&self, container: &Container) -> Result<(), ApiError> {
        let id = &container.config.id;
        match container.state()?.status {
            Status::Running => Ok(()),
            Status::Paused => Err(ApiError::conflict(format!(
                "Container {id} is paused, unpause the container before exec"
            ))),
            Status::Restarting => Err(ApiError::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            ))),
            Status::Created | Status::Exited => Err(not_running(container)),
        }
    }
}

/// Waits until a keeper has done what it was asked for. A container that ends meanwhile is the answer, too.
///
/// # Errors
/// When it refuses.
pub fn answer(link: &Link) -> Result<(), ApiError> {
    loop {
        match link.receive::<Event>()? {
            Some((Event::Refused { message, reason }, _)) => return Err(refused(&message, reason)),
            Some((Event::Done | Event::Exited(_) | Event::Failed { .. }, _)) | None => {
                return Ok(());
            }
            Some(_) => {}
        }
    }
}

/// Why a keeper did not do what it was asked for. Keepers of earlier releases give no reason; theirs is
/// mostly a container's state.
fn refused(message: &str, reason: Reason) -> ApiError {
    let status = match reason {
        Reason::Internal => 409,
        reason => status(reason.into()),
    };
    ApiError::new(status, message)
}

fn not_running(container: &Container) -> ApiError {
    ApiError::conflict(format!("container {} is not running", container.config.id))
}

/// HTTP's status for a kind of error.
fn status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::NotModified => 304,
        ErrorKind::Invalid => 400,
        ErrorKind::Unavailable => 503,
        ErrorKind::Internal => 500,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::new(status(error.kind()), whole(&error))
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Error::from(error).into()
    }
}
