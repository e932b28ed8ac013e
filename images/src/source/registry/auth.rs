//! Answers to challenges: a password, or a token of the registry's token server (distribution
//! specification, "token authentication"; OAuth 2, RFC 6749 section 6, for identity tokens).

use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, StatusCode, Uri};

use super::challenge::Challenge;
use super::client::{Client, advice};
use super::credentials::{self, Credential};
use super::endpoint::Endpoint;
use super::failure::{Failure, message};
use super::limits::{DOCUMENT, MAX_TOKEN};
use super::settings::is_loopback;
use super::{RegistryError, Settings, printable};

/// Name of the program for token servers.
const CLIENT_ID: &str = "coracle";

/// A value for the header `Authorization` that answers a challenge.
pub(super) fn authenticate(
    client: &Client,
    endpoint: &Endpoint,
    what: &str,
    challenge: &Challenge,
) -> Result<String, RegistryError> {
    let credential = match (&endpoint.given, &client.settings.given) {
        (Some(credential), _) => Some(credential.clone()),
        (None, Some((domain, credential))) if *domain == endpoint.domain => {
            Some(credential.clone())
        }
        (None, _) => credentials::find(
            &client.settings.credentials,
            &endpoint.domain,
            &endpoint.repository,
        )?,
    };
    match challenge {
        Challenge::Basic => credential
            .as_ref()
            .and_then(Credential::basic)
            .ok_or_else(|| RegistryError::Denied {
                host: endpoint.authority.clone(),
                what: what.to_owned(),
                message: ": it wants a name and a password".to_owned(),
                advice: advice(endpoint, credential.is_some()),
            }),
        Challenge::Bearer {
            realm,
            service,
            scope,
        } => {
            let address = check_realm(client, endpoint, realm)?;
            let scope = endpoint.scope().or_else(|| scope.clone());
            let request = TokenRequest {
                client,
                endpoint,
                what,
                address,
                service: service.as_deref(),
                scope: scope.as_deref(),
                credential: credential.as_ref(),
            };
            let token = request.token()?;
            Ok(format!("Bearer {token}"))
        }
    }
}

/// A token server gets passwords, so that it has to be as safe as the registry that names it.
fn check_realm(client: &Client, endpoint: &Endpoint, realm: &str) -> Result<Uri, RegistryError> {
    let refused = |reason: &str| RegistryError::Token {
        realm: printable(realm, 200),
        host: endpoint.authority.clone(),
        reason: reason.to_owned(),
    };
    let address: Uri = realm.parse().map_err(|_| refused("that is no address"))?;
    let authority = address
        .authority()
        .map_or("", |authority| authority.as_str());
    if authority.is_empty() || authority.contains('@') {
        return Err(refused("that is no address of a token server"));
    }
    match address.scheme_str() {
        Some("https") => Ok(address),
        Some("http") if plain_realm_is_allowed(&client.settings, endpoint, authority) => {
            Ok(address)
        }
        _ => Err(refused("it is not asked without TLS")),
    }
}

/// Whether a token server may be asked without TLS. One on this machine only when the registry is on this machine as
/// well: whatever listens on a port here is no business of a registry elsewhere, and must not get its password. One
/// that has TLS itself cannot send the password anywhere without, unless the user named that host.
fn plain_realm_is_allowed(settings: &Settings, endpoint: &Endpoint, authority: &str) -> bool {
    if settings.lists_insecure(authority) {
        return true;
    }
    // An endpoint that has given a challenge is known to have TLS or not.
    if endpoint.https.get().copied().unwrap_or(true) {
        return false;
    }
    if is_loopback(authority) {
        return is_loopback(&endpoint.authority);
    }
    settings.is_insecure(authority)
}

