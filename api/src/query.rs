//! Parameters in a request's query, read as docker's daemon reads them.

use docker_model::filters::query_bool;

use crate::error::ApiError;

/// The names and values of a query, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what stands after the question mark.
    ///
    /// # Errors
    /// In the words of Go's `net/url` when it is malformed.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return Err(ApiError::invalid("invalid semicolon separator in query"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name, true)?, decode(value, true)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a name, which may be empty; `None` where it is not given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of a name that is not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean as docker's daemon takes it: some words are false, and everything else is true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(query_bool)
    }

    /// The same, where a name that is not given means something.
    #[must_use]
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, query_bool)
    }

    /// A number; `None` where it is not given or empty.
    ///
    /// # Errors
    /// When it is no number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    let text = text.escape_debug();
                    ApiError::invalid(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
                })
            })
            .transpose()
    }
}

/// Decodes `%XX`, and in queries `+`.
///
/// # Errors
/// In the words of Go's `net/url` when an escape is malformed; also when it is not UTF-8.
pub(crate) fn decode(text: &str, in_query: bool) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => {
                bytes.push(byte);
                rest = after;
            }
            (b'%', _) => {
                let escape: Vec<u8> = [b'%'].iter().chain(after.iter().take(2)).copied().collect();
                let escape = String::from_utf8_lossy(&escape).into_owned();
                return Err(ApiError::invalid(format!("invalid URL escape {escape:?}")));
            }
            (b'+', _) if in_query => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::invalid("the URL is not UTF-8"))
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(16 * digit(high)? + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn names_and_values_are_decoded() {
        let query = query("fromImage=127.0.0.1%3A5000%2Fx&tag=a+b&empty=&bare&Cmd=sh&Cmd=-c");
        assert_eq!(query.get("fromImage"), Some("127.0.0.1:5000/x"));
        assert_eq!(query.get("tag"), Some("a b"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.get("bare"), Some(""));
        assert_eq!(query.all("Cmd").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(query.get("nothing"), None);
    }

    #[test]
    fn only_some_words_are_false() {
        for value in ["", "0", "no", "false", "False", "none", " NO "] {
            let encoded = value.replace(' ', "+");
            assert!(!query(&format!("a={encoded}")).flag("a"), "{value}");
        }
        for value in ["1", "true", "True", "t", "yes", "2", "off"] {
            assert!(query(&format!("a={value}")).flag("a"), "{value}");
        }
        assert!(!query("").flag("a"));
        assert!(query("").flag_or("a", true));
        assert!(!query("a=0").flag_or("a", true));
    }

    #[test]
    fn numbers_are_numbers() {
        assert_eq!(query("t=-1").number("t"), Ok(Some(-1)));
        assert_eq!(query("t=").number("t"), Ok(None));
        let error = query("t=soon").number("t").unwrap_err();
        assert_eq!(
            error.message,
            "strconv.Atoi: parsing \"soon\": invalid syntax"
        );
    }

    #[test]
    fn malformed_queries_are_refused_as_docker_does() {
        let message = |text| Query::parse(text).unwrap_err().message;
        assert_eq!(message("a=b;c=d"), "invalid semicolon separator in query");
        assert_eq!(message("a=%zz"), "invalid URL escape \"%zz\"");
        assert_eq!(message("a=%4"), "invalid URL escape \"%4\"");
        assert_eq!(message("a=%ff"), "the URL is not UTF-8");
    }
}
