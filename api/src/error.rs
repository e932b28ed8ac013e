//! Errors as docker's clients understand them: a status, and a message in JSON.

use std::io;

use serde_json::json;

use crate::http::Reply;

/// An answer that says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP's status for it.
    pub status: u16,
    /// What a person sees after `Error response from daemon:`.
    pub message: String,
}

impl ApiError {
    /// An error with this status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// What is asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// It contradicts what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// It is so already.
    #[must_use]
    pub fn not_modified() -> Self {
        Self::new(304, "")
    }

    /// Coracle failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// Coracle cannot do this yet.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(501, message)
    }

    /// The answer to a path or a method that there is not, which docker gives before it looks at a
    /// version.
    #[must_use]
    pub fn no_such_page() -> Self {
        Self::not_found("page not found")
    }

    /// The answer that it is.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self.status {
            304 => Reply::new(304),
            status => {
                let body = json!({ "message": self.message }).to_string() + "\n";
                Reply::new(status).body("application/json", body)
            }
        }
    }
}

/// What went wrong, with its causes.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}

impl From<io::Error> for ApiError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::invalid(error.to_string())
            }
            _ => Self::internal(error.to_string()),
        }
    }
}
