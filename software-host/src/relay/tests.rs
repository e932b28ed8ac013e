use std::{io::Read, sync::mpsc, thread::JoinHandle};

use super::*;
use crate::mux::{Incoming, Side};

/// One end of a connection, and what the other opens.
fn end(socket: UnixStream, side: Side) -> (Mux, mpsc::Receiver<Incoming>) {
    let (input, output) = (socket.try_clone().unwrap(), socket);
    let (mux, mut reading) = Mux::new(input, output, side).unwrap();
    let (accepted, incoming) = mpsc::channel();
    thread::spawn(move || {
        reading.greet().unwrap();
        reading.run(|channel| accepted.send(channel).unwrap())
    });
    (mux, incoming)
}

/// A relay inside, the socket that it relays, and the channel's other end outside.
struct Scene {
    inside: Arc<Exchange>,
    incoming: mpsc::Receiver<Incoming>,
    peer: Socket,
    relay: JoinHandle<()>,
    messages: Messages,
    sender: Sender,
}

fn scene() -> Scene {
    let (one, other) = UnixStream::pair().unwrap();
    let (inside, _) = end(one, Side::Inside);
    let (_, incoming) = end(other, Side::Outside);
    let inside = Exchange::new(inside);
    let ours = inside.mux.open(b"relay").unwrap();
    let Channel { sender, receiver } = incoming.recv().unwrap().channel;
    let (local, peer) = Socket::pair().unwrap();
    let this = inside.clone();
    let relay = thread::spawn(move || {
        let messages = Messages::new(ours.receiver);
        this.relay(
            &Arc::new(local),
            ours.sender,
            messages,
            |_| None,
            |_| None,
            || {},
        );
    });
    Scene {
        inside,
        incoming,
        peer,
        relay,
        messages: Messages::new(receiver),
        sender,
    }
}

#[test]
fn stream_that_has_no_channel_is_closed_and_the_others_go_on() {
    let mut scene = scene();
    let mut all = Vec::new();
    while let Ok(channel) = scene.inside.open(&Purpose::Stream) {
        all.push((channel, scene.incoming.recv().unwrap()));
    }
    let (mut guest, attached) = UnixStream::pair().unwrap();
    let sent = scene.peer.send_bytes(b"first", Some(attached.as_fd()));
    sent.unwrap();
    drop(attached);
    let message = scene.messages.next(MAX_MESSAGE).unwrap();
    assert_eq!(message, Some((b"first".to_vec(), 0)));
    assert_eq!(guest.read(&mut [0; 8]).unwrap(), 0);
    scene.peer.send_bytes(b"second", None).unwrap();
    let message = scene.messages.next(MAX_MESSAGE).unwrap();
    assert_eq!(message, Some((b"second".to_vec(), 0)));
    drop(scene.peer);
    assert_eq!(scene.messages.next(MAX_MESSAGE).unwrap(), None);
    scene.sender.finish();
    scene.relay.join().unwrap();
}
