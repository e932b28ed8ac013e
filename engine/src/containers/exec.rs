//! Programs beside the first process of a container.

use coracle_protocol::{Process, TerminalSize};
use serde::{Deserialize, Serialize};

use super::{Container, attachment::Attachment};
use crate::{
    Error, ErrorKind, Kind, Result,
    keeper::wire::{Request, Work},
};

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
    /// Its input is attached; it reads nothing otherwise.
    pub input: bool,
    /// Its output is attached; it is lost otherwise.
    pub output: bool,
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
            input: request.input,
            output: request.output,
        };
        link.send(&asked, None).kind(ErrorKind::Unavailable)?;
        Ok(Attachment::new(link))
    }
}

impl ExecRequest {
    /// The container's first process with another command.
    ///
    /// # Errors
    /// When it cannot be one.
    pub(crate) fn process(&self, first: &Process) -> Result<Process> {
        let invalid = |words: String| Err(Error::new(ErrorKind::Invalid, words));
        if self.command.is_empty() {
            return invalid("no command specified".into());
        }
        let mut process = first.clone();
        process.args.clone_from(&self.command);
        process.init = false;
        process.terminal = self.terminal;
        if self.terminal.is_some() && !process.env.iter().any(|line| line.starts_with("TERM=")) {
            process.env.push("TERM=xterm".into());
        }
        for entry in &self.env {
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
    use coracle_protocol::SeccompProfile;

    use super::*;

    fn first() -> Process {
        Process {
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
            ..first()
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
    }
}
