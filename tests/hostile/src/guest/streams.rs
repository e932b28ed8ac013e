//! Connections: too many, to wrong ports, twice, never; and a guest that does not read.

use std::{io::Read, os::unix::net::UnixStream, thread, time::Duration};

use coracle_protocol::{CONTROL_PORT, ExitStatus, HostMessage};

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
        "streams-twice" => verdict(link, |spec_ports| {
            let second = spec_ports.iter().map(|port| link.connect(*port));
            second.into_iter().all(|stream| is_closed(stream.ok()))
        }),
        "streams-foreign" => verdict(link, |spec_ports| {
            let last = spec_ports.iter().max().copied().unwrap_or(CONTROL_PORT);
            let others = FOREIGN.iter().copied();
            let all = others.chain(last + 1..last + 10).chain([CONTROL_PORT]);
            let streams: Vec<_> = all.map(|port| link.connect(port).ok()).collect();
            streams.into_iter().all(is_closed)
        }),
        "streams-flood" => verdict(link, |_| {
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

/// Starts the container, tries something with its ports, and ends with a code that says whether it held.
fn verdict(link: &Link, action: impl FnOnce(&[u32]) -> bool) {
    let (mut control, spec, streams) = link.begun();
    let own: Vec<u32> = ports(spec.stdio).into_iter().flatten().collect();
    let code = if action(&own) { HELD } else { BROKEN };
    drop(streams);
    control.say(&exited(&spec.id, ExitStatus::Code(code)));
    loop {
        if let HostMessage::Shutdown = control.hear() {
            break;
        }
    }
}
