//! `--network` and `--network-alias`.

use std::{net::Ipv4Addr, str::FromStr};

use anyhow::{Context, Result, bail};
use coracle_protocol::{MAX_NAMES, is_name};

use crate::cli::options::HOST_GATEWAY;
use coracle_engine::state::{
    container::{Container, Containers},
    network::{GATEWAY, Mode},
};

/// Names that a container has without aliases: its host name, its name, its short identifier.
const OWN_NAMES: usize = 3;

/// `--network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    None,
    Bridge,
    Host,
    /// The network of the container of this name or identifier.
    Container(String),
}

impl Choice {
    /// It is the network of the guest, outside of all containers.
    pub(super) fn is_guests(&self) -> bool {
        *self == Self::Host
    }
}

impl FromStr for Choice {
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

/// `--network-alias`.
pub(super) fn alias(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.into())
    } else {
        Err(format!(
            "invalid network alias {text:?}: use letters, digits, '.', '-' and '_'"
        ))
    }
}

/// What the user asked for that has to do with a network.
pub(super) struct Wishes<'a> {
    pub(super) choice: Option<&'a Choice>,
    pub(super) aliases: &'a [String],
    pub(super) hostname: bool,
    pub(super) add_host: bool,
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
    wishes: &Wishes<'_>,
    host: Option<&str>,
    containers: &Containers,
) -> Result<(Mode, Option<Container>)> {
    let (mode, other) = match wishes.choice {
        None if host.is_some() => (Mode::Bridge, None),
        None | Some(Choice::None) => (Mode::None, None),
        Some(Choice::Bridge) => (Mode::Bridge, None),
        Some(Choice::Host) => (Mode::Host, None),
        Some(Choice::Container(name)) => {
            let other = containers
                .find(name)
                .context("cannot share the network of a container")?;
            in_same_host(&other, host)?;
            (Mode::Container(other.config.id.clone()), Some(other))
        }
    };
    if mode != Mode::Bridge && !wishes.aliases.is_empty() {
        bail!("--network-alias requires --network bridge");
    }
    if wishes.aliases.len() > MAX_NAMES - OWN_NAMES {
        bail!(
            "--network-alias may be given {} times",
            MAX_NAMES - OWN_NAMES
        );
    }
    if other.is_some() && wishes.hostname {
        bail!(
            "conflicting options: --hostname and --network container:NAME, which shares that container's"
        );
    }
    if other.is_some() && wishes.add_host {
        bail!(
            "conflicting options: --add-host and --network container:NAME, which shares its /etc/hosts"
        );
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
        .filter(|(_, address)| address == HOST_GATEWAY);
    for (name, address) in wanted {
        *address = match mode {
            Mode::Bridge => Ipv4Addr::from(GATEWAY).to_string(),
            Mode::Host => Ipv4Addr::LOCALHOST.to_string(),
            Mode::None | Mode::Container(_) => bail!(
                "--add-host {name}:{HOST_GATEWAY}: a container without a network has no gateway; on \
                 a bridge (--network bridge) it is its guest, and nothing leads to this machine yet"
            ),
        };
    }
    Ok(())
}

fn in_same_host(other: &Container, host: Option<&str>) -> Result<()> {
    let name = &other.config.name;
    match (&other.config.host, host) {
        (None, _) => bail!(
            "cannot share the network of {name}: it has a host of its own; only containers of one \
             named host can share theirs"
        ),
        (Some(its), Some(ours)) if its == ours => Ok(()),
        (Some(_), _) => bail!(
            "cannot share the network of {name}: it is in another host, which --host has to name"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes<'a>(choice: Option<&'a Choice>, aliases: &'a [String]) -> Wishes<'a> {
        Wishes {
            choice,
            aliases,
            hostname: false,
            add_host: false,
        }
    }

    fn containers() -> Containers {
        Containers::new(&coracle_engine::state::Directories {
            data: "/nowhere".into(),
            runtime: "/nowhere".into(),
            cache: "/nowhere".into(),
        })
    }

    fn mode(wishes: &Wishes<'_>, host: Option<&str>) -> Result<Mode> {
        resolve(wishes, host, &containers()).map(|(mode, _)| mode)
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
        assert_eq!(mode(&wishes(None, &[]), None).unwrap(), Mode::None);
        assert_eq!(mode(&wishes(None, &[]), Some("1")).unwrap(), Mode::Bridge);
    }

    #[test]
    fn alias_needs_a_bridge() {
        let aliases = ["db".into()];
        assert!(mode(&wishes(None, &aliases), None).is_err());
        assert!(mode(&wishes(None, &aliases), Some("1")).is_ok());
        assert!(mode(&wishes(Some(&Choice::Host), &aliases), Some("1")).is_err());
    }

    #[test]
    fn gateway_is_the_guest_where_there_is_one() {
        let found = |mode: &Mode| {
            let mut hosts = [
                ("gate".to_owned(), HOST_GATEWAY.to_owned()),
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
        let choice = Choice::Container("web".into());
        assert!(mode(&wishes(Some(&choice), &[]), Some("1")).is_err());
    }
}
