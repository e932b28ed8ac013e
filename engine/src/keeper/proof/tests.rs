use std::io::{Read, Write};

use contracts::keeper::Event;
use packets::Socket;

use super::*;
use crate::keeper::{clients::Role, execs};

/// A keeper, and a promise of standard input and output to a client that runs something.
struct Stage {
    keeper: Keeper,
    client: Socket,
    stdio: Stdio,
    _directory: tempfile::TempDir,
}

fn stage() -> Stage {
    let (directory, mut keeper) = execs::tests::keeper();
    let (client, theirs) = Socket::pair().unwrap();
    let number = keeper.add_client(theirs, Role::Running);
    let stdio = keeper.promise(true, true, false).unwrap();
    keeper
        .execs
        .push(execs::tests::running("one", number, stdio));
    Stage {
        keeper,
        client,
        stdio,
        _directory: directory,
    }
}

impl Stage {
    /// A connection to the port of standard output, as the guest has it; what it sends first has
    /// arrived.
    fn connect(&mut self, first: &[u8]) -> UnixStream {
        let (mut guest, ours) = UnixStream::pair().unwrap();
        guest.write_all(first).unwrap();
        self.keeper.doubt(self.stdio.stdout.unwrap().number, ours);
        guest
    }

    fn secret(&self) -> [u8; SECRET_BYTES] {
        *self.stdio.stdout.unwrap().secret.bytes()
    }

    /// The stream that the client was given, if any.
    fn given(&self) -> Option<UnixStream> {
        rustix::io::ioctl_fionbio(&self.client, true).unwrap();
        let (event, stream) = self.client.receive::<Event>().ok()??;
        assert_eq!(event, Event::Stream { index: 1 });
        stream.map(UnixStream::from)
    }
}

/// Nothing was sent by a connection, and it is closed.
fn is_closed(mut guest: UnixStream) -> bool {
    matches!(guest.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn secrets_of_streams_are_random_and_differ() {
    let mut stage = stage();
    let one = stage.stdio;
    let two = stage.keeper.promise(true, true, true).unwrap();
    let all = [one.stdin, one.stdout, two.stdin, two.stdout, two.stderr];
    let mut secrets: Vec<[u8; SECRET_BYTES]> = all
        .iter()
        .map(|port| *port.unwrap().secret.bytes())
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), all.len());
    assert!(!secrets.contains(&[0; SECRET_BYTES]));
}

#[test]
fn who_does_not_know_the_secret_gets_nothing_and_leaves_the_promise() {
    let mut stage = stage();
    let mut almost = stage.secret();
    almost[SECRET_BYTES - 1] ^= 1;
    let forged = stage.connect(&[&almost[..], b"forged"].concat());
    assert!(is_closed(forged));
    assert!(stage.given().is_none());
    let secret = stage.secret();
    let mut guest = stage.connect(&[&secret[..], b"real"].concat());
    let mut stream = stage.given().unwrap();
    // Init is told, and nobody else is.
    let mut answer = [0];
    guest.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [TAKEN]);
    guest.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "real");
    // The promise is used up by now.
    assert!(is_closed(stage.connect(&secret)));
    assert!(guest.write(b"x").is_err() || stage.given().is_none());
}

#[test]
fn who_comes_first_and_says_nothing_keeps_nobody_out_and_gets_no_input() {
    let mut stage = stage();
    let mut silent = stage.connect(b"");
    let secret = stage.secret();
    let _guest = stage.connect(&secret);
    let mut stream = stage.given().unwrap();
    stream.write_all(b"for init").unwrap();
    silent.set_nonblocking(true).unwrap();
    let nothing = silent.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    // Even with the right secret it comes too late.
    silent.set_nonblocking(false).unwrap();
    silent.write_all(&secret).unwrap();
    let (number, _) = stage.keeper.unproved.sources().next().unwrap();
    stage.keeper.prove(number);
    assert!(stage.given().is_none());
    assert!(stage.keeper.unproved.all.is_empty());
    assert!(is_closed(silent));
}

#[test]
fn proof_that_comes_in_pieces_is_taken() {
    let mut stage = stage();
    let secret = stage.secret();
    let mut guest = stage.connect(&secret[..5]);
    assert!(stage.given().is_none());
    guest.write_all(&secret[5..]).unwrap();
    let (number, _) = stage.keeper.unproved.sources().next().unwrap();
    stage.keeper.prove(number);
    assert!(stage.given().is_some());
}

#[test]
fn flood_between_a_connection_and_its_proof_does_not_push_it_out() {
    let mut stage = stage();
    let mut guest = stage.connect(b"");
    let (number, _) = stage.keeper.unproved.sources().next().unwrap();
    let _flood: Vec<UnixStream> = (1..MOST_OF_A_PORT).map(|_| stage.connect(b"")).collect();
    guest.write_all(&stage.secret()).unwrap();
    stage.keeper.prove(number);
    assert!(stage.given().is_some());
}

/// Each is as likely to give way: init's gets through in the end, who floods and whoever came first.
#[test]
fn flood_without_end_does_not_push_every_connection_out() {
    let mut stage = stage();
    let secret = stage.secret();
    let mut flood: Vec<UnixStream> = (0..100).map(|_| stage.connect(b"")).collect();
    let taken = (0..1000).any(|_| {
        let mut guest = stage.connect(b"");
        let number = stage.keeper.unproved.last;
        flood.extend((0..20).map(|_| stage.connect(b"")));
        flood.drain(..20);
        let sent = guest.write_all(&secret);
        stage.keeper.prove(number);
        sent.is_ok() && stage.given().is_some()
    });
    assert!(taken);
}

#[test]
fn silent_connections_end_in_time_and_are_few() {
    let mut stage = stage();
    let guests: Vec<UnixStream> = (0..100).map(|_| stage.connect(b"")).collect();
    assert_eq!(stage.keeper.unproved.all.len(), MOST_OF_A_PORT);
    assert!(stage.keeper.unproved.next().is_some());
    for connection in &mut stage.keeper.unproved.all {
        connection.until = Instant::now();
    }
    stage.keeper.unproved.expire();
    assert!(stage.keeper.unproved.next().is_none());
    assert!(guests.into_iter().all(is_closed));
    let secret = stage.secret();
    let _guest = stage.connect(&secret);
    assert!(stage.given().is_some());
}

#[test]
fn port_that_was_not_promised_is_closed() {
    let mut stage = stage();
    let (guest, ours) = UnixStream::pair().unwrap();
    stage.keeper.doubt(stage.keeper.next_port, ours);
    assert!(is_closed(guest));
}
