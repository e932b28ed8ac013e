//! The header `WWW-Authenticate` (RFC 9110 section 11.6.1), as registries use it (distribution
//! specification, "token authentication").

/// How a registry wants to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token of a token server.
    Bearer {
        /// Address of the token server.
        realm: String,
        /// What the token is for.
        service: Option<String>,
        /// What may be done with it.
        scope: Option<String>,
    },
}

/// The challenge to answer: a token before a password, since it tells the registry less.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for (scheme, parameters) in parse(header) {
            let parameter = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: parameter("service"),
                    scope: parameter("scope"),
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// All challenges of one header with their parameters, whose names become lower case.
fn parse(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, left) = parameter_value(value.trim_start_matches([' ', '\t']));
                parameters.push((word.to_ascii_lowercase(), value));
                rest = left;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn bearer_parameters_are_found_whatever_their_order_and_case() {
        let header =
            r#"Bearer realm="https://a/token",service="a",scope="repository:b/c:pull,push""#;
        let expected = bearer(
            "https://a/token",
            Some("a"),
            Some("repository:b/c:pull,push"),
        );
        assert_eq!(choose([header].into_iter()), expected);
        let header = r#"bearer SERVICE = a , Realm="x\"y""#;
        assert_eq!(
            choose([header].into_iter()),
            bearer("x\"y", Some("a"), None)
        );
    }

    #[test]
    fn bearer_goes_before_basic() {
        let expected = bearer("r", None, None);
        assert_eq!(
            choose(["Basic realm=\"a\", Bearer realm=r"].into_iter()),
            expected
        );
        assert_eq!(
            choose(["Basic realm=a", "Bearer realm=r"].into_iter()),
            expected
        );
        assert_eq!(
            choose(["Basic realm=\"a\""].into_iter()),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for header in [
            "",
            ",,,",
            "=",
            "Bearer",
            "Bearer realm",
            "Digest realm=a",
            "\"",
            "a=\"b",
        ] {
            assert_eq!(choose([header].into_iter()), None, "{header}");
        }
    }
}
