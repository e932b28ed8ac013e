//! Events, as `docker events` and `GET /events` tell them, a line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    filters::{FilterError, Filters, has_label},
    time::{self, SECOND},
};

/// What happened. Keys are in dockerd's order; the first three are of old clients, and left out where there is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// As `Action`, for containers and images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// As `Actor.ID`, for containers and images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The image of a container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `network`, `volume`, or our `host`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Docker's word for what happened.
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    #[serde(default = "local")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub time: u64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", default)]
    pub time_nano: u64,
}

/// What something happened to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its ID.
    #[serde(rename = "ID", default)]
    pub id: String,
    /// Its labels, name, image, and what else there is to say.
    #[serde(rename = "Attributes", default)]
    pub attributes: BTreeMap<String, String>,
}

fn local() -> String {
    "local".into()
}

/// Kinds of which old clients expect `status` and `id`; our hosts always had them.
const WITH_STATUS: [&str; 3] = ["container", "image", "host"];

impl Event {
    /// An event; `now` is in nanoseconds since 1970.
    #[must_use]
    pub fn new(
        kind: &str,
        id: &str,
        action: &str,
        attributes: BTreeMap<String, String>,
        now: u64,
    ) -> Self {
        let old = WITH_STATUS.contains(&kind);
        let from = match kind {
            "container" => attributes.get("image").cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let if_old = |text: &str| if old { text.into() } else { String::new() };
        Self {
            status: if_old(action),
            id: if_old(id),
            from,
            kind: kind.into(),
            action: action.into(),
            actor: Actor {
                id: id.into(),
                attributes,
            },
            scope: local(),
            time: now / SECOND,
            time_nano: now,
        }
    }

    /// An event as the journal keeps it; nothing for a line that is none.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// A line for people: `docker events` without a format.
    #[must_use]
    pub fn line(&self) -> String {
        let attributes = self.actor.attributes.iter();
        let pairs: Vec<String> = attributes
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "{} {} {} {} ({})",
            time::rfc3339_fixed(self.time_nano),
            self.kind,
            self.action,
            self.actor.id,
            pairs.join(", ")
        )
    }

    /// Whether the filters hold.
    #[must_use]
    pub fn matches(&self, filters: &Filters) -> bool {
        filters.any("event", |wanted| self.is_action(wanted))
            && filters.is("type", &self.kind)
            && filters.is("scope", &self.scope)
            && ["container", "host", "network", "volume"]
                .iter()
                .all(|kind| filters.any(kind, |wanted| self.is_of(kind, wanted)))
            && filters.any("image", |wanted| self.is_of_image(wanted))
            && filters
                .values("label")
                .all(|wanted| has_label(&self.actor.attributes, wanted))
    }

    /// `exec_start: sh -c true` is an `exec_start`, and `health_status: healthy` a `health_status`.
    fn is_action(&self, wanted: &str) -> bool {
        let word = self.action.split_once(": ").map(|(word, _)| word);
        self.action == wanted || word == Some(wanted)
    }

    /// By name, or the first digits of the ID. Events of networks name the containers that they are about.
    fn is_of(&self, kind: &str, wanted: &str) -> bool {
        let named =
            |name: &str| self.actor.attributes.get(name).map(String::as_str) == Some(wanted);
        match self.kind == kind {
            true => named("name") || (!wanted.is_empty() && self.actor.id.starts_with(wanted)),
            false => kind == "container" && named("container"),
        }
    }

    /// By the image's name with or without its tag, or its ID.
    fn is_of_image(&self, wanted: &str) -> bool {
        let name = match &*self.kind {
            "container" => self.actor.attributes.get("image"),
            "image" if self.actor.id == wanted => return true,
            "image" => self.actor.attributes.get("name"),
            _ => None,
        };
        name.is_some_and(|name| name == wanted || without_tag(name) == wanted)
    }
}

/// A name without its tag: what is behind the last colon, unless that is of a registry's port.
#[must_use]
pub fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') && !repository.contains('@') => repository,
        _ => name,
    }
}

/// The filters of events: docker's that mean something here, and our `host`.
pub const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "host",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "type",
    "volume",
];

/// Refuses filters that events do not have.
///
/// # Errors
/// [`FilterError::Unknown`].
pub fn check(filters: &Filters) -> Result<(), FilterError> {
    filters.check(&FILTERS)
}

#[cfg(test)]
mod tests;
