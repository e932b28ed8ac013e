//! Passwords of registries that a client sends with a request.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use images::source::registry::Credential;
use serde::Deserialize;

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

/// A client's credentials, which are kept in memory alone; `None` where the client has none. As docker
/// does, what is malformed is none: many images are had without.
#[must_use]
pub fn credential(header: Option<&str>) -> Option<Credential> {
    let text = decode(header?)?;
    let sent: Sent = serde_json::from_slice(text.trim_ascii()).ok()?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = given(sent.identitytoken) {
        return Some(Credential::Identity(token));
    }
    if let (Some(user), Some(password)) = (given(sent.username), sent.password) {
        return Some(Credential::Password { user, password });
    }
    let pair = String::from_utf8(decode(&given(sent.auth)?)?).ok()?;
    let (user, password) = pair.split_once(':')?;
    // As in docker's file, whose passwords may be filled up.
    let password = password.trim_end_matches('\0');
    (!user.is_empty()).then(|| Credential::Password {
        user: user.into(),
        password: password.into(),
    })
}

/// Clients use one alphabet of base64 or the other, and pad or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=');
    let text = text.replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    fn password(header: &str) -> Option<(String, String)> {
        match credential(Some(header))? {
            Credential::Password { user, password } => Some((user, password)),
            Credential::Identity(token) => Some((String::new(), token)),
        }
    }

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn credentials_are_understood_in_all_forms() {
        let text = r#"{"username":"u","password":"p","serveraddress":"registry.example"}"#;
        assert_eq!(password(&URL_SAFE.encode(text)), pair("u", "p"));
        let text = r#"{"identitytoken":"t","username":"u","password":""}"#;
        assert_eq!(password(&URL_SAFE.encode(text)), pair("", "t"));
        let text = r#"{"auth":"dTpwOnE="}"#;
        assert_eq!(password(&URL_SAFE.encode(text)), pair("u", "p:q"));
    }

    #[test]
    fn both_alphabets_are_understood_with_and_without_padding() {
        // In base64, it has both characters in which they differ.
        let text = r#"{"username":"u","password":"~~~???>>>"} "#;
        let standard = STANDARD.encode(text);
        assert!(standard.contains(['+', '/']), "{standard}");
        for header in [
            standard.clone(),
            STANDARD_NO_PAD.encode(text),
            URL_SAFE.encode(text),
            URL_SAFE_NO_PAD.encode(text),
        ] {
            assert_eq!(password(&header), pair("u", "~~~???>>>"), "{header}");
        }
    }

    #[test]
    fn clients_without_credentials_send_nothing_in_several_ways() {
        assert!(credential(None).is_none());
        for header in ["", "e30", "e30=", "***", "Ingi", "bnVsbA=="] {
            assert_eq!(password(header), None, "{header}");
        }
        for text in ["", r#"{"username":"","password":""}"#, r#"{"auth":null}"#] {
            assert_eq!(password(&URL_SAFE.encode(text)), None, "{text}");
        }
    }
}
