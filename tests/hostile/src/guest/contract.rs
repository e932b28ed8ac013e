//! Words on the control channel that a guest must not say, or not then.

use std::{thread, time::Duration};

use contracts::guest::{
    ExitStatus, FailureKind, GuestMessage, MAX_TEXT, VERSION,
    frame::{self, MAX_BODY},
};

use super::link::{Link, exited, hello, started};

/// Text that changes a terminal's title, its contents and its owner's clipboard, in both kinds of controls.
pub(super) const ESCAPES: &str =
    "evil\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\r\u{9b}31mwords\x08\x7f";

/// An identifier that no container has.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const CODE: fn(u8) -> ExitStatus = ExitStatus::Code;

pub(super) fn run(attack: &str, link: &Link) -> bool {
    greetings(attack, link) || frames(attack, link) || order(attack, link)
}

fn failed(id: &str, message: String) -> GuestMessage {
    GuestMessage::Failed {
        id: id.into(),
        kind: FailureKind::Setup,
        message,
    }
}

fn greetings(attack: &str, link: &Link) -> bool {
    let greeting = |version, kernel: &str, init_at, at| GuestMessage::Hello {
        version,
        kernel: kernel.into(),
        init_at,
        at,
    };
    match attack {
        // It never connects.
        "absent" => {}
        // It connects, and not to whom it should.
        "elsewhere" => {
            let other = link.connect(9);
            thread::park();
            drop(other);
        }
        "silent" => {
            let control = link.control();
            thread::park();
            drop(control);
        }
        "hello-version" => link
            .control()
            .say(&greeting(VERSION.wrapping_add(1), "6.12", 1, 2)),
        "hello-twice" => {
            let (mut control, _) = link.greeted();
            control.say(&hello());
            thread::park();
        }
        "hello-long" => {
            let kernel = "k".repeat(MAX_TEXT + 1);
            link.control().say(&greeting(VERSION, &kernel, 1, 2));
        }
        // Words for a terminal, and times that have not been: both are only shown.
        "hello-escapes" | "hello-times" => {
            let (init_at, at) = match attack {
                "hello-times" => (u64::MAX, u64::MAX - 1),
                _ => (1, 2),
            };
            let mut control = link.control();
            control.say(&greeting(VERSION, ESCAPES, init_at, at));
            finish(link, &mut control);
        }
        _ => return false,
    }
    true
}

/// Runs the container as it should be, to its end.
fn finish(link: &Link, control: &mut super::link::Control) {
    loop {
        if let contracts::guest::HostMessage::Run(spec) = control.hear() {
            drop(link.streams(spec.stdio));
            control.say(&started(&spec.id));
            control.say(&exited(&spec.id, CODE(0)));
        }
    }
}

fn frames(attack: &str, link: &Link) -> bool {
    match attack {
        "frame-giant" => link.control().write(&u32::MAX.to_le_bytes()),
        "frame-garbage" => {
            let mut control = link.control();
            let length = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
            control.write(&length.to_le_bytes());
            control.write(&vec![0xff; MAX_BODY]);
            thread::park();
        }
        "frame-half" => {
            let mut control = link.control();
            control.write(&[7, 0]);
            thread::park();
        }
        // One byte at a time, which is slow and no crime.
        "frame-bytes" => {
            let (mut control, spec, streams) = link.begun();
            drop(streams);
            let bytes = frame::encode(&exited(&spec.id, CODE(7))).unwrap_or_default();
            for byte in bytes {
                control.write(&[byte]);
                thread::sleep(Duration::from_millis(1));
            }
            thread::park();
        }
        "status-range" => {
            let (mut control, spec, _streams) = link.begun();
            // The status is an enumeration of two; its place is after the name of the message and the identifier.
            let mut bytes = frame::encode(&exited(&spec.id, CODE(0))).unwrap_or_default();
            let place = frame::HEADER + 2 + spec.id.len();
            if let Some(byte) = bytes.get_mut(place) {
                *byte = 9;
            }
            control.write(&bytes);
            thread::park();
        }
        // Words that only begin an entry in the journal, and another, and another.
        "flood-memory" => {
            let (mut control, spec, streams) = link.begun();
            let one = frame::encode(&GuestMessage::OutOfMemory {
                id: spec.id.clone(),
            });
            let many = one.unwrap_or_default().repeat(1000);
            for _ in 0..20 {
                control.write(&many);
            }
            drop(streams);
            control.say(&exited(&spec.id, CODE(0)));
            thread::park();
        }
        "flood-messages" => {
            let (mut control, _) = link.greeted();
            let many = frame::encode(&started(NOBODY)).unwrap_or_default();
            let many = many.repeat(10_000);
            for _ in 0..100 {
                control.write(&many);
            }
            thread::park();
        }
        _ => return false,
    }
    true
}

fn order(attack: &str, link: &Link) -> bool {
    let after_start = |words: &[fn(&str) -> GuestMessage]| {
        let (mut control, spec, streams) = link.begun();
        let all: Vec<u8> = words
            .iter()
            .flat_map(|word| frame::encode(&word(&spec.id)).unwrap_or_default())
            .collect();
        drop(streams);
        control.write(&all);
        thread::park();
    };
    match attack {
        "exited-first" => {
            let (mut control, spec) = link.greeted();
            control.say(&exited(&spec.id, CODE(0)));
            thread::park();
        }
        "started-other" => {
            let (mut control, _) = link.greeted();
            control.say(&started(NOBODY));
            thread::park();
        }
        "started-twice" => after_start(&[started]),
        "exited-other" => after_start(&[|_| exited(NOBODY, CODE(0))]),
        "exited-twice" => after_start(&[|id| exited(id, CODE(3)), |id| exited(id, CODE(4))]),
        "status-signal" => after_start(&[|id| exited(id, ExitStatus::Signal(255))]),
        "failed-late" => after_start(&[|id| failed(id, "late".into())]),
        "forgotten" => after_start(&[|_| GuestMessage::Forgotten {
            disk: 0,
            partition: 1,
            gone: true,
        }]),
        "failed-escapes" | "failed-long" => {
            let (mut control, spec) = link.greeted();
            let text = match attack {
                "failed-long" => "x".repeat(MAX_TEXT + 1),
                _ => ESCAPES.into(),
            };
            control.say(&failed(&spec.id, text));
            thread::park();
        }
        // It is gone without a word.
        "vanish" => {
            let all = link.begun();
            drop(all);
            crate::sys::exit(0)
        }
        _ => return false,
    }
    true
}
