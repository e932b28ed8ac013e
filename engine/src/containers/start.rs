//! Starting a container, in a host of its own or in the named host that it belongs to.

use anyhow::Context;
use contracts::keeper::Request;

use super::{
    Container, RemoveOptions,
    attachment::{Attachment, unavailable},
};
use crate::{
    ErrorKind, Kind, Result,
    keeper::{self, Start, client},
    kernel::{self, Observer},
};

/// How a container is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// The container's streams come with the attachment: its output, and its input too with `Some(true)` where it
    /// was created with one.
    pub attach: Option<bool>,
    /// The container is killed when the attachment is dropped before its end: it is the caller's own.
    pub owner: bool,
}

impl Container {
    /// Starts it, and waits until its keeper has it; its process may not run yet, see
    /// [`Attachment::until_started`]. The observer hears of a guest kernel that has to be built first.
    ///
    /// # Errors
    /// [`NotModified`](ErrorKind::NotModified) when it runs already. When its host cannot be made or is not up, or
    /// an image's layer is missing.
    pub fn start(&self, options: StartOptions, observer: &mut dyn Observer) -> Result<Attachment> {
        self.start_planned(options, observer, || {})
    }

    /// The same; `planned` is called when it is known what host it needs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_planned(
        &self,
        options: StartOptions,
        observer: &mut dyn Observer,
        planned: impl FnOnce(),
    ) -> Result<Attachment> {
        let _edit = self.record.edit()?;
        keeper::refuse_running(&self.record)?;
        // Until the keeper has the container, nobody else may start it.
        let begun = self.begin(options, observer, planned);
        let started = begun.and_then(|link| link.until_taken().map(|()| link));
        started.map_err(|error| match self.record.state() {
            // Somebody else was as quick.
            Ok(state) if state.status.is_live() => error.with_kind(ErrorKind::NotModified),
            _ => error,
        })
    }

    /// Begins its start; the caller has its lock of those who start it.
    fn begin(
        &self,
        options: StartOptions,
        observer: &mut dyn Observer,
        planned: impl FnOnce(),
    ) -> Result<Attachment> {
        let directories = &self.engine.directories;
        let config = &self.record.config;
        let StartOptions { attach, owner } = options;
        let attach = attach.map(|input| input && config.interactive);
        let Some(host) = &config.host else {
            // A keeper that holds it has no observer, nor the environment of a build, and answers nobody meanwhile.
            if keeper::boots_own_kernel(config) && client::may_be_held(&self.record, directories) {
                kernel::ensure(&directories.cache, observer).kind(ErrorKind::Unavailable)?;
            }
            let held = client::start_held(
                &self.record,
                attach,
                owner,
                directories,
                &self.engine.launch,
            );
            if let Some(link) = held.map_err(unavailable)? {
                planned();
                return Ok(Attachment::new(link));
            }
            let prepared = keeper::prepare(
                config,
                directories,
                self.engine.launch.require_jail,
                observer,
            )?;
            planned();
            let start = Start {
                container: self.record.clone(),
                prepared,
                attach,
                owner,
            };
            return Ok(Attachment::new(keeper::start(
                start,
                directories,
                &self.engine.launch,
            )?));
        };
        let host = self.engine.hosts().find(host).map_err(|error| {
            error.context(
                "the host of this container was removed; create the container again in another host",
            )
        })?;
        planned();
        let link = host.keeper()?;
        let request = Request::Start {
            container: config.id.clone(),
            attach,
            owner,
            // It is as its host's.
            require_jail: false,
        };
        link.send(&request, None)
            .context("cannot reach the host's keeper")
            .map_err(unavailable)?;
        Ok(Attachment::new(link))
    }

    /// Removes a container that was created for one start, which has failed, if it was to be removed at its end. One
    /// that somebody else has started meanwhile stays; whoever holds it, or waits for it, is told.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn give_up(&self) -> Result<()> {
        if !self.record.config.remove {
            return Ok(());
        }
        match self.remove(RemoveOptions::default()) {
            Err(_) if self.is_gone() => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => match self.record.state() {
                Ok(state) if state.status.is_live() => Ok(()),
                _ => Err(error),
            },
            done => done,
        }
    }
}
