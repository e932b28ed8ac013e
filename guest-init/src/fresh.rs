//! This program, executed once more: a process near a container that is init's work, but must have
//! nothing of init's. A fork has init's memory, and with it what other containers were told; whoever
//! may trace it reads that, or uses its root, its directory and its descriptors. So a fork only joins,
//! drops and filters where the container cannot see it, and then executes this: memory without a past,
//! no descriptor but its own, and already as confined as the container.

use std::{
    convert::Infallible,
    ffi::{CString, OsStr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags, open};

use crate::{
    failure::{Failure, Stage},
    program::Program,
    setting::Setting,
    sys,
};

/// The name by which it is executed. The kernel executes a guest's first process by another one.
pub(crate) const NAME: &str = "coracle-init";

/// Descriptor of the report to init; further ones follow it.
pub(crate) const REPORT: i32 = 3;

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

    /// The one of a word.
    pub(crate) fn of(word: &OsStr) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(_, own)| word == *own);
        found.map(|(role, _)| role)
    }

    fn word(self) -> &'static str {
        let all = Self::ALL.into_iter();
        let found = all.filter(|(role, _)| *role == self);
        found.map(|(_, word)| word).next().unwrap_or_default()
    }
}

/// Words after the role: of a program with a terminal, and of one without.
const TERMINAL: &str = "tty";
const NO_TERMINAL: &str = "-";

/// A program, and whether it has a terminal, as [`execute_program`] passes them.
pub(crate) fn program(words: Vec<CString>) -> Option<(Program, bool)> {
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
