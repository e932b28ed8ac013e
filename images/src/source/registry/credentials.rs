//! Names and passwords: docker's `config.json`, podman's `auth.json`, and credential helpers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::limits::{MAX_FILE, MAX_MESSAGE};
use super::settings::read_file;
use super::{RegistryError, printable};
use crate::reference::DEFAULT_DOMAIN;

/// The key of docker.io's credentials, which docker has kept since the registry of version 1.
pub(super) const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// User name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers print when they have nothing (docker-credential-helpers, "errors").
const HELPER_HAS_NOTHING: &str = "credentials not found";

/// What a user has for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Name and password.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token that a token server gives others for.
    Identity(String),
}

impl std::fmt::Debug for Credential {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
        })
    }
}

impl Credential {
    /// Value of the header `Authorization` for a name and a password (RFC 7617).
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => Some(format!(
                "Basic {}",
                BASE64.encode(format!("{user}:{password}"))
            )),
            Self::Identity(_) => None,
        }
    }
}

/// The key under which credentials of a registry are kept.
#[must_use]
pub fn key(domain: &str) -> &str {
    if domain == DEFAULT_DOMAIN {
        DOCKER_KEY
    } else {
        domain
    }
}

/// What the first of the files that has some says for a repository of a registry.
pub(super) fn find(
    files: &[impl AsRef<Path>],
    domain: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    for path in files {
        let path = path.as_ref();
        let Some(config) = read(path)? else { continue };
        if let Some(helper) = helper(&config, domain) {
            if let Some(found) = ask_helper(helper, key(domain))? {
                return Ok(Some(found));
            }
            continue;
        }
        if let Some(found) = in_file(path, &config, domain, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<Map<String, Value>>, RegistryError> {
    let Some(bytes) = read_file(path)? else {
        return Ok(None);
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Some(Map::new()));
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| RegistryError::Malformed {
            path: path.to_owned(),
            source,
        })
}

/// The helper that keeps this registry's credentials.
fn helper<'a>(config: &'a Map<String, Value>, domain: &str) -> Option<&'a str> {
    let of_registry = || {
        let helpers = config.get("credHelpers")?.as_object()?;
        helpers
            .get(domain)
            .or_else(|| helpers.get(key(domain)))?
            .as_str()
    };
    let of_all = || config.get("credsStore")?.as_str();
    of_registry()
        .or_else(of_all)
        .filter(|name| !name.is_empty())
}

/// The most special entry: one of the repository or what it is in (podman's way), then one of the
/// registry in any of its spellings.
fn in_file(
    path: &Path,
    config: &Map<String, Value>,
    domain: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    let Some(entries) = config.get("auths").and_then(Value::as_object) else {
        return Ok(None);
    };
    let whole = format!("{domain}/{repository}");
    let mut name = whole.as_str();
    let mut found = entries.get(name);
    while let (None, Some((shorter, _))) = (found, name.rsplit_once('/')) {
        name = shorter;
        found = entries.get(name);
    }
    let found = found.or_else(|| entries.get(key(domain))).or_else(|| {
        let same = |entry: &&String| registry_of(entry) == registry_of(key(domain));
        entries
            .iter()
            .find(|(entry, _)| same(entry))
            .map(|(_, value)| value)
    });
    found.map_or(Ok(None), |entry| parse_entry(path, entry))
}

/// Host and port of a key that may be an address.
fn registry_of(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    rest.unwrap_or(key).split('/').next().unwrap_or(key)
}

fn parse_entry(path: &Path, entry: &Value) -> Result<Option<Credential>, RegistryError> {
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::Identity(token.to_owned())));
    }
    if let Some(encoded) = text("auth") {
        let wrong = || RegistryError::Setting {
            path: path.to_owned(),
            reason: "an \"auth\" in it is not the base64 form of NAME:PASSWORD; log in again"
                .to_owned(),
        };
        let bytes = BASE64.decode(encoded).map_err(|_| wrong())?;
        let pair = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (user, password) = pair.split_once(':').ok_or_else(wrong)?;
        return Ok(Some(Credential::Password {
            user: user.to_owned(),
            // Old docker padded them.
            password: password.trim_end_matches('\0').to_owned(),
        }));
    }
    Ok(text("username")
        .zip(text("password"))
        .map(|(user, password)| Credential::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }))
}