struct TokenRequest<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    what: &'a str,
    address: Uri,
    service: Option<&'a str>,
    scope: Option<&'a str>,
    credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    fn token(&self) -> Result<String, RegistryError> {
        let host = self
            .address
            .authority()
            .map_or("", |authority| authority.as_str());
        let what = format!("a token for {}", self.what);
        let response = self
            .client
            .attempts(host, &what, self.endpoint.attempts, || {
                match self.credential {
                    Some(Credential::Identity(token)) => self.post(token),
                    _ => self.get(),
                }
            })?;
        match response.status() {
            StatusCode::OK => self.parse(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                Err(RegistryError::Denied {
                    host: host.to_owned(),
                    what: self.what.to_owned(),
                    message: message(response),
                    advice: advice(self.endpoint, self.credential.is_some()),
                })
            }
            status => Err(self.failed(&format!("it answers {status}"))),
        }
    }

    fn get(&self) -> Result<Response<Body>, Failure> {
        let mut query = Form::default();
        query.add("service", self.service);
        query.add("scope", self.scope);
        if let Some(Credential::Password { user, .. }) = self.credential {
            query.add("account", Some(user));
        }
        let separator = if self.address.query().is_some() {
            '&'
        } else {
            '?'
        };
        let text = format!("{}{separator}{}", self.address, query.0);
        let address: Uri = text
            .parse()
            .map_err(|_| Failure::Final(self.failed("that is no address")))?;
        let agent = self.client.agent(&address, true).map_err(Failure::Final)?;
        let mut request = agent.get(&address).header("accept", "application/json");
        if let Some(basic) = self.credential.and_then(Credential::basic) {
            request = request.header("authorization", basic);
        }
        request
            .config()
            .timeout_recv_body(Some(DOCUMENT))
            .build()
            .call()
            .map_err(Failure::Http)
    }

    fn post(&self, token: &str) -> Result<Response<Body>, Failure> {
        let mut form = Form::default();
        form.add("grant_type", Some("refresh_token"));
        form.add("service", self.service);
        form.add("client_id", Some(CLIENT_ID));
        form.add("scope", self.scope);
        form.add("refresh_token", Some(token));
        let agent = self
            .client
            .agent(&self.address, true)
            .map_err(Failure::Final)?;
        agent
            .post(&self.address)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .config()
            .timeout_recv_body(Some(DOCUMENT))
            .build()
            .send(form.0)
            .map_err(Failure::Http)
    }

    fn parse(&self, mut response: Response<Body>) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: Option<String>,
            #[serde(default)]
            access_token: Option<String>,
        }
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_TOKEN)
            .read_to_vec()
            .map_err(|error| self.failed(&format!("its answer cannot be read ({error})")))?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| self.failed("its answer is not JSON"))?;
        let token = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token);
        // Anything else could end the header and begin another one.
        token
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| self.failed("its answer has no token"))
    }

    fn failed(&self, reason: &str) -> RegistryError {
        RegistryError::Token {
            realm: printable(&self.address.to_string(), 200),
            host: self.endpoint.authority.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Names and values as `application/x-www-form-urlencoded`.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&percent_encode(value));
    }
}

/// Everything but the unreserved characters (RFC 3986 section 2.3) as `%XX`.
pub(super) fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string never fails");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(settings: &Settings, registry: &str, https: bool, realm: &str) -> bool {
        let endpoint = Endpoint::of_domain(settings, registry, "boat");
        endpoint.https.get_or_init(|| https);
        check_realm(&Client::new(settings.clone()), &endpoint, realm).is_ok()
    }

    #[test]
    fn registry_with_tls_names_no_token_server_without() {
        let settings = Settings::default();
        for realm in [
            "http://127.0.0.1:5000/token",
            "HTTP://127.0.0.1/token",
            "http://localhost/token",
            "http://[::1]:5000/token",
            "http://[::ffff:127.0.0.1]/token",
            "http://127.1/token",
            "http://2130706433/token",
            "http://0.0.0.0/token",
            "http://registry.example/token",
            "https://me:secret@token.example/",
            "ftp://token.example/",
            "//127.0.0.1/token",
            "/token",
            "",
        ] {
            for registry in ["registry.example", "registry.example:80", "127.0.0.1:5000"] {
                assert!(
                    !allowed(&settings, registry, true, realm),
                    "{registry} {realm}"
                );
            }
        }
        for realm in ["https://127.0.0.1:5000/token", "https://token.example"] {
            assert!(
                allowed(&settings, "registry.example", true, realm),
                "{realm}"
            );
        }
    }

    #[test]
    fn credentials_that_are_given_are_for_their_registry_alone() {
        let given = Credential::Password {
            user: "u".into(),
            password: "p".into(),
        };
        let settings = Settings {
            given: Some(("registry.example".into(), given)),
            ..Settings::default()
        };
        let ask = |domain: &str| {
            let endpoint = Endpoint::of_domain(&settings, domain, "a/b");
            let client = Client::new(settings.clone());
            authenticate(&client, &endpoint, "it", &Challenge::Basic)
        };
        assert_eq!(ask("registry.example").unwrap(), "Basic dTpw");
        assert!(ask("other.example").is_err());
    }

    #[test]
    fn token_server_of_this_machine_is_for_registries_of_this_machine() {
        let settings = Settings {
            insecure: ["plain.example".to_owned()].into(),
            ..Settings::default()
        };
        let realm = "http://127.0.0.1:5000/token";
        assert!(allowed(&settings, "localhost:5000", false, realm));
        assert!(!allowed(&settings, "plain.example", false, realm));
        assert!(allowed(
            &settings,
            "plain.example",
            false,
            "http://plain.example/token"
        ));
    }

    #[test]
    fn user_may_name_a_token_server_that_has_no_tls() {
        let with = |tls_verify| Settings {
            insecure: ["127.0.0.1:5000".to_owned()].into(),
            tls_verify,
            ..Settings::default()
        };
        let realm = "http://127.0.0.1:5000/token";
        assert!(allowed(&with(None), "registry.example", true, realm));
        assert!(!allowed(&with(Some(true)), "registry.example", true, realm));
        // `--tls-verify=false` is said of the registry, not of whatever host it may name.
        let all = Settings {
            tls_verify: Some(false),
            ..Settings::default()
        };
        assert!(!allowed(&all, "registry.example", true, realm));
    }
}
