//! Networks of the containers of a host: addresses and names for those on its bridge.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use contracts::guest::{HostMessage, Interface, Network};

use super::{Keeper, Number};
use crate::state::{
    container::Config,
    network::{GATEWAY, Mode, PREFIX, address},
};

/// Numbers of the first and the last address in a network of 16 bits: 0 is the network itself, 1 the
/// bridge, and the one after the last is everyone.
const FIRST: u16 = 2;
const LAST: u16 = u16::MAX - 1;

/// The addresses that are given out.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    taken: BTreeSet<u16>,
}

impl Addresses {
    /// The lowest that is free.
    ///
    /// # Errors
    /// When all 65,533 are given out.
    pub(super) fn take(&mut self) -> Result<[u8; 4]> {
        let mut free = FIRST;
        for taken in &self.taken {
            if *taken != free {
                break;
            }
            if free == LAST {
                bail!("no free IP address on the host's bridge; stop some containers");
            }
            free += 1;
        }
        self.taken.insert(free);
        Ok(address(free))
    }

    /// Takes one back.
    pub(super) fn release(&mut self, address: [u8; 4]) {
        let [_, _, c, d] = address;
        self.taken.remove(&u16::from_be_bytes([c, d]));
    }
}

impl Keeper {
    /// Gives a container that is about to start its network: an address of its own, where that is on
    /// the bridge.
    pub(super) fn take_network(&mut self, number: Number) -> Result<Network> {
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(Network::None);
        };
        let config = &kept.record.config;
        if config.network == Mode::Bridge && kept.state.address.is_none() {
            kept.state.address = Some(self.addresses.take()?);
        }
        Ok(spec(config, kept.state.address))
    }

    /// A container's record has another name: so have its neighbours' files.
    pub(super) fn rename(&mut self, number: Number) -> Result<()> {
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        let id = kept.record.config.id.clone();
        kept.record.config.name = self.containers.open(&id)?.config.name;
        if kept.state.address.is_some() {
            let names = kept.record.config.names();
            self.say(&HostMessage::Names { id, names });
        }
        Ok(())
    }

    /// A container has ended, and its address may be another's.
    pub(super) fn release_network(&mut self, number: Number) {
        let kept = self.kept.get_mut(&number);
        if let Some(address) = kept.and_then(|kept| kept.state.address.take()) {
            self.addresses.release(address);
        }
    }
}

/// What the guest is told, with the address of this start where one is needed.
fn spec(config: &Config, address: Option<[u8; 4]>) -> Network {
    match (&config.network, address) {
        (Mode::Bridge, Some(address)) => Network::Bridge(Interface {
            address,
            prefix: PREFIX,
            gateway: GATEWAY,
            names: config.names(),
        }),
        (Mode::None | Mode::Bridge, _) => Network::None,
        (Mode::Host, _) => Network::Host,
        (Mode::Container(id), _) => Network::Container(id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_address_is_given_out() {
        let mut addresses = Addresses::default();
        let all: Vec<_> = (0..4).map(|_| addresses.take().unwrap()).collect();
        assert_eq!(all.first(), Some(&[172, 17, 0, 2]));
        assert_eq!(all.last(), Some(&[172, 17, 0, 5]));
        addresses.release([172, 17, 0, 3]);
        assert_eq!(addresses.take().unwrap(), [172, 17, 0, 3]);
        assert_eq!(addresses.take().unwrap(), [172, 17, 0, 6]);
    }

    #[test]
    fn all_addresses_but_three_are_given_out_and_then_it_is_said() {
        let mut addresses = Addresses {
            taken: (FIRST..LAST).collect(),
        };
        assert_eq!(addresses.take().unwrap(), [172, 17, 255, 254]);
        assert_eq!(addresses.taken.len(), 65_533);
        assert!(addresses.take().is_err());
        addresses.release([172, 17, 0, 2]);
        assert_eq!(addresses.take().unwrap(), [172, 17, 0, 2]);
    }

    #[test]
    fn address_that_was_not_given_out_can_be_released() {
        let mut addresses = Addresses::default();
        addresses.release([172, 17, 9, 9]);
        assert_eq!(addresses.take().unwrap(), [172, 17, 0, 2]);
    }
}
