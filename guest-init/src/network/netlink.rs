//! The few messages of rtnetlink that a bridge with interfaces takes (netlink(7), rtnetlink(7);
//! numbers from linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h and linux/veth.h).
//!
//! All numbers are in the machine's own byte order, addresses in the network's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
};

use crate::failure::{Failure, Stage};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FDB_MAX_LEARNED: u16 = 49;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
/// The protocol of routes that `ip route add` and docker make.
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
const IFF_UP: u32 = 1;

/// Set in an attribute's type when attributes are its content.
const NLA_F_NESTED: u16 = 1 << 15;

/// Bytes of `struct nlmsghdr`, and of an attribute's header.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

/// Bytes of the largest answer: an interface with all its statistics is 2 KiB, and what does not
/// fit is cut off at its end, which is not read.
const ANSWER: usize = 4096;

/// An interface, by its number, or by its name where that is not known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Link<'a> {
    Name(&'a str),
    Index(u32),
}

/// Something that the kernel is asked to do.
#[derive(Debug, Clone)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// Makes a bridge that remembers at most so many hardware addresses of others (Linux 6.7; an
    /// older kernel has no limit).
    pub(super) fn new_bridge(name: &str, hardware: [u8; 6], learned: u32) -> Self {
        let kind = attribute(IFLA_INFO_KIND, b"bridge");
        let most = attribute(IFLA_BR_FDB_MAX_LEARNED, &learned.to_ne_bytes());
        let parts = [
            text(IFLA_IFNAME, name),
            attribute(IFLA_ADDRESS, &hardware),
            nested(IFLA_LINKINFO, &[kind, nested(IFLA_INFO_DATA, &[most])]),
        ];
        Self::create(RTM_NEWLINK, interface(0, 0), &parts)
    }

    /// Makes a pair of interfaces: `name` is a port of the bridge, `peer` is in the network
    /// namespace of a process.
    pub(super) fn new_pair(
        name: &str,
        bridge: u32,
        peer: &str,
        hardware: [u8; 6],
        pid: u32,
    ) -> Self {
        let mut other = interface(0, 0);
        other.extend(text(IFLA_IFNAME, peer));
        other.extend(attribute(IFLA_ADDRESS, &hardware));
        other.extend(attribute(IFLA_NET_NS_PID, &pid.to_ne_bytes()));
        let data = nested(IFLA_INFO_DATA, &[nested(VETH_INFO_PEER, &[other])]);
        let parts = [
            text(IFLA_IFNAME, name),
            attribute(IFLA_MASTER, &bridge.to_ne_bytes()),
            nested(IFLA_LINKINFO, &[attribute(IFLA_INFO_KIND, b"veth"), data]),
        ];
        Self::create(RTM_NEWLINK, interface(0, 0), &parts)
    }

    /// Removes an interface, and the other end of its pair.
    pub(super) fn delete(link: Link<'_>) -> Self {
        Self::about(RTM_DELLINK, link, 0, &[])
    }

    /// Brings an interface up.
    pub(super) fn up(link: Link<'_>) -> Self {
        Self::about(RTM_SETLINK, link, IFF_UP, &[])
    }

    /// Keeps an interface from giving itself a link-local address when it comes up, and from
    /// asking for routers ever after. A kernel without IPv6 refuses.
    pub(super) fn without_ipv6(link: Link<'_>) -> Self {
        let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
        let family = nested(AF_INET6, &[mode]);
        Self::about(RTM_SETLINK, link, 0, &[nested(IFLA_AF_SPEC, &[family])])
    }

    /// Asks about an interface. Before it answers, the kernel (6.8) does what is outstanding after
    /// a change of the interface's carrier: packets pass from then on.
    pub(super) fn look(link: Link<'_>) -> Self {
        Self::about(RTM_GETLINK, link, 0, &[])
    }

    /// Gives an interface an IPv4 address.
    pub(super) fn address(index: u32, address: [u8; 4], prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let broadcast = u32::from_be_bytes(address) | !mask;
        let mut head = vec![AF_INET, prefix, 0, 0];
        head.extend(index.to_ne_bytes());
        let parts = [
            attribute(IFA_LOCAL, &address),
            attribute(IFA_ADDRESS, &address),
            attribute(IFA_BROADCAST, &broadcast.to_be_bytes()),
        ];
        Self::create(RTM_NEWADDR, head, &parts)
    }

    /// Adds the route to all that has none of its own.
    pub(super) fn default_route(index: u32, gateway: [u8; 4]) -> Self {
        // Destination, source and their lengths are zero; so are flags.
        let mut head = vec![AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
        head.extend([0; 4]);
        let parts = [
            attribute(RTA_GATEWAY, &gateway),
            attribute(RTA_OIF, &index.to_ne_bytes()),
        ];
        Self::create(RTM_NEWROUTE, head, &parts)
    }

    fn create(kind: u16, head: Vec<u8>, parts: &[Vec<u8>]) -> Self {
        Self {
            kind,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: [head, parts.concat()].concat(),
        }
    }

    fn about(kind: u16, link: Link<'_>, flags: u32, parts: &[Vec<u8>]) -> Self {
        let body = match link {
            Link::Index(index) => interface(index, flags),
            Link::Name(name) => [interface(0, flags), text(IFLA_IFNAME, name)].concat(),
        };
        Self {
            kind,
            flags: 0,
            body: [body, parts.concat()].concat(),
        }
    }

    /// As the kernel reads it.
    fn bytes(&self, sequence: u32) -> Vec<u8> {
        let length = HEADER + self.body.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// `struct ifinfomsg`; of the flags only those that are set are changed.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// An attribute, padded to whole words.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE + content.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &parts.concat())
}

/// A name, with its final zero.
fn text(kind: u16, name: &str) -> Vec<u8> {
    attribute(kind, &[name.as_bytes(), &[0]].concat())
}

/// A connection to the part of the kernel that looks after the interfaces of the network namespace
/// that it was made in.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// One for this process's namespace.
    pub(super) fn new() -> Result<Self, Failure> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is 0, the family's default.
            None,
        )
        .stage(|| "open a netlink socket")?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Has the kernel do one thing.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ask(&mut self, request: &Request) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        send(
            &self.socket,
            &request.bytes(self.sequence),
            SendFlags::empty(),
        )?;
        let mut buffer = [0; ANSWER];
        loop {
            // The kernel works while the request is being sent, so its answer is here.
            let (length, _) = recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT)?;
            let answer = buffer.get(..length).unwrap_or_default();
            if let Some(result) = verdict(answer, self.sequence) {
                return result;
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel says of the request with a number; `None` when it says something else.
fn verdict(answer: &[u8], sequence: u32) -> Option<Result<(), Errno>> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok();
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != NLMSG_ERROR || u32::from_ne_bytes(word(8)?) != sequence {
        return None;
    }
    Some(match i32::from_ne_bytes(word(HEADER)?) {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error.saturating_neg())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_is_padded_and_its_length_is_not() {
        let bytes = attribute(3, b"lo\0");
        let mut expected = [7_u16.to_ne_bytes(), 3_u16.to_ne_bytes()].concat();
        expected.extend(b"lo\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn nested_attributes_are_marked_and_contained() {
        let bytes = nested(18, &[attribute(1, b"veth")]);
        let head = [12_u16.to_ne_bytes(), 0x8012_u16.to_ne_bytes()].concat();
        assert_eq!(bytes, [head, attribute(1, b"veth")].concat());
    }

    #[test]
    fn message_begins_with_its_length_and_asks_for_an_answer() {
        let bytes = Request::up(Link::Index(7)).bytes(9);
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[4..6], RTM_SETLINK.to_ne_bytes());
        assert_eq!(bytes[6..8], 5_u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 9_u32.to_ne_bytes());
        assert_eq!(bytes[20..24], 7_u32.to_ne_bytes());
        // Flags, and the mask of those that change.
        assert_eq!(bytes[24..28], bytes[28..32]);
    }

    #[test]
    fn address_has_the_broadcast_address_of_its_prefix() {
        let request = Request::address(2, [172, 17, 0, 2], 16);
        assert!(request.body.ends_with(&[172, 17, 255, 255]));
        assert_eq!(request.body[..4], [AF_INET, 16, 0, 0]);
    }

    #[test]
    fn verdict_is_taken_from_the_answer_to_the_request_only() {
        let answer = |kind: u16, sequence: u32, error: i32| {
            let mut bytes = 36_u32.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(error.to_ne_bytes());
            bytes
        };
        assert_eq!(verdict(&answer(NLMSG_ERROR, 3, 0), 3), Some(Ok(())));
        let exists = Err(Errno::EXIST);
        assert_eq!(verdict(&answer(NLMSG_ERROR, 3, -17), 3), Some(exists));
        assert_eq!(verdict(&answer(NLMSG_ERROR, 2, 0), 3), None);
        assert_eq!(verdict(&answer(RTM_NEWLINK, 3, 0), 3), None);
        assert_eq!(verdict(&[0; 7], 3), None);
    }
}
