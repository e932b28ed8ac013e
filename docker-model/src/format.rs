//! `--format`: `json`, or the part of Go's templates that people use with docker.

use std::{collections::BTreeMap, str::FromStr};

use coracle_platform::clean;
use serde::Serialize;
use serde_json::value::RawValue;

/// Why a value cannot be shown in a format.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The template names a field that the value does not have.
    #[error("template: no such field: {0:?}")]
    NoSuchField(String),
    /// The value is not JSON.
    #[error("cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object in a line.
    Json,
    /// A template for each line; columns of a table are aligned and have headings.
    Template {
        /// It begins with `table`.
        table: bool,
        /// Its pieces.
        parts: Vec<Part>,
    },
}

/// What the values of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Rows: a line end in a value would make another one, which scripts would take for a container.
    Lines,
    /// Texts.
    Texts,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What is written as it is.
    Text(String),
    /// `{{.A.B}}`, and `{{json .A}}`.
    Field {
        /// Names from the outermost to the innermost.
        path: Vec<String>,
        /// The value is written as JSON.
        json: bool,
    },
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "json" {
            return Ok(Self::Json);
        }
        let (table, template) = match text.strip_prefix("table ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let template = template.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inner, after)) = after.split_once("}}") else {
                return Err("template parsing error: unclosed '{{'".into());
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(field(inner.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self::Template { table, parts })
    }
}

fn field(inner: &str) -> Result<Part, String> {
    let (json, path) = match inner.strip_prefix("json ") {
        Some(path) => (true, path.trim()),
        None => (false, inner),
    };
    let Some(path) = path.strip_prefix('.') else {
        return Err(format!(
            "template parsing error: {inner:?} is not supported; use fields such as {{{{.Names}}}}, or {{{{json .}}}}"
        ));
    };
    Ok(Part::Field {
        path: path
            .split('.')
            .filter(|name| !name.is_empty())
            .map(Into::into)
            .collect(),
        json,
    })
}

impl Format {
    /// Headings of the columns of a table, parted by tabs; nothing for what is no table.
    #[must_use]
    pub fn headings(&self) -> Option<String> {
        let Self::Template { table: true, parts } = self else {
            return None;
        };
        let heading = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field { path, .. } => match path.last().map_or("", String::as_str) {
                "ID" => "CONTAINER ID".into(),
                "RunningFor" => "CREATED".into(),
                name => name.to_uppercase(),
            },
        };
        Some(parts.iter().map(heading).collect())
    }

    /// One value in this format, without anything that a terminal obeys; the columns of a table are parted by tabs.
    ///
    /// # Errors
    /// When a field does not exist.
    pub fn text(&self, value: &impl Serialize, rows: Rows) -> Result<String, FormatError> {
        let whole = serde_json::to_string(value)?;
        let Self::Template { parts, .. } = self else {
            return Ok(clean::json(&whole).into_owned());
        };
        // Parsed once for all fields, and only where it is an object.
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&whole).unwrap_or_default();
        let mut line = String::new();
        for part in parts {
            let (path, as_json) = match part {
                Part::Text(text) => {
                    line.push_str(text);
                    continue;
                }
                Part::Field { path, json } => (path, *json),
            };
            let found = match path.split_first() {
                None => &whole,
                Some((first, inner)) => follow(fields.get(first).copied(), first, inner)?,
            };
            line.push_str(&shown(found, as_json, rows)?);
        }
        Ok(line)
    }
}

/// A value's text: JSON where that is asked for, or it is not a string.
fn shown(json: &str, as_json: bool, rows: Rows) -> Result<String, FormatError> {
    if !as_json && json == "null" {
        return Ok("<no value>".into());
    }
    if as_json || !json.starts_with('"') {
        return Ok(clean::json(json).into_owned());
    }
    let text: String = serde_json::from_str(json)?;
    Ok(match rows {
        Rows::Lines => clean::line(&text).into_owned(),
        Rows::Texts => clean::lines(&text).into_owned(),
    })
}

/// The JSON of a field within a field, as it was written: a parsed object would lose the order of its keys.
fn follow<'a>(
    field: Option<&'a RawValue>,
    name: &str,
    inner: &[String],
) -> Result<&'a str, FormatError> {
    let missing = |name: &str| FormatError::NoSuchField(name.into());
    let mut found = field.ok_or_else(|| missing(name))?;
    for name in inner {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(found.get()).map_err(|_| missing(name))?;
        found = fields.get(name).copied().ok_or_else(|| missing(name))?;
    }
    Ok(found.get())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(format: &str, value: &impl Serialize) -> String {
        let format: Format = format.parse().unwrap();
        format.text(value, Rows::Lines).unwrap()
    }

    #[test]
    fn fields_are_put_in_their_places() {
        let value = json!({"Names": "web", "State": {"Pid": 7}});
        let shown = text("{{.Names}}\\t{{json .State}} {{ .State.Pid }}", &value);
        assert_eq!(shown, "web\t{\"Pid\":7} 7");
    }

    #[test]
    fn objects_keep_the_order_of_their_keys() {
        #[derive(Serialize)]
        struct Value {
            z: u8,
            inner: Inner,
            a: Option<u8>,
        }
        #[derive(Serialize)]
        struct Inner {
            y: [u8; 1],
            b: &'static str,
        }
        let value = Value {
            z: 1,
            inner: Inner { y: [2], b: "c" },
            a: None,
        };
        let whole = r#"{"z":1,"inner":{"y":[2],"b":"c"},"a":null}"#;
        assert_eq!(text("json", &value), whole);
        assert_eq!(text("{{json .}}", &value), whole);
        assert_eq!(
            text("{{.inner}} {{json .inner.b}} {{.a}} {{json .a}}", &value),
            r#"{"y":[2],"b":"c"} "c" <no value> null"#
        );
    }

    #[test]
    fn values_have_nothing_that_a_terminal_obeys_and_make_no_rows() {
        let value = json!({"A": "x\n\x1b[2J", "B": ["\u{9b}"]});
        assert_eq!(
            text("{{.A}} {{json .A}} {{.B}}", &value),
            r#"x \x1b[2J "x\n\u001b[2J" ["\u009b"]"#
        );
        let format: Format = "{{.A}}".parse().unwrap();
        let text = format.text(&value, Rows::Texts).unwrap();
        assert_eq!(text, "x\n\\x1b[2J");
    }

    #[test]
    fn headings_are_of_tables_only() {
        let headings = |format: &str| format.parse::<Format>().unwrap().headings();
        let table = headings("table {{.ID}}\\t{{.Names}}\\t{{.RunningFor}}");
        assert_eq!(table.as_deref(), Some("CONTAINER ID\tNAMES\tCREATED"));
        assert_eq!(headings("{{.ID}}"), None);
        assert_eq!(headings("json"), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!("{{range .}}".parse::<Format>().is_err());
        assert!("{{.Names".parse::<Format>().is_err());
        for (template, value) in [
            ("{{.Nope}}", json!({})),
            ("{{.A.B}}", json!({"A": "text"})),
            ("{{.A}}", json!("text")),
        ] {
            let format: Format = template.parse().unwrap();
            let refused = format.text(&value, Rows::Lines).unwrap_err();
            assert!(refused.to_string().contains("no such field"), "{template}");
        }
    }
}
