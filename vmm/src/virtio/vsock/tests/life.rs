//! Connections from their beginning to their end.

use std::net::Shutdown;

use super::*;

#[test]
fn guest_connects_and_both_sides_talk() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(1024, 2000);
    guest.assert_works(&mut stream, 1024, 2000);
    guest.assert_works(&mut stream, 1024, 2000);
}

#[test]
fn host_connects_and_both_sides_talk() {
    let mut guest = Guest::new();
    let (mut stream, host) = guest.accept(80);
    guest.assert_works(&mut stream, host, 80);
}

#[test]
fn context_identifier_is_in_the_configuration() {
    let guest = Guest::new();
    assert_eq!(guest.driver.read(register::CONFIGURATION), 7);
    assert_eq!(guest.driver.read(register::CONFIGURATION + 4), 0);
}

#[test]
fn port_on_which_nobody_listens_is_refused() {
    let mut guest = Guest::new();
    guest.send(NOBODY, 2000, op::REQUEST, 0);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    guest.assert_alive();
}

#[test]
fn refusal_by_the_guest_closes_the_stream() {
    let mut guest = Guest::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    guest.handle.connect(80, theirs).unwrap();
    let host = guest.receive()[0].0.source_port;
    guest.send(host, 80, op::RST, 0);
    assert!(ended(&mut ours));
}

#[test]
fn data_from_before_the_guest_answers_arrives_after() {
    let mut guest = Guest::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"early").unwrap();
    guest.handle.connect(80, theirs).unwrap();
    let packets = guest.receive();
    assert_eq!(packets.len(), 1);
    guest.send(packets[0].0.source_port, 80, op::RESPONSE, 0);
    assert_eq!(guest.data(), b"early");
}

#[test]
fn connections_that_wait_are_made_when_the_device_starts() {
    let mut guest = Guest::new();
    guest.driver.reset();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    guest.handle.connect(80, theirs).unwrap();
    guest.driver.run();
    guest.rooms.clear();
    guest.driver.start(0);
    guest.post(16);
    let host = guest.receive()[0].0.source_port;
    guest.send(host, 80, op::RESPONSE, 0);
    guest.assert_works(&mut ours, host, 80);
}

#[test]
fn too_many_waiting_connections_are_refused() {
    let mut guest = Guest::new();
    guest.driver.reset();
    let mut ends = Vec::new();
    for _ in 0..MAX_WAITING {
        let (ours, theirs) = UnixStream::pair().unwrap();
        guest.handle.connect(80, theirs).unwrap();
        ends.push(ours);
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    assert!(guest.handle.connect(80, theirs).is_err());
    assert!(ended(&mut ours));
}

#[test]
fn hundreds_of_connections_are_open_at_once() {
    let mut guest = Guest::new();
    let mut streams: Vec<UnixStream> = (0..300).map(|port| guest.connect(5, port)).collect();
    let accepted: Vec<_> = (0..100).map(|port| guest.accept(port)).collect();
    for (stream, port) in streams.iter_mut().zip(0_u32..) {
        guest.write(5, port, &port.to_le_bytes());
        stream.write_all(&port.to_le_bytes()).unwrap();
    }
    for (stream, port) in streams.iter_mut().zip(0_u32..) {
        assert_eq!(read(stream), port.to_le_bytes());
    }
    let mut heard: Vec<(u32, Vec<u8>)> = guest
        .receive()
        .into_iter()
        .map(|(header, data)| (header.destination_port, data))
        .collect();
    heard.sort_unstable();
    let expected = (0_u32..300).map(|port| (port, port.to_le_bytes().to_vec()));
    assert_eq!(heard, expected.collect::<Vec<_>>());
    for ((mut stream, host), port) in accepted.into_iter().zip(0..) {
        guest.assert_works(&mut stream, host, port);
    }
}

#[test]
fn megabytes_arrive_whole_and_in_order_in_both_directions() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let sent: Vec<u8> = (0_u32..500_000).flat_map(u32::to_le_bytes).collect();
    let (mut at_host, mut at_guest, mut written) = (Vec::new(), Vec::new(), 0);
    for piece in sent.chunks(60_000) {
        guest.write(5, 6, piece);
        at_host.extend(read(&mut stream));
    }
    while at_guest.len() < sent.len() {
        written += stream.write(&sent[written..]).unwrap_or(0);
        at_guest.extend(guest.data());
        guest.fwd_cnt = u32::try_from(at_guest.len()).unwrap();
        guest.send(5, 6, op::CREDIT_UPDATE, 0);
    }
    assert!(at_host == sent && at_guest == sent);
}

