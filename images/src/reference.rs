//! Names of images as docker takes them: `[domain/]path[:tag][@digest]`.
//!
//! The grammar is that of the distribution specification: path components of lower-case letters
//! and digits joined by `.`, `_`, `__` or dashes, a tag of at most 128 word characters. A short
//! name is completed as docker does: `busybox` is `docker.io/library/busybox:latest`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// Domain of names that give none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// Tag of names that give neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

/// First path component of docker's own images, left out in their familiar names.
const OFFICIAL_PREFIX: &str = "library/";
/// An older domain of the same registry, still found in archives.
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
/// Longest name without tag and digest, in bytes (distribution specification, "Pulling manifests").
const MAX_NAME: usize = 255;
/// Longest tag, in bytes (same place).
const MAX_TAG: usize = 128;
/// Hexadecimal digits of a SHA-256: a name that consists of these would be taken for an image ID.
const ID_DIGITS: usize = 64;

/// A well-formed name of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the name of an image is empty")]
    Empty,
    /// Longer than the specification allows.
    #[error("image name {name:.40}… has {length} bytes; at most {MAX_NAME} are allowed")]
    TooLong {
        /// The name.
        name: String,
        /// Its length.
        length: usize,
    },
    /// Upper-case letters in the path.
    #[error("image name {0:?} has upper-case letters; write it in lower case")]
    Uppercase(String),
    /// 64 hexadecimal digits.
    #[error("{0:?} is an image ID, where a name is needed")]
    IsId(String),
    /// The part before the first slash is no host name.
    #[error("{domain:?} in image name {name:?} is not a host name with an optional port")]
    Domain {
        /// The name.
        name: String,
        /// Its domain.
        domain: String,
    },
    /// A path component breaks the grammar.
    #[error(
        "{component:?} in image name {name:?} is not made of lower-case letters and digits \
         joined by single '.', one or two '_', or dashes"
    )]
    Component {
        /// The name.
        name: String,
        /// The offending component.
        component: String,
    },
    /// The tag breaks the grammar.
    #[error(
        "tag {tag:?} of image name {name:?} is not 1 to {MAX_TAG} letters, digits, '_', '.' or \
         '-' beginning with none of '.' and '-'"
    )]
    Tag {
        /// The name.
        name: String,
        /// Its tag.
        tag: String,
    },
    /// What follows the `@` is no digest.
    #[error("{digest:?} in image name {name:?} is not a digest like sha256:… with 64 digits")]
    Digest {
        /// The name.
        name: String,
        /// Its digest.
        digest: String,
    },
}

