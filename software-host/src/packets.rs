//! `SOCK_SEQPACKET` unix sockets: whole packets, each with a descriptor or without.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with, socketpair,
};

use coracle_platform::private;

/// Largest packet in bytes: that of a monitor's control socket.
pub(super) const MAX_PACKET: usize = contracts::monitor::MAX_PACKET;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Packets {
    socket: OwnedFd,
}

impl From<OwnedFd> for Packets {
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl From<Packets> for OwnedFd {
    fn from(packets: Packets) -> Self {
        packets.socket
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// A socket at this path, which takes connections.
///
/// # Errors
/// As `bind(2)`.
pub(super) fn listener(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    private::close_socket(&socket)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

impl Packets {
    /// Two connected ends.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// Connects to the socket at this path.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self { socket })
    }

    /// The next connection to a listening socket.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub(super) fn accept(listener: impl AsFd) -> io::Result<Self> {
        Ok(Self {
            socket: accept_with(listener, SocketFlags::CLOEXEC)?,
        })
    }

    /// Sends one packet; waits for room.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub(super) fn send(&self, bytes: &[u8], attached: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(attached) = &attached {
            let pushed = ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(
                attached,
            )));
            debug_assert!(pushed, "the space is made for one descriptor");
        }
        rustix::io::retry_on_intr(|| {
            sendmsg(
                &self.socket,
                &[IoSlice::new(bytes)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            )
        })?;
        Ok(())
    }

    /// The next packet and what is attached; `None` when the other end is closed. Waits for it.
    ///
    /// # Errors
    /// As `recvmsg(2)`, and `InvalidData` for a packet over [`MAX_PACKET`].
    pub(super) fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let attached = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some((bytes, attached)))
    }

    /// Sends no more: the other end reads an end of file.
    pub(super) fn finish(&self) {
        // A socket that is not connected any more has finished already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Ends the connection, also for a thread that waits in it.
    pub(super) fn close(&self) {
        // As above.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn packet_brings_its_descriptor() {
        let (one, other) = Packets::pair().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        one.send(b"take this", Some(theirs.as_fd())).unwrap();
        drop(theirs);

        let (bytes, attached) = other.receive().unwrap().unwrap();
        assert_eq!(bytes, b"take this");
        let mut theirs = UnixStream::from(attached.unwrap());
        theirs.write_all(b"thanks").unwrap();
        drop(theirs);
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "thanks");
    }

    #[test]
    fn closed_end_is_told() {
        let (one, other) = Packets::pair().unwrap();
        one.send(b"last", None).unwrap();
        drop(one);

        assert_eq!(other.receive().unwrap().unwrap().0, b"last");
        assert!(other.receive().unwrap().is_none());
    }
}
