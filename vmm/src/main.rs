//! The monitor program.

mod arguments;

use std::{
    fs::File,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    process::ExitCode,
};

use arguments::{Arguments, Request};
use contracts::monitor::{FromMonitor, Report, StopReason, clean};
use packets::Socket;
use vmm::{
    jail::{self, Parent, Separation},
    machine::{Built, Opened},
    owner::Owner,
    plan, probe,
    timeline::Timeline,
    virtio::vsock::Host,
};

/// What the program ends with when the machine did not end in good order.
const FAILURE: u8 = 125;

fn main() -> ExitCode {
    let mut timeline = Timeline::default();
    timeline.mark("main");
    match arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            print!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Request::Version) => {
            println!("coracle-vmm {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Request::Probe) => {
            let found = probe::run();
            println!("{found}");
            ExitCode::from(u8::from(found != probe::Probe::Usable))
        }
        Ok(Request::Jail) => show_jail(),
        Ok(Request::Run(arguments)) => run(arguments, timeline),
        Err(words) => {
            let words = clean(&words);
            eprintln!("coracle-vmm: {words}\nSee 'coracle-vmm --help'.");
            ExitCode::from(FAILURE)
        }
    }
}

fn run(arguments: Arguments, mut timeline: Timeline) -> ExitCode {
    if let Err(words) = close_others(&arguments) {
        eprintln!("coracle-vmm: {words}");
        return ExitCode::from(FAILURE);
    }
    let controlled = arguments.control.is_some();
    let parent = if controlled {
        Parent::Owner
    } else {
        Parent::Anyone
    };
    let group = arguments.group.map(inherit);
    let separation = jail::separate(parent, group.as_ref().map(AsFd::as_fd));
    drop(group);
    timeline.mark("separated");
    let socket = arguments
        .control
        .map(|number| Socket::from(inherit(number)));
    let owner = Owner::new(socket);
    let report =
        machine(arguments, &owner, separation, &mut timeline).unwrap_or_else(|words| Report {
            reason: StopReason::Failed(words),
            console: String::new(),
            timeline: std::mem::take(&mut timeline).into_steps(),
            failures: Vec::new(),
        });
    let report = report.cleaned();
    if let Some(socket) = &owner.socket {
        // An owner who is gone needs no report.
        let _ = socket.send(&FromMonitor::Stopped(report.clone()), None);
    }
    let words = match &report.reason {
        StopReason::GuestReset | StopReason::Asked => return ExitCode::SUCCESS,
        _ if controlled => return ExitCode::SUCCESS,
        StopReason::TripleFault => "the guest's processor shut down (triple fault)",
        StopReason::BootDeadline => "the guest did not come up in time",
        StopReason::Failed(words) => words,
    };
    eprintln!("coracle-vmm: {words}");
    ExitCode::from(FAILURE)
}

/// Closes a jail around nothing, and prints what stands; fails when something is missing that every system can have.
fn show_jail() -> ExitCode {
    let separation = jail::separate(Parent::Anyone, None);
    match jail::enter(separation, None, false) {
        Ok(walls) => {
            println!("{walls}");
            ExitCode::from(u8::from(!walls.complete()))
        }
        Err(error) => {
            eprintln!("coracle-vmm: {error}");
            ExitCode::from(FAILURE)
        }
    }
}

fn machine(
    arguments: Arguments,
    owner: &Owner,
    separation: Separation,
    timeline: &mut Timeline,
) -> Result<Report, String> {
    let words = |error: vmm::machine::MachineError| error.to_string();
    let plan = match arguments.plan_descriptor {
        Some(number) => plan::read(File::from(inherit(number)))?,
        None => arguments.plan,
    };
    timeline.mark("plan read");
    let opened = Opened::new(plan).map_err(words)?;
    let host: Box<dyn Host> = Box::new(owner.clone());
    let built = Built::new(opened, Some(host), arguments.console, timeline).map_err(words)?;
    built.run(owner, separation, timeline).map_err(words)
}

/// Closes what was inherited by mistake.
#[expect(unsafe_code, reason = "closes descriptors that nothing here owns")]
fn close_others(arguments: &Arguments) -> Result<(), String> {
    let passed = [
        arguments.control,
        arguments.plan_descriptor,
        arguments.group,
    ];
    let keep: Vec<i32> = passed.into_iter().flatten().collect();
    // SAFETY: the program has just begun: it has opened nothing that is still open, and takes over
    // no other descriptors than these.
    unsafe { jail::close_others(&keep) }.map_err(|error| error.to_string())
}

#[expect(
    unsafe_code,
    reason = "takes over descriptors that the parent passed by number"
)]
fn inherit(number: i32) -> OwnedFd {
    // SAFETY: the parent passed this descriptor for the program to own, and the argument parser
    // refuses the standard ones and the same number twice.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // A number that is not open is found by its first use.
    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
    descriptor
}
