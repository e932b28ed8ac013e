//! One request to a registry: attempts, redirects, authentication.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::endpoint::Endpoint;
use super::failure::{Failure, hint, is_not_tls, is_worth_another_attempt, message};
use super::limits::{DOCUMENT, FIRST_PAUSE, MAX_HEADERS, MAX_PAUSE, MAX_REDIRECTS};
use super::settings::is_loopback;
use super::{RegistryError, Settings, certificates, proxy};

/// How the program introduces itself.
const USER_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

/// What to ask an endpoint for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// For people: `manifest 12 of a/b`.
    pub(super) what: &'a str,
    /// Path of the address, with the query.
    pub(super) path: &'a str,
    /// Media types that may come.
    pub(super) accept: &'a str,
    /// First byte that is wanted.
    pub(super) start: u64,
    /// Whether it is small, and has to come quickly.
    pub(super) small: bool,
}

/// Connections to all hosts of one pull.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) settings: Settings,
    agents: Mutex<BTreeMap<(bool, String), Agent>>,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            agents: Mutex::default(),
        }
    }

    /// Repeats what fails for a reason that may pass, `most` times in all.
    pub(super) fn attempts<T: Answer>(
        &self,
        host: &str,
        what: &str,
        most: u32,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        let mut pause = FIRST_PAUSE;
        for number in 1.. {
            let last = number >= most;
            let wait = match attempt() {
                Ok(answer) if !is_busy(answer.response().status()) => return Ok(answer),
                Ok(answer) if last => return Err(busy(host, what, answer.into_response())),
                Ok(answer) => retry_after(answer.response()).unwrap_or(pause),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Http(error)) if last || !is_worth_another_attempt(&error) => {
                    return Err(RegistryError::Transport {
                        action: "reach".to_owned(),
                        host: host.to_owned(),
                        hint: hint(&error),
                        source: Box::new(error),
                    });
                }
                Err(Failure::Http(_)) => pause,
            };
            thread::sleep(wait.min(MAX_PAUSE));
            pause = (pause * 2).min(MAX_PAUSE);
        }
        unreachable!("the last attempt returns")
    }

    /// One request with its redirects; also says whether the endpoint itself answered.
    pub(super) fn exchange(
        &self,
        endpoint: &Endpoint,
        ask: Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, bool), Failure> {
        let first = match endpoint.https.get() {
            Some(https) => self.first(endpoint, *https, ask, authorization)?,
            None => self.find_scheme(endpoint, ask, authorization)?,
        };
        let (mut response, origin) = first;
        let mut address = origin.clone();
        for _ in 0..MAX_REDIRECTS {
            if !is_redirect(response.status()) {
                return Ok((response, same_origin(&address, &origin)));
            }
            address = self.target(endpoint, ask.what, &address, &response)?;
            let own = same_origin(&address, &origin);
            // Whoever is redirected to has no business with the registry's credentials.
            let authorization = authorization.filter(|_| own);
            let verify = endpoint.verify || !own;
            response = self.send(&address, verify, ask, authorization)?;
        }
        if is_redirect(response.status()) {
            return Err(Failure::Final(RegistryError::Redirects {
                host: endpoint.authority.clone(),
                what: ask.what.to_owned(),
            }));
        }
        Ok((response, same_origin(&address, &origin)))
    }

    fn first(
        &self,
        endpoint: &Endpoint,
        https: bool,
        ask: Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, Uri), Failure> {
        let scheme = if https { "https" } else { "http" };
        let address = format!("{scheme}://{}{}", endpoint.authority, ask.path);
        let address: Uri = address.parse().map_err(|_| {
            Failure::Final(RegistryError::Answer {
                host: endpoint.authority.clone(),
                what: ask.what.to_owned(),
                reason: "it makes no address".to_owned(),
            })
        })?;
        let response = self.send(&address, endpoint.verify, ask, authorization)?;
        Ok((response, address))
    }

    /// TLS, or where the server has none and may do without, plain HTTP.
    fn find_scheme(
        &self,
        endpoint: &Endpoint,
        ask: Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, Uri), Failure> {
        let (https, first) = match self.first(endpoint, true, ask, authorization) {
            Err(Failure::Http(error)) if endpoint.plain_allowed && is_not_tls(&error) => {
                (false, self.first(endpoint, false, ask, authorization)?)
            }
            other => (true, other?),
        };
        endpoint.https.get_or_init(|| https);
        Ok(first)
    }

    /// Where a response redirects to.
    fn target(
        &self,
        endpoint: &Endpoint,
        what: &str,
        from: &Uri,
        response: &Response<Body>,
    ) -> Result<Uri, Failure> {
        let location = response.headers().get("location");
        let location = location
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let refused = |reason| {
            Failure::Final(RegistryError::Redirect {
                host: endpoint.authority.clone(),
                what: what.to_owned(),
                target: super::printable(location, 200),
                reason,
            })
        };
        let target = resolve(from, location).ok_or_else(|| refused("it is no address"))?;
        let authority = target
            .authority()
            .map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(refused("it has a name and a password in it"));
        }
        let plain = target.scheme_str() == Some("http");
        // A registry elsewhere has no business with what listens on this machine.
        let from_here = from
            .authority()
            .is_some_and(|authority| is_loopback(authority.as_str()));
        let allowed = is_loopback(authority) && from_here || self.settings.is_insecure(authority);
        if plain && (from.scheme_str() == Some("https") || !allowed) {
            return Err(refused(
                "plain HTTP lets anyone listen and change what comes",
            ));
        }
        Ok(target)
    }

    fn send(
        &self,
        address: &Uri,
        verify: bool,
        ask: Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let agent = self.agent(address, verify).map_err(Failure::Final)?;
        let mut request = agent.get(address).header("accept", ask.accept);
        if ask.start > 0 {
            request = request.header("range", format!("bytes={}-", ask.start));
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if ask.small {
            request = request.config().timeout_recv_body(Some(DOCUMENT)).build();
        }
        request.call().map_err(Failure::Http)
    }

    /// The connections to one host.
    pub(super) fn agent(&self, address: &Uri, verify: bool) -> Result<Agent, RegistryError> {
        let authority = address
            .authority()
            .map_or("", |authority| authority.as_str());
        let https = address.scheme_str() == Some("https");
        let verify = verify && !self.settings.is_insecure(authority);
        let mut agents = lock(&self.agents);
        let key = (https, authority.to_owned());
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let timeouts = self.settings.timeouts;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADERS)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .proxy(proxy::proxy(https, authority))
            .timeout_connect(Some(timeouts.connect()))
            .timeout_recv_response(Some(timeouts.first_byte()))
            .timeout_per_read(Some(timeouts.stall()))
            .timeout_per_write(Some(timeouts.stall()));
        if https {
            config = config.tls_config(certificates::tls(&self.settings, authority, verify)?);
        }
        let agent = config.build().new_agent();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

/// What [`Client::attempts`] looks at.
pub(super) trait Answer {
    fn response(&self) -> &Response<Body>;
    fn into_response(self) -> Response<Body>;
}

impl Answer for Response<Body> {
    fn response(&self) -> &Response<Body> {
        self
    }

    fn into_response(self) -> Response<Body> {
        self
    }
}

impl Answer for (Response<Body>, bool) {
    fn response(&self) -> &Response<Body> {
        &self.0
    }

    fn into_response(self) -> Response<Body> {
        self.0
    }
}

/// A panic of another thread leaves these values whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Seconds to wait, where the answer says so in seconds (RFC 9110 section 10.2.3).
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

/// A `Location` as seen from an address (RFC 9110 section 10.2.2); only what registries send.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    let text = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", from.authority()?)
    } else {
        location.to_owned()
    };
    let address: Uri = text.parse().ok()?;
    let known = matches!(address.scheme_str(), Some("http" | "https"));
    (known && address.authority().is_some()).then_some(address)
}

