//! Guests that break the rules.

use super::*;
use crate::virtio::testing::{MEMORY, NEXT, Raw};

/// Resets that the device keeps for a guest that has no buffers, as its limit is; and answers of all kinds.
const REFUSED: usize = 4096;
const KEPT: usize = 4 * REFUSED;

/// Fills the ring with packets that are answered by resets; gives how many are taken.
fn flood(guest: &mut Guest) -> usize {
    let header = guest.header(5, 6, op::RW);
    let header = guest.driver.data(header.as_slice());
    while guest.driver.free_descriptors(TX) > 0 {
        guest.driver.add(TX, &[header]);
    }
    guest.driver.kick(TX);
    taken(guest)
}

#[test]
fn buffers_that_come_while_the_device_is_at_work_are_filled_without_a_notification() {
    let mut guest = Guest::without_buffers();
    assert_eq!(flood(&mut guest), 256);
    guest.send(5, 6, op::CREDIT_REQUEST, 0);
    guest.offer_rooms(256);
    guest.driver.notify(RX);
    guest.driver.turn();
    assert_eq!(guest.take().len(), 256);
    // The device has not said that it waits for buffers, and so the driver does not notify.
    guest.offer_rooms(1);
    guest.driver.run();
    assert_eq!(guest.take().len(), 1);
}

fn taken(guest: &mut Guest) -> usize {
    std::iter::from_fn(|| guest.driver.used(TX)).count()
}

/// Linux takes no answers while its own resets wait for room in the queue that is flooded.
#[test]
fn flood_of_what_is_refused_is_taken_and_not_answered_without_end() {
    let mut guest = Guest::without_buffers();
    let rounds = 2 * REFUSED / 256;
    assert_eq!(
        (0..rounds).map(|_| flood(&mut guest)).sum::<usize>(),
        256 * rounds
    );
    // Nor is a connection taken, which would need an answer.
    guest.send(5, 6, op::REQUEST, 0);
    let mut answers = 0;
    loop {
        guest.post(256);
        match guest.take().len() {
            0 => break,
            length => answers += length,
        }
    }
    assert_eq!(answers, REFUSED);
    guest.assert_alive();
}

/// Answers that belong to a connection are bounded, too.
#[test]
fn guest_that_does_not_read_is_not_read_any_more_either() {
    let mut guest = Guest::without_buffers();
    guest.send(5, 6, op::REQUEST, 0);
    let ask = |guest: &mut Guest| {
        let header = guest.header(5, 6, op::CREDIT_REQUEST);
        let header = guest.driver.data(header.as_slice());
        while guest.driver.free_descriptors(TX) > 0 {
            guest.driver.add(TX, &[header]);
        }
        guest.driver.kick(TX);
        taken(guest)
    };
    let asked: usize = (0..KEPT / 256 + 4).map(|_| ask(&mut guest)).sum();
    // The connection's own answer is one of them.
    assert_eq!(1 + asked, KEPT);
    // Room for ten answers is room for ten packets.
    guest.post(10);
    assert_eq!(taken(&mut guest), 10);
    assert_eq!(guest.take().len(), 10);
}

#[test]
fn full_ring_of_packets_is_taken_in_one_go_and_answered() {
    let mut guest = Guest::new();
    let header = guest.header(5, 6, op::RW);
    let header = guest.driver.data(header.as_slice());
    for _ in 0..256 {
        guest.driver.add(TX, &[header]);
    }
    guest.driver.kick(TX);
    assert_eq!(std::iter::from_fn(|| guest.driver.used(TX)).count(), 256);
    assert_eq!(guest.receive().len(), 256);
}

#[test]
fn one_turn_takes_a_bounded_number_of_packets() {
    let mut guest = Guest::new();
    let _stream = guest.connect(5, 6);
    let header = guest.header(5, 6, op::CREDIT_UPDATE);
    let header = guest.driver.data(header.as_slice());
    for _ in 0..256 {
        guest.driver.add(TX, &[header]);
    }
    guest.driver.notify(TX);
    guest.driver.turn();
    assert_eq!(std::iter::from_fn(|| guest.driver.used(TX)).count(), 256);
    // A ring's worth is a turn's worth: the device asks for another one, to see whether that was all.
    assert!(guest.driver.turn());
    guest.driver.run();
    guest.assert_alive();
}

