//! Commands that are connected, and what they ask for.

use std::{
    fmt::{Debug, Display},
    os::fd::AsFd,
};

use anyhow::{Context, Result};
use contracts::guest::HostMessage;
use contracts::keeper::{Event, Exit, Reason, Request, Until, VERSION, Work};
use packets::Socket;
use rustix::{
    io::ioctl_fionbio,
    net::{SocketFlags, accept_with},
};

use super::{
    Keeper, Kept,
    life::{By, Input},
    phase::SIGKILL,
};
use crate::state::{container::Status, private};
use crate::{Error, ErrorKind};

/// A command that is connected.
pub(super) struct Client {
    pub(super) socket: Socket,
    pub(super) role: Role,
}

/// What a command is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has not said yet.
    New,
    /// It speaks a version that this keeper does not know.
    Stranger,
    /// It has a container's streams, or waits for its start. The container ends when an owner ends
    /// without detaching.
    Attached { number: u32, owner: bool },
    /// It is told of a container's end.
    Waiting { number: u32, until: Until },
    /// It wants a container to be kept until it says what for.
    Holding { number: u32 },
    /// It is told when the named host is up.
    Host,
    /// It runs something beside a container's first process.
    Running,
}

impl Role {
    /// Of one that has asked for a container's end.
    pub(super) fn waiting(number: u32) -> Self {
        let until = Until::NotRunning;
        Self::Waiting { number, until }
    }

    /// The container that it has to do with.
    pub(super) fn container(self) -> Option<u32> {
        match self {
            Self::Attached { number, .. }
            | Self::Waiting { number, .. }
            | Self::Holding { number } => Some(number),
            Self::New | Self::Stranger | Self::Host | Self::Running => None,
        }
    }

    /// The same of another number.
    pub(super) fn container_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Attached { number, .. }
            | Self::Waiting { number, .. }
            | Self::Holding { number } => Some(number),
            Self::New | Self::Stranger | Self::Host | Self::Running => None,
        }
    }
}

/// An error that says so of a container's state.
pub(super) fn conflict(words: impl Display + Debug + Send + Sync + 'static) -> anyhow::Error {
    Error::new(ErrorKind::Conflict, words).into()
}

/// What is said of a container that nobody keeps any more.
pub(super) fn just_exited() -> anyhow::Error {
    conflict("the container has just exited; see 'coracle ps --all'")
}

/// The first client of a keeper, which comes with it.
pub(super) struct Joined {
    pub(super) first: Socket,
    pub(super) attach: Option<bool>,
    pub(super) owner: bool,
}

