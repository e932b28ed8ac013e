//! The network of a new container: what was asked for, and where it runs, decide it.

use std::net::Ipv4Addr;

use contracts::guest::MAX_NAMES;

use super::{CreateRequest, values};
use crate::{
    Error, Result,
    state::{
        container::{Container, Containers},
        network::{GATEWAY, Mode},
    },
};

/// Names that a container has without aliases: its host name, its name, its short ID.
const OWN_NAMES: usize = 3;

/// A network that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Nothing but a loopback.
    None,
    /// The bridge of its host.
    Bridge,
    /// The guest's own network, outside of all containers.
    Host,
    /// That of the container of this name or ID.
    Container(String),
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("none", "") => Ok(Self::None),
            ("bridge" | "default", "") => Ok(Self::Bridge),
            ("host", "") => Ok(Self::Host),
            ("container", name) if !name.is_empty() => Ok(Self::Container(name.into())),
            _ => Err(format!(
                "invalid network {text:?}: use bridge, none, host, or container:NAME"
            )),
        }
    }
}

/// The network that was asked for; `None` for what is usual where the container runs.
///
/// # Errors
/// When there is no such network.
pub(super) fn choice(request: &CreateRequest) -> Result<Option<Choice>> {
    match request.host_config.network_mode.as_str() {
        "" | "default" => Ok(None),
        text => text.parse().map(Some).map_err(Error::invalid),
    }
}

/// The names by which neighbours are to know the container.
///
/// # Errors
/// When one cannot be a name, or more than one network was asked for.
pub(super) fn aliases(request: &CreateRequest) -> Result<Vec<String>> {
    let mut endpoints = request.networks.values();
    let aliases = endpoints.next().map(|endpoint| endpoint.aliases.clone());
    if endpoints.next().is_some() {
        return Err(Error::invalid("a container can be in one network only"));
    }
    let aliases = aliases.unwrap_or_default();
    for alias in &aliases {
        values::alias(alias).map_err(Error::invalid)?;
    }
    Ok(aliases)
}

/// The network of a new container in a named host, or in one of its own, and with it the container
/// that it shares it with.
///
/// Where none is asked for, it is docker's in a named host. In a host of its own a container has no
/// neighbours, so that a bridge would only take time at the start.
///
/// # Errors
/// When wishes contradict each other, or the other container is not in the same host.
pub(super) fn resolve(
    request: &CreateRequest,
    aliases: &[String],
    host: Option<&str>,
    containers: &Containers,
) -> Result<(Mode, Option<Container>)> {
    let (mode, other) = match choice(request)? {
        None if host.is_some() => (Mode::Bridge, None),
        None | Some(Choice::None) => (Mode::None, None),
        Some(Choice::Bridge) => (Mode::Bridge, None),
        Some(Choice::Host) => (Mode::Host, None),
        Some(Choice::Container(name)) => {
            let other = containers.find(&name).map_err(|error| {
                Error::from(error).context("cannot share the network of a container")
            })?;
            in_same_host(&other, host)?;
            (Mode::Container(other.config.id.clone()), Some(other))
        }
    };
    if mode != Mode::Bridge && !aliases.is_empty() {
        return Err(Error::invalid("--network-alias requires --network bridge"));
    }
    if aliases.len() > MAX_NAMES - OWN_NAMES {
        return Err(Error::invalid(format!(
            "--network-alias may be given {} times",
            MAX_NAMES - OWN_NAMES
        )));
    }
    if other.is_some() && !request.hostname.is_empty() {
        return Err(Error::invalid(
            "conflicting options: --hostname and --network container:NAME, which shares that container's",
        ));
    }
    let extra_hosts = request.host_config.extra_hosts.as_deref();
    if other.is_some() && !extra_hosts.unwrap_or_default().is_empty() {
        return Err(Error::invalid(
            "conflicting options: --add-host and --network container:NAME, which shares its /etc/hosts",
        ));
    }
    Ok((mode, other))
}

