//! What `--filter` of several commands means.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::Result;
use images::{
    reference::Reference,
    store::{Store, StoreError},
};
use regex_lite::Regex;

use coracle_engine::state::Directories;

/// `name=PATTERN`: a regular expression, found anywhere in a name unless it is anchored, as docker's.
#[derive(Debug, Clone)]
pub(super) struct NamePattern(Regex);

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("filter name={text:?} is not a regular expression: {error}"))
    }
}

impl NamePattern {
    /// Docker's own names begin with a slash, so that patterns of scripts may have one.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name) || self.0.is_match(&format!("/{name}"))
    }
}

/// `label=NAME[=VALUE]`.
pub(super) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
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
    /// What a filter's value means.
    ///
    /// # Errors
    /// When the store cannot be read, or the value is the beginning of several IDs.
    pub(super) fn new(value: &str, directories: &Directories) -> Result<Self> {
        let id = match Store::open(&directories.data)?.resolve(value) {
            Ok(image) => Some(image.id.to_string()),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self::known_as(value, id))
    }

    fn known_as(value: &str, id: Option<String>) -> Self {
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
        self.id.as_deref() == Some(image_id)
            || self
                .digits
                .as_ref()
                .is_some_and(|digits| image_id.starts_with(&**digits))
            || (self.name.is_some() && reference(image) == self.name)
    }
}

/// A name with its tag, which is `latest` where none is given.
fn reference(text: &str) -> Option<Reference> {
    text.parse::<Reference>()
        .ok()
        .map(Reference::with_default_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamePattern>().unwrap().matches(name)
    }

    #[test]
    fn names_are_matched_by_regular_expressions() {
        for (pattern, name, expected) in [
            ("^web$", "web", true),
            ("^web$", "myweb", false),
            ("^web$", "web2", false),
            ("^/web$", "web", true),
            ("web", "myweb2", true),
            ("^w.b[0-9]+$", "web12", true),
            ("^(db|web)-", "db-1", true),
            ("web.", "web", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!("web[".parse::<NamePattern>().is_err());
    }

    const ID: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn containers_are_found_by_the_name_of_their_image_with_and_without_a_tag() {
        let of = |value: &str, image: &str| Ancestor::known_as(value, None).is_of(image, ID);
        assert!(of("web", "web"));
        assert!(of("web", "web:latest"));
        assert!(of("web:latest", "docker.io/library/web"));
        assert!(of("localhost:5000/web:1", "localhost:5000/web:1"));
        assert!(!of("web", "web:1"));
        assert!(!of("web:1", "web"));
        assert!(!of("localhost", "localhost:5000/web:1"));
        assert!(!of("web", "myweb"));
    }

    #[test]
    fn containers_are_found_by_the_id_of_their_image() {
        let known = Ancestor::known_as("web:2", Some(ID.into()));
        assert!(known.is_of("web:1", ID));
        assert!(!known.is_of("web:1", "sha256:ff"));
        let gone = |value: &str| Ancestor::known_as(value, None).is_of("web:1", ID);
        assert!(gone(ID));
        assert!(gone("001122334455"));
        assert!(gone("sha256:001122334455"));
        assert!(
            !gone("0011"),
            "too few digits to mean an image that is not there"
        );
        assert!(!gone("sha256:"));
        assert!(!gone("ff1122334455"));
    }
}