#[test]
fn one_turn_takes_a_bounded_number_of_pieces() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let header = Header {
        length: 254,
        ..guest.header(5, 6, op::RW)
    };
    let mut chain = vec![guest.driver.data(header.as_slice())];
    chain.extend([guest.driver.data(&[1]); 254]);
    for _ in 0..100 {
        guest.driver.add_indirect(TX, &chain);
    }
    guest.driver.notify(TX);
    guest.driver.turn();
    let first = taken(&mut guest);
    assert!((1..=9).contains(&first), "{first}");
    guest.driver.run();
    assert_eq!(first + taken(&mut guest), 100);
    assert!(!read(&mut stream).is_empty());
}

#[test]
fn buffer_without_room_for_data_loses_no_connection() {
    let mut guest = Guest::without_buffers();
    guest.post(1);
    guest.send(5, 6, op::REQUEST, 0);
    guest.take();
    let (_, mut stream) = guest.streams.lock().unwrap().pop().unwrap();
    stream.write_all(b"data").unwrap();
    guest.driver.run();
    let small = [0, 1, 43, 44].map(|length| guest.driver.room(length));
    for room in small {
        guest.driver.add(RX, &[room]);
    }
    let read_only = guest.driver.data(&[0; 100]);
    guest.driver.add(RX, &[read_only]);
    let outside = Buffer::writable(MEMORY as u64, 1000);
    guest.driver.add(RX, &[small[3], outside]);
    guest.driver.kick(RX);
    let used = std::iter::from_fn(|| guest.driver.used(RX));
    assert_eq!(used.map(|(_, length)| length).collect::<Vec<_>>(), [0; 6]);
    guest.post(1);
    assert_eq!(guest.data(), b"data");
    guest.assert_works(&mut stream, 5, 6);
}

#[test]
fn buffers_in_pieces_and_tables_are_filled() {
    let mut guest = Guest::without_buffers();
    let (head, data) = (guest.driver.room(44), guest.driver.room(10));
    guest.driver.add(RX, &[head, data]);
    guest.driver.add_indirect(RX, &[head, data]);
    guest.send(5, 6, op::REQUEST, 0);
    assert_eq!(guest.driver.used(RX).unwrap().1, 44);
    let (_, mut stream) = guest.streams.lock().unwrap().pop().unwrap();
    stream.write_all(b"0123456789abc").unwrap();
    guest.driver.run();
    assert_eq!(guest.driver.used(RX).unwrap().1, 54);
    assert_eq!(guest.driver.get(data.address, 10), b"0123456789");
    guest.post(1);
    assert_eq!(guest.data(), b"abc");
}

#[test]
fn packet_in_one_piece_or_many_or_a_table_is_taken() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let header = Header {
        length: 6,
        ..guest.header(5, 6, op::RW)
    };
    let mut bytes = header.as_slice().to_vec();
    bytes.extend(b"abc");
    let (first, second) = (guest.driver.data(&bytes), guest.driver.data(b"defgh"));
    guest.driver.add(TX, &[first, second]);
    guest.driver.add_indirect(TX, &[first, second]);
    let whole = [bytes.as_slice(), b"xyz more than it says"].concat();
    let whole = guest.driver.data(&whole);
    guest.driver.add(TX, &[whole]);
    guest.driver.kick(TX);
    assert_eq!(taken(&mut guest), 3);
    assert_eq!(read(&mut stream), b"abcdefabcdefabcxyz");
}

#[test]
fn packets_that_are_none_are_dropped() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let good = Header {
        length: 4,
        ..guest.header(5, 6, op::RW)
    };
    let header = guest.driver.data(good.as_slice());
    let data = guest.driver.data(b"data");
    let short = Buffer::readable(header.address, 43);
    let writable = Buffer::writable(data.address, 4);
    for chain in [
        vec![short, data],
        vec![short],
        vec![header],
        vec![header, writable],
        vec![writable],
        vec![Buffer::readable(header.address, 0)],
        vec![Buffer::readable(MEMORY as u64 - 43, 44), data],
        vec![Buffer::readable(u64::MAX - 10, 44), data],
        vec![header, Buffer::readable(data.address, 3)],
    ] {
        guest.driver.add(TX, &chain);
        guest.driver.kick(TX);
        assert_eq!(taken(&mut guest), 1, "{chain:?}");
    }
    let large = Header {
        length: (64 << 10) + 1,
        ..good
    };
    let large = guest.driver.data(large.as_slice());
    guest
        .driver
        .add(TX, &[large, Buffer::readable(0x10_0000, 1 << 20)]);
    let raw = Raw {
        address: header.address,
        length: 44,
        flags: NEXT,
        next: 7,
    };
    guest.driver.describe(TX, 7, raw);
    guest.driver.offer(TX, 7);
    guest.driver.kick(TX);
    assert_eq!(guest.operations(), []);
    assert_eq!(read(&mut stream), b"");
    guest.driver.reset();
    guest.rooms.clear();
    guest.driver.start(0);
    guest.post(16);
    guest.assert_alive();
}

