//! A byte stream in place of frames, cut into pieces: what a hostile guest sends the host, and
//! that what is decoded is encoded to the same.
#![no_main]

use contracts::guest::{
    GuestMessage, HostMessage,
    frame::{self, Decoder},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pieces: Vec<&[u8]>| {
    let (mut from_guest, mut from_host) = (Decoder::default(), Decoder::default());
    for piece in pieces {
        from_guest.push(piece);
        while let Ok(Some(message)) = from_guest.next_message::<GuestMessage>() {
            let frame = frame::encode(&message).expect("what was decoded can be encoded");
            let body = frame.get(frame::HEADER..).unwrap_or_default();
            assert_eq!(frame::decode::<GuestMessage>(body), Ok(message));
        }
        from_host.push(piece);
        while let Ok(Some(_)) = from_host.next_message::<HostMessage>() {}
    }
});
