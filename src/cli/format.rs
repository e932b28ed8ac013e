//! `--format`: `json`, or the part of Go's templates that people use with docker.

use anyhow::{Result, bail};
use serde_json::Value;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object in a line.
    Json,
    /// A template for each line; columns of a table are aligned and have headings.
    Template { table: bool, parts: Vec<Part> },
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// `{{.A.B}}`, and `{{json .A}}`.
    Field {
        path: Vec<String>,
        json: bool,
    },
}

impl std::str::FromStr for Format {
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
                return Err("a '{{' has no '}}'".into());
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
            "{inner:?} is not understood; fields such as {{{{.Names}}}} and {{{{json .}}}} are"
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
    /// One value in this format; the columns of a table are parted by tabs.
    ///
    /// # Errors
    /// When a field does not exist.
    pub(super) fn line(&self, value: &Value) -> Result<String> {
        let Self::Template { parts, .. } = self else {
            return Ok(value.to_string());
        };
        let mut line = String::new();
        for part in parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field { path, json } => {
                    let found = follow(value, path)?;
                    match found {
                        found if *json => line.push_str(&found.to_string()),
                        Value::String(text) => line.push_str(text),
                        Value::Null => line.push_str("<no value>"),
                        other => line.push_str(&other.to_string()),
                    }
                }
            }
        }
        Ok(line)
    }

    /// Prints values, a line each.
    ///
    /// # Errors
    /// When a field does not exist.
    pub(super) fn print(&self, values: &[Value]) -> Result<()> {
        if let Self::Template { table: true, parts } = self {
            let mut printed = super::table::table(&[]);
            printed.add_row(headings(parts).split('\t'));
            for value in values {
                printed.add_row(self.line(value)?.split('\t'));
            }
            super::table::print(&printed);
            return Ok(());
        }
        for value in values {
            println!("{}", self.line(value)?);
        }
        Ok(())
    }
}

fn headings(parts: &[Part]) -> String {
    let heading = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Field { path, .. } => match path.last().map_or("", String::as_str) {
            "ID" => "CONTAINER ID".into(),
            "RunningFor" => "CREATED".into(),
            name => name.to_uppercase(),
        },
    };
    parts.iter().map(heading).collect()
}

fn follow<'a>(value: &'a Value, path: &[String]) -> Result<&'a Value> {
    let mut found = value;
    for name in path {
        found = match found.get(name) {
            Some(inner) => inner,
            None => bail!("there is no field {name:?} to format"),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_put_in_their_places() {
        let format: Format = "{{.Names}}\\t{{json .State}} {{ .State.Pid }}"
            .parse()
            .unwrap();
        let value = json!({"Names": "web", "State": {"Pid": 7}});
        assert_eq!(format.line(&value).unwrap(), "web\t{\"Pid\":7} 7");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!("{{range .}}".parse::<Format>().is_err());
        assert!("{{.Names".parse::<Format>().is_err());
        let format: Format = "{{.Nope}}".parse().unwrap();
        assert!(format.line(&json!({})).is_err());
    }
}
