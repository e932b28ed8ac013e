//! What the standard library and rustix do not offer: signals as a descriptor, and a child that
//! hears of its parent's end.
#![expect(
    unsafe_code,
    reason = "signal masks, signalfd, pre_exec and the memory of arguments have no safe interface"
)]

pub mod ending;
mod shown;

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

pub use shown::{is_kept, show, show_alone};

/// Sends the child this signal when the thread that starts it ends, for whatever reason.
pub fn signal_with_parent(command: &mut Command, signal: Signal) {
    let ask = move || Ok(set_parent_process_death_signal(Some(signal))?);
    // SAFETY: between fork and exec the closure only makes one `prctl` system call.
    unsafe { command.pre_exec(ask) };
}

/// The first descriptor that a service manager passes on, as its protocol has it.
const PASSED: i32 = 3;

/// Takes the socket that a service manager has passed on to this program (sd_listen_fds(3)), once. Call it before
/// anything else is opened: where there is none, the number would be another descriptor's.
///
/// # Errors
/// When there is no socket of that number, or it was taken before.
pub fn passed_socket() -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let mut accepts = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&accepts)).unwrap_or_default();
    // SAFETY: `accepts` and `length` are live and of the sizes that the call is told; it only looks at the descriptor.
    let known = unsafe {
        libc::getsockopt(
            PASSED,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut accepts).cast(),
            &raw mut length,
        )
    };
    if known < 0 {
        return Err(io::Error::last_os_error());
    }
    if accepts == 0 || TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: the call marks a descriptor, which is open, as was just seen.
    if unsafe { libc::fcntl(PASSED, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and nothing in this program has made a socket that listens before the one caller
    // of this function, who is given it once; so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(PASSED) })
}

/// Signals as they come, read from a descriptor; they have no other effect meanwhile.
pub struct Signals {
    file: File,
    /// Those that were ignored before.
    ignored: Vec<i32>,
    /// What was blocked before.
    mask: libc::sigset_t,
}

impl Signals {
    /// Blocks the signals in this thread, and in those that it starts later.
    ///
    /// # Errors
    /// As `signalfd(2)`.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut ignored = Vec::new();
        // SAFETY: `set` is plain memory, initialised by `sigemptyset` before any other use, and `mask` by the call that
        // fills it; each pointer is to a live local variable.
        let (descriptor, mask) = unsafe {
            let mut mask = std::mem::zeroed::<libc::sigset_t>();
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                // A shell starts what runs in the background with some of them ignored, and what is
                // ignored is never seen.
                let before = libc::signal(*signal, libc::SIG_DFL);
                if before == libc::SIG_IGN {
                    ignored.push(*signal);
                }
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut mask);
            let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
            (descriptor, mask)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd gave this new descriptor, which nothing else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self {
            file: File::from(descriptor),
            ignored,
            mask,
        })
    }

    /// Whether SIGHUP was ignored when the process began, as nohup(1) has it: the terminal's end is not its own.
    pub fn outlives_terminal(&self) -> bool {
        self.ignored.contains(&libc::SIGHUP)
    }

    /// Has a program find the signals as this one did: a child inherits what is blocked, and would not hear of them.
    pub fn undo_in(&self, command: &mut Command) {
        let (ignored, mask) = (self.ignored.clone(), self.mask);
        let undo = move || {
            for signal in &ignored {
                // SAFETY: between fork and exec, a system call; no handler is set.
                unsafe { libc::signal(*signal, libc::SIG_IGN) };
            }
            // SAFETY: as above; the set is the closure's own, and was filled by the same call.
            match unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut())
            } {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        };
        // SAFETY: the closure makes system calls only, and neither allocates nor takes a lock.
        unsafe { command.pre_exec(undo) };
    }

    /// The next signal's number; waits for it.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn receive_number(&mut self) -> io::Result<i32> {
        self.receive().map(|(number, _)| number)
    }

    /// The next signal's number, and whether the kernel has sent it by itself; waits for it.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn receive(&mut self) -> io::Result<(i32, bool)> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        self.file.read_exact(&mut record)?;
        // The number is the record's first field, an error its second, the origin its third.
        let field = |index: usize| {
            let bytes = record.get(4 * index..)?.first_chunk()?;
            Some(i32::from_ne_bytes(*bytes))
        };
        let number = field(0).unwrap_or_default();
        Ok((number, field(2) == Some(libc::SI_KERNEL)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The limit of descriptors, raised as far as this process may.
#[derive(Debug)]
pub struct Descriptors {
    before: Rlimit,
}

impl Descriptors {
    /// Raises it. Where that cannot be there are as many as before, and what is one too many is refused.
    pub fn take_all() -> Self {
        let before = getrlimit(Resource::Nofile);
        let mut limit = before;
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
        Self { before }
    }

    /// Has a program find the limit as this one did: those that use `select(2)` cannot have more than are usual.
    pub fn undo_in(&self, command: &mut Command) {
        let before = self.before;
        let undo = move || Ok(setrlimit(Resource::Nofile, before)?);
        // SAFETY: between fork and exec the closure only makes one `prlimit` system call.
        unsafe { command.pre_exec(undo) };
    }
}

/// Has the child be nobody's child, in a session of its own: what is started goes away at once, and its own child
/// executes the program.
pub fn disown(command: &mut Command) {
    let leave = || {
        // SAFETY: between fork and exec this makes system calls only, which share no memory with anyone: a process
        // without the flags of clone(2) that share something is a copy, as by `fork(2)`, and without its handlers.
        unsafe {
            if libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                0 => Ok(()),
                -1 => Err(io::Error::last_os_error()),
                _ => libc::_exit(0),
            }
        }
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(leave) };
}

/// Whether this process has no more than one thread.
pub fn has_one_thread() -> bool {
    // A link for each thread, and the two of every directory.
    rustix::fs::stat("/proc/self/task").is_ok_and(|task| task.st_nlink == 3)
}

/// Divides the process, which has one thread: the new process's number for its parent, `None` for
/// itself.
///
/// # Errors
/// As `fork(2)`.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the callers do it before they start any thread, so that no lock is held by another
    // one in the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Closes what a new process has inherited, but the standard streams and one descriptor.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_all_but(kept: impl AsFd) -> io::Result<()> {
    let kept = kept.as_fd().as_raw_fd().cast_unsigned();
    let close = |first: u32, last: u32| {
        // SAFETY: the process was just divided, and uses none of what is closed: it ends without
        // dropping what owned it.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    if kept > 3 {
        close(3, kept - 1)?;
    }
    close(kept + 1, u32::MAX)
}

