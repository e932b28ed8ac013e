//! The small init of a container that asked for one (`--init`): PID 1 passes signals on, reaps
//! what is orphaned, and ends as the program ends. It is executed afresh, and has nothing of the
//! guest's init.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, setpgid, wait},
    termios::tcsetpgrp,
};

use crate::{
    failure::{Failure, Stage},
    program::Program,
    report, sys,
};

/// Starts the program and stays its init.
pub(crate) fn run(program: Program, terminal: bool, report: &OwnedFd) -> ! {
    // For who lists processes: it was executed by a number.
    let _ = rustix::thread::set_name(c"init");
    // Nothing may be lost between the division and the first wait.
    sys::block_signals(true);
    let failure = match sys::fork().stage(|| "divide the container's init from its program") {
        Ok(Some(program)) => reap(program),
        Ok(None) => match lead(terminal) {
            Ok(()) => program.execute(report),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    report::fail(report, &failure)
}

/// A group of its own gets the terminal's signals only once: from the terminal.
fn lead(terminal: bool) -> Result<(), Failure> {
    setpgid(None, None).stage(|| "make a process group")?;
    if terminal {
        let group = rustix::process::getpid();
        tcsetpgrp(rustix::stdio::stdin(), group).stage(|| "take the terminal")?;
    }
    Ok(())
}

fn reap(program: Pid) -> ! {
    // The program's streams and the report to init end with the program, not with this process.
    let _ = sys::close_from(0, true);
    loop {
        let signal = match sys::wait_signal() {
            Ok(signal) => signal,
            Err(_) => continue,
        };
        if signal == Signal::CHILD.as_raw() {
            while let Some((pid, status)) = ended() {
                if pid == program {
                    sys::exit(exit_code(status));
                }
            }
        } else {
            // It may have ended just now; that is seen next.
            let _ = sys::kill(program.as_raw_nonzero().get(), signal);
        }
    }
}

fn ended() -> Option<(Pid, WaitStatus)> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Err(Errno::INTR) => {}
            other => return other.ok().flatten(),
        }
    }
}

/// PID 1 of a namespace cannot be ended by a signal of its own: the code says which it was.
fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
