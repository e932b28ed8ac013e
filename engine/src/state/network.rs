//! How a container reaches others, as it was asked for.

use serde::{Deserialize, Serialize};

/// First address of the bridge's network: docker's.
const NETWORK: [u8; 4] = [172, 17, 0, 0];
/// How many leading bits its addresses share: docker's.
pub const PREFIX: u8 = 16;

/// Address of the bridge.
pub const GATEWAY: [u8; 4] = [172, 17, 0, 1];

/// The address of this number in the bridge's network.
pub fn address(number: u16) -> [u8; 4] {
    let [a, b, _, _] = NETWORK;
    let [c, d] = number.to_be_bytes();
    [a, b, c, d]
}

/// The network of a container, by docker's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing but a loopback.
    #[default]
    None,
    /// An interface on the bridge of its host.
    Bridge,
    /// The guest's own network.
    Host,
    /// That of another container of its host, by identifier.
    Container(String),
}

impl Mode {
    /// Docker's word.
    pub fn word(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Bridge => "bridge".into(),
            Self::Host => "host".into(),
            Self::Container(id) => format!("container:{id}"),
        }
    }

    /// Name of the network that it is in; that of another container is not its own.
    pub fn network(&self) -> Option<&'static str> {
        match self {
            Self::None => Some("none"),
            Self::Bridge => Some("bridge"),
            Self::Host => Some("host"),
            Self::Container(_) => None,
        }
    }
}