#[test]
fn guest_that_will_send_no_more_still_receives() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.write(5, 6, b"last words");
    guest.send(5, 6, op::SHUTDOWN, NO_SEND);
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"last words");
    stream.write_all(b"answer").unwrap();
    assert_eq!(guest.data(), b"answer");
    drop(stream);
    assert_eq!(guest.operations(), [(op::SHUTDOWN, NO_SEND | NO_RECEIVE)]);
}

#[test]
fn guest_that_sends_after_its_end_is_reset() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.send(5, 6, op::SHUTDOWN, NO_SEND);
    guest.write(5, 6, b"more");
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    assert!(ended(&mut stream));
}

#[test]
fn host_that_will_send_no_more_still_receives() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    stream.write_all(b"last words").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let packets = guest.receive();
    assert_eq!(packets[0].1, b"last words");
    let (end, _) = packets[1];
    assert_eq!(({ end.op }, { end.flags }), (op::SHUTDOWN, NO_SEND));
    guest.write(5, 6, b"answer");
    assert_eq!(read(&mut stream), b"answer");
    drop(stream);
    assert_eq!(guest.operations(), [(op::SHUTDOWN, NO_SEND | NO_RECEIVE)]);
}

#[test]
fn guest_that_will_not_receive_gets_nothing() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.send(5, 6, op::SHUTDOWN, NO_RECEIVE);
    stream.write_all(b"unwanted").unwrap();
    assert_eq!(guest.data(), b"");
    guest.write(5, 6, b"still sending");
    assert_eq!(read(&mut stream), b"still sending");
}

#[test]
fn close_by_the_guest_is_answered_and_ends_the_stream() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.write(5, 6, b"bye");
    guest.send(5, 6, op::SHUTDOWN, NO_SEND | NO_RECEIVE);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"bye");
    // Its ports can be used again.
    let mut stream = guest.connect(5, 6);
    guest.assert_works(&mut stream, 5, 6);
}

#[test]
fn reset_by_the_guest_ends_the_stream() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    guest.send(5, 6, op::RST, 0);
    assert!(ended(&mut stream));
    assert_eq!(guest.operations(), []);
}

#[test]
fn end_of_the_host_is_told_after_all_that_it_sent() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    stream.write_all(&[3; 10_000]).unwrap();
    drop(stream);
    let packets = guest.receive();
    let (last, data) = packets.split_last().unwrap();
    assert_eq!(({ last.0.op }, { last.0.flags }), (op::SHUTDOWN, 3));
    assert_eq!(
        data.iter().map(|(_, data)| data.len()).sum::<usize>(),
        10_000
    );
}

#[test]
fn writing_to_a_host_that_is_gone_is_reset() {
    let mut guest = Guest::new();
    drop(guest.connect(5, 6));
    guest.write(5, 6, b"anybody there?");
    assert_eq!(guest.operations().last(), Some(&(op::RST, 0)));
    guest.assert_alive();
}

#[test]
fn what_was_sent_before_a_close_arrives_although_the_guest_forgets_the_connection() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let sent = fill(&mut guest, 5, 6) as usize;
    guest.send(5, 6, op::SHUTDOWN, NO_SEND | NO_RECEIVE);
    assert_eq!(guest.operations(), []);
    // Linux waits eight seconds for an answer, and then does this.
    guest.send(5, 6, op::RST, 0);
    let mut again = guest.connect(5, 6);
    let mut arrived = 0;
    for _ in 0..100 {
        arrived += read(&mut stream).len();
        guest.driver.run();
    }
    assert_eq!(arrived, sent);
    assert!(ended(&mut stream));
    guest.assert_works(&mut again, 5, 6);
}

#[test]
fn reset_of_the_device_ends_all_connections_and_it_works_again() {
    let mut guest = Guest::new();
    let mut streams: Vec<UnixStream> = (0..20).map(|port| guest.connect(5, port)).collect();
    for stream in &mut streams {
        stream.write_all(b"never read").unwrap();
    }
    guest.driver.reset();
    guest.driver.run();
    assert!(streams.iter_mut().all(|stream| stream.write(b"x").is_err()));
    guest.rooms.clear();
    guest.driver.start(EVENT_IDX);
    guest.post(16);
    assert_eq!(guest.operations(), []);
    guest.assert_alive();
}

#[test]
fn tokens_are_used_again_without_taking_that_of_the_device() {
    let mut guest = Guest::with_token(0x7fff_fffd);
    guest.post(16);
    let mut streams: Vec<UnixStream> = (0..5).map(|port| guest.connect(5, port)).collect();
    for (stream, port) in streams.iter_mut().zip(0..) {
        guest.assert_works(stream, 5, port);
    }
    let (mut stream, host) = guest.accept(1);
    guest.assert_works(&mut stream, host, 1);
}
