//! A program that is ready to be executed, and which file its name stands for.

use std::{ffi::CString, os::fd::OwnedFd};

use contracts::guest::{FailureKind, Process};
use rustix::{
    fs::{Access, AtFlags, CWD, FileType, accessat, stat},
    io::Errno,
};

use crate::{
    failure::{Failure, Stage, reason},
    report, sys,
    users::Identity,
};

/// Most bytes of a path (`PATH_MAX` of Linux).
const MAX_PATH: usize = 4096;

/// A program that is ready to be executed.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its file.
    pub(crate) path: CString,
    /// Its arguments; the first is its name.
    pub(crate) arguments: Vec<CString>,
    /// Its environment.
    pub(crate) environment: Vec<CString>,
}

impl Program {
    /// The program of a process, in the container's files and with the rights that this process has.
    ///
    /// # Errors
    /// When there is none, or it cannot be executed.
    pub(crate) fn find(process: &Process, identity: &Identity) -> Result<Self, Failure> {
        let name = process
            .args
            .first()
            .ok_or_else(|| Failure::setup("no program is given"))?;
        let environment = environment(&process.env, identity);
        Ok(Self {
            path: find(name, &environment)?,
            arguments: c_strings(process.args.iter().cloned(), "argument")?,
            environment: c_strings(environment, "environment variable")?,
        })
    }

    /// Returns only when it failed.
    pub(crate) fn execute(self, report: &OwnedFd) -> Failure {
        if let Err(failure) = clean() {
            return failure;
        }
        if let Err(failure) = report::start(report) {
            return failure;
        }
        let errno = sys::execve(&self.path, &self.arguments, &self.environment);
        let name = self.arguments.first().map(|name| name.to_string_lossy());
        failure(&name.unwrap_or_default(), errno)
    }
}

/// What a program must not inherit: descriptors, blocked and ignored signals.
fn clean() -> Result<(), Failure> {
    sys::close_from(3, false).stage(|| "mark descriptors close-on-exec")?;
    sys::set_signal(rustix::process::Signal::PIPE, false);
    sys::block_signals(false);
    Ok(())
}

/// The environment with `HOME` from the image's own files where none, or an empty one, is given.
fn environment(given: &[String], identity: &Identity) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = given
        .iter()
        .filter(|line| *line != "HOME=")
        .map(|line| line.clone().into_bytes())
        .collect();
    if !all.iter().any(|line| line.starts_with(b"HOME=")) {
        all.push([b"HOME=", &*identity.home].concat());
    }
    all
}

fn c_strings<T: Into<Vec<u8>>>(
    texts: impl IntoIterator<Item = T>,
    what: &str,
) -> Result<Vec<CString>, Failure> {
    let convert = |text: T| {
        CString::new(text).map_err(|_| Failure::setup(format!("an {what} holds a zero byte")))
    };
    texts.into_iter().map(convert).collect()
}

/// Directories in which a program is looked for: those of `PATH` that are absolute.
fn directories(environment: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    // Of several the first counts, as in the C library.
    let path = environment
        .iter()
        .find_map(|line| line.strip_prefix(b"PATH="));
    let all = path.unwrap_or_default().split(|byte| *byte == b':');
    all.filter(|directory| directory.starts_with(b"/"))
}

/// Finds a program as docker does: a name with a slash is a path, any other is looked for on
/// `PATH`, with the rights that the process has now.
///
/// # Errors
/// When it does not exist or cannot be executed.
pub fn find(name: &str, environment: &[Vec<u8>]) -> Result<CString, Failure> {
    if name.contains('/') {
        let path = c_path(name.as_bytes().to_vec(), name)?;
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(errno) => Err(failure(name, errno)),
        };
    }
    for directory in directories(environment) {
        let mut path = directory.to_vec();
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        if path.len() < MAX_PATH && !name.is_empty() {
            let path = c_path(path, name)?;
            if executable(&path).is_ok() {
                return Ok(path);
            }
        }
    }
    Err(Failure::new(
        FailureKind::NotFound,
        format!("exec: \"{name}\": executable file not found in $PATH"),
    ))
}

/// What a failed `execve` or look-up means.
#[must_use]
pub fn failure(name: &str, errno: Errno) -> Failure {
    let (kind, text) = match errno {
        Errno::NOENT | Errno::NOTDIR => (FailureKind::NotFound, reason(Errno::NOENT)),
        Errno::NOEXEC => (FailureKind::NotExecutable, "exec format error".into()),
        Errno::ISDIR => (FailureKind::NotExecutable, "is a directory".into()),
        // Not a property of the program.
        Errno::NOMEM | Errno::AGAIN | Errno::TOOBIG => (FailureKind::Setup, reason(errno)),
        other => (FailureKind::NotExecutable, reason(other)),
    };
    Failure::new(kind, format!("exec: \"{name}\": {text}"))
}

fn c_path(path: Vec<u8>, name: &str) -> Result<CString, Failure> {
    CString::new(path).map_err(|_| {
        let name = name.escape_default();
        Failure::new(
            FailureKind::NotFound,
            format!("exec: \"{name}\": the name holds a zero byte"),
        )
    })
}

fn executable(path: &CString) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(stat(path)?.st_mode);
    if kind == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(path: &str) -> Vec<Vec<u8>> {
        vec![b"A=b".to_vec(), format!("PATH={path}").into_bytes()]
    }

    #[test]
    fn name_is_found_in_the_first_directory_that_has_it() {
        let found = find("sh", &environment("/nowhere:/bin:/usr/bin")).unwrap();
        assert_eq!(found.as_c_str(), c"/bin/sh");
    }

    #[test]
    fn missing_name_is_not_found_in_dockers_words() {
        let failure = find("no-such-program", &environment("/bin")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotFound);
        assert_eq!(
            failure.message,
            "exec: \"no-such-program\": executable file not found in $PATH"
        );
    }

    #[test]
    fn relative_directories_of_the_path_are_left_out() {
        let environment = environment("bin::.:../bin:/bin");
        let list: Vec<_> = directories(&environment).collect();
        assert_eq!(list, [b"/bin"]);
    }

    #[test]
    fn directory_is_not_executable() {
        let failure = find("/tmp", &environment("/bin")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotExecutable);
        assert_eq!(failure.message, "exec: \"/tmp\": is a directory");
    }

    #[test]
    fn file_without_execute_permission_is_not_executable() {
        let failure = find("/etc/passwd", &environment("/bin")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotExecutable);
    }

    #[test]
    fn missing_path_and_zero_byte_are_not_found() {
        for name in ["/no/such", "a\0b", "/bin/sh\0", ""] {
            let failure = find(name, &environment("/bin")).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotFound, "{name:?}");
        }
    }
}
