//! Programs beside the first process of a container.

use contracts::guest::{Process, TerminalSize};
use contracts::keeper::{Request, Work};
use serde::{Deserialize, Serialize};

use super::{Container, Containers, attachment::Attachment};
use crate::{Error, ErrorKind, Kind, Result, keeper::client, state::container::spec};

pub use contracts::keeper::{ExecState, ExecStreams};

/// A program that is run beside a container's first process. What is not said is as that process has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A terminal of this size.
    pub terminal: Option<TerminalSize>,
    /// `NAME=VALUE`; a `NAME` alone takes that variable away.
    pub env: Vec<String>,
    /// Working directory, an absolute path.
    pub workdir: Option<String>,
    /// `USER[:GROUP]`, by names or numbers; without supplementary groups of the container's.
    pub user: Option<String>,
    /// What of it is attached: without an input it reads nothing, and an output that is not is lost.
    pub streams: ExecStreams,
}

impl Container {
    /// Runs a program in it: its streams, then its start and its end.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the container does not run, [`Invalid`](ErrorKind::Invalid) when the
    /// request makes no process. A pause is told by the attachment.
    pub fn exec(&self, request: &ExecRequest) -> Result<Attachment> {
        let link = self.keeper()?;
        let asked = Request::Exec {
            container: self.record.config.id.clone(),
            work: Box::new(Work::Program(
                request.process(&self.record.config.spec.process)?,
            )),
            input: request.streams.stdin,
            output: request.streams.stdout || request.streams.stderr,
        };
        link.send(&asked, None).kind(ErrorKind::Unavailable)?;
        Ok(Attachment::new(link))
    }

    /// Creates a program that is started by its ID, by any process, once; the ID has 64 hexadecimal digits. It is there
    /// until the container ends.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the container does not run, is paused, or has as many as there may be;
    /// [`Invalid`](ErrorKind::Invalid) when the request makes no process.
    pub fn exec_create(&self, request: &ExecRequest) -> Result<String> {
        let process = request.process(&self.record.config.spec.process)?;
        client::exec_create(&self.record, process, request.streams)
    }

    /// IDs of those that were created and have not ended, the oldest first; none where it does not run.
    ///
    /// # Errors
    /// When its keeper cannot be asked.
    pub fn execs(&self) -> Result<Vec<String>> {
        client::execs(&self.record)
    }
}

impl Containers {
    /// Starts a program that was created: its streams, then its start and its end. With `detach` there are no streams,
    /// and nobody has to wait. What refuses it, as a second start, is told by the attachment.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none of this ID, or its container is gone.
    pub fn exec_start(
        &self,
        id: &str,
        detach: bool,
        size: Option<TerminalSize>,
    ) -> Result<Attachment> {
        let link = client::exec_start(id, detach, size, &self.engine.directories)?;
        Ok(Attachment::new(link))
    }

    /// How a program is that was created. One that was started and ended, or was killed at its container's end, is known
    /// until the container is started again, and for a few minutes after it is removed.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none of this ID, or it is not known any more.
    pub fn exec_inspect(&self, id: &str) -> Result<ExecState> {
        client::exec_inspect(id, &self.engine.directories)
    }

    /// Gives the terminal of a program that was created and runs a size.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none of this ID, [`Conflict`](ErrorKind::Conflict) when it does
    /// not run.
    pub fn exec_resize(&self, id: &str, size: TerminalSize) -> Result<()> {
        client::exec_resize(id, size, &self.engine.directories)
    }
}

impl ExecRequest {
    /// The container's first process with another command.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it cannot be one.
    pub fn process(&self, first: &spec::Process) -> Result<Process> {
        let invalid = |words: String| Err(Error::new(ErrorKind::Invalid, words));
        if self.command.is_empty() {
            return invalid("no command specified".into());
        }
        let mut process = first.for_guest();
        process.args.clone_from(&self.command);
        process.init = false;
        process.terminal = self.terminal;
        if self.terminal.is_some() && !process.env.iter().any(|line| line.starts_with("TERM=")) {
            process.env.push("TERM=xterm".into());
        }
        for entry in &self.env {
            if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
                return invalid(format!("invalid environment variable: {entry}"));
            }
            crate::set_variable(&mut process.env, entry);
        }
        if let Some(directory) = &self.workdir {
            if !directory.starts_with('/') {
                return invalid(format!(
                    "working directory {directory:?} is not an absolute path"
                ));
            }
            process.cwd.clone_from(directory);
        }
        if let Some(user) = &self.user {
            process.user.clone_from(user);
            process.groups.clear();
        }
        Ok(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::spec::SeccompProfile;

    fn first() -> spec::Process {
        spec::Process {
            args: vec!["/entry".into(), "serve".into()],
            env: vec!["PATH=/bin".into(), "A=1".into()],
            cwd: "/srv".into(),
            user: "web".into(),
            groups: vec!["mail".into()],
            terminal: None,
            rlimits: Vec::new(),
            capabilities: 1,
            no_new_privileges: true,
            seccomp: SeccompProfile::Default,
            init: true,
        }
    }

    fn asked(command: &[&str]) -> ExecRequest {
        ExecRequest {
            command: command.iter().map(|word| (*word).into()).collect(),
            ..ExecRequest::default()
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_first_process_has_it() {
        let process = asked(&["sh", "-c", "true"]).process(&first()).unwrap();
        let expected = Process {
            args: vec!["sh".into(), "-c".into(), "true".into()],
            init: false,
            ..first().for_guest()
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn terminal_has_a_type_unless_it_is_said() {
        let mut request = asked(&["sh"]);
        request.terminal = Some(TerminalSize {
            rows: 24,
            columns: 80,
        });
        let env = |request: &ExecRequest| request.process(&first()).unwrap().env;
        assert_eq!(env(&request), ["PATH=/bin", "A=1", "TERM=xterm"]);
        request.env = vec!["TERM=linux".into(), "A".into()];
        assert_eq!(env(&request), ["PATH=/bin", "TERM=linux"]);
    }

    #[test]
    fn another_user_has_none_of_the_groups() {
        let mut request = asked(&["id"]);
        request.user = Some("mail".into());
        let process = request.process(&first()).unwrap();
        assert_eq!(process.user, "mail");
        assert!(process.groups.is_empty());
    }

    #[test]
    fn relative_directory_and_no_command_are_invalid() {
        let mut request = asked(&["ls"]);
        request.workdir = Some("srv".into());
        let kind = |request: &ExecRequest| request.process(&first()).unwrap_err().kind();
        assert_eq!(kind(&request), ErrorKind::Invalid);
        assert_eq!(kind(&asked(&[])), ErrorKind::Invalid);
        for entry in ["", "=1", "A=\0"] {
            let mut request = asked(&["ls"]);
            request.env = vec![entry.into()];
            assert_eq!(kind(&request), ErrorKind::Invalid, "{entry:?}");
        }
    }
}
