//! Passwords of registries that a client sends with a request.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::error::ApiError;

/// The header that they are sent in.
pub const HEADER: &str = "x-registry-auth";

/// What is in the header, in base64 of JSON.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Sent {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// A file with a client's credentials for a registry, which its user alone can read and which goes with
/// this value; `None` where the client has none.
///
/// # Errors
/// When the header is malformed, or the file cannot be written.
pub fn file(header: Option<&str>, registry: &str) -> Result<Option<NamedTempFile>, ApiError> {
    let Some(header) = header.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let sent =
        parse(header).ok_or_else(|| ApiError::invalid("malformed X-Registry-Auth header"))?;
    let entry = match sent {
        Sent {
            identitytoken: Some(token),
            ..
        } if !token.is_empty() => json!({ "identitytoken": token }),
        Sent {
            username: Some(user),
            password: Some(password),
            ..
        } if !user.is_empty() => {
            let plain = format!("{user}:{password}");
            let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
            json!({ "auth": encoded })
        }
        Sent {
            auth: Some(auth), ..
        } if !auth.is_empty() => json!({ "auth": auth }),
        _ => return Ok(None),
    };
    let text = json!({ "auths": { registry: entry } }).to_string();
    let write = || -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    Ok(Some(write()?))
}

/// Clients pad it or not.
fn parse(header: &str) -> Option<Sent> {
    let engine = if header.ends_with('=') {
        URL_SAFE
    } else {
        URL_SAFE_NO_PAD
    };
    let text = engine.decode(header).ok()?;
    if text.trim_ascii().is_empty() {
        return Some(Sent::default());
    }
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let header = URL_SAFE.encode(text);
        let file = file(Some(&header), "registry.example").unwrap()?;
        Some(std::fs::read_to_string(file.path()).unwrap())
    }

    #[test]
    fn credentials_are_written_as_docker_keeps_them() {
        let text = written(r#"{"username":"u","password":"p","serveraddress":"registry.example"}"#);
        assert_eq!(
            text.unwrap(),
            r#"{"auths":{"registry.example":{"auth":"dTpw"}}}"#
        );
        let text = written(r#"{"identitytoken":"t"}"#).unwrap();
        assert!(text.contains(r#"{"identitytoken":"t"}"#), "{text}");
    }

    #[test]
    fn clients_without_credentials_send_nothing_in_several_ways() {
        assert!(file(None, "r").unwrap().is_none());
        assert!(file(Some(""), "r").unwrap().is_none());
        for text in [
            "{}",
            "",
            r#"{"username":"","password":""}"#,
            r#"{"auth":null}"#,
        ] {
            assert_eq!(written(text), None, "{text}");
        }
        // As docker's command sends it, without and with padding.
        assert!(file(Some("e30"), "r").unwrap().is_none());
        assert!(file(Some("e30="), "r").unwrap().is_none());
        assert!(file(Some("***"), "r").is_err());
        assert!(file(Some("Ingi"), "r").is_err());
    }
}