fn ask_helper(helper: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
    let answer = match run_helper(helper, "get", server.as_bytes()) {
        Ok(answer) => answer,
        Err(RegistryError::Helper { reason, .. }) if reason.contains(HELPER_HAS_NOTHING) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let failed = |reason: &str| RegistryError::Helper {
        helper: helper.to_owned(),
        action: "get",
        reason: reason.to_owned(),
    };
    let value: Value =
        serde_json::from_slice(&answer).map_err(|_| failed("its answer is not JSON"))?;
    let text = |name| value.get(name).and_then(Value::as_str);
    let (Some(user), Some(secret)) = (text("Username"), text("Secret")) else {
        return Err(failed("its answer has no Username or no Secret"));
    };
    Ok(Some(if user == TOKEN_USER {
        Credential::Identity(secret.to_owned())
    } else {
        Credential::Password {
            user: user.to_owned(),
            password: secret.to_owned(),
        }
    }))
}

/// Runs `docker-credential-HELPER ACTION` with this input; gives what it prints.
fn run_helper(helper: &str, action: &'static str, input: &[u8]) -> Result<Vec<u8>, RegistryError> {
    let failed = |reason: String| RegistryError::Helper {
        helper: helper.to_owned(),
        action,
        reason,
    };
    if helper.contains('/') {
        return Err(failed("its name has a slash".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(format!("it cannot be started ({error}); is it installed?")))?;
    // A helper that does not read has its reasons, which it says by its exit code.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(input)));
    let mut answer = Vec::new();
    let read = child
        .stdout
        .take()
        .map(|stdout| stdout.take(MAX_FILE).read_to_end(&mut answer));
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    read.transpose()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(answer);
    }
    Err(failed(printable(
        &String::from_utf8_lossy(&answer),
        MAX_MESSAGE,
    )))
}

/// Keeps credentials for a registry as docker does: by the helper that the file names, or in it.
/// Says whether they are now in the file as they are.
///
/// # Errors
/// [`RegistryError`] of reading and writing the file, and of a helper.
pub fn keep(path: &Path, domain: &str, user: &str, password: &str) -> Result<bool, RegistryError> {
    let mut config = read(path)?.unwrap_or_default();
    if let Some(helper) = helper(&config, domain) {
        let entry = json!({ "ServerURL": key(domain), "Username": user, "Secret": password });
        run_helper(helper, "store", entry.to_string().as_bytes())?;
        return Ok(false);
    }
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return Err(RegistryError::Setting {
            path: path.to_owned(),
            reason: "its \"auths\" is not an object".to_owned(),
        });
    };
    let auth = BASE64.encode(format!("{user}:{password}"));
    auths.insert(key(domain).to_owned(), json!({ "auth": auth }));
    write(path, &config)?;
    Ok(true)
}

/// Forgets the credentials for a registry; says whether there were any.
///
/// # Errors
/// As [`keep`].
pub fn forget(path: &Path, domain: &str) -> Result<bool, RegistryError> {
    let Some(mut config) = read(path)? else {
        return Ok(false);
    };
    if let Some(helper) = helper(&config, domain) {
        run_helper(helper, "erase", key(domain).as_bytes())?;
        return Ok(true);
    }
    let mut had = false;
    if let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) {
        had |= auths.remove(key(domain)).is_some();
        had |= auths.remove(domain).is_some();
    }
    if had {
        write(path, &config)?;
    }
    Ok(had)
}

/// Replaces the file, which only its owner may read.
fn write(path: &Path, config: &Map<String, Value>) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    // A file that is a link somewhere else stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // A device would be replaced.
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let text = serde_json::to_string_pretty(config).expect("all keys are strings");
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written
        .and_then(|()| fs::rename(&new, path))
        .inspect_err(|_| drop(fs::remove_file(&new)))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_leads_to_a_device_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let words = write(&path, &Map::new()).unwrap_err().to_string();
        assert!(words.contains("config.json"), "{words}");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        let device = fs::metadata("/dev/null").unwrap();
        assert!(!device.is_file());
    }

    fn password(user: &str, password: &str) -> Option<Credential> {
        let (user, password) = (user.to_owned(), password.to_owned());
        Some(Credential::Password { user, password })
    }

    fn found(config: &Value, domain: &str, repository: &str) -> Option<Credential> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, config.to_string()).unwrap();
        find(&[path], domain, repository).unwrap()
    }

    #[test]
    fn keys_of_all_spellings_are_found() {
        let auth = BASE64.encode("me:a:b");
        for (key, domain) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("r.example:5000", "r.example:5000"),
            ("https://r.example:5000/v1/", "r.example:5000"),
            ("http://r.example", "r.example"),
        ] {
            let config = json!({ "auths": { key: { "auth": auth } } });
            assert_eq!(
                found(&config, domain, "x/y"),
                password("me", "a:b"),
                "{key}"
            );
            assert_eq!(found(&config, "other.example", "x/y"), None, "{key}");
        }
    }

    #[test]
    fn entry_of_the_repository_goes_before_that_of_the_registry() {
        let entry = |user: &str| json!({ "username": user, "password": "p" });
        let config =
            json!({ "auths": { "r": entry("all"), "r/a": entry("some"), "r/a/b": entry("one") } });
        assert_eq!(found(&config, "r", "a/b"), password("one", "p"));
        assert_eq!(found(&config, "r", "a/c"), password("some", "p"));
        assert_eq!(found(&config, "r", "c"), password("all", "p"));
    }

    #[test]
    fn identity_token_goes_before_a_password() {
        let config = json!({ "auths": { "r": { "auth": "eDp5", "identitytoken": "t" } } });
        assert_eq!(
            found(&config, "r", "a"),
            Some(Credential::Identity("t".to_owned()))
        );
    }

    #[test]
    fn what_is_kept_is_found_and_forgotten_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/config.json");
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(
            &path,
            r#"{"psFormat":"x","auths":{"other":{"auth":"eDp5"}}}"#,
        )
        .unwrap();
        assert!(keep(&path, "docker.io", "me", "secret").unwrap());
        let files = [&path];
        assert_eq!(
            find(&files, "docker.io", "a").unwrap(),
            password("me", "secret")
        );
        assert!(forget(&path, "docker.io").unwrap());
        assert!(!forget(&path, "docker.io").unwrap());
        assert_eq!(find(&files, "docker.io", "a").unwrap(), None);
        assert_eq!(find(&files, "other", "a").unwrap(), password("x", "y"));
        assert!(fs::read_to_string(&path).unwrap().contains("psFormat"));
    }

    #[test]
    fn malformed_entry_is_named_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in [
            r#"{"auths":{"r":{"auth":"***"}}}"#,
            r#"{"auths":{"r":{"auth":"eA=="}}}"#,
            "{",
        ] {
            fs::write(&path, text).unwrap();
            let error = find(&[&path], "r", "a").unwrap_err();
            assert!(error.to_string().contains("config.json"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_in_debugging_output() {
        let shown = format!("{:?}", password("me", "secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
