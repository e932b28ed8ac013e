//! A container's start.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use coracle_engine::{
    keeper::{
        self, Link, Start,
        wire::{Event, Request},
    },
    kernel::Unobserved,
    state::{
        container::Container,
        host::{Hosts, Status},
    },
};

use super::{
    Backend,
    held::Begun,
    internal,
    link::{Linked, Told},
};
use crate::error::ApiError;

/// Exit code of what could not be started.
const FAILED: u8 = 125;

impl Backend {
    /// Starts a container with those who are attached to it, and waits until its process runs.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&self, container: &Container) -> Result<(), ApiError> {
        let id = &container.config.id;
        let edit = container.edit().map_err(internal)?;
        if container.state().map_err(internal)?.status.is_live() {
            return Err(ApiError::not_modified());
        }
        let starting = self.held.start(id);
        let mut attached = self.held.take_attached(id).into_iter();
        let first = attached.next();
        let link = self.begin(container, first.as_ref().map(|(input, _)| *input));
        let link = link.and_then(|link| taken(&link).map(|()| link));
        if link.is_err() {
            self.held.ended(id, FAILED);
        }
        let link = link?;
        drop(edit);
        let (sender, receiver) = mpsc::channel();
        let (held, own) = (Arc::clone(&self.held), id.clone());
        let tell = Box::new(move |told: Told| {
            match &told {
                Told::Started => {}
                Told::Exited(code) | Told::Failed(_, code) => held.ended(&own, *code),
                Told::Lost => held.ended(&own, FAILED),
            }
            // Nobody listens after the start.
            let _ = sender.send(told);
        });
        match first {
            Some((_, give)) => give(Begun { link, tell }),
            None => {
                let work = move || Linked::new(link, tell).until_over();
                thread::Builder::new().name("start".into()).spawn(work)?;
            }
        }
        for (input, give) in attached {
            let request = Request::Attach {
                container: id.clone(),
                input,
            };
            if let Some(link) = self.ask(container, &request)? {
                give(Begun {
                    link,
                    tell: Box::new(drop),
                });
            }
        }
        drop(starting);
        match receiver.recv() {
            Ok(Told::Started | Told::Exited(_)) => Ok(()),
            Ok(Told::Failed(message, code)) => Err(failed(&message, code)),
            // Whoever was attached is gone, and with them the connection.
            Err(_) if container.state().is_ok_and(|state| state.started > 0) => Ok(()),
            Ok(Told::Lost) | Err(_) => Err(ApiError::internal(
                "the container's keeper ended during the start",
            )),
        }
    }

    /// Goes on to take what is said of a container, when the client that has had its streams is gone.
    ///
    /// # Errors
    /// When the container's record cannot be read.
    pub fn follow(
        &self,
        container: &Container,
        tell: impl FnMut(Told) + Send + 'static,
    ) -> Result<(), ApiError> {
        let request = Request::Wait {
            container: container.config.id.clone(),
            until: Default::default(),
        };
        if let Some(link) = self.ask(container, &request)? {
            let work = move || Linked::new(link, tell).until_over();
            thread::Builder::new().name("follow".into()).spawn(work)?;
        }
        Ok(())
    }

    fn begin(&self, container: &Container, attach: Option<bool>) -> Result<Link, ApiError> {
        let Some(host) = &container.config.host else {
            let prepared = keeper::prepare(&container.config, &self.directories, &mut Unobserved);
            let start = Start {
                container: container.clone(),
                prepared: prepared.map_err(internal)?,
                attach,
                owner: false,
            };
            return keeper::start(start, &self.directories).map_err(internal);
        };
        let host = Hosts::new(&self.directories).find(host).map_err(internal)?;
        let state = host.state().map_err(internal)?;
        let link = match state.status {
            Status::Running => keeper::connect(&state.socket, state.wire).map_err(internal)?,
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
            attach,
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
        Some((Event::Refused { message, .. }, _)) => Err(ApiError::conflict(message)),
        _ => Err(ApiError::internal("the keeper ended while starting")),
    }
}

/// Docker's statuses for a start that failed: its command takes exit codes from the words.
fn failed(message: &str, code: u8) -> ApiError {
    let status = match code {
        126 | 127 => 400,
        _ => 500,
    };
    ApiError::new(status, message)
}