impl Reference {
    /// Registry's host name and port: `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository in the registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tag, if one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest of the manifest, if one was given.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Name as docker prints it: `busybox`, `quay.io/a/b`. Whole where what is short would be read
    /// as another name, as `er.io/a` for `docker.io/er.io/a`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        let short = match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.path,
        };
        let other = split_domain(short).1 != short || is_id(short);
        if self.domain != DEFAULT_DOMAIN || other {
            return self.name();
        }
        short.to_owned()
    }

    /// [`Self::familiar_name`] with tag and digest.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same name with the tag `latest` where it had neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same name with this digest instead of its tag and digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            domain: self.domain.clone(),
            path: self.path.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The same name with this tag instead of its tag and digest.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(&self.name(), tag)?;
        Ok(Self {
            domain: self.domain.clone(),
            path: self.path.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    /// The whole name, with domain: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(text, digest)?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to a port.
        let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(at) => (
                &rest[..after_slash + at],
                Some(&rest[after_slash + at + 1..]),
            ),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(text, tag)?;
        }
        let (domain, path) = split_domain(name);
        if is_id(name) {
            return Err(ReferenceError::IsId(name.to_owned()));
        }
        check_domain(text, domain)?;
        check_path(text, path)?;
        let domain = if domain == LEGACY_DEFAULT_DOMAIN {
            DEFAULT_DOMAIN
        } else {
            domain
        };
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL_PREFIX}{path}")
        } else {
            path.to_owned()
        };
        let length = domain.len() + 1 + path.len();
        if length > MAX_NAME {
            return Err(ReferenceError::TooLong {
                name: name.to_owned(),
                length,
            });
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether a name would be read as the ID of an image.
fn is_id(name: &str) -> bool {
    name.len() == ID_DIGITS && is_lower_hexadecimal(name)
}

/// Whether all of it is digits 0-9 and a-f.
pub(crate) fn is_lower_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn parse_digest(name: &str, digest: &str) -> Result<Digest, ReferenceError> {
    digest.parse().map_err(|_| ReferenceError::Digest {
        name: name.to_owned(),
        digest: digest.to_owned(),
    })
}

/// Tells a domain from the first component of a path as docker does: it has a dot or a colon or
/// an upper-case letter, or is `localhost`.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':', '['])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn check_tag(name: &str, tag: &str) -> Result<(), ReferenceError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if good {
        Ok(())
    } else {
        Err(ReferenceError::Tag {
            name: name.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

fn check_domain(name: &str, domain: &str) -> Result<(), ReferenceError> {
    let (host, port) = match domain.rfind(':') {
        // The colons of a bracketed IPv6 address are not a port's.
        Some(at) if !domain[at..].contains(']') => (&domain[..at], Some(&domain[at + 1..])),
        _ => (domain, None),
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_is_good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    if port_is_good && host_is_good {
        Ok(())
    } else {
        Err(ReferenceError::Domain {
            name: name.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

fn check_path(name: &str, path: &str) -> Result<(), ReferenceError> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::Uppercase(name.to_owned()));
    }
    match path.split('/').find(|component| !is_component(component)) {
        None => Ok(()),
        Some(component) => Err(ReferenceError::Component {
            name: name.to_owned(),
            component: component.to_owned(),
        }),
    }
}

/// Runs of letters and digits with one separator between each two.
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |text: &str| {
        matches!(text, "." | "_" | "__") || (!text.is_empty() && text.bytes().all(|b| b == b'-'))
    };
    let ends_are_words = component.bytes().next().is_some_and(is_word)
        && component.bytes().next_back().is_some_and(is_word);
    ends_are_words
        && component
            .split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit())
            .filter(|between| !between.is_empty())
            .all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        text.parse()
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        for (given, whole, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            (
                "busybox:1.36",
                "docker.io/library/busybox:1.36",
                "busybox:1.36",
            ),
            ("me/tool", "docker.io/me/tool", "me/tool"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/library/a", "docker.io/library/a", "a"),
            (
                "docker.io/library/a/b",
                "docker.io/library/a/b",
                "library/a/b",
            ),
            ("quay.io/a/b:t", "quay.io/a/b:t", "quay.io/a/b:t"),
            ("localhost/a", "localhost/a", "localhost/a"),
            (
                "docker.io/er.io/a",
                "docker.io/er.io/a",
                "docker.io/er.io/a",
            ),
            (
                "docker.io/docker.io/a",
                "docker.io/docker.io/a",
                "docker.io/docker.io/a",
            ),
            ("localhost:5000/a", "localhost:5000/a", "localhost:5000/a"),
            ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"),
            (
                "a__b-c---d.e_f",
                "docker.io/library/a__b-c---d.e_f",
                "a__b-c---d.e_f",
            ),
        ] {
            let reference = parse(given).unwrap();
            assert_eq!(reference.to_string(), whole);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn digest_stands_after_the_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference = parse(&format!("a:b@{digest}")).unwrap();
        assert_eq!(reference.tag(), Some("b"));
        assert_eq!(reference.digest().unwrap().to_string(), digest);
        assert_eq!(
            reference.to_string(),
            format!("docker.io/library/a:b@{digest}")
        );
    }

    #[test]
    fn default_tag_is_added_only_where_nothing_is_named() {
        let digest = format!("a@sha256:{}", "a".repeat(64));
        assert_eq!(
            parse("a").unwrap().with_default_tag().familiar(),
            "a:latest"
        );
        assert_eq!(parse("a:b").unwrap().with_default_tag().familiar(), "a:b");
        assert_eq!(
            parse(&digest).unwrap().with_default_tag().familiar(),
            digest
        );
    }

    #[test]
    fn malformed_names_are_refused_with_their_reason() {
        let long = "a".repeat(300);
        assert_eq!(parse(""), Err(ReferenceError::Empty));
        assert!(matches!(
            parse("Busybox"),
            Err(ReferenceError::Uppercase(_))
        ));
        assert!(matches!(parse(&long), Err(ReferenceError::TooLong { .. })));
        assert!(matches!(
            parse(&"a".repeat(64)),
            Err(ReferenceError::IsId(_))
        ));
        for name in [
            "a/../b", "/a", "a//b", "a/", ".a", "a..b", "a___b", "a-", "a b", "ä", "a\0",
        ] {
            assert!(
                matches!(parse(name), Err(ReferenceError::Component { .. })),
                "{name}"
            );
        }
        for name in ["a.b:x/c", "a.b:0/c", "-a.b/c", "a..b/c", "[::g]/a"] {
            assert!(
                matches!(parse(name), Err(ReferenceError::Domain { .. })),
                "{name}"
            );
        }
        for name in [
            "a:",
            "a:.b",
            "a:b:c",
            "a:-",
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(
                matches!(parse(name), Err(ReferenceError::Tag { .. })),
                "{name}"
            );
        }
        for name in ["a@", "a@sha256:12", "a@md5:0", "a@b@c"] {
            assert!(
                matches!(parse(name), Err(ReferenceError::Digest { .. })),
                "{name}"
            );
        }
    }
}
