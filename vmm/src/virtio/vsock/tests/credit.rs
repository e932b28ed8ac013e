//! Nobody is sent more than it has room for, and nobody holds more than it promised.

use super::{
    super::connection::{LARGE, SMALL},
    *,
};

#[test]
fn guest_never_gets_more_than_it_has_room_for() {
    let mut guest = Guest::new();
    guest.buf_alloc = 100;
    let mut stream = guest.connect(5, 6);
    stream.write_all(&[8; 1000]).unwrap();
    assert_eq!(guest.data().len(), 100);
    // It says the same again: nothing is free.
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.data().len(), 0);
    guest.fwd_cnt = 30;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.data().len(), 30);
    // Its buffer became smaller than what is on the way.
    guest.buf_alloc = 10;
    guest.fwd_cnt = 40;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.data().len(), 0);
    (guest.buf_alloc, guest.fwd_cnt) = (10_000, 130);
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.data().len(), 870);
}

#[test]
fn credit_in_a_request_for_credit_counts() {
    let mut guest = Guest::new();
    guest.buf_alloc = 10;
    let mut stream = guest.connect(5, 6);
    stream.write_all(&[8; 20]).unwrap();
    assert_eq!(guest.data().len(), 10);
    guest.fwd_cnt = 10;
    guest.send(5, 6, op::CREDIT_REQUEST, 0);
    assert_eq!(guest.data().len(), 10);
}

#[test]
fn guest_that_has_read_more_than_was_sent_gets_nothing() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.fwd_cnt = 1;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    stream.write_all(&[8; 1000]).unwrap();
    assert_eq!(guest.data().len(), 0);
}

#[test]
fn guest_with_the_largest_buffer_gets_everything() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.buf_alloc = u32::MAX;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    stream.write_all(&[8; 1000]).unwrap();
    assert_eq!(guest.data().len(), 1000);
}

#[test]
fn guest_without_room_is_not_told_the_end_before_the_data() {
    let mut guest = Guest::new();
    guest.buf_alloc = 4;
    let mut stream = guest.connect(5, 6);
    stream.write_all(b"12345678").unwrap();
    drop(stream);
    assert_eq!(guest.operations(), [(op::RW, 0)]);
    guest.fwd_cnt = 4;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.operations(), [(op::RW, 0)]);
    guest.fwd_cnt = 8;
    guest.send(5, 6, op::CREDIT_UPDATE, 0);
    assert_eq!(guest.operations(), [(op::SHUTDOWN, NO_SEND | NO_RECEIVE)]);
}

#[test]
fn device_holds_what_it_promised_and_passes_it_on_later() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let sent = fill(&mut guest, 5, 6);
    let (window, forwarded) = told(&mut guest, 5, 6);
    assert_eq!(window, LARGE);
    assert!(sent - forwarded <= LARGE && sent > LARGE);
    let mut arrived = 0;
    while arrived < sent {
        arrived += u32::try_from(read(&mut stream).len()).unwrap();
        guest.driver.run();
    }
    // The guest heard of the space without asking.
    let updates = guest.operations();
    assert!(updates.contains(&(op::CREDIT_UPDATE, 0)), "{updates:?}");
    assert_eq!(told(&mut guest, 5, 6), (LARGE, sent));
}

#[test]
fn guest_that_sends_more_than_it_may_is_reset() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    fill(&mut guest, 5, 6);
    guest.write(5, 6, &[1; 4097]);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    read(&mut stream);
    assert!(ended(&mut stream));
    guest.assert_alive();
}

#[test]
fn connections_beside_many_others_are_promised_less() {
    let mut guest = Guest::new();
    let mut streams = Vec::new();
    for port in 0..70 {
        streams.push(guest.connect(5, port));
    }
    assert_eq!(told(&mut guest, 5, 0), (LARGE, 0));
    assert_eq!(told(&mut guest, 5, 63), (LARGE, 0));
    assert_eq!(told(&mut guest, 5, 64), (SMALL, 0));
    let sent = fill(&mut guest, 5, 64);
    let (_, forwarded) = told(&mut guest, 5, 64);
    assert!(sent - forwarded <= SMALL);
}
