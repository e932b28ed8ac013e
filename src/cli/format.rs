//! `--format`: `json`, or the part of Go's templates that people use with docker.

use anyhow::{Result, bail};
use serde_json::Value;

use coracle_terminal::output;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object in a line.
    Json,
    /// A template for each line; columns of a table are aligned and have headings.
    Template { table: bool, parts: Vec<Part> },
}

/// What the values of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Rows: a line end in a value would make another one, which scripts would take for a container.
    Lines,
    /// Texts.
    Texts,
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
    /// One value in this format; the columns of a table are parted by tabs.
    ///
    /// # Errors
    /// When a field does not exist.
    fn text(&self, value: &Value, rows: Rows) -> Result<String> {
        let Self::Template { parts, .. } = self else {
            return Ok(output::clean_json(&value.to_string()).into_owned());
        };
        let json = |value: &Value| output::clean_json(&value.to_string()).into_owned();
        let mut line = String::new();
        for part in parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field {
                    path,
                    json: as_json,
                } => {
                    let found = follow(value, path)?;
                    match found {
                        found if *as_json => line.push_str(&json(found)),
                        Value::String(text) => line.push_str(&match rows {
                            Rows::Lines => output::clean_line(text),
                            Rows::Texts => output::clean_lines(text),
                        }),
                        Value::Null => line.push_str("<no value>"),
                        other => line.push_str(&json(other)),
                    }
                }
            }
        }
        Ok(line)
    }

    /// Prints the rows of a list, a line each, whatever is in a value.
    ///
    /// # Errors
    /// When a field does not exist.
    pub(super) fn print(&self, values: &[Value]) -> Result<()> {
        self.write(values, Rows::Lines)
    }

    /// Prints what is known of things that were named, whose values may have several lines.
    ///
    /// # Errors
    /// When a field does not exist.
    pub(super) fn print_texts(&self, values: &[Value]) -> Result<()> {
        self.write(values, Rows::Texts)
    }

    fn write(&self, values: &[Value], rows: Rows) -> Result<()> {
        if let Self::Template { table: true, parts } = self {
            let mut printed = super::table::table(&[]);
            printed.add_row(headings(parts).split('\t'));
            for value in values {
                printed.add_row(self.text(value, Rows::Lines)?.split('\t'));
            }
            super::table::print(&printed);
            return Ok(());
        }
        for value in values {
            out!("{}\n", self.text(value, rows)?);
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
            None => bail!("template: no such field: {name:?}"),
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
        assert_eq!(
            format.text(&value, Rows::Lines).unwrap(),
            "web\t{\"Pid\":7} 7"
        );
    }

    #[test]
    fn values_have_nothing_that_a_terminal_obeys_and_make_no_rows() {
        let format: Format = "{{.A}} {{json .A}} {{.B}}".parse().unwrap();
        let value = json!({"A": "x\n\x1b[2J", "B": ["\u{9b}"]});
        assert_eq!(
            format.text(&value, Rows::Lines).unwrap(),
            r#"x \x1b[2J "x\n\u001b[2J" ["\u009b"]"#
        );
        let format: Format = "{{.A}}".parse().unwrap();
        let text = format.text(&value, Rows::Texts).unwrap();
        assert_eq!(text, "x\n\\x1b[2J");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!("{{range .}}".parse::<Format>().is_err());
        assert!("{{.Names".parse::<Format>().is_err());
        let format: Format = "{{.Nope}}".parse().unwrap();
        assert!(format.text(&json!({}), Rows::Lines).is_err());
    }
}
