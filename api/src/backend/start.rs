//! A container's start.

use coracle_engine::{
    keeper::{
        self, Link, Start, client,
        wire::{Event, Request},
    },
    kernel::Unobserved,
    state::{
        container::Container,
        host::{Hosts, Status},
    },
};

use super::{Backend, refused};
use crate::error::ApiError;

impl Backend {
    /// Starts a container, and waits until its process runs. Who is attached to it already gets its
    /// streams from their beginning on.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&self, container: &Container) -> Result<(), ApiError> {
        let edit = container.edit()?;
        if container.state()?.status.is_live() {
            return Err(ApiError::not_modified());
        }
        let link = self.begin(container)?;
        // Until the keeper has the container, nobody else may start it.
        taken(&link)?;
        drop(edit);
        loop {
            match link.receive::<Event>()? {
                Some((Event::Started | Event::Exited(_), _)) => return Ok(()),
                Some((Event::Failed { message, code }, _)) => return Err(failed(&message, code)),
                Some((Event::Refused { message, reason }, _)) => {
                    return Err(refused(&message, reason));
                }
                Some(_) => {}
                None => {
                    return Err(ApiError::internal(
                        "the container's keeper ended during the start",
                    ));
                }
            }
        }
    }

    fn begin(&self, container: &Container) -> Result<Link, ApiError> {
        let Some(host) = &container.config.host else {
            let held = client::start_held(container, None, false, &self.directories)?;
            if let Some(link) = held {
                return Ok(link);
            }
            let prepared = keeper::prepare(&container.config, &self.directories, &mut Unobserved)?;
            let start = Start {
                container: container.clone(),
                prepared,
                attach: None,
                owner: false,
            };
            return Ok(keeper::start(start, &self.directories)?);
        };
        let host = Hosts::new(&self.directories).find(host)?;
        let state = host.state()?;
        let link = match state.status {
            Status::Running => keeper::connect(&state.socket, state.wire)?,
            Status::Created | Status::Exited => None,
        };
        let name = &host.config.name;
        let link = link.ok_or_else(|| {
            ApiError::new(
                503,
                format!("host {name} is not up; 'coracle host start {name}' starts it"),
            )
        })?;
        let request = Request::Start {
            container: container.config.id.clone(),
            attach: None,
            owner: false,
        };
        link.send(&request, None)?;
        Ok(link)
    }
}

/// Waits until a keeper has the container.
fn taken(link: &Link) -> Result<(), ApiError> {
    match link.receive::<Event>()? {
        Some((Event::Done, _)) => Ok(()),
        Some((Event::Failed { message, code }, _)) => Err(failed(&message, code)),
        Some((Event::Refused { message, reason }, _)) => Err(refused(&message, reason)),
        _ => Err(ApiError::internal("the keeper ended while starting")),
    }
}

/// Docker's statuses for a start that failed. Its command takes exit codes from the words: a runtime that
/// finds no program says so in these.
pub(super) fn failed(message: &str, code: u8) -> ApiError {
    let (status, words) = match code {
        126 => (400, "permission denied"),
        127 => (400, "executable file not found in $PATH"),
        _ => return ApiError::internal(message),
    };
    match message.contains(words) {
        true => ApiError::new(status, message),
        false => ApiError::new(status, format!("{message}: {words}")),
    }
}
