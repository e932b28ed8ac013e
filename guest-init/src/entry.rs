//! Where this program goes in when it is executed once more ([`crate::fresh`]): to what it is executed for.

use std::{
    ffi::{CString, OsString},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::{
    beside,
    fresh::{self, NAME, REPORT, Role},
    reaper, sys, tools,
};

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
        let role = Role::of(&words.next()?)?;
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
            Role::Reaper => match fresh::program(self.words) {
                Some((program, terminal)) => reaper::run(program, terminal, &report),
                None => sys::exit(1),
            },
            Role::Beside => match fresh::program(self.words) {
                Some((program, terminal)) => beside::run(program, terminal, &report),
                None => sys::exit(1),
            },
        }
    }
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
        let (program, terminal) = fresh::program(arguments.words).unwrap();
        assert_eq!((program.path.as_c_str(), terminal), (c"/bin/sh", false));
    }
}
