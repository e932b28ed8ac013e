//! This program, executed once more: a process near a container that is init's work, but must have
//! nothing of init's. A fork has init's memory, and with it what other containers were told; whoever
//! may trace it reads that, or uses its root, its directory and its descriptors. So a fork only joins,
//! drops and filters where the container cannot see it, and then executes this: memory without a past,
//! no descriptor but its own, and already as confined as the container.

use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{FdFlags, fcntl_setfd},
};

use crate::{
    beside,
    child::Program,
    failure::{Failure, Stage},
    reaper,
    setting::Setting,
    sys, tools,
};

/// The name by which it is executed. The kernel executes a guest's first process by another one.
const NAME: &str = "coracle-init";

/// Descriptor of the report to init; further ones follow it.
const REPORT: i32 = 3;

/// What it is executed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first process of a container with an init of its own.
    Reaper,
    /// Leads a program into a container's process namespace.
    Beside,
    /// A service of init's about a container.
    Tool,
}

impl Role {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Reaper, "init"),
        (Self::Beside, "exec"),
        (Self::Tool, "tool"),
    ];

    fn word(self) -> &'static str {
        let all = Self::ALL.into_iter();
        let found = all.filter(|(role, _)| *role == self);
        found.map(|(_, word)| word).next().unwrap_or_default()
    }
}

/// Words after the role: of a program with a terminal, and of one without.
const TERMINAL: &str = "tty";
const NO_TERMINAL: &str = "-";

/// What it was executed with.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    role: Role,
    words: Vec<CString>,
}

impl Arguments {
    /// The arguments, of a program that is called with these words; `None` when it is something else.
    pub fn take(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        if words.next()? != NAME {
            return None;
        }
        let word = words.next()?;
        let (role, _) = Role::ALL.into_iter().find(|(_, own)| word == *own)?;
        let words = words.map(|word| CString::new(word.into_vec()).ok());
        Some(Self {
            role,
            words: words.collect::<Option<_>>()?,
        })
    }

    /// Does what it was executed for.
    #[expect(
        unsafe_code,
        reason = "takes over a descriptor that was passed by number"
    )]
    pub fn run(self) -> ! {
        // SAFETY: whoever executes this program with these words passes the descriptor for it to own.
        let report = unsafe { OwnedFd::from_raw_fd(REPORT) };
        if fcntl_setfd(&report, FdFlags::CLOEXEC).is_err() {
            // Executed by somebody else, who gets nothing of it.
            sys::exit(1);
        }
        match self.role {
            Role::Tool => tools::run(&self.words, report, REPORT + 1),
            Role::Reaper => match program(self.words) {
                Some((program, terminal)) => reaper::run(program, terminal, &report),
                None => sys::exit(1),
            },
            Role::Beside => match program(self.words) {
                Some((program, terminal)) => beside::run(program, terminal, &report),
                None => sys::exit(1),
            },
        }
    }
}

/// A program, and whether it has a terminal, as [`execute`] passes them.
fn program(words: Vec<CString>) -> Option<(Program, bool)> {
    let mut words = words.into_iter();
    let terminal = words.next()?.as_bytes() == TERMINAL.as_bytes();
    let path = words.next()?;
    let program = Program {
        path,
        arguments: words.collect(),
        // Its environment is this process's own.
        environment: sys::environment(),
    };
    Some((program, terminal))
}

/// Opens this program's file, while it is in view.
///
/// # Errors
/// As `open(2)`.
pub(crate) fn open_program(setting: &Setting) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    open(&setting.program, flags, Mode::empty()).stage(|| "open init's own program")
}

/// Executes this program for another one.
///
/// # Errors
/// Always, if it returns at all.
pub(crate) fn execute_program(
    (own, role): (&OwnedFd, Role),
    program: &Program,
    terminal: bool,
    report: &OwnedFd,
) -> Result<Infallible, Failure> {
    let terminal = if terminal { TERMINAL } else { NO_TERMINAL };
    let mut arguments = c_words([NAME, role.word(), terminal]);
    arguments.push(program.path.clone());
    arguments.extend_from_slice(&program.arguments);
    execute(own, &arguments, &program.environment, &[report.as_fd()])
}

/// Executes this program for a service.
///
/// # Errors
/// Always, if it returns at all.
pub(crate) fn execute_tool(
    own: &OwnedFd,
    words: Vec<CString>,
    report: &OwnedFd,
    others: &[OwnedFd],
) -> Result<Infallible, Failure> {
    let mut arguments = c_words([NAME, Role::Tool.word()]);
    arguments.extend(words);
    let others = others.iter().map(AsFd::as_fd);
    let passed: Vec<_> = [report.as_fd()].into_iter().chain(others).collect();
    execute(own, &arguments, &[], &passed)
}

/// Executes this program with the standard streams and these descriptors, which get the numbers from
/// [`REPORT`] on.
fn execute(
    own: &OwnedFd,
    arguments: &[CString],
    environment: &[CString],
    passed: &[BorrowedFd<'_>],
) -> Result<Infallible, Failure> {
    let own = sys::pass_on(passed, REPORT, own.as_fd()).stage(|| "pass descriptors on")?;
    let errno = sys::execveat(&own, arguments, environment);
    Err(errno).stage(|| "execute init's own program")
}

/// Words without a zero byte.
fn c_words<const N: usize>(words: [&str; N]) -> Vec<CString> {
    let words = words.into_iter();
    words
        .map(|word| CString::new(word).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(words: &[&str]) -> Option<Arguments> {
        Arguments::take(words.iter().map(OsString::from))
    }

    #[test]
    fn words_of_a_guests_first_process_are_none() {
        for words in [
            &["/init"][..],
            &["/init", "exec"],
            &["coracle-init"],
            &["coracle-init", "namespace"],
        ] {
            assert_eq!(take(words), None, "{words:?}");
        }
    }

    #[test]
    fn role_and_words_are_taken() {
        let arguments = take(&["coracle-init", "exec", "-", "/bin/sh", "sh"]).unwrap();
        assert_eq!((arguments.role, arguments.words.len()), (Role::Beside, 3));
        let (program, terminal) = program(arguments.words).unwrap();
        assert_eq!((program.path.as_c_str(), terminal), (c"/bin/sh", false));
    }
}