fn busy(host: &str, what: &str, response: Response<Body>) -> RegistryError {
    let status = response.status();
    let hint = if status == StatusCode::TOO_MANY_REQUESTS {
        ", or log in with `coracle login`, which raises most limits"
    } else {
        ""
    };
    RegistryError::Busy {
        host: host.to_owned(),
        what: what.to_owned(),
        status: status.as_u16(),
        message: message(response),
        hint,
    }
}

/// What to do about a denial.
pub(super) fn advice(endpoint: &Endpoint, tried: bool) -> String {
    let login = format!("coracle login {}", endpoint.login());
    let login = login.trim_end();
    if tried {
        format!("check the name, and log in again with `{login}`")
    } else {
        format!("check the name, or log in with `{login}`")
    }
}

/// An answer that is an error, in words.
pub(super) fn refusal(endpoint: &Endpoint, what: &str, response: Response<Body>) -> RegistryError {
    let (host, what) = (endpoint.authority.clone(), what.to_owned());
    let status = response.status();
    let message = message(response);
    match status {
        StatusCode::NOT_FOUND => RegistryError::NotFound {
            host,
            what,
            message,
            login: endpoint.login(),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
            host,
            what,
            message,
            advice: advice(endpoint, lock(&endpoint.authorization).is_some()),
        },
        _ => RegistryError::Status {
            host,
            what,
            status: status.as_u16(),
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_are() {
        let from: Uri = "https://a.example:5/v2/x".parse().unwrap();
        for (location, address) in [
            ("/y?z=1", "https://a.example:5/y?z=1"),
            ("//b.example/y", "https://b.example/y"),
            ("http://b.example/y", "http://b.example/y"),
        ] {
            assert_eq!(resolve(&from, location).unwrap().to_string(), address);
        }
        for location in ["", "y", "file:///etc/passwd", "ftp://a/b", "http://", "\\"] {
            assert_eq!(resolve(&from, location), None, "{location}");
        }
    }

    #[test]
    fn credentials_stay_with_one_scheme_host_and_port() {
        let own: Uri = "https://a.example/x".parse().unwrap();
        assert!(same_origin(&own, &"https://a.example/y".parse().unwrap()));
        for other in [
            "http://a.example/x",
            "https://a.example:444/x",
            "https://b.example/x",
        ] {
            assert!(!same_origin(&own, &other.parse().unwrap()), "{other}");
        }
    }
}
