//! The socket by which a monitor's owner talks to it ([`contracts::monitor`]): packets, with a stream's descriptor
//! beside some of them.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg,
    sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

use contracts::monitor::MAX_PACKET;

/// One end of a control socket.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
}

impl Socket {
    /// Both ends of a new socket, closed when another program is executed.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { descriptor: one }, Self { descriptor: other }))
    }

    /// Sends a message, and a descriptor with it.
    ///
    /// # Errors
    /// When the other end is closed, or the message is longer than [`MAX_PACKET`].
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let packet = serde_json::to_vec(message)?;
        if packet.len() > MAX_PACKET {
            let words = format!(
                "packet of {} bytes; at most {MAX_PACKET} are sent",
                packet.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::Error::other(
                "no space for a descriptor beside the packet",
            ));
        }
        let flags = SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| {
            sendmsg(
                &self.descriptor,
                &[IoSlice::new(&packet)],
                &mut ancillary,
                flags,
            )
        })?;
        Ok(())
    }

    /// The next message and the descriptor that came with it; waits unless the socket is
    /// non-blocking. `None` at the end.
    ///
    /// # Errors
    /// When the packet is too long or not a message of the type, or as `recvmsg(2)`.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        // Most packets have some dozen bytes; one that is too long is cut, and seen to be.
        let mut packet = vec![0; self.next_length()?.min(MAX_PACKET)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::CMSG_CLOEXEC;
            let mut pieces = [IoSliceMut::new(&mut packet)];
            match recvmsg(&self.descriptor, &mut pieces, &mut ancillary, flags) {
                // A peer that died with packets of ours unread is told once, and before its own last packets.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        // An empty vector receives nothing, which must not be taken for the end.
        if received.flags.contains(ReturnFlags::TRUNC) {
            let words = format!("packet of more than {MAX_PACKET} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        let mut descriptor = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(packet.get(..received.bytes).unwrap_or_default())?;
        Ok(Some((message, descriptor)))
    }
}

impl Socket {
    /// Bytes of the next packet, which stays where it is; waits for it unless the socket is
    /// non-blocking. 0 at the end.
    fn next_length(&self) -> io::Result<usize> {
        let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
        let mut none = [0; 0];
        loop {
            return match recv(&self.descriptor, &mut none, flags) {
                Ok((_, length)) => Ok(length),
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<OwnedFd> for Socket {
    fn from(descriptor: OwnedFd) -> Self {
        Self { descriptor }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.descriptor
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;
    use contracts::monitor::{FromMonitor, Report, StopReason, ToMonitor};

    #[test]
    fn stream_travels_beside_its_message() {
        let (one, other) = Socket::pair().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        one.send(
            &FromMonitor::Connection {
                port: 7,
                walls: None,
            },
            Some(theirs.as_fd()),
        )
        .unwrap();
        let (message, descriptor) = other.receive::<FromMonitor>().unwrap().unwrap();
        assert_eq!(
            message,
            FromMonitor::Connection {
                port: 7,
                walls: None
            }
        );
        UnixStream::from(descriptor.unwrap())
            .write_all(b"x")
            .unwrap();
        let mut byte = [0];
        ours.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn closed_end_is_the_end() {
        let (one, other) = Socket::pair().unwrap();
        one.send(&ToMonitor::Stop, None).unwrap();
        drop(one);
        assert_eq!(
            other.receive::<ToMonitor>().unwrap().unwrap().0,
            ToMonitor::Stop
        );
        assert!(other.receive::<ToMonitor>().unwrap().is_none());
    }

    #[test]
    fn last_words_of_an_end_that_had_not_read_all_are_heard() {
        let (one, other) = Socket::pair().unwrap();
        one.send(&ToMonitor::Stop, None).unwrap();
        other.send(&ToMonitor::Stop, None).unwrap();
        drop(one);
        let last = other.receive::<ToMonitor>().unwrap();
        assert_eq!(last.unwrap().0, ToMonitor::Stop);
        assert!(other.receive::<ToMonitor>().unwrap().is_none());
    }

    #[test]
    fn packet_that_is_too_long_is_an_error_and_the_next_one_is_read() {
        let (one, other) = Socket::pair().unwrap();
        rustix::io::write(&one, &vec![b' '; MAX_PACKET + 1]).unwrap();
        one.send(&ToMonitor::Stop, None).unwrap();
        assert!(other.receive::<ToMonitor>().is_err());
        let next = other.receive::<ToMonitor>().unwrap().unwrap();
        assert_eq!(next.0, ToMonitor::Stop);
    }

    #[test]
    fn report_with_the_worst_console_fits_into_a_packet() {
        use std::io::Write;
        for byte in [1, b'"', 0xff] {
            let mut console = crate::console::Console::new(false);
            console.write_all(&vec![byte; MAX_PACKET]).unwrap();
            let report = FromMonitor::Stopped(Report {
                reason: StopReason::Failed("x".repeat(1000)),
                console: console.text(),
                timeline: vec![("a step of the start".into(), u64::MAX); 100],
                failures: vec!["a disk could not be written".into(); contracts::monitor::MAX_DISKS],
            });
            let (one, other) = Socket::pair().unwrap();
            one.send(&report, None).unwrap();
            let received = other.receive::<FromMonitor>().unwrap().unwrap();
            assert_eq!(received.0, report);
        }
    }

    #[test]
    fn largest_packet_arrives_whole() {
        let (one, other) = Socket::pair().unwrap();
        let mut packet = br#""stop""#.to_vec();
        packet.resize(MAX_PACKET, b' ');
        rustix::io::write(&one, &packet).unwrap();
        let message = other.receive::<ToMonitor>().unwrap().unwrap();
        assert_eq!(message.0, ToMonitor::Stop);
    }

    #[test]
    fn packet_that_is_no_message_is_an_error() {
        let (one, other) = Socket::pair().unwrap();
        rustix::io::write(&one, b"{\"jump\":{}}").unwrap();
        assert!(other.receive::<ToMonitor>().is_err());
    }
}
