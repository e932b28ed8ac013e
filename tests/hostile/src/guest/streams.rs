//! Connections: too many, to wrong ports, twice, never; and a guest that does not read.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use contracts::guest::{CONTROL_PORT, ExitStatus, HostMessage, Port, SECRET_BYTES};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::link::{Link, exited, ports, started};

/// Connections of a flood.
const FLOOD: u32 = 3000;

/// Ports that nobody promised.
const FOREIGN: [u32; 6] = [0, 1, 22, 1023, 5000, u32::MAX];

/// Bytes that are read of the control channel at a time by who reads slowly, and the time between.
const TRICKLE: usize = 32 << 10;
const PAUSE: Duration = Duration::from_secs(4);

/// Exit codes that tell what was seen.
const HELD: u8 = 0;
const BROKEN: u8 = 66;

pub(super) fn run(attack: &str, link: &Link) -> bool {
    match attack {
        // Two connections to a port, both with its secret, which was for one. The secrets travel apart from each
        // other, and either may be first: one is held, the other closed.
        "streams-twice" => verdict(link, false, |own| {
            let pairs: Vec<_> = own
                .iter()
                .map(|port| [link.proved(*port), link.proved(*port)])
                .collect();
            pairs.iter().all(one_is_closed)
        }),
        // Without the secret, or with another, and the promise is kept for who has it.
        "streams-unproved" => verdict(link, false, |own| {
            let silent: Vec<_> = own.iter().map(|port| link.connect(port.number)).collect();
            let wrong = own.iter().map(|port| {
                let mut stream = link.connect(port.number).ok()?;
                stream.write_all(&[0; SECRET_BYTES]).ok()?;
                Some(stream)
            });
            let wrong: Vec<_> = wrong.collect();
            let held = wrong.into_iter().all(is_closed);
            let proved: Vec<_> = own.iter().flat_map(|port| link.proved(*port)).collect();
            drop(silent);
            held && proved.len() == own.len()
        }),
        "streams-foreign" => verdict(link, true, |own| {
            let last = own.iter().map(|port| port.number).max();
            let last = last.unwrap_or(CONTROL_PORT);
            let others = FOREIGN.iter().copied();
            let all = others.chain(last + 1..last + 10).chain([CONTROL_PORT]);
            let streams: Vec<_> = all.map(|port| link.connect(port).ok()).collect();
            streams.into_iter().all(is_closed)
        }),
        "streams-flood" => verdict(link, true, |_| {
            for number in 0..FLOOD {
                // Every other one stays open on this side until the end.
                let stream = link.connect(5000 + number);
                if number % 2 == 0 {
                    std::mem::forget(stream);
                }
            }
            true
        }),
        "streams-never" => {
            let (mut control, spec) = link.greeted();
            control.say(&started(&spec.id));
            control.say(&exited(&spec.id, ExitStatus::Code(0)));
            thread::park();
        }
        // It reads nothing any more, neither words nor input.
        "deaf" => {
            let all = link.begun();
            thread::park();
            drop(all);
        }
        "trickle" => {
            let mut control = link.control();
            control.say(&super::link::hello());
            let mut room = vec![0; TRICKLE];
            while control
                .stream
                .read(&mut room)
                .is_ok_and(|length| length > 0)
            {
                thread::sleep(PAUSE);
            }
            thread::park();
        }
        // The keeper's word to stop is for a guest that hears it.
        "stop-ignored" => {
            let (mut control, spec, streams) = link.begun();
            drop(streams);
            control.say(&exited(&spec.id, ExitStatus::Code(0)));
        }
        _ => return false,
    }
    true
}

/// Whether the other side closes a connection: it could not be made, or is at its end.
fn is_closed(stream: Option<UnixStream>) -> bool {
    let Some(mut stream) = stream else {
        return true;
    };
    !matches!(stream.read(&mut [0]), Ok(length) if length > 0)
}

/// Waits until one of two connections is closed; whether it is one alone.
fn one_is_closed(pair: &[io::Result<UnixStream>; 2]) -> bool {
    let [Ok(first), Ok(second)] = pair else {
        return pair.iter().any(Result::is_ok);
    };
    let mut both = [first, second].map(|stream| PollFd::new(stream, PollFlags::IN));
    let closed = |both: &mut [PollFd<'_>], time: Option<&Timespec>| {
        poll(both, time).is_ok() && both.iter().filter(|one| !one.revents().is_empty()).count() == 1
    };
    // What has lost is told at once; what is held stays silent.
    closed(&mut both, None) && closed(&mut both, Some(&Timespec::default()))
}

/// Starts the container, with its streams or without, tries something with its ports, and ends with a code that
/// says whether it held.
fn verdict(link: &Link, connected: bool, action: impl FnOnce(&[Port]) -> bool) {
    let (mut control, spec) = link.greeted();
    let streams = if connected {
        link.streams(spec.stdio)
    } else {
        Vec::new()
    };
    control.say(&started(&spec.id));
    let own: Vec<Port> = ports(spec.stdio).into_iter().flatten().collect();
    let code = if action(&own) { HELD } else { BROKEN };
    drop(streams);
    control.say(&exited(&spec.id, ExitStatus::Code(code)));
    loop {
        if let HostMessage::Shutdown = control.hear() {
            break;
        }
    }
}
