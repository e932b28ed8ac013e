//! Ends that send, die, and send what is no message.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::MetadataExt, net::UnixStream},
};

use super::*;

fn text(socket: &Socket) -> Option<String> {
    socket.receive().unwrap().map(|(text, _)| text)
}

#[test]
fn descriptor_travels_beside_its_packet() {
    let (one, other) = Socket::pair().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    one.send(&"take this", Some(theirs.as_fd())).unwrap();
    drop(theirs);
    let (message, descriptor) = other.receive::<String>().unwrap().unwrap();
    assert_eq!(message, "take this");
    let mut theirs = UnixStream::from(descriptor.unwrap());
    theirs.write_all(b"thanks").unwrap();
    drop(theirs);
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "thanks");
}

#[test]
fn closed_end_is_the_end() {
    let (one, other) = Socket::pair().unwrap();
    one.send(&"last", None).unwrap();
    drop(one);
    assert_eq!(text(&other).as_deref(), Some("last"));
    assert!(text(&other).is_none());
}

#[test]
fn finished_end_is_read_to_its_end_and_still_hears() {
    let (one, other) = Socket::pair().unwrap();
    one.send(&"last", None).unwrap();
    one.finish();
    assert_eq!(text(&other).as_deref(), Some("last"));
    assert!(text(&other).is_none());
    other.send(&"and mine", None).unwrap();
    assert_eq!(text(&one).as_deref(), Some("and mine"));
}

#[test]
fn last_words_of_an_end_that_had_not_read_all_are_heard() {
    let (one, other) = Socket::pair().unwrap();
    one.send(&"one", None).unwrap();
    other.send(&"other", None).unwrap();
    drop(one);
    assert_eq!(text(&other).as_deref(), Some("one"));
    assert!(text(&other).is_none());
}

#[test]
fn packet_that_is_too_long_is_an_error_and_the_next_one_is_read() {
    let (one, other) = Socket::pair().unwrap();
    rustix::io::write(&one, &vec![b' '; MAX_PACKET + 1]).unwrap();
    one.send(&"next", None).unwrap();
    assert!(other.receive_bytes().is_err());
    assert_eq!(text(&other).as_deref(), Some("next"));
    assert!(one.send_bytes(&vec![b' '; MAX_PACKET + 1], None).is_err());
}

#[test]
fn largest_packet_arrives_whole() {
    let (one, other) = Socket::pair().unwrap();
    let packet = vec![7; MAX_PACKET];
    one.send_bytes(&packet, None).unwrap();
    assert_eq!(other.receive_bytes().unwrap().unwrap().0, packet);
}

#[test]
fn packet_that_is_no_message_is_an_error() {
    let (one, other) = Socket::pair().unwrap();
    rustix::io::write(&one, b"{\"jump\":{}}").unwrap();
    assert!(other.receive::<String>().is_err());
}

#[test]
fn socket_with_a_long_path_is_reached_by_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x".repeat(150)).join("socket");
    let kind = |result: io::Result<Socket>| result.unwrap_err().kind();
    assert_eq!(kind(Socket::connect(&path)), io::ErrorKind::NotFound);
    fs::create_dir(path.parent().unwrap()).unwrap();
    let listening = listener(&path).unwrap();
    let ours = Socket::connect(&path).unwrap();
    let theirs = Socket::accept(&listening).unwrap();
    ours.send(&"here", None).unwrap();
    assert_eq!(text(&theirs).as_deref(), Some("here"));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(listening);
    let refused = io::ErrorKind::ConnectionRefused;
    assert_eq!(kind(Socket::connect(&path)), refused);
}
