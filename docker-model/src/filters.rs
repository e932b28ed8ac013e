//! Filters: what clients send as `filters={…}`, and what `--filter NAME=VALUE` says.
//!
//! As dockerd: one of several values of a filter must hold, all labels must, and a filter that is not given holds.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::Deserialize;

/// Most filters and values that a request may have: what a person still writes, so that no request makes a list slow.
const MAX_VALUES: usize = 1000;

/// Why filters are refused. The texts are dockerd's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// They are not JSON of either form.
    #[error("invalid filter: {0}")]
    Malformed(String),
    /// A filter that the list does not have.
    #[error("invalid filter '{name}'")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A value that the filter does not take.
    #[error("invalid filter '{name}={value}'")]
    Value {
        /// The filter's name.
        name: String,
        /// The value.
        value: String,
    },
}

/// The values of each filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    all: BTreeMap<String, Vec<String>>,
}

/// Both forms in which clients send the values of a filter.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    /// `{"a=b": true}`; docker-compose 1 and old clients send a list instead.
    Map(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Filters of a request: `{"label":{"a=b":true}}` or `{"label":["a=b"]}`; an empty text is none.
    ///
    /// # Errors
    /// When it is neither, or far too much.
    pub fn from_json(text: &str) -> Result<Self, FilterError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed: Option<BTreeMap<String, Option<Values>>> = serde_json::from_str(text)
            .map_err(|error| FilterError::Malformed(error.to_string()))?;
        let mut filters = Self::default();
        let mut count = 0;
        for (name, values) in parsed.unwrap_or_default() {
            let values: Vec<String> = match values {
                // A value that says false is none.
                Some(Values::Map(map)) => map
                    .into_iter()
                    .filter_map(|(value, on)| on.then_some(value))
                    .collect(),
                Some(Values::List(values)) => values,
                None => Vec::new(),
            };
            count += 1 + values.len();
            if count > MAX_VALUES {
                let most = format!("more than {MAX_VALUES} values");
                return Err(FilterError::Malformed(most));
            }
            filters.all.insert(name, values);
        }
        Ok(filters)
    }

    /// Filters of a command line. As docker's: names in lower case, without spaces around either.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut filters = Self::default();
        for (name, value) in pairs {
            let name = name.trim().to_lowercase();
            filters.add(&name, value.trim());
        }
        filters
    }

    /// Adds a value.
    pub fn add(&mut self, name: &str, value: &str) {
        let values = self.all.entry(name.into()).or_default();
        if !values.iter().any(|known| known == value) {
            values.push(value.into());
        }
    }

    /// Refuses a filter that a list does not have.
    ///
    /// # Errors
    /// [`FilterError::Unknown`].
    pub fn check(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.all.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(FilterError::Unknown { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Whether no filter is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a filter is given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|values| !values.is_empty())
    }

    /// The values of a filter; none where it is not given.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether one of a filter's values holds; also when it is not given.
    pub fn any(&self, name: &str, mut holds: impl FnMut(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).any(&mut holds)
    }

    /// Whether a filter has exactly this value, or is not given.
    #[must_use]
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.any(name, |wanted| wanted == value)
    }

    /// Whether `label=NAME[=VALUE]` holds: all that are given.
    #[must_use]
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").all(|wanted| has_label(labels, wanted))
    }

    /// A filter that is true or false, in the words of Go's `ParseBool`; `None` where it is not given.
    ///
    /// # Errors
    /// When it is neither, or both.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FilterError> {
        let mut found = None;
        for value in self.values(name) {
            let refused = || FilterError::Value {
                name: name.into(),
                value: value.into(),
            };
            let parsed = parse_bool(value).ok_or_else(refused)?;
            if found.is_some_and(|earlier| earlier != parsed) {
                return Err(refused());
            }
            found = Some(parsed);
        }
        Ok(found)
    }

    /// The values of a filter, each read by a function.
    ///
    /// # Errors
    /// [`FilterError::Value`] for one that the function does not take.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, FilterError> {
        let read = |value: &str| {
            parse(value).ok_or_else(|| FilterError::Value {
                name: name.into(),
                value: value.into(),
            })
        };
        self.values(name).map(read).collect()
    }
}

/// Go's `strconv.ParseBool`, by which booleans of filters are read.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A boolean of a query: as dockerd, everything is true but a few words.
#[must_use]
pub fn query_bool(text: &str) -> bool {
    let word = text.trim().to_lowercase();
    !matches!(word.as_str(), "" | "0" | "no" | "false" | "none")
}

/// Whether there is a label `NAME` or `NAME=VALUE`.
#[must_use]
pub fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
    }
}

