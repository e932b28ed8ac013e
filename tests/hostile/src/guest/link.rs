//! How a guest reaches its host: over vsock, or by a monitor's socket where there is no machine.

use std::{
    io::{IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
};

use contracts::guest::{
    CONTROL_PORT, ContainerSpec, ExitStatus, GuestMessage, HostMessage, Port, Stdio, VERSION,
    frame::{self, Decoder},
};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use crate::sys;

/// The way to the host.
pub(super) enum Link {
    /// A monitor's control socket.
    Door(OwnedFd),
    /// The guest's own sockets.
    Vsock,
}

/// Most descriptors of a packet (`SCM_MAX_FD`).
const MOST_DESCRIPTORS: usize = 253;

impl Link {
    /// As this program was started: with the number of a descriptor, or as a guest's first process.
    pub(super) fn new() -> Self {
        let door = std::env::args().nth(2).and_then(|word| word.parse().ok());
        match door {
            Some(number) if std::process::id() != 1 => Self::Door(sys::inherited(number)),
            _ => Self::Vsock,
        }
    }

    /// Ends with who started this program, or when they say a word, as a monitor does.
    pub(super) fn end_with_owner(&self) {
        let Self::Door(door) = self else { return };
        let Ok(door) = door.try_clone() else { return };
        thread::spawn(move || {
            let _ = recv(&door, &mut [0; 64], RecvFlags::empty());
            sys::exit(0)
        });
    }

    /// A connection to a port of the host.
    pub(super) fn connect(&self, port: u32) -> std::io::Result<UnixStream> {
        match self {
            Self::Vsock => {
                let socket = sys::vsock(port, 0).map_err(std::io::Error::from_raw_os_error)?;
                Ok(UnixStream::from(socket))
            }
            Self::Door(_) => {
                let (ours, theirs) = UnixStream::pair()?;
                let packet = format!("{{\"connection\":{{\"port\":{port}}}}}");
                self.packet(packet.as_bytes(), &[theirs.into()])?;
                Ok(ours)
            }
        }
    }

    /// A packet on a monitor's socket, with descriptors.
    pub(super) fn packet(&self, bytes: &[u8], attached: &[OwnedFd]) -> std::io::Result<()> {
        let Self::Door(door) = self else {
            return Ok(());
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = attached.iter().map(AsFd::as_fd).collect();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        sendmsg(
            door,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The control channel, without a word on it.
    pub(super) fn control(&self) -> Control {
        match self.connect(CONTROL_PORT) {
            Ok(stream) => Control {
                stream,
                decoder: Decoder::default(),
            },
            Err(error) => {
                eprintln!("attacker: cannot connect: {error}");
                sys::exit(2)
            }
        }
    }

    /// The control channel after the first word, and the container that is to be run.
    pub(super) fn greeted(&self) -> (Control, ContainerSpec) {
        let mut control = self.control();
        control.say(&hello());
        loop {
            if let HostMessage::Run(spec) = control.hear() {
                return (control, *spec);
            }
        }
    }

    /// The same with a container that has begun, and its streams.
    pub(super) fn begun(&self) -> (Control, ContainerSpec, Vec<UnixStream>) {
        let (mut control, spec) = self.greeted();
        let streams = self.streams(spec.stdio);
        control.say(&started(&spec.id));
        (control, spec, streams)
    }

    /// The streams that were promised, in their order.
    pub(super) fn streams(&self, stdio: Stdio) -> Vec<UnixStream> {
        let ports = ports(stdio).into_iter().flatten();
        ports.flat_map(|port| self.proved(port)).collect()
    }

    /// A stream with the secret of its port, which the host has taken where it answers.
    pub(super) fn proved(&self, port: Port) -> std::io::Result<UnixStream> {
        let mut stream = self.connect(port.number)?;
        stream.write_all(port.secret.bytes())?;
        if port.answered {
            stream.read_exact(&mut [0])?;
        }
        Ok(stream)
    }
}

/// The ports of standard streams.
pub(super) fn ports(stdio: Stdio) -> [Option<Port>; 3] {
    [stdio.stdin, stdio.stdout, stdio.stderr]
}

/// A control channel.
pub(super) struct Control {
    pub(super) stream: UnixStream,
    decoder: Decoder,
}

impl Control {
    /// Sends a message as the contract has it.
    pub(super) fn say(&mut self, message: &GuestMessage) {
        if let Ok(frame) = frame::encode(message) {
            self.write(&frame);
        }
    }

    /// Sends bytes that may be anything. What the other side does not take is for nobody to act on.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits for a message of the host; the end of the channel is the end of the program.
    pub(super) fn hear(&mut self) -> HostMessage {
        let mut room = [0; 16 << 10];
        loop {
            match self.decoder.next_message() {
                Ok(Some(message)) => return message,
                Ok(None) => {}
                Err(_) => sys::exit(2),
            }
            match self.stream.read(&mut room) {
                Ok(0) | Err(_) => sys::exit(0),
                Ok(length) => self.decoder.push(room.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// The first word of a guest in good order.
pub(super) fn hello() -> GuestMessage {
    GuestMessage::Hello {
        version: VERSION,
        kernel: "6.12-attack".into(),
        init_at: 1,
        at: 2,
    }
}

pub(super) fn started(id: &str) -> GuestMessage {
    GuestMessage::Started {
        id: id.into(),
        pid: 2,
        at: 3,
    }
}

pub(super) fn exited(id: &str, status: ExitStatus) -> GuestMessage {
    GuestMessage::Exited {
        id: id.into(),
        status,
        oom: false,
        damaged: false,
        at: 4,
    }
}
