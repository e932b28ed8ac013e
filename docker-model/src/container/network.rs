//! `NetworkSettings`: where a container can be reached.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Config, Container, PortBinding};
use crate::null::is_default;

/// A network that a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its ID; that of [`id_of`] for docker's own networks.
    pub id: String,
    /// Names beside its own that it has there, as they were asked for.
    pub aliases: Option<Vec<String>>,
    /// All names that it has there.
    pub dns_names: Option<Vec<String>>,
    /// Its address, while it is up.
    pub address: Option<Address>,
    /// What was asked for of its address.
    pub ipam: Option<IpamConfig>,
    /// Links to containers.
    pub links: Option<Vec<String>>,
    /// Options of the driver.
    pub driver_options: Option<BTreeMap<String, String>>,
}

/// An address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The container's.
    pub address: [u8; 4],
    /// Leading bits that addresses of the network share.
    pub prefix: u8,
    /// The way out.
    pub gateway: [u8; 4],
    /// Hardware address.
    pub hardware: [u8; 6],
}

/// What was asked for of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// IPv4.
    #[serde(
        rename = "IPv4Address",
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv4: String,
    /// IPv6.
    #[serde(
        rename = "IPv6Address",
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv6: String,
    /// Link-local ones.
    #[serde(
        rename = "LinkLocalIPs",
        deserialize_with = "is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub link_local: Vec<String>,
}

/// A network of `Networks`. Reads what clients ask for at `create` and `connect`, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// What was asked for of its address.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<IpamConfig>,
    /// Links to containers.
    #[serde(rename = "Links")]
    pub links: Option<Vec<String>>,
    /// Names beside its own.
    #[serde(rename = "Aliases")]
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    #[serde(rename = "MacAddress", deserialize_with = "is_default")]
    pub mac_address: String,
    /// The network's ID.
    #[serde(rename = "NetworkID", deserialize_with = "is_default")]
    pub network_id: String,
    /// ID of this end; empty when it is down.
    #[serde(rename = "EndpointID", deserialize_with = "is_default")]
    pub endpoint_id: String,
    /// The way out.
    #[serde(rename = "Gateway", deserialize_with = "is_default")]
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress", deserialize_with = "is_default")]
    pub ip_address: String,
    /// Leading bits that addresses of the network share.
    #[serde(rename = "IPPrefixLen", deserialize_with = "is_default")]
    pub ip_prefix_len: u8,
    /// Of IPv6.
    #[serde(rename = "IPv6Gateway", deserialize_with = "is_default")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "is_default")]
    pub global_ipv6_address: String,
    /// Of IPv6.
    #[serde(rename = "GlobalIPv6PrefixLen", deserialize_with = "is_default")]
    pub global_ipv6_prefix_len: u8,
    /// Options of the driver.
    #[serde(rename = "DriverOpts")]
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// All names that it has there.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

impl Endpoint {
    /// Docker's JSON of a network that the container of this ID is in.
    #[must_use]
    pub fn of(network: &Network, container: &str, live: bool) -> Self {
        let address = network.address.filter(|_| live);
        Self {
            ipam_config: network.ipam.clone(),
            links: network.links.clone(),
            aliases: network.aliases.clone(),
            mac_address: address.map_or_else(String::new, |known| {
                known.hardware.map(|byte| format!("{byte:02x}")).join(":")
            }),
            network_id: network.id.clone(),
            endpoint_id: match live {
                true => container.into(),
                false => String::new(),
            },
            gateway: address.map_or_else(String::new, |known| text(known.gateway)),
            ip_address: address.map_or_else(String::new, |known| text(known.address)),
            ip_prefix_len: address.map_or(0, |known| known.prefix),
            driver_opts: network.driver_options.clone(),
            dns_names: network.dns_names.clone(),
            ..Self::default()
        }
    }
}

fn text(address: [u8; 4]) -> String {
    Ipv4Addr::from(address).to_string()
}

/// `NetworkSettings`, with the old fields of the default bridge at its top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkSettings {
    /// Unused by docker.
    #[serde(rename = "Bridge")]
    pub bridge: String,
    /// ID of its network namespace while it is up.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Always empty here: there is no file of it.
    #[serde(rename = "SandboxKey")]
    pub sandbox_key: String,
    /// Exposed ports, `null` where they are not published; nothing when it is down.
    #[serde(rename = "Ports")]
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Unused by docker.
    #[serde(rename = "HairpinMode")]
    pub hairpin_mode: bool,
    /// Unused by docker.
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    /// Unused by docker.
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    /// Unused by docker.
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    /// Unused by docker.
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    /// Of the default bridge, as the next ones.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The way out.
    #[serde(rename = "Gateway")]
    pub gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Of IPv6.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Leading bits that addresses of the network share.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// Of IPv6.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// Hardware address.
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    /// The networks that it is in.
    #[serde(rename = "Networks")]
    pub networks: BTreeMap<String, Endpoint>,
}

/// The network whose addresses are shown at the top as well.
const DEFAULT_BRIDGE: &str = "bridge";

impl NetworkSettings {
    /// Those of a container.
    #[must_use]
    pub fn of(container: &Container) -> Self {
        let live = container.life.status.is_live();
        let networks = endpoints(container);
        let bridge = networks.get(DEFAULT_BRIDGE).cloned().unwrap_or_default();
        Self {
            bridge: String::new(),
            sandbox_id: match live {
                true => container.id.clone(),
                false => String::new(),
            },
            sandbox_key: String::new(),
            ports: match live {
                true => ports(&container.config, &container.published),
                false => BTreeMap::new(),
            },
            hairpin_mode: false,
            link_local_ipv6_address: String::new(),
            link_local_ipv6_prefix_len: 0,
            secondary_ip_addresses: None,
            secondary_ipv6_addresses: None,
            endpoint_id: bridge.endpoint_id,
            gateway: bridge.gateway,
            global_ipv6_address: bridge.global_ipv6_address,
            global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
            ip_address: bridge.ip_address,
            ip_prefix_len: bridge.ip_prefix_len,
            ipv6_gateway: bridge.ipv6_gateway,
            mac_address: bridge.mac_address,
            networks,
        }
    }
}

/// The networks of a container in docker's JSON.
pub(super) fn endpoints(container: &Container) -> BTreeMap<String, Endpoint> {
    let live = container.life.status.is_live();
    let networks = container.networks.iter();
    networks
        .map(|(name, network)| (name.clone(), Endpoint::of(network, &container.id, live)))
        .collect()
}

/// Every exposed port of a container that is up: where it is published, or `null`.
#[must_use]
pub fn ports(
    config: &Config,
    published: &BTreeMap<String, Vec<PortBinding>>,
) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let exposed = config.exposed_ports.iter().flatten();
    let mut all: BTreeMap<_, _> = exposed.map(|(port, _)| (port.clone(), None)).collect();
    let published = published.iter();
    all.extend(published.map(|(port, bindings)| (port.clone(), Some(bindings.clone()))));
    all
}

/// IDs of docker's own networks: the same for every host, as the networks are.
#[must_use]
pub fn id_of(network: &str) -> &'static str {
    match network {
        "bridge" => "025714543ec0f39b9b637a9ddd5b4c028b5b5851b0dadf5fa9cedaee88ee1218",
        "host" => "4dbf42b2c32a19648a973ed93e7b43425fe551e1e6267a4f772d7284964d0902",
        "none" => "969cc54ea64d282a8e4e448d8b8bc31b51d3d3c8a585549ab35b44c394c55803",
        _ => "",
    }
}
