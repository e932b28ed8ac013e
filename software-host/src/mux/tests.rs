//! The mux over a socket pair, both ends in this process.

use std::{
    os::unix::net::UnixStream,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use super::*;

struct End {
    mux: Mux,
    incoming: mpsc::Receiver<Incoming>,
    reading: JoinHandle<Error>,
    socket: UnixStream,
}

fn end(socket: UnixStream, side: Side) -> End {
    let (input, output) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
    let (mux, mut reading) = Mux::new(input, output, side).unwrap();
    let (accepted, incoming) = mpsc::channel();
    let reading = thread::spawn(move || match reading.greet() {
        Ok(()) => reading.run(|channel| accepted.send(channel).unwrap()),
        Err(error) => error,
    });
    End {
        mux,
        incoming,
        reading,
        socket,
    }
}

fn pair() -> (End, End) {
    let (outside, inside) = UnixStream::pair().unwrap();
    (end(outside, Side::Outside), end(inside, Side::Inside))
}

fn channel(from: &End, to: &End) -> (Channel, Channel) {
    let ours = from.mux.open(b"test").unwrap();
    let theirs = to.incoming.recv().unwrap();
    assert_eq!(theirs.purpose, b"test");
    assert_eq!(theirs.channel.number(), ours.number());
    (ours, theirs.channel)
}

fn read_all(mut receiver: Receiver) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = receiver.receive()? {
        all.extend_from_slice(&piece);
        receiver.consumed(piece.len())?;
    }
    Ok(all)
}

/// A bare socket in place of the inner end, to send what no honest end would.
fn hostile(frames: &[&[u8]]) -> Error {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let outside = end(ours, Side::Outside);
    let hello = Header {
        channel: 0,
        kind: Kind::Hello,
        length: GREETING.len(),
    };
    theirs
        .write_all(&[&hello.encode(), GREETING].concat())
        .unwrap();
    for frame in frames {
        theirs.write_all(frame).unwrap();
    }
    outside.reading.join().unwrap()
}

fn frame(channel: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        channel,
        kind,
        length: payload.len(),
    };
    [&header.encode(), payload].concat()
}

#[test]
fn more_than_many_windows_arrive_in_order() {
    let (outside, inside) = pair();
    let (ours, theirs) = channel(&outside, &inside);
    let data: Vec<u8> = (0..8 * WINDOW)
        .map(|index| index.to_le_bytes()[0] ^ 7)
        .collect();
    let (mut sender, sent) = (ours.sender, data.clone());
    let sending = thread::spawn(move || {
        sender.send(&sent).unwrap();
        sender.finish();
    });

    assert!(read_all(theirs.receiver).unwrap() == data);
    sending.join().unwrap();
}

#[test]
fn stream_that_nobody_reads_does_not_hold_up_another() {
    let (outside, inside) = pair();
    let (stalled, unread) = channel(&outside, &inside);
    let (lively, theirs) = channel(&outside, &inside);
    let mut sender = stalled.sender;
    let (filled, full) = mpsc::channel();
    let sending = thread::spawn(move || {
        sender.send(&vec![1; WINDOW]).unwrap();
        filled.send(()).unwrap();
        sender.send(&[1])
    });
    full.recv().unwrap();

    let mut sender = lively.sender;
    let other = thread::spawn(move || {
        sender.send(&vec![2; 3 * WINDOW]).unwrap();
        sender.finish();
    });
    assert_eq!(read_all(theirs.receiver).unwrap().len(), 3 * WINDOW);
    other.join().unwrap();

    drop(unread);
    assert_eq!(
        sending.join().unwrap().unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn half_closed_stream_still_answers() {
    let (outside, inside) = pair();
    let (mut ours, mut theirs) = channel(&inside, &outside);
    ours.sender.send(b"question").unwrap();
    ours.sender.finish();
    assert_eq!(read_all(theirs.receiver).unwrap(), b"question");

    theirs.sender.send(b"answer").unwrap();
    theirs.sender.finish();
    assert_eq!(read_all(ours.receiver).unwrap(), b"answer");
}

#[test]
fn dropped_sender_breaks_the_stream_off() {
    let (outside, inside) = pair();
    let (mut ours, theirs) = channel(&outside, &inside);
    ours.sender.send(b"half a sentence").unwrap();
    drop(ours.sender);

    let error = read_all(theirs.receiver).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn ended_channel_is_forgotten_by_both_ends() {
    let (outside, inside) = pair();
    let (ours, theirs) = channel(&outside, &inside);
    ours.sender.finish();
    theirs.sender.finish();
    assert!(read_all(theirs.receiver).unwrap().is_empty());
    assert!(read_all(ours.receiver).unwrap().is_empty());

    // Frames are taken in order: when a later channel has come, the end of the first was dealt with.
    let _later = [channel(&outside, &inside), channel(&inside, &outside)];
    assert_eq!((outside.mux.channels(), inside.mux.channels()), (2, 2));
}

#[test]
fn lost_connection_breaks_every_stream() {
    let (outside, inside) = pair();
    let (mut ours, theirs) = channel(&outside, &inside);
    inside.socket.shutdown(std::net::Shutdown::Both).unwrap();

    assert!(matches!(outside.reading.join().unwrap(), Error::Channel(_)));
    assert!(matches!(inside.reading.join().unwrap(), Error::Channel(_)));
    assert!(ours.sender.send(b"anyone?").is_err());
    assert!(read_all(theirs.receiver).is_err());
    assert!(outside.mux.open(b"test").is_err());
}

#[test]
fn another_version_is_refused() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let outside = end(ours, Side::Outside);
    theirs
        .write_all(&frame(0, Kind::Hello, b"coracle machine 99"))
        .unwrap();

    let error = outside.reading.join().unwrap();
    assert!(
        matches!(error, Error::Violation(Violation::Greeting(_))),
        "{error}"
    );
}

#[test]
fn data_for_a_channel_never_opened_is_refused() {
    let error = hostile(&[&frame(2, Kind::Data, b"x")]);
    assert!(
        matches!(error, Error::Violation(Violation::Channel(2, Kind::Data))),
        "{error}"
    );
}

#[test]
fn channel_opened_with_the_wrong_number_is_refused() {
    for number in [1, 4] {
        let error = hostile(&[&frame(number, Kind::Open, b"x")]);
        assert!(
            matches!(error, Error::Violation(Violation::Order(_))),
            "{error}"
        );
    }
}

#[test]
fn more_data_than_granted_is_refused() {
    let piece = frame(2, Kind::Data, &[0; MAX_PAYLOAD]);
    let mut frames = vec![frame(2, Kind::Open, b"x")];
    frames.extend(std::iter::repeat_n(piece, WINDOW / MAX_PAYLOAD));
    frames.push(frame(2, Kind::Data, b"y"));

    let error = hostile(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert!(
        matches!(error, Error::Violation(Violation::Overrun { .. })),
        "{error}"
    );
}

#[test]
fn grant_beyond_the_window_is_refused() {
    for grant in [&[1, 0, 0, 0][..], &[1, 0, 0][..], &[0xff; 4][..]] {
        let open = frame(2, Kind::Open, b"x");
        let error = hostile(&[&open, &frame(2, Kind::Credit, grant)]);
        assert!(
            matches!(error, Error::Violation(Violation::Grant(2))),
            "{error}"
        );
    }
}
