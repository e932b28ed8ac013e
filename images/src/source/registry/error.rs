//! What can go wrong between here and a registry.

use std::io;
use std::path::PathBuf;

use super::limits::MAX_REDIRECTS;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or one that broke, after all attempts.
    #[error("cannot {action} {host}{hint}")]
    Transport {
        /// What was tried: `connect to`, `read … from`.
        action: String,
        /// Host name and port.
        host: String,
        /// What to do about it, or nothing.
        hint: &'static str,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// The registry, or someone in front of it, answers with an error.
    #[error("{host} answers {status} to the request for {what}{message}")]
    Status {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the registry says, or nothing.
        message: String,
    },
    /// The registry stays busy or broken.
    #[error(
        "{host} answers {status} to the request for {what} again and again{message}; try again \
         later{hint}"
    )]
    Busy {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the registry says, or nothing.
        message: String,
        /// What to do about it, or nothing.
        hint: &'static str,
    },
    /// No such image, or none for this user.
    #[error(
        "{host} has no {what}{message}; is the name right? A private image needs \
         `coracle login {login}`"
    )]
    NotFound {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry says, or nothing.
        message: String,
        /// What to log in to.
        login: String,
    },
    /// Name and password, or the lack of them.
    #[error("{host} denies access to {what}{message}; {advice}")]
    Denied {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry says, or nothing.
        message: String,
        /// What to do about it.
        advice: String,
    },
    /// A challenge that cannot be answered.
    #[error("{host} asks for authentication in a way that is not known: {challenge:?}")]
    Challenge {
        /// Host name and port.
        host: String,
        /// The header `WWW-Authenticate`.
        challenge: String,
    },
    /// The token server's answer is none.
    #[error("{realm} gives no usable token for {host}: {reason}")]
    Token {
        /// Address of the token server.
        realm: String,
        /// Registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A redirect that is not followed.
    #[error(
        "{host} redirects the request for {what} to {target:?}, which is not followed: {reason}"
    )]
    Redirect {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// Where to.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// Redirects without end.
    #[error("{host} redirects the request for {what} more than {MAX_REDIRECTS} times")]
    Redirects {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// An answer that is larger than accepted.
    #[error("{what} of {host} has more than {limit} bytes, the most that is accepted")]
    TooLarge {
        /// Host name and port.
        host: String,
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// An answer that makes no sense.
    #[error("{host} gives {what} that cannot be used: {reason}")]
    Answer {
        /// Host name and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A download that breaks again and again.
    #[error(
        "the download of {what} from {host} broke off after {got} of {size} bytes and could not be \
         taken up again; what is here is kept, pull again to go on"
    )]
    Broken {
        /// Host name and port.
        host: String,
        /// What.
        what: String,
        /// Bytes that are here.
        got: u64,
        /// Bytes in all.
        size: u64,
        /// Why the last attempt failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of settings, credentials or certificates cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of settings or credentials is malformed.
    #[error("{} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// How.
        source: serde_json::Error,
    },
    /// A value in a file of settings, credentials or certificates is wrong.
    #[error("{}: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper fails.
    #[error("credential helper docker-credential-{helper} cannot {action}: {reason}")]
    Helper {
        /// Name without the prefix.
        helper: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// What it says.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same request may succeed later, so that what was downloaded is worth keeping.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Transport { .. } | Self::Busy { .. } | Self::Broken { .. } | Self::Denied { .. }
        )
    }
}
