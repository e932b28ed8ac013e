//! Stopping containers and starting them again.

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use super::{Attachment, Container, Containers, Ending, StartOptions, StopOptions};
use crate::{Error, ErrorKind, Result, kernel::Observer, state::journal};

/// A container that has stopped and is starting again.
#[derive(Debug)]
#[must_use = "the start may fail, which `finish` tells"]
pub struct Restarting {
    container: Container,
    link: Attachment,
}

impl Container {
    /// Stops it, if it runs, and starts it again; waits until its process is executed.
    ///
    /// # Errors
    /// When it cannot be stopped or started.
    pub fn restart(&self, options: StopOptions, observer: &mut dyn Observer) -> Result<()> {
        self.stop(options)?.finish()?;
        self.start_again(observer)?.finish()
    }

    fn start_again(&self, observer: &mut dyn Observer) -> Result<Restarting> {
        Ok(Restarting {
            container: self.clone(),
            link: self.start(StartOptions::default(), observer)?,
        })
    }
}

impl Containers {
    /// Restarts several at once: each starts as soon as it has stopped, whatever the others do. The results are in
    /// the order of the containers.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn restart(
        &self,
        containers: &[Container],
        options: StopOptions,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Result<Restarting>>> {
        let mut started = Vec::new();
        let mut ending = Vec::new();
        for (index, container) in containers.iter().enumerate() {
            match container.stop(options) {
                Ok(one) => ending.push((index, one)),
                Err(error) => started.push((index, Err(error))),
            }
        }
        while !ending.is_empty() {
            let (index, one) = ending.swap_remove(next_ended(&ending)?);
            let container = one.container().clone();
            let link = one.finish().and_then(|()| container.start_again(observer));
            started.push((index, link));
        }
        started.sort_by_key(|(index, _)| *index);
        Ok(started.into_iter().map(|(_, result)| result).collect())
    }
}

impl Restarting {
    /// Waits until its process is executed.
    ///
    /// # Errors
    /// When it could not be.
    pub fn finish(self) -> Result<()> {
        if let Some(super::Ended::Failed { message, .. }) = self.link.until_started()? {
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let config = self.container.config();
        journal::note(
            &self.container.engine.directories.data,
            config,
            "restart",
            &[],
        );
        Ok(())
    }
}

/// Waits until one of some containers has ended; its place in the list.
///
/// # Errors
/// As `poll(2)`.
fn next_ended(ending: &[(usize, Ending)]) -> Result<usize> {
    let links = ending.iter().map(|(_, one)| one.descriptor());
    let mut descriptors = Vec::new();
    for (place, link) in links.enumerate() {
        match link {
            Some(link) => descriptors.push(PollFd::from_borrowed_fd(link, PollFlags::IN)),
            None => return Ok(place),
        }
    }
    retry_on_intr(|| poll(&mut descriptors, None)).context("cannot wait for the containers")?;
    let mut ready = descriptors.iter();
    Ok(ready
        .position(|descriptor| !descriptor.revents().is_empty())
        .unwrap_or(0))
}
