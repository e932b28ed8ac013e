//! How a container reaches others.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

extern crate alloc;

/// Most names of a container among its neighbours, and longest name in bytes (RFC 1035): each
/// name stands in the files of all neighbours.
pub const MAX_NAMES: usize = 32;
/// See [`MAX_NAMES`].
pub const MAX_NAME: usize = 253;

/// The network of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A network namespace of its own, with a loopback that is up and nothing else.
    #[default]
    None,
    /// The guest's own namespace, whose loopback is up.
    Host,
    /// The namespace of another container, given by its identifier, which must be running. With it
    /// go that container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    Container(String),
    /// A namespace of its own with an interface `eth0` on the bridge of the guest.
    Bridge(Interface),
}

/// An interface on the guest's bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// IPv4 address, first byte first.
    pub address: [u8; 4],
    /// Leading bits of the address that all neighbours share, 8 to 30.
    pub prefix: u8,
    /// IPv4 address of the bridge, the same for all containers of a guest.
    pub gateway: [u8; 4],
    /// Names that neighbours reach it by, its host name first; see [`is_name`]. At most
    /// [`MAX_NAMES`].
    pub names: Vec<String>,
}

impl Interface {
    /// The hardware address: docker's, which follows from the IPv4 address.
    #[must_use]
    pub fn hardware(&self) -> [u8; 6] {
        hardware_of(self.address)
    }

    /// Checks what decoding alone does not: that the address is one of a neighbour of the gateway,
    /// and that there are not too many names and each is one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        if !(8..=30).contains(&self.prefix) {
            return false;
        }
        let mask = u32::MAX << (32 - u32::from(self.prefix));
        let [address, gateway] = [self.address, self.gateway].map(u32::from_be_bytes);
        let is_host = |address: u32| address & !mask != 0 && address | mask != u32::MAX;
        address & mask == gateway & mask
            && address != gateway
            && is_host(address)
            && is_host(gateway)
            && self.names.len() <= MAX_NAMES
            && self.names.iter().all(|name| is_name(name))
    }
}

/// The hardware address that docker gives to an IPv4 address: locally administered, `02:42`, and
/// the address.
#[must_use]
pub fn hardware_of([a, b, c, d]: [u8; 4]) -> [u8; 6] {
    [0x02, 0x42, a, b, c, d]
}

/// Whether a text can be a name in a hosts file: 1 to [`MAX_NAME`] letters, digits, `.`, `-` and
/// `_`, the first a letter or digit. Anything else could be a line of its own there.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    text.len() <= MAX_NAME
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
        && text.as_bytes().iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(address: [u8; 4], prefix: u8) -> Interface {
        Interface {
            address,
            prefix,
            gateway: [172, 17, 0, 1],
            names: Vec::from(["web".into()]),
        }
    }

    #[test]
    fn hardware_address_is_dockers() {
        let hardware = interface([172, 17, 0, 2], 16).hardware();
        assert_eq!(hardware, [0x02, 0x42, 0xac, 0x11, 0x00, 0x02]);
    }

    #[test]
    fn only_addresses_of_the_gateways_neighbours_are_sound() {
        assert!(interface([172, 17, 255, 254], 16).is_sound());
        for address in [
            [172, 18, 0, 2],
            [172, 17, 0, 1],
            [172, 17, 0, 0],
            [172, 17, 255, 255],
        ] {
            assert!(!interface(address, 16).is_sound(), "{address:?}");
        }
        for prefix in [0, 7, 31, 32, 33, 255] {
            assert!(!interface([172, 17, 0, 2], prefix).is_sound(), "{prefix}");
        }
    }

    #[test]
    fn name_that_would_be_another_line_is_none() {
        for name in ["web", "a.b-c_d", "0123456789ab"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a\n1.1.1.1 b", "a#", "-a", "é", &"a".repeat(254)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn too_many_names_are_refused() {
        let mut interface = interface([172, 17, 0, 2], 16);
        interface.names = Vec::from_iter((0..=MAX_NAMES).map(|_| "a".into()));
        assert!(!interface.is_sound());
    }
}
