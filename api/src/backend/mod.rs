//! The engine, as the routes use it.

mod create;
mod end;
mod execs;
mod held;
mod link;
mod start;

use std::{path::PathBuf, sync::Arc};

use coracle_engine::{
    keeper::{
        self, Link,
        wire::{Event, Request},
    },
    state::{
        Directories, NotFound,
        container::{Container, Containers, Status},
    },
};

pub use end::{Condition, Waiting, drain, until, watch};
pub use execs::{Exec, Execs};
pub use held::{Begun, Held, Ticket, Waiter};
pub use link::{Linked, Told};

use crate::error::ApiError;
use images::source::registry::{RegistryError, Settings};

/// The user's containers and images, and what this server alone knows of them.
#[derive(Debug)]
pub struct Backend {
    /// Where everything is.
    pub directories: Directories,
    /// The containers' records.
    pub containers: Containers,
    /// Clients of containers that do not run yet.
    pub held: Arc<Held>,
    /// What was made to run beside containers.
    pub execs: Arc<Execs>,
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
            held: Arc::default(),
            execs: Arc::default(),
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
        self.containers
            .find(plain)
            .map_err(|error| match error.is::<NotFound>() {
                true => ApiError::not_found(format!("No such container: {name}")),
                false => internal(error),
            })
    }

    /// Asks the keeper of a container that runs for something; `None` when it has just ended.
    ///
    /// # Errors
    /// When the container's record cannot be read.
    pub fn ask(&self, container: &Container, request: &Request) -> Result<Option<Link>, ApiError> {
        let state = container.state().map_err(internal)?;
        if !state.status.is_live() {
            return Ok(None);
        }
        let link = keeper::connect(&state.socket, state.wire).map_err(internal)?;
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
        match container.state().map_err(internal)?.status {
            Status::Running => Ok(()),
            Status::Paused => Err(ApiError::conflict(format!(
                "Container {} is paused, unpause the container before exec",
                container.config.id
            ))),
            Status::Restarting => Err(ApiError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                container.config.id
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
            Some((Event::Refused { message, .. }, _)) => return Err(ApiError::conflict(message)),
            Some((Event::Done | Event::Exited(_) | Event::Failed { .. }, _)) | None => {
                return Ok(());
            }
            Some(_) => {}
        }
    }
}

fn not_running(container: &Container) -> ApiError {
    ApiError::conflict(format!("container {} is not running", container.config.id))
}

/// An error that clients cannot do anything about.
pub fn internal(error: anyhow::Error) -> ApiError {
    let status = match error.is::<NotFound>() {
        true => 404,
        false => 500,
    };
    ApiError::new(status, format!("{error:#}"))
}