/// Puts an address in the place of docker's `host-gateway`. The docker host of a container is its guest
/// here, so it is the address that the guest has on the bridge; nothing leads to this machine yet.
///
/// # Errors
/// When the container has no network, and so no gateway, as docker's daemon without one.
pub(super) fn find_gateway(hosts: &mut [(String, String)], mode: &Mode) -> Result<()> {
    let wanted = hosts
        .iter_mut()
        .filter(|(_, address)| address == values::HOST_GATEWAY);
    for (name, address) in wanted {
        *address = match mode {
            Mode::Bridge => Ipv4Addr::from(GATEWAY).to_string(),
            Mode::Host => Ipv4Addr::LOCALHOST.to_string(),
            Mode::None | Mode::Container(_) => {
                return Err(Error::invalid(format!(
                    "--add-host {name}:{}: a container without a network has no gateway; on a bridge (--network \
                     bridge) it is its guest, and nothing leads to this machine yet",
                    values::HOST_GATEWAY
                )));
            }
        };
    }
    Ok(())
}

fn in_same_host(other: &Container, host: Option<&str>) -> Result<()> {
    let name = &other.config.name;
    match (&other.config.host, host) {
        (None, _) => Err(Error::invalid(format!(
            "cannot share the network of {name}: it has a host of its own; only containers of one \
             named host can share theirs"
        ))),
        (Some(its), Some(ours)) if its == ours => Ok(()),
        (Some(_), _) => Err(Error::invalid(format!(
            "cannot share the network of {name}: it is in another host, which --host has to name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, containers::Endpoint};

    fn containers() -> Containers {
        Containers::new(&crate::state::Directories {
            data: "/nowhere".into(),
            runtime: "/nowhere".into(),
            cache: "/nowhere".into(),
        })
    }

    fn request(mode: &str, aliases: &[&str]) -> CreateRequest {
        let mut request = CreateRequest::default();
        request.host_config.network_mode = mode.into();
        if !aliases.is_empty() {
            let aliases = aliases.iter().map(|alias| (*alias).into()).collect();
            let endpoint = Endpoint {
                aliases,
                ..Endpoint::default()
            };
            request.networks.insert(mode.into(), endpoint);
        }
        request
    }

    fn mode(request: &CreateRequest, host: Option<&str>) -> Result<Mode> {
        let aliases = aliases(request)?;
        resolve(request, &aliases, host, &containers()).map(|(mode, _)| mode)
    }

    #[test]
    fn network_is_written_as_docker_writes_it() {
        assert_eq!("none".parse(), Ok(Choice::None));
        assert_eq!("bridge".parse(), Ok(Choice::Bridge));
        assert_eq!("host".parse(), Ok(Choice::Host));
        let other = Choice::Container("web".into());
        assert_eq!("container:web".parse(), Ok(other));
        for text in ["", "container", "container:", "none:x", "mine"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }

    #[test]
    fn bridge_is_the_default_where_there_may_be_neighbours() {
        for word in ["", "default"] {
            assert_eq!(mode(&request(word, &[]), None).unwrap(), Mode::None);
            assert_eq!(mode(&request(word, &[]), Some("1")).unwrap(), Mode::Bridge);
        }
    }

    #[test]
    fn alias_needs_a_bridge_and_is_a_name() {
        assert!(mode(&request("", &["db"]), None).is_err());
        assert!(mode(&request("", &["db"]), Some("1")).is_ok());
        assert!(mode(&request("host", &["db"]), Some("1")).is_err());
        assert!(mode(&request("", &["d b"]), Some("1")).is_err());
    }

    #[test]
    fn second_network_is_refused() {
        let mut request = request("", &["db"]);
        request.networks.insert("other".into(), Endpoint::default());
        assert_eq!(
            mode(&request, Some("1")).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }

    #[test]
    fn gateway_is_the_guest_where_there_is_one() {
        let found = |mode: &Mode| {
            let mut hosts = [
                ("gate".to_owned(), values::HOST_GATEWAY.to_owned()),
                ("db".into(), "10.0.0.1".into()),
            ];
            find_gateway(&mut hosts, mode).map(|()| hosts.map(|(_, address)| address))
        };
        assert_eq!(found(&Mode::Bridge).unwrap(), ["172.17.0.1", "10.0.0.1"]);
        assert_eq!(found(&Mode::Host).unwrap(), ["127.0.0.1", "10.0.0.1"]);
        let words = found(&Mode::None).unwrap_err().to_string();
        assert!(words.contains("no gateway"), "{words}");
    }

    #[test]
    fn container_that_does_not_exist_cannot_be_joined() {
        let error = mode(&request("container:web", &[]), Some("1")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
