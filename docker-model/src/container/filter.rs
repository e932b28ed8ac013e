//! Which containers a list shows.

use std::collections::BTreeMap;

use super::{Status, Summary};
use crate::filters::{FilterError, Filters, NamePattern};

/// The filters of a list, docker's and our `host`.
pub const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "host",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Filters of a list, understood. What `ancestor`, `before` and `since` name is looked up by whoever has the images and
/// containers.
#[derive(Debug, Clone)]
pub struct Filter {
    filters: Filters,
    names: Vec<NamePattern>,
    exited: Vec<i32>,
    statuses: Vec<Status>,
    /// Containers made before this one, and after that one, by when they were made.
    before: Option<u64>,
    since: Option<u64>,
}

/// What filters look at of a container beyond its [`Summary`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Name of the host that it belongs to; empty for its own.
    pub host: &'a str,
    /// That host's ID.
    pub host_id: &'a str,
}

impl Filter {
    /// Understands filters. `created` tells when the container that `before` or `since` names was made.
    ///
    /// # Errors
    /// When there is no such filter, it does not take the value, or `created` fails.
    pub fn new<E: From<FilterError>>(
        filters: Filters,
        mut created: impl FnMut(&str) -> Result<u64, E>,
    ) -> Result<Self, E> {
        filters.check(&FILTERS)?;
        let names = filters.values("name").map(|value| {
            value
                .parse()
                .map_err(|message: String| FilterError::Malformed(message))
        });
        let names = names.collect::<Result<_, _>>()?;
        let exited = filters.parsed("exited", |value| value.parse().ok())?;
        let statuses = filters.parsed("status", Status::of)?;
        let health = |value: &str| {
            matches!(value, "none" | "starting" | "healthy" | "unhealthy").then_some(())
        };
        filters.parsed("health", health)?;
        let mut before = None;
        for value in filters.values("before") {
            let created = created(value)?;
            before = Some(before.map_or(created, |known: u64| known.min(created)));
        }
        let mut since = None;
        for value in filters.values("since") {
            let created = created(value)?;
            since = Some(since.map_or(created, |known: u64| known.max(created)));
        }
        Ok(Self {
            names,
            exited,
            statuses,
            before,
            since,
            filters,
        })
    }

    /// Images that `ancestor` names.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.filters.values("ancestor")
    }

    /// Whether containers that do not run are meant, too, though nobody asked for all.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        !self.statuses.is_empty() || !self.exited.is_empty()
    }

    /// Whether all filters hold but `ancestor`, which [`Self::ancestors`] leaves to its caller.
    #[must_use]
    pub fn matches(&self, container: &Summary, seen: Seen<'_>) -> bool {
        let life = &container.life;
        let filters = &self.filters;
        let health = life.health.as_ref().map_or("none", |health| health.status);
        let exited = life.status == Status::Exited && self.exited.contains(&life.exit_code);
        let named = |names: &NamePattern| names.matches(&container.name);
        filters.labels(&container.labels)
            && filters.any("id", |id| container.id.starts_with(id))
            && (self.names.is_empty() || self.names.iter().any(named))
            && (self.statuses.is_empty() || self.statuses.contains(&life.status))
            && (self.exited.is_empty() || exited)
            && filters.is("health", health)
            && filters.any("host", |host| is_host(seen, host))
            && filters.any("network", |wanted| is_in(&container.networks, wanted))
            && filters.any("volume", |wanted| {
                let mut mounts = container.mounts.iter();
                mounts.any(|mount| mount.name == wanted || mount.destination == wanted)
            })
            && filters.any("expose", |wanted| has_port(container, wanted, false))
            && filters.any("publish", |wanted| has_port(container, wanted, true))
            && filters.any("is-task", |wanted| wanted == "false")
            && self.before.is_none_or(|before| container.created < before)
            && self.since.is_none_or(|since| container.created > since)
    }
}

fn is_host(seen: Seen<'_>, wanted: &str) -> bool {
    seen.host == wanted || (!seen.host_id.is_empty() && seen.host_id.starts_with(wanted))
}

/// A network's name, or the first digits of its ID.
fn is_in(networks: &BTreeMap<String, super::Network>, wanted: &str) -> bool {
    let is_meant = |id: &str| !wanted.is_empty() && id.starts_with(wanted);
    let mut networks = networks.iter();
    networks.any(|(name, network)| name == wanted || is_meant(&network.id))
}

/// `PORT[/PROTOCOL]`, or a range of ports: the container's own, or those of this machine that lead to them.
fn has_port(container: &Summary, wanted: &str, published: bool) -> bool {
    let (range, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return false;
    };
    let is_meant = |number: &str| {
        let number = number.parse::<u16>();
        number.is_ok_and(|number| (first..=last).contains(&number))
    };
    container.ports.iter().any(|(port, bindings)| {
        let (number, own) = port.split_once('/').unwrap_or((port, "tcp"));
        let mut bindings = bindings.iter().flatten();
        own == kind
            && match published {
                true => bindings.any(|binding| is_meant(&binding.host_port)),
                false => is_meant(number),
            }
    })
}
