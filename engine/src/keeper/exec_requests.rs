//! What clients ask for of programs that have an ID ([`super::sessions`]).

use anyhow::Result;
use contracts::guest::{HostMessage, Process, Task, TerminalSize};
use contracts::keeper::{Event, ExecStreams, Request};

use super::{
    Keeper, Number, Role,
    clients::just_exited,
    execs::{Client, killed},
};
use crate::identifier;

impl Keeper {
    /// Carries out a request that concerns them; others are given back.
    pub(super) fn exec_request(
        &mut self,
        client: u64,
        request: Request,
    ) -> Result<Option<Request>> {
        match request {
            Request::ExecCreate {
                container,
                process,
                streams,
            } => self.exec_create(client, &container, *process, streams)?,
            Request::ExecStart { exec, detach, size } => {
                self.exec_start(client, &exec, detach, size)?;
            }
            Request::ExecInspect { exec } => self.exec_inspect(client, &exec)?,
            Request::ExecResize { exec, size } => {
                self.sessions.running(&exec)?;
                self.say(&HostMessage::Resize { id: exec, size });
                self.tell(client, &Event::Done);
            }
            Request::Execs { container } => {
                let number = self.number_of(&container);
                let execs = number.map_or_else(Vec::new, |number| self.sessions.of(number));
                self.tell(client, &Event::Execs { execs });
            }
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    fn exec_create(
        &mut self,
        client: u64,
        container: &str,
        process: Process,
        streams: ExecStreams,
    ) -> Result<()> {
        let number = self.running(container)?;
        self.refuse_paused(number)?;
        let words = process.args.join(" ");
        let random = identifier()?;
        let container = (number, container);
        let exec = self.sessions.create(container, process, streams, &random)?;
        let id = [("execID", exec.clone())];
        self.journal(number, &format!("exec_create: {words}"), &id);
        self.tell(client, &Event::ExecCreated { exec });
        Ok(())
    }

    fn exec_start(
        &mut self,
        client: u64,
        exec: &str,
        detach: bool,
        size: Option<TerminalSize>,
    ) -> Result<()> {
        let number = self.sessions.container(exec)?;
        self.refuse_paused(number)?;
        let session = self.sessions.begin(exec, size)?;
        let (process, streams) = (session.process.clone(), session.streams);
        let words = process.args.join(" ");
        let started = self.start_session(client, number, exec, (process, streams), detach);
        if started.is_err() {
            self.sessions.take_back(exec);
        } else {
            let id = [("execID", exec.to_owned())];
            self.journal(number, &format!("exec_start: {words}"), &id);
        }
        started
    }

    fn start_session(
        &mut self,
        client: u64,
        number: Number,
        exec: &str,
        (process, streams): (Process, ExecStreams),
        detach: bool,
    ) -> Result<()> {
        let ExecStreams {
            stdin,
            stdout,
            stderr,
        } = streams;
        let terminal = process.terminal.is_some();
        let stdio = match (detach, terminal) {
            (true, _) => self.promise(false, false, false)?,
            // A terminal has one output, whichever of both was asked for.
            (false, true) => self.promise(stdin, stdout || stderr, false)?,
            (false, false) => self.promise(stdin, stdout, stderr)?,
        };
        self.set_role(client, Role::Running);
        let asker = Client::Command(client);
        let task = Task::Program(process);
        let sent = self.send_exec_as(exec.to_owned(), asker, number, task, stdio)?;
        sent.ok_or_else(just_exited).map(drop)
    }

    fn exec_inspect(&mut self, client: u64, exec: &str) -> Result<()> {
        let mut state = self.sessions.inspect(exec)?;
        let number = self.sessions.container(exec)?;
        if let Some(kept) = self.kept.get(&number) {
            state.container.clone_from(&kept.record.config.id);
        }
        self.tell(client, &Event::ExecState(Box::new(state)));
        Ok(())
    }

    /// A program has ended, or could not be started; it may be one that has an ID.
    pub(super) fn session_ended(&mut self, exec: &str, event: &Event) {
        let (code, words) = match event {
            Event::Exited(exit) => (exit.code, ""),
            Event::Failed { message, code } => (*code, message.as_str()),
            _ => return,
        };
        if let Some(number) = self.sessions.end(exec, code, words) {
            let attributes = [("execID", exec.to_owned()), ("exitCode", code.to_string())];
            self.journal(number, "exec_die", &attributes);
        }
    }

    /// A container has ended, and with it all that ran in it. Docker's clients ask for the exit code of what they ran
    /// when they have seen its end: that is written down for them.
    pub(super) fn end_sessions(&mut self, number: Number) {
        for exec in self.sessions.running_in(number) {
            self.session_ended(&exec, &killed());
        }
        let mut ended = self.sessions.forget(number);
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        for state in &mut ended {
            state.container.clone_from(&kept.record.config.id);
            // Variables are often secrets, nobody asks for them, and what is written outlives the container.
            state.process.env.clear();
        }
        if let Err(error) = kept.record.save_ended_execs(&ended) {
            log::warn!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests;
