//! What the other end of a channel says: whatever it is, it is understood in one way or refused.

use std::io::{self, Cursor};

use coracle_platform::fuzzing::again;

use crate::{
    mux::{
        Incoming, Mux, Side,
        frame::{GREETING, Header, Kind, MAX_PAYLOAD},
    },
    relay::{Ended, Messages, Purpose, Size},
    wire::{Envelope, Notice, Reply, Request},
};

/// Most bytes of a message that is taken from a channel here.
const LIMIT: usize = 1 << 16;

/// A packet for each of those that read JSON, and the same bytes as messages of a software host's channel.
///
/// # Panics
/// When a message is understood in two ways.
pub fn wire(bytes: &[u8]) {
    again::<Request>(bytes);
    again::<Envelope>(bytes);
    again::<Reply>(bytes);
    again::<Notice>(bytes);
    again::<Purpose>(bytes);
    again::<Size>(bytes);
    again::<Ended>(bytes);
    messages(bytes);
}

/// Messages come out of a channel as long as they went in, and no others.
fn messages(bytes: &[u8]) {
    let frame = |channel, kind, payload: &[u8]| {
        let length = payload.len();
        let header = Header {
            channel,
            kind,
            length,
        };
        [&header.encode(), payload].concat()
    };
    let bytes = bytes
        .get(..bytes.len().min(MAX_PAYLOAD))
        .unwrap_or_default();
    let input = [
        frame(0, Kind::Hello, GREETING),
        frame(2, Kind::Open, b"stream"),
        frame(2, Kind::Data, bytes),
        frame(2, Kind::Finish, &[]),
    ];
    let mux = Mux::new(Cursor::new(input.concat()), io::sink(), Side::Outside);
    let (_mux, mut reading) = mux.expect("writing never fails");
    reading.greet().expect("the greeting is right");
    let mut opened = None;
    let _ = reading.run(|Incoming { channel, .. }| opened = Some(channel));
    let mut messages = Messages::new(opened.expect("it was opened").receiver);
    let mut taken = 0;
    while let Ok(Some((message, _))) = messages.next(LIMIT) {
        taken += 8 + message.len();
    }
    assert!(taken <= bytes.len(), "{taken} of {}", bytes.len());
}

#[cfg(test)]
mod tests {
    #[test]
    fn wire_stands_noise() {
        coracle_platform::fuzzing::with_noise(super::wire);
    }
}
