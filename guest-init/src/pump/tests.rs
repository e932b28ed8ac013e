use std::{
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    os::unix::net::UnixStream,
};

use contracts::guest::{SECRET_BYTES, Secret};

use super::*;

const PORT: Port = Port {
    answered: true,
    number: 1025,
    secret: Secret::new(*b"sixteen bytes!!!"),
};

/// A connection: the host's end, and init's.
fn connection() -> (UnixStream, OwnedFd) {
    let (host, ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (host, ours.into())
}

/// A stream to a container, with the host's end and the container's.
fn to_container() -> (Pump, UnixStream, PipeReader) {
    let (host, ours) = connection();
    let (reader, writer) = pipe().unwrap();
    let pump = Pump::new(Direction::ToContainer, (ours, PORT), writer.into(), false);
    (pump, host, reader)
}

/// A stream from a container, likewise.
fn to_host() -> (Pump, UnixStream, PipeWriter) {
    let (host, ours) = connection();
    let (reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let pump = Pump::new(Direction::ToHost, (ours, PORT), reader.into(), false);
    (pump, host, writer)
}

/// What the host reads first.
fn secret(host: &mut UnixStream) -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    host.read_exact(&mut bytes).unwrap();
    bytes
}

fn rest(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_a_host_wrote_before_it_hung_up_arrives() {
    let (mut pump, mut host, reader) = to_container();
    assert_eq!(pump.socket_event(false), Turn::Wait);
    secret(&mut host);
    host.write_all(&[TAKEN]).unwrap();
    host.write_all(b"input").unwrap();
    drop(host);
    assert_eq!(pump.socket_event(true), Turn::Ended);
    drop(pump);
    assert_eq!(rest(reader), "input");
}

#[test]
fn secret_is_sent_once_and_no_output_before_the_host_has_taken_it() {
    let (mut pump, mut host, mut writer) = to_host();
    writer.write_all(b"output").unwrap();
    drop(writer);
    assert_eq!(pump.turn(), Turn::Wait);
    assert_eq!(pump.socket_event(false), Turn::Wait);
    assert_eq!(&secret(&mut host), PORT.secret.bytes());
    assert_eq!(pump.turn(), Turn::Wait);
    host.write_all(&[TAKEN]).unwrap();
    assert_eq!(pump.socket_event(false), Turn::Ended);
    drop(pump);
    assert_eq!(rest(host), "output");
}

/// Where nobody else can be in the guest.
#[test]
fn output_follows_the_secret_at_once_where_no_answer_comes() {
    let (mut host, ours) = connection();
    let (reader, mut writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let port = Port {
        answered: false,
        ..PORT
    };
    let mut pump = Pump::new(Direction::ToHost, (ours, port), reader.into(), false);
    writer.write_all(b"output").unwrap();
    drop(writer);
    assert_eq!(pump.socket_event(false), Turn::Ended);
    drop(pump);
    assert_eq!(&secret(&mut host), PORT.secret.bytes());
    assert_eq!(rest(host), "output");
}

/// However far the host has come with a connection that it closes, or says something else by: nothing was carried, and
/// the next one carries all.
#[test]
fn connection_that_was_not_taken_is_made_again_and_nothing_is_lost() {
    let ways: [fn(UnixStream); 4] = [
        drop,
        |mut host| {
            let _ = secret(&mut host);
        },
        |mut host| host.write_all(b"?").unwrap(),
        |host| host.shutdown(std::net::Shutdown::Both).unwrap(),
    ];
    for refuse in ways {
        let (mut pump, host, mut writer) = to_host();
        writer.write_all(b"output").unwrap();
        drop(writer);
        let _ = pump.turn();
        let _ = pump.socket_event(false);
        refuse(host);
        assert_eq!(pump.socket_event(true), Turn::Refused);
        let (mut host, ours) = connection();
        pump.reconnect(ours);
        assert_eq!(pump.socket_event(false), Turn::Wait);
        assert_eq!(&secret(&mut host), PORT.secret.bytes());
        host.write_all(&[TAKEN]).unwrap();
        assert_eq!(pump.socket_event(false), Turn::Ended);
        drop(pump);
        assert_eq!(rest(host), "output");
    }
}

#[test]
fn input_that_the_host_did_not_take_has_not_ended() {
    let (mut pump, host, reader) = to_container();
    assert_eq!(pump.socket_event(false), Turn::Wait);
    drop(host);
    assert_eq!(pump.socket_event(true), Turn::Refused);
    let (mut host, ours) = connection();
    pump.reconnect(ours);
    host.write_all(&[TAKEN]).unwrap();
    host.write_all(b"input").unwrap();
    host.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(pump.socket_event(false), Turn::Ended);
    drop(pump);
    assert_eq!(rest(reader), "input");
}

#[test]
fn stream_whose_connections_are_all_refused_is_lost_and_has_not_ended() {
    let (mut pump, host, _writer) = to_host();
    drop(host);
    for _ in 1..MOST_TRIES {
        assert_eq!(pump.socket_event(true), Turn::Refused);
        let (_, ours) = connection();
        pump.reconnect(ours);
    }
    assert_eq!(pump.socket_event(true), Turn::Lost);
}
