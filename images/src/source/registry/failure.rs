//! What a failed exchange means.

use std::error::Error as _;
use std::io;

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Body, Timeout};

use super::limits::{MAX_ERROR, MAX_MESSAGE};
use super::{RegistryError, printable};

/// Why an attempt failed.
pub(super) enum Failure {
    /// Another attempt is the same.
    Final(RegistryError),
    /// The connection or the protocol.
    Http(ureq::Error),
}

/// The cause in the TLS library, which lies in different places by where it was found.
fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Whether a server does not seem to speak TLS.
pub(super) fn is_not_tls(error: &ureq::Error) -> bool {
    if let Some(error) = tls_error(error) {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        ),
        ureq::Error::Timeout(Timeout::Connect | Timeout::PerRead) => true,
        _ => false,
    }
}

/// Whether the same request may succeed a moment later.
pub(super) fn is_worth_another_attempt(error: &ureq::Error) -> bool {
    if tls_error(error).is_some() {
        return false;
    }
    match error {
        // Nobody listens there, or there is no such host: waiting does not change it.
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotFound
                | io::ErrorKind::InvalidInput
        ),
        // Whoever does not answer at all within that time does not do so five times either.
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => false,
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// What to do about it.
pub(super) fn hint(error: &ureq::Error) -> &'static str {
    match (tls_error(error), error) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => {
            " safely; put the certificate of its authority into \
             /etc/containers/certs.d/HOST:PORT/ca.crt, or go without with --tls-verify=false"
        }
        (Some(rustls::Error::InvalidMessage(_)), _) => {
            " safely, since it has no TLS; plain HTTP is only used on this machine itself, or where \
             --tls-verify=false or \"insecure\" in registries.json allows it"
        }
        (Some(rustls::Error::AlertReceived(_)), _) => {
            "; does it want a client's certificate \
             (/etc/containers/certs.d/HOST:PORT/client.cert and .key)?"
        }
        (_, ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "; does a registry listen there?"
        }
        (_, ureq::Error::Timeout(Timeout::Connect)) => {
            "; is it up, and does a proxy (HTTPS_PROXY) lead to it?"
        }
        (_, ureq::Error::HostNotFound) => "; is its name right, and this machine online?",
        _ => "",
    }
}

/// What a registry says of an error, after a colon, or nothing.
pub(super) fn message(mut response: Response<Body>) -> String {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<One>,
        #[serde(default)]
        details: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ERROR)
        .read_to_vec();
    let parsed = body
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Errors>(&bytes).ok());
    let Some(parsed) = parsed else {
        return String::new();
    };
    let said = parsed.errors.into_iter().next().map(|error| {
        if error.message.is_empty() {
            error.code
        } else {
            error.message
        }
    });
    match said.or(parsed.details).filter(|text| !text.is_empty()) {
        Some(text) => format!(": {}", printable(&text, MAX_MESSAGE)),
        None => String::new(),
    }
}

/// A body that ended by a time-out or a broken connection, as its reader reports it.
pub(super) fn into_cause(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    if error.source().is_none()
        && error
            .get_ref()
            .is_some_and(|inner| inner.is::<ureq::Error>())
    {
        return error.into_inner().unwrap_or_else(|| "unknown".into());
    }
    Box::new(error)
}