/// Puts `/dev/null` in the place of the standard streams, or a file in that of standard error;
/// without one, standard error stays what it is.
///
/// # Errors
/// As `open(2)` and `dup2(2)`.
pub fn leave_terminal(words: Option<&File>) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    if let Some(words) = words {
        rustix::stdio::dup2_stderr(words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_finds_signals_and_limits_as_this_one_did() {
        // The thread's own mask is what children of it inherit.
        let status = || -> Vec<u64> {
            let mut plain = Command::new("cat");
            lines(plain.arg("/proc/self/status"))
        };
        let before = status();
        let signals = Signals::new(&[libc::SIGTERM, libc::SIGQUIT]).unwrap();
        let descriptors = Descriptors::take_all();
        assert_ne!(status(), before);
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        signals.undo_in(&mut command);
        assert_eq!(lines(&mut command), before);
        let mut command = Command::new("cat");
        command.arg("/proc/self/limits");
        descriptors.undo_in(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max open files"));
        let soft = line
            .and_then(|line| line.split_whitespace().nth(3))
            .unwrap();
        let expected = descriptors
            .before
            .current
            .map_or("unlimited".into(), |limit| limit.to_string());
        assert_eq!(soft, expected);
    }

    /// What is blocked and ignored in a program that prints its own status, but for the C library's own signals.
    fn lines(command: &mut Command) -> Vec<u64> {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
        let masks = lines.map(|line| u64::from_str_radix(&line[8..], 16).unwrap());
        masks.map(|mask| mask & 0x7fff_ffff).collect()
    }
}