#[test]
fn data_outside_of_memory_resets_the_connection() {
    let mut guest = Guest::new();
    let mut stream = guest.connect(5, 6);
    let header = Header {
        length: 8,
        ..guest.header(5, 6, op::RW)
    };
    let header = guest.driver.data(header.as_slice());
    let data = guest.driver.data(b"half");
    let outside = Buffer::readable(MEMORY as u64 - 2, 4);
    guest.driver.add(TX, &[header, data, outside]);
    guest.driver.kick(TX);
    taken(&mut guest);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    assert!(ended(&mut stream));
}

#[test]
fn packets_from_or_to_others_are_dropped() {
    let mut guest = Guest::new();
    let good = guest.header(5, 6, op::REQUEST);
    for (source_cid, destination_cid) in [(CID, 1), (CID, 3), (CID, CID), (8, 2), (2, 2)] {
        let header = Header {
            source_cid,
            destination_cid,
            ..good
        };
        guest.send_packet(header, &[]);
        assert_eq!(guest.operations(), []);
    }
    assert!(guest.streams.lock().unwrap().is_empty());
}

#[test]
fn what_is_not_connected_is_reset_and_resets_are_not_answered() {
    let mut guest = Guest::new();
    for operation in [
        op::RESPONSE,
        op::SHUTDOWN,
        op::CREDIT_UPDATE,
        op::CREDIT_REQUEST,
        0,
        99,
    ] {
        guest.send(5, 6, operation, 0);
        assert_eq!(guest.operations(), [(op::RST, 0)], "{operation}");
    }
    guest.write(5, 6, b"data");
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    guest.send(5, 6, op::RST, 0);
    assert_eq!(guest.operations(), []);
    let datagram = Header {
        kind: 3,
        ..guest.header(5, 6, op::REQUEST)
    };
    guest.send_packet(datagram, &[]);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
}

#[test]
fn what_a_connection_cannot_be_told_ends_it() {
    for operation in [op::REQUEST, op::RESPONSE, 0, 8, u16::MAX] {
        let mut guest = Guest::new();
        let mut stream = guest.connect(5, 6);
        guest.send(5, 6, operation, 0);
        assert_eq!(guest.operations(), [(op::RST, 0)], "{operation}");
        assert!(ended(&mut stream));
    }
}

#[test]
fn data_before_the_answer_ends_the_connection() {
    let mut guest = Guest::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    guest.handle.connect(80, theirs).unwrap();
    let host = guest.receive()[0].0.source_port;
    guest.write(host, 80, b"hasty");
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    assert!(ended(&mut ours));
}

#[test]
fn connections_beyond_the_limit_are_refused_in_both_directions() {
    let mut guest = Guest::new();
    let most = 1024;
    for port in 0..most {
        guest.send(5, port, op::REQUEST, 0);
        assert_eq!(guest.operations(), [(op::RESPONSE, 0)]);
    }
    guest.send(5, most, op::REQUEST, 0);
    assert_eq!(guest.operations(), [(op::RST, 0)]);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    guest.handle.connect(80, theirs).unwrap();
    guest.driver.run();
    assert!(ended(&mut ours));
    guest.send(5, 0, op::RST, 0);
    guest.assert_alive();
}

#[test]
fn ring_index_that_jumps_is_not_followed() {
    let mut guest = Guest::new();
    for queue in [RX, TX] {
        guest.driver.set_available(queue, 0x7000);
        guest.driver.kick(queue);
        assert_eq!(guest.driver.used(queue), None);
    }
    guest.driver.reset();
    guest.rooms.clear();
    guest.driver.start(0);
    guest.post(16);
    guest.assert_alive();
}

#[test]
fn device_without_its_second_queue_does_nothing_until_a_reset() {
    let mut guest = Guest::new();
    guest.driver.reset();
    assert!(guest.driver.negotiate(1 << 32));
    guest.driver.set_up_queue(RX);
    guest.driver.write(register::STATUS, 15);
    let (_ours, theirs) = UnixStream::pair().unwrap();
    guest.handle.connect(80, theirs).unwrap();
    guest.driver.kick(TX);
    guest.driver.reset();
    guest.rooms.clear();
    guest.driver.start(0);
    guest.post(16);
    assert_eq!(guest.operations(), [(op::REQUEST, 0)]);
    guest.assert_alive();
}