/// `name=PATTERN`: a regular expression, found anywhere in a name unless it is anchored.
#[derive(Debug, Clone)]
pub struct NamePattern(Regex);

impl std::str::FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("filter name={text:?} is not a regular expression: {error}"))
    }
}

impl NamePattern {
    /// Whether a name without a slash is meant. Docker's own begin with one, so that patterns of scripts may have it.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name) || self.0.is_match(&format!("/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_json(text: &str) -> Filters {
        Filters::from_json(text).unwrap()
    }

    #[test]
    fn both_forms_of_a_request_say_the_same() {
        let map = from_json(r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#);
        let list = from_json(r#"{"label":["a=b","c"],"status":["exited"]}"#);
        assert_eq!(map, list);
        assert_eq!(
            map,
            Filters::from_pairs([("label", "a=b"), (" Label", "c "), ("status", "exited")])
        );
        assert_eq!(from_json(""), Filters::default());
        for nothing in [
            "{}",
            "null",
            r#"{"label":null}"#,
            r#"{"label":[]}"#,
            r#"{"label":{"a":false}}"#,
        ] {
            let filters = from_json(nothing);
            assert!(
                !filters.has("label") && filters.labels(&BTreeMap::new()),
                "{nothing}"
            );
        }
    }

    #[test]
    fn what_is_not_a_filter_is_refused() {
        for text in [
            "[",
            "[]",
            "3",
            r#"{"label":"a"}"#,
            r#"{"label":{"a":1}}"#,
            r#"{"label":[1]}"#,
        ] {
            let refused = Filters::from_json(text).unwrap_err();
            assert!(refused.to_string().starts_with("invalid filter"), "{text}");
        }
        let many: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        let many = serde_json::json!({"label": many}).to_string();
        assert!(Filters::from_json(&many).is_err());
        let refused = from_json(r#"{"nope":["a"]}"#)
            .check(&["label"])
            .unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'nope'");
    }

    #[test]
    fn one_value_is_enough_and_every_label_is_needed() {
        let filters = from_json(r#"{"status":["paused","exited"],"label":["a","c=d"]}"#);
        assert!(filters.is("status", "exited"));
        assert!(!filters.is("status", "running"));
        assert!(filters.is("name", "any"));
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect()
        };
        assert!(filters.labels(&labels(&[("a", "x"), ("c", "d"), ("e", "f")])));
        assert!(!filters.labels(&labels(&[("a", "x"), ("c", "other")])));
        assert!(!filters.labels(&labels(&[("c", "d")])));
        assert!(!filters.labels(&labels(&[])));
    }

    #[test]
    fn booleans_of_filters_are_go_s() {
        let dangling =
            |value: &str| from_json(&format!(r#"{{"dangling":["{value}"]}}"#)).boolean("dangling");
        for yes in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(dangling(yes), Ok(Some(true)), "{yes}");
        }
        for no in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(dangling(no), Ok(Some(false)), "{no}");
        }
        for neither in ["", "yes", "tRUE", "2"] {
            assert!(dangling(neither).is_err(), "{neither}");
        }
        assert!(
            from_json(r#"{"dangling":["true","false"]}"#)
                .boolean("dangling")
                .is_err()
        );
        assert_eq!(Filters::default().boolean("dangling"), Ok(None));
    }

    #[test]
    fn booleans_of_queries_are_true_unless_they_say_no() {
        for no in ["", "0", "no", "false", "none", "False", " NO "] {
            assert!(!query_bool(no), "{no:?}");
        }
        for yes in ["1", "true", "True", "t", "yes", "on", "2", "-1"] {
            assert!(query_bool(yes), "{yes:?}");
        }
    }

    #[test]
    fn values_are_read_or_refused_by_name() {
        let filters = from_json(r#"{"exited":["0","x"]}"#);
        let refused = filters.parsed("exited", |value| value.parse::<i32>().ok());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "invalid filter 'exited=x'"
        );
        let filters = from_json(r#"{"exited":["0","137"]}"#);
        assert_eq!(
            filters.parsed("exited", |value| value.parse().ok()),
            Ok(vec![0, 137])
        );
    }

    #[test]
    fn names_are_matched_by_regular_expressions() {
        for (pattern, name, expected) in [
            ("^web$", "web", true),
            ("^web$", "myweb", false),
            ("^web$", "web2", false),
            ("^/web$", "web", true),
            ("/web", "web", true),
            ("web", "myweb2", true),
            ("^w.b[0-9]+$", "web12", true),
            ("^(db|web)-", "db-1", true),
            ("web.", "web", false),
        ] {
            let matches = pattern.parse::<NamePattern>().unwrap().matches(name);
            assert_eq!(matches, expected, "{pattern} {name}");
        }
        assert!("web[".parse::<NamePattern>().is_err());
    }
}
