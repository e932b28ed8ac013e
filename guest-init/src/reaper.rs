//! The small init of a container that asked for one (`--init`): PID 1 passes signals on, reaps
//! what is orphaned, and ends as the program ends.

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, setpgid, wait},
    termios::tcsetpgrp,
};

use crate::{
    failure::{Failure, Stage},
    sys,
};

/// Divides this process: returns in a new one, which becomes the program, and stays behind as the
/// container's init.
///
/// # Errors
/// When no process can be made.
pub fn divide(terminal: bool) -> Result<(), Failure> {
    // Nothing may be lost between the division and the first wait.
    sys::block_signals(true);
    match sys::fork().stage(|| "divide the container's init from its program")? {
        Some(program) => reap(program),
        None => {
            // A group of its own gets the terminal's signals only once: from the terminal.
            setpgid(None, None).stage(|| "make a process group")?;
            if terminal {
                let group = rustix::process::getpid();
                tcsetpgrp(rustix::stdio::stdin(), group).stage(|| "take the terminal")?;
            }
            Ok(())
        }
    }
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
