//! The last steps of a program into a container that runs (`exec`, health commands).
//!
//! A process enters another process namespace only by being cloned into it. The one that clones is
//! outside, where the container cannot see it: it has joined all other namespaces, and is as confined as
//! the program will be. Its child is the first that the container sees, and has nothing to hide.

use std::os::fd::OwnedFd;

use rustix::{
    io::read,
    process::{DumpableBehavior, ioctl_tiocsctty, set_dumpable_behavior, setsid},
};

use crate::{
    failure::{Failure, Stage},
    program::Program,
    report, sys,
};

/// Clones the program's process as a child of init, reports its number, and ends; or reports why not.
pub(crate) fn run(program: Program, terminal: bool, report: &OwnedFd) -> ! {
    let cloned = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .stage(|| "forbid to look into a process that is no program yet")
        .and_then(|()| sys::clone_sibling().stage(|| "clone a process into the container"));
    let failure = match cloned {
        Ok(None) => enter(program, terminal, report),
        Ok(Some(pid)) => match report::entered(report, pid) {
            Ok(()) => sys::exit(0),
            // The program's process sees that nobody lets it go on.
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    report::fail(report, &failure)
}

/// Executes the program, once init knows of it: what it does not know of it could not end.
fn enter(program: Program, terminal: bool, report: &OwnedFd) -> Failure {
    let ready = wait(report)
        .and_then(|()| setsid().map(drop).stage(|| "start a session"))
        .and_then(|()| match terminal {
            true => ioctl_tiocsctty(rustix::stdio::stdin())
                .stage(|| "make the terminal the controlling one"),
            false => Ok(()),
        });
    match ready {
        Ok(()) => program.execute(report),
        Err(failure) => failure,
    }
}

fn wait(report: &OwnedFd) -> Result<(), Failure> {
    let mut go = [0];
    match read(report, &mut go).stage(|| "wait for init")? {
        0 => Err(Failure::setup("cannot wait for init: it gave up")),
        _ => Ok(()),
    }
}
