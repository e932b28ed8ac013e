//! What a monitor that was taken over from inside says to its owner, by the socket that is all it has left.

use std::{fs::File, io::Write, os::fd::OwnedFd, thread};

use super::{contract::ESCAPES, link::Link};
use crate::sys;

/// A packet that is longer than any.
const GIANT: usize = 150 << 10;

pub(super) fn run(attack: &str, link: &Link) -> bool {
    let send = |bytes: &[u8], attached: &[OwnedFd]| {
        // A packet that the kernel refuses has harmed nobody.
        let _ = link.packet(bytes, attached);
        thread::park();
    };
    match attack {
        "door-garbage" => send(b"\xff\xfe{\"connection\":", &[]),
        "door-unknown" => send(b"{\"open\":{\"path\":\"/etc/shadow\"}}", &[]),
        "door-giant" => send(&vec![b' '; GIANT], &[]),
        "door-bare" => send(b"{\"connection\":{\"port\":1024}}", &[]),
        "door-descriptors" => send(b"{\"connection\":{\"port\":1024}}", &nulls(200)),
        "door-extent" => {
            let place = "{\"disk\":0,\"start\":0,\"length\":512}";
            let packet = format!("{{\"extent\":{{\"place\":{place},\"refused\":null}}}}");
            send(packet.as_bytes(), &[]);
        }
        // Its report of the end, whose words are shown.
        "door-report" => {
            let words = escaped(ESCAPES);
            let packet = format!(
                "{{\"stopped\":{{\"reason\":{{\"failed\":\"{words}\"}},\"console\":\"{words}\",\
                 \"timeline\":[[\"{words}\",18446744073709551615]],\"failures\":[\"{words}\"]}}}}"
            );
            send(packet.as_bytes(), &[]);
        }
        // Its last words, on standard error.
        "door-words" => {
            let _ = std::io::stderr().write_all(ESCAPES.as_bytes());
            sys::exit(1)
        }
        _ => return false,
    }
    true
}

/// Descriptors of no use.
fn nulls(number: usize) -> Vec<OwnedFd> {
    let all = (0..number).flat_map(|_| File::open("/dev/null"));
    all.map(OwnedFd::from).collect()
}

/// A text as JSON has it.
fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter {
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.into(),
    };
    text.chars().map(escape).collect()
}
