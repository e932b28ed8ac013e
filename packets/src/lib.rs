//! `SOCK_SEQPACKET` unix sockets: whole packets, each with a descriptor or without. A monitor and its owner, commands
//! and keepers, commands and a software host talk by them; what they say is JSON.
#![forbid(unsafe_code)]

mod listen;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
        accept_with, recv, recvmsg, sendmsg, shutdown, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};

pub use listen::listener;

/// Largest packet in bytes: a monitor's report carries the end of its guest's console, escaped.
pub const MAX_PACKET: usize = 128 << 10;

/// A packet's bytes, and the descriptor that came with it.
pub type Packet = (Vec<u8>, Option<OwnedFd>);

/// One end of a connection.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
}

impl Socket {
    /// Both ends of a new connection, closed when another program is executed.
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

    /// Connects to the socket at a path of any length.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let descriptor = listen::connected(path)?;
        Ok(Self { descriptor })
    }

    /// The next connection to a listening socket.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub fn accept(listener: impl AsFd) -> io::Result<Self> {
        let descriptor = accept_with(listener, SocketFlags::CLOEXEC)?;
        Ok(Self { descriptor })
    }

    /// Sends a message, and a descriptor with it.
    ///
    /// # Errors
    /// As [`Socket::send_bytes`].
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.send_bytes(&serde_json::to_vec(message)?, descriptor)
    }

    /// Sends a packet, and a descriptor with it.
    ///
    /// # Errors
    /// When the other end is closed, or the packet is longer than [`MAX_PACKET`].
    pub fn send_bytes(&self, packet: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
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
                &[IoSlice::new(packet)],
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
        let Some((packet, descriptor)) = self.receive_bytes()? else {
            return Ok(None);
        };
        Ok(Some((serde_json::from_slice(&packet)?, descriptor)))
    }

    /// The next packet; waits unless the socket is non-blocking. `None` at the end.
    ///
    /// # Errors
    /// When the packet is longer than [`MAX_PACKET`], or as `recvmsg(2)`.
    pub fn receive_bytes(&self) -> io::Result<Option<Packet>> {
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
        packet.truncate(received.bytes);
        Ok(Some((packet, descriptor)))
    }

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

    /// Sends no more: the other end reads an end of file.
    pub fn finish(&self) {
        // A socket that is not connected any more has finished already.
        let _ = shutdown(&self.descriptor, Shutdown::Write);
    }

    /// Ends the connection, also for a thread that waits in it.
    pub fn close(&self) {
        // As above.
        let _ = shutdown(&self.descriptor, Shutdown::Both);
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
