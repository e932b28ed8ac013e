//! How a container reaches others.

use std::net::{IpAddr, Ipv4Addr};

use coracle_engine::state::{
    container::{Container, Containers},
    network::{GATEWAY, Mode},
};
use coracle_protocol::{MAX_NAMES, is_name};

use crate::{
    create::{Body, HostConfig},
    error::ApiError,
};

/// Names that a container has without aliases: its host name, its name, its short identifier.
const OWN_NAMES: usize = 3;

/// Docker's word for the address by which a container reaches its host.
const HOST_GATEWAY: &str = "host-gateway";

/// The network of a new container, and the container that it shares it with.
///
/// Where none is asked for, it is the bridge in a named host. In a host of its own a container has no
/// neighbours, so that a bridge would only take time at the start.
pub(super) fn resolve(
    body: &Body,
    host: Option<&str>,
    containers: &Containers,
) -> Result<(Mode, Option<Container>), ApiError> {
    let wanted = &body.host_config.network_mode;
    let (kind, name) = wanted.split_once(':').unwrap_or((wanted, ""));
    let (mode, other) = match kind {
        _ if body.network_disabled => (Mode::None, None),
        "" | "default" if host.is_some() => (Mode::Bridge, None),
        "" | "default" | "none" => (Mode::None, None),
        "bridge" => (Mode::Bridge, None),
        "host" => (Mode::Host, None),
        "container" => {
            let other = containers.find(name).map_err(|_| {
                ApiError::invalid(format!(
                    "cannot join network of a container that is not there: {name}"
                ))
            })?;
            in_same_host(&other, host)?;
            (Mode::Container(other.config.id.clone()), Some(other))
        }
        // Not 404, by which docker's command would pull the image.
        name => return Err(ApiError::invalid(format!("network {name} not found"))),
    };
    let aliases = aliases(body);
    if mode != Mode::Bridge && !aliases.is_empty() {
        return Err(ApiError::invalid(
            "network-scoped alias is supported only for containers in a network",
        ));
    }
    if aliases.len() > MAX_NAMES - OWN_NAMES {
        return Err(ApiError::invalid("too many network-scoped aliases"));
    }
    if let Some(alias) = aliases.iter().find(|alias| !is_name(alias)) {
        return Err(ApiError::invalid(format!(
            "invalid network alias {alias:?}"
        )));
    }
    if other.is_some() && !body.hostname.is_empty() {
        return Err(ApiError::invalid(
            "conflicting options: hostname and the network mode",
        ));
    }
    if other.is_some() && !body.host_config.extra_hosts.is_empty() {
        return Err(ApiError::invalid(
            "conflicting options: custom host-to-IP mapping and the network mode",
        ));
    }
    Ok((mode, other))
}

fn in_same_host(other: &Container, host: Option<&str>) -> Result<(), ApiError> {
    match (&other.config.host, host) {
        (Some(its), Some(ours)) if its == ours => Ok(()),
        _ => Err(ApiError::invalid(format!(
            "cannot share the network of {}: only containers of one named host can share theirs \
             (--label coracle.host=NAME)",
            other.config.name
        ))),
    }
}

/// Names that the container has in its network.
pub(super) fn aliases(body: &Body) -> Vec<String> {
    let endpoints = body.networking_config.endpoints_config.values();
    let mut all: Vec<String> = Vec::new();
    for alias in endpoints.flat_map(|endpoint| &endpoint.aliases) {
        if !all.contains(alias) {
            all.push(alias.clone());
        }
    }
    all
}

/// Lines of `/etc/hosts`: name and address.
pub(super) fn extra_hosts(wanted: &HostConfig) -> Result<Vec<(String, String)>, ApiError> {
    let parse = |text: &String| {
        let parts = text.split_once('=').or_else(|| text.split_once(':'));
        let found = parts.filter(|(name, address)| {
            let bare = address
                .strip_prefix('[')
                .and_then(|address| address.strip_suffix(']'))
                .unwrap_or(address);
            let bad = |c: char| c.is_whitespace() || c.is_control() || c == '#' || c == ':';
            !name.is_empty()
                && !name.contains(bad)
                && (bare == HOST_GATEWAY || bare.parse::<IpAddr>().is_ok())
        });
        let (name, address) =
            found.ok_or_else(|| ApiError::invalid(format!("bad format for add-host: {text:?}")))?;
        let address = address.trim_matches(['[', ']']);
        Ok((name.to_owned(), address.to_owned()))
    };
    wanted.extra_hosts.iter().map(parse).collect()
}

/// Puts an address in the place of docker's `host-gateway`: that of the guest, which is a container's
/// docker host here.
pub(super) fn find_gateway(hosts: &mut [(String, String)], mode: &Mode) -> Result<(), ApiError> {
    let wanted = hosts
        .iter_mut()
        .filter(|(_, address)| address == HOST_GATEWAY);
    for (name, address) in wanted {
        *address = match mode {
            Mode::Bridge => Ipv4Addr::from(GATEWAY).to_string(),
            Mode::Host => Ipv4Addr::LOCALHOST.to_string(),
            Mode::None | Mode::Container(_) => {
                return Err(ApiError::invalid(format!(
                    "--add-host {name}:{HOST_GATEWAY}: a container without a network has no gateway"
                )));
            }
        };
    }
    Ok(())
}