impl Keeper {
    /// Takes a new connection.
    pub(super) fn accept(&mut self) {
        // One that was given up meanwhile is nobody's loss.
        if let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) {
            self.add_client(Socket::from(socket), Role::New);
        }
    }

    /// Adds a connection; gives its number.
    pub(super) fn add_client(&mut self, socket: Socket, role: Role) -> u64 {
        // A client that reads nothing must not hold others up.
        let _ = ioctl_fionbio(&socket, true);
        let number = self.next_client;
        self.next_client += 1;
        self.clients.insert(number, Client { socket, role });
        number
    }

    /// Tells a client something; one that does not listen is let go.
    pub(super) fn tell(&mut self, client: u64, event: &Event) {
        let told = match self.clients.get(&client) {
            Some(client) => client.socket.send(event, None),
            None => return,
        };
        if told.is_err() {
            self.drop_client(client, false);
        }
    }

    /// Gives a client a stream.
    pub(super) fn give(&mut self, client: u64, index: u8, stream: &impl AsFd) -> Result<()> {
        let Some(client) = self.clients.get(&client) else {
            return Ok(());
        };
        let event = Event::Stream { index };
        let told = client.socket.send(&event, Some(stream.as_fd()));
        told.context("cannot pass a stream to a client")
    }

    /// Takes one packet of a client's.
    pub(super) fn hear(&mut self, number: u64) {
        let Some(client) = self.clients.get(&number) else {
            return;
        };
        match client.socket.receive::<Request>() {
            Ok(Some((request, _))) => {
                if let Err(error) = self.request(number, request) {
                    let message = format!("{error:#}");
                    let reason = Reason::from(Error::from(error).kind());
                    self.tell(number, &Event::Refused { message, reason });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => self.drop_client(number, false),
        }
    }

    /// Lets a client go, who has detached in good order or not.
    pub(super) fn drop_client(&mut self, number: u64, in_order: bool) {
        let Some(client) = self.clients.remove(&number) else {
            return;
        };
        self.drop_exec_of(number);
        for kept in self.kept.values_mut() {
            match kept.life.is_held() {
                true => kept.streams.forget(number),
                false => kept.streams.detach(number, in_order),
            }
        }
        if let Role::Attached {
            number,
            owner: true,
        } = client.role
            && !in_order
        {
            self.on(number, Input::OwnerGone);
        }
    }

    /// Connects a client to a container's streams.
    pub(super) fn connect_streams(
        &mut self,
        client: u64,
        number: u32,
        input: bool,
        owner: bool,
    ) -> Result<()> {
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        let streams = kept.streams.attach(client, input, owner);
        for (index, stream) in streams.context("cannot make sockets")? {
            self.give(client, index, &stream)?;
        }
        Ok(())
    }

    fn request(&mut self, client: u64, request: Request) -> Result<()> {
        if let Request::Hello { version } = request {
            return self.greet(client, version);
        }
        if self.role(client) == Some(Role::Stranger) {
            return Ok(());
        }
        let Some(request) = self.exec_request(client, request)? else {
            return Ok(());
        };
        match request {
            Request::Hello { .. }
            | Request::ExecCreate { .. }
            | Request::ExecStart { .. }
            | Request::ExecInspect { .. }
            | Request::ExecResize { .. }
            | Request::Execs { .. } => {}
            Request::Hold { container } => self.hold_for(client, &container)?,
            Request::Release { container } => self.release_for(client, &container)?,
            Request::Start {
                container,
                attach,
                owner,
            } => self.start_for(client, &container, attach, owner)?,
            Request::StopHost { seconds } => self.stop_host(seconds)?,
            Request::Attach { container, input } => {
                let number = self.attachable(&container)?;
                self.connect_streams(client, number, input, false)?;
                let owner = false;
                self.set_role(client, Role::Attached { number, owner });
                self.tell(client, &Event::Done);
            }
            Request::Exec {
                container,
                work,
                input,
                output,
            } => {
                let number = self.running(&container)?;
                // Services of init's work beside a container that stands still.
                if matches!(*work, Work::Program(_)) {
                    self.refuse_paused(number)?;
                }
                self.set_role(client, Role::Running);
                self.exec(client, number, *work, input, output)?;
            }
            Request::Forward { signal } => match self.role(client) {
                Some(Role::Attached {
                    number,
                    owner: true,
                }) => self.on(number, Input::Interrupt(signal)),
                _ => {
                    if let Some(id) = self.process_of(client) {
                        self.say(&HostMessage::Signal { id, signal });
                    }
                }
            },
            Request::Resize { size } => {
                if let Some(id) = self.process_of(client) {
                    self.say(&HostMessage::Resize { id, size });
                }
            }
            Request::End { signal } => {
                if let Some(Role::Attached { number, .. }) = self.role(client) {
                    self.stop(number, signal, None, By::Keeper);
                }
            }
            Request::Detach => {
                self.tell(client, &Event::Done);
                let owner = matches!(self.role(client), Some(Role::Attached { owner: true, .. }));
                if owner && self.named.is_none() {
                    self.leave_first_client();
                }
                self.drop_client(client, true);
            }
            Request::Signal {
                container,
                signal: SIGKILL,
            } => {
                // As docker: whoever removes it next finds that it has ended.
                let number = self.live(&container)?;
                self.set_role(client, Role::waiting(number));
                self.stop(number, Some(SIGKILL), None, By::Kill);
            }
            Request::Signal { container, signal } => {
                let number = self.running(&container)?;
                self.on(number, Input::Signal(signal));
                self.tell(client, &Event::Done);
            }
            Request::Stop {
                container,
                signal,
                seconds,
            } => {
                let number = self.live(&container)?;
                self.set_role(client, Role::waiting(number));
                self.stop(number, signal, seconds, By::Stop);
            }
            Request::Wait { container, until } => self.wait_for(client, &container, until)?,
            Request::Rename { container } => {
                if let Some(number) = self.number_of(&container) {
                    self.rename(number)?;
                }
                self.tell(client, &Event::Done);
            }
            Request::Pause { container, paused } => {
                let number = self.running(&container)?;
                self.pause(client, number, paused)?;
            }
        }
        Ok(())
    }

    /// A client says which version of the wire it speaks. Whatever else one says that speaks a later version is not
    /// understood.
    fn greet(&mut self, client: u64, version: u16) -> Result<()> {
        if version > VERSION {
            self.set_role(client, Role::Stranger);
        }
        anyhow::ensure!(
            version <= VERSION,
            "this keeper is of an earlier release of Coracle (wire version {VERSION}, and version {version} was asked \
             for); restart what it keeps, or use the release that started it"
        );
        Ok(())
    }

    pub(super) fn role(&self, client: u64) -> Option<Role> {
        self.clients.get(&client).map(|client| client.role)
    }

    pub(super) fn set_role(&mut self, client: u64, role: Role) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.role = role;
        }
    }

    /// The process, as the guest knows it, that a client is connected to.
    fn process_of(&self, client: u64) -> Option<String> {
        match self.role(client)? {
            Role::Attached { number, .. } => {
                let kept = self.kept.get(&number)?;
                Some(kept.record.config.id.clone())
            }
            Role::Running => self.exec_of(client),
            Role::New
            | Role::Stranger
            | Role::Host
            | Role::Holding { .. }
            | Role::Waiting { .. } => None,
        }
    }

    fn live(&self, id: &str) -> Result<u32> {
        let number = self.number_of(id);
        match number.ok_or_else(just_exited)? {
            number if self.is_held(number) => Err(conflict("the container is not running")),
            number => Ok(number),
        }
    }

    /// A container whose streams are there: before its first process is, they only have nothing in them.
    fn attachable(&self, id: &str) -> Result<u32> {
        if let Some(number) = self.number_of(id)
            && let Some(kept) = self.kept.get(&number)
            && (kept.life.is_held() || kept.life.is_on_its_way())
        {
            return Ok(number);
        }
        self.running(id)
    }

    /// Refuses what a container cannot do while it stands still.
    pub(super) fn refuse_paused(&self, number: u32) -> Result<()> {
        let kept = self.kept.get(&number);
        if kept.is_some_and(|kept| kept.state.status == Status::Paused) {
            return Err(conflict(
                "the container is paused; 'coracle unpause' lets it go on",
            ));
        }
        Ok(())
    }

    pub(super) fn running(&self, id: &str) -> Result<u32> {
        let number = self.live(id)?;
        match self.kept.get(&number) {
            Some(kept) if kept.life.is_running() => Ok(number),
            Some(kept) if kept.state.status == Status::Restarting => {
                Err(conflict(kept.record.config.is_restarting()))
            }
            _ => Err(conflict("the container is not running")),
        }
    }

    /// What the first client shared with this process is given up.
    fn leave_first_client(&mut self) {
        let words = self
            .kept
            .values()
            .next()
            .and_then(|kept| private::create(&kept.record.directory().join("keeper.log")).ok());
        let _ = coracle_platform::sys::leave_terminal(words.as_ref());
    }

    /// Tells all who wait for a container how it ended, and lets them go.
    pub(super) fn tell_end(&mut self, number: u32, event: &Event, restarts: bool) {
        for (client, role) in self.clients_of(number) {
            let until = match role {
                Role::Waiting { until, .. } => until,
                _ => Until::NotRunning,
            };
            if restarts && until == Until::Removed {
                continue;
            }
            self.tell(client, event);
            self.set_role(client, Role::New);
            if self.named.is_some() {
                // This process goes on, and its end of the connection is what an owner waits for.
                self.drop_client(client, true);
            }
        }
    }

    /// Tells those who wait for a container's start.
    pub(super) fn tell_start(&mut self, number: u32) {
        for (client, role) in self.clients_of(number) {
            if let Role::Attached { .. } = role {
                self.tell(client, &Event::Started);
            }
        }
    }

    /// Asks a container to stop, and kills it when the grace time is over.
    pub(super) fn stop(&mut self, number: u32, signal: Option<u8>, seconds: Option<u64>, by: By) {
        let stop = Input::Stop {
            signal,
            seconds,
            by,
        };
        self.on(number, stop);
    }

    /// Stops all containers, in good order.
    pub(super) fn stop_all(&mut self, seconds: Option<u64>) {
        self.end_host();
        self.let_all_holders_go("the keeper was told to stop");
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            self.stop(number, None, seconds, By::Keeper);
        }
    }

    /// The end of a container, as clients are told.
    pub(super) fn exit_of(&self, kept: &Kept) -> Exit {
        Exit {
            code: u8::try_from(kept.state.exit_code).unwrap_or(u8::MAX),
            oom: kept.state.oom,
            warnings: kept.warnings.clone(),
            timed_out: kept.life.has_timed_out(),
            kernel: self.kernel.clone(),
            timeline: match self.named {
                None => [&self.timeline[..], &kept.timeline].concat(),
                Some(_) => kept.timeline.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
