//! Which containers a list shows.

use std::collections::BTreeMap;

use images::reference::Reference;

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

/// What filters name, looked up by whoever has the images and containers.
pub trait Named {
    /// Why something cannot be looked up.
    type Error: From<FilterError>;

    /// When the container that `before` or `since` names was made, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When there is none.
    fn created(&mut self, container: &str) -> Result<u64, Self::Error>;

    /// The ID of the image that `ancestor` names; nothing where there is none (any more).
    ///
    /// # Errors
    /// When it is several, or cannot be looked up.
    fn image(&mut self, name: &str) -> Result<Option<String>, Self::Error>;
}

/// Filters of a list, understood.
#[derive(Debug, Clone)]
pub struct Filter {
    filters: Filters,
    ancestors: Vec<Ancestor>,
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
    /// Understands filters.
    ///
    /// # Errors
    /// When there is no such filter, it does not take the value, or what it names cannot be looked up.
    pub fn new<N: Named>(filters: Filters, named: &mut N) -> Result<Self, N::Error> {
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
            let created = named.created(value)?;
            before = Some(before.map_or(created, |known: u64| known.min(created)));
        }
        let mut since = None;
        for value in filters.values("since") {
            let created = named.created(value)?;
            since = Some(since.map_or(created, |known: u64| known.max(created)));
        }
        let ancestors = filters.values("ancestor");
        let ancestors = ancestors.map(|value| Ok(Ancestor::known_as(value, named.image(value)?)));
        Ok(Self {
            ancestors: ancestors.collect::<Result<_, N::Error>>()?,
            names,
            exited,
            statuses,
            before,
            since,
            filters,
        })
    }

    /// Whether containers that do not run are meant, too, though nobody asked for all.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        !self.statuses.is_empty() || !self.exited.is_empty()
    }

    /// Whether all filters hold.
    #[must_use]
    pub fn matches(&self, container: &Summary, seen: Seen<'_>) -> bool {
        let life = &container.life;
        let filters = &self.filters;
        let health = life.health.as_ref().map_or("none", |health| health.status);
        let exited = life.status == Status::Exited && self.exited.contains(&life.exit_code);
        let named = |names: &NamePattern| names.matches(&container.name);
        let of = |ancestor: &Ancestor| ancestor.is_of(&container.image, &container.image_id);
        filters.labels(&container.labels)
            && filters.any("id", |id| container.id.starts_with(id))
            && (self.names.is_empty() || self.names.iter().any(named))
            && (self.ancestors.is_empty() || self.ancestors.iter().any(of))
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

/// `ancestor=IMAGE`: by the image that has the name, or its digest or ID, now, and by the name that the container
/// was made with.
///
/// Images that are built on the image are not meant. Docker lists containers of those that it built itself, by a
/// record of parents; of images from elsewhere, as all are here, it knows none, and layers alone do not tell a parent
/// from a sibling. What is listed is piped into `rm`: too little is better than too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ancestor {
    /// The ID of the image that it is in the store.
    id: Option<String>,
    /// The first digits of an ID, where the store has no such image (any more).
    digits: Option<String>,
    name: Option<Reference>,
}

/// Fewest digits of an ID that stand for an image that is not in the store: as many as lists show.
const MIN_DIGITS: usize = 12;

impl Ancestor {
    pub(super) fn known_as(value: &str, id: Option<String>) -> Self {
        let digits = value.strip_prefix("sha256:").unwrap_or(value);
        let is_id =
            digits.len() >= MIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            digits: (is_id && id.is_none()).then(|| format!("sha256:{digits}")),
            name: reference(value).filter(|_| !value.starts_with("sha256:")),
            id,
        }
    }

    /// Whether a container is of the image, by the image's name as it was given, and its ID.
    pub(super) fn is_of(&self, image: &str, image_id: &str) -> bool {
        let digits = self.digits.as_ref();
        self.id.as_deref() == Some(image_id)
            || digits.is_some_and(|digits| image_id.starts_with(&**digits))
            || (self.name.is_some() && reference(image) == self.name)
    }
}

/// A name with its tag, which is `latest` where none is given.
fn reference(text: &str) -> Option<Reference> {
    let parsed = text.parse::<Reference>().ok();
    parsed.map(Reference::with_default_tag)
}

fn is_host(seen: Seen<'_>, wanted: &str) -> bool {
    seen.host == wanted || (!seen.host_id.is_empty() && seen.host_id.starts_with(wanted))
}

/// A network's name, or the first digits of its ID.
fn is_in(networks: &BTreeMap<String, Box<super::Network>>, wanted: &str) -> bool {
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

#[cfg(test)]
mod tests;
