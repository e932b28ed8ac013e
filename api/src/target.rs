//! What a request is about: its path without the API's version, and its query.

use crate::{
    error::ApiError,
    query::{Query, decode},
};

/// The newest version of the API that is spoken, as major and minor number.
pub const NEWEST: Version = Version(1, 45);

/// The oldest.
pub const OLDEST: Version = Version(1, 24);

/// A version of the Docker Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// A request's target, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The version as it was sent; most clients name one, some none.
    pub version: Option<String>,
    /// The decoded path, without the version.
    pub path: String,
    /// What stands after the question mark, not parsed.
    pub query: String,
}

impl Target {
    /// Takes a target apart.
    ///
    /// # Errors
    /// When the path is malformed.
    pub fn parse(target: &str) -> Result<Self, ApiError> {
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = decode(without_host(path), false)?;
        let (version, path) = match version_of(&path) {
            Some((version, rest)) => (Some(version.to_owned()), rest.to_owned()),
            None => (None, path),
        };
        Ok(Self {
            version,
            path,
            query: query.to_owned(),
        })
    }

    /// The version that is spoken with the client.
    ///
    /// # Errors
    /// In docker's words when it is too new or too old.
    pub fn version(&self) -> Result<Version, ApiError> {
        let Some(text) = &self.version else {
            return Ok(NEWEST);
        };
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
        let version = Version(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version > NEWEST {
            return Err(ApiError::invalid(format!(
                "client version {text} is too new. Maximum supported API version is {NEWEST}"
            )));
        }
        if version < OLDEST {
            return Err(ApiError::invalid(format!(
                "client version {text} is too old. Minimum supported API version is {OLDEST}, please \
                 upgrade your client to a newer version"
            )));
        }
        Ok(version)
    }

    /// The parameters of the query.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn query(&self) -> Result<Query, ApiError> {
        Query::parse(&self.query)
    }
}

/// The path of a target that may name a host as well, as proxies are asked.
fn without_host(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    }
}

/// The version that a path begins with, and the rest of it.
fn version_of(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v")?;
    let (version, _) = rest.split_once('/')?;
    let valid = version
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (valid && !version.is_empty()).then(|| (version, rest.get(version.len()..).unwrap_or("/")))
}

/// Whether a path is of a pattern, in which `{}` stands for one segment and `{*}` for any that are not
/// empty; what they stand for.
#[must_use]
pub fn matches<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut found = Vec::new();
    let mut rest = path;
    let mut parts = pattern.split('{');
    rest = rest.strip_prefix(parts.next()?)?;
    for part in parts {
        let (wildcard, literal) = part.split_once('}')?;
        // What follows is found at the end: an image may be called like what can be asked of it.
        let end = match literal.is_empty() {
            true => rest.len(),
            false => rest.rfind(literal)?,
        };
        let (mut argument, after) = (rest.get(..end)?, rest.get(end..)?);
        if wildcard != "*" {
            // Docker's own names of containers begin with one, and clients send back what they were told.
            argument = argument.strip_prefix('/').unwrap_or(argument);
        }
        if argument.is_empty() || (wildcard != "*" && argument.contains('/')) {
            return None;
        }
        found.push(argument);
        rest = after.strip_prefix(literal)?;
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn version_is_optional() {
        let with = target("/v1.45/containers/json?all=1");
        let without = target("/containers/json?all=1");
        assert_eq!(with.path, "/containers/json");
        assert_eq!(with.path, without.path);
        assert_eq!(with.query, "all=1");
        assert_eq!(with.version(), Ok(Version(1, 45)));
        assert_eq!(without.version(), Ok(NEWEST));
        assert_eq!(target("/version").path, "/version");
        assert_eq!(target("http://docker/v1.30/info").path, "/info");
        assert_eq!(target("/vx/info").path, "/vx/info");
    }

    #[test]
    fn versions_are_refused_in_docker_s_words() {
        let message = |text: &str| target(text).version().unwrap_err().message;
        assert_eq!(
            message("/v1.99/info"),
            "client version 1.99 is too new. Maximum supported API version is 1.45"
        );
        assert_eq!(
            message("/v1.10/info"),
            "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade \
             your client to a newer version"
        );
        // Not compared as text or as a decimal.
        assert!(target("/v1.5/info").version().is_err());
        assert!(target("/v2/info").version().is_err());
        assert!(target("/v1.24/info").version().is_ok());
    }

    #[test]
    fn names_with_slashes_are_found_in_paths() {
        let image = "/images/{*}/json";
        assert_eq!(
            matches(image, "/images/127.0.0.1:5000/a/b:1/json"),
            Some(vec!["127.0.0.1:5000/a/b:1"])
        );
        assert_eq!(matches(image, "/images/json/json"), Some(vec!["json"]));
        assert_eq!(matches(image, "/images/json"), None);
        assert_eq!(matches(image, "/images//json"), None);
        let container = "/containers/{}/json";
        assert_eq!(matches(container, "/containers/a/json"), Some(vec!["a"]));
        assert_eq!(matches(container, "/containers/a/b/json"), None);
        assert_eq!(matches(container, "/containers//a/json"), Some(vec!["a"]));
        assert_eq!(matches("/containers/{}", "/containers//a"), Some(vec!["a"]));
        assert_eq!(
            matches(container, &target("/containers/%2Fa/json").path),
            Some(vec!["a"])
        );
        for none in ["///a/json", "//json", "///json", "//a/b/json"] {
            let path = format!("/containers{none}");
            assert_eq!(matches(container, &path), None, "{path}");
        }
        assert_eq!(matches("/info", "/info"), Some(vec![]));
        assert_eq!(matches("/info", "/info/"), None);
        assert_eq!(matches("/exec/{}", "/exec/"), None);
    }

    #[test]
    fn path_is_decoded_before_it_is_compared() {
        assert_eq!(target("/images/a%2Fb/json").path, "/images/a/b/json");
        assert!(Target::parse("/a%zz").is_err());
        // A plus is one there.
        assert_eq!(target("/a+b").path, "/a+b");
    }
}
