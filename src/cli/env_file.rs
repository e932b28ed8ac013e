//! `--env-file`: a variable in each line, by docker's rules.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// Mark with which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The variables of a file, as `NAME=VALUE`. A name alone is taken over from outside; without a value
/// there it is left out, where `--env` would take it away.
///
/// # Errors
/// When it cannot be read, or a line is none.
pub(super) fn read(path: &Path) -> Result<Vec<String>> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&content, |name| std::env::var(name).ok())
        .with_context(|| format!("environment file {}", path.display()))
}

fn parse(content: &[u8], outside: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).with_context(|| format!("line {number}"))?;
        // Blanks before the name are nothing; those after the sign belong to the value.
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            bail!("line {number}: no variable name on line {line:?}");
        }
        if name.contains(char::is_whitespace) {
            bail!("line {number}: variable {name:?} contains whitespace");
        }
        if line.contains('\0') {
            bail!("line {number}: {line:?} contains a NUL byte");
        }
        match value {
            Some(_) => variables.push(line.into()),
            None => variables.extend(outside(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(content: &[u8]) -> Result<Vec<String>> {
        parse(content, |name| {
            (name == "OUTSIDE").then(|| "from outside".into())
        })
    }

    #[test]
    fn lines_are_read_by_dockers_rules() {
        let content = b"\xef\xbb\xbfFIRST=1\r\n# comment\n\n  \tINDENTED= a b \nEMPTY=\n\
            OUTSIDE\nABSENT\nQUOTED=\"x\" # no comment\nLAST=x=y\r";
        let expected = [
            "FIRST=1",
            "INDENTED= a b ",
            "EMPTY=",
            "OUTSIDE=from outside",
            "QUOTED=\"x\" # no comment",
            "LAST=x=y",
        ];
        assert_eq!(parsed(content).unwrap(), expected);
    }

    #[test]
    fn blanks_in_names_and_what_is_no_text_are_refused_with_their_line() {
        for (content, words) in [
            (&b"A=1\nB C=2"[..], "line 2: variable \"B C\""),
            (b"A =1", "line 1"),
            (b"A\t=1", "line 1"),
            (b"\n\nTWO WORDS\n", "line 3"),
            (b"=1", "line 1: no variable name"),
            (b"A=1\n\xff\xfe=2", "line 2"),
            (b"A=\0", "line 1"),
            // A mark stands only at the beginning.
            (b"A=1\n\xef\xbb\xbf =2", "line 2"),
        ] {
            let error = format!("{:#}", parsed(content).unwrap_err());
            assert!(error.contains(words), "{content:?}: {error}");
        }
    }
}
