//! Errors of the engine: the words that a person reads, and the kind by which a front decides what to answer.

use std::fmt::{self, Display};

use contracts::keeper::Reason;
use images::{
    source::{SourceError, registry::RegistryError},
    store::StoreError,
};

use crate::state::{NotFound, files::OtherVersion};

/// What an error is to a front: an exit code, or a status of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// The state of what was named does not allow it: a name that is taken, a container that runs.
    Conflict,
    /// It is as was asked for already.
    NotModified,
    /// The request can never be carried out as it is.
    Invalid,
    /// Something that is needed is not there now: KVM, a keeper, a registry.
    Unavailable,
    /// Anything else: the disk, the kernel, a fault of Coracle's.
    Internal,
}

impl From<ErrorKind> for Reason {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::NotModified => Self::NotModified,
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

impl From<Reason> for ErrorKind {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotFound => Self::NotFound,
            Reason::Conflict => Self::Conflict,
            Reason::NotModified => Self::NotModified,
            Reason::Invalid => Self::Invalid,
            Reason::Unavailable => Self::Unavailable,
            Reason::Internal => Self::Internal,
        }
    }
}

/// Why the engine did not do what it was asked for.
///
/// It displays as its first sentence; the causes are its sources.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    cause: anyhow::Error,
}

/// What the engine's calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind, in words.
    pub fn new(
        kind: ErrorKind,
        message: impl Display + fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            cause: anyhow::Error::msg(message),
        }
    }

    /// A request that cannot be carried out as it is.
    pub(crate) fn invalid(message: impl Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What a registry answered, where that is the reason.
    pub fn registry(&self) -> Option<&RegistryError> {
        self.cause.chain().find_map(registry_of)
    }

    /// The same error as one of another kind.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Puts a sentence in front; the kind stays.
    #[must_use]
    pub fn context(self, message: impl Display + Send + Sync + 'static) -> Self {
        Self {
            kind: self.kind,
            cause: self.cause.context(message),
        }
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.cause, formatter)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let first: &(dyn std::error::Error + 'static) = self.cause.as_ref();
        first.source()
    }
}

/// The kind is that of the first cause that has one.
impl From<anyhow::Error> for Error {
    fn from(cause: anyhow::Error) -> Self {
        let known = cause.chain().find_map(kind_of);
        Self {
            kind: known.unwrap_or(ErrorKind::Internal),
            cause,
        }
    }
}

/// The kind of errors that say so by their type.
fn kind_of(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    if let Some(error) = cause.downcast_ref::<Error>() {
        return Some(error.kind);
    }
    if cause.is::<NotFound>() {
        return Some(ErrorKind::NotFound);
    }
    if cause.is::<OtherVersion>() {
        return Some(ErrorKind::Conflict);
    }
    if let Some(error) = registry_of(cause) {
        return of_registry(error);
    }
    cause.downcast_ref::<StoreError>().and_then(of_store)
}

fn of_store(error: &StoreError) -> Option<ErrorKind> {
    match error {
        StoreError::NotFound { .. } => Some(ErrorKind::NotFound),
        StoreError::ManyNames { .. } => Some(ErrorKind::Conflict),
        StoreError::Ambiguous { .. }
        | StoreError::Name { .. }
        | StoreError::DigestAsTag(_)
        | StoreError::AlgorithmAsName(_)
        | StoreError::OneNameForMany { .. } => Some(ErrorKind::Invalid),
        StoreError::Contended(_) => Some(ErrorKind::Unavailable),
        _ => None,
    }
}

/// An error of a registry's that this is, or holds.
fn registry_of<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a RegistryError> {
    if let Some(error) = cause.downcast_ref::<RegistryError>() {
        return Some(error);
    }
    match cause.downcast_ref::<StoreError>() {
        // Its own words are those of what it holds, which is not a cause of its own.
        Some(StoreError::Source(SourceError::Registry(error))) => Some(error),
        _ => None,
    }
}

fn of_registry(error: &RegistryError) -> Option<ErrorKind> {
    match error {
        // As docker: a registry does not tell what is missing from what is not for this user.
        RegistryError::NotFound { .. } | RegistryError::Denied { .. } => Some(ErrorKind::NotFound),
        RegistryError::Transport { .. } | RegistryError::Busy { .. } => {
            Some(ErrorKind::Unavailable)
        }
        _ => None,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// Says of what kind a failure is.
pub trait Kind<T> {
    /// The error is of this kind.
    ///
    /// # Errors
    /// When there is one.
    fn kind(self, kind: ErrorKind) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Kind<T> for std::result::Result<T, E> {
    fn kind(self, kind: ErrorKind) -> Result<T> {
        self.map_err(|error| Error {
            kind,
            cause: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn kind_survives_context_and_the_way_through_anyhow() {
        let error = Error::new(ErrorKind::Conflict, "it runs").context("cannot remove it");
        assert_eq!(
            format!("{:#}", anyhow::Error::from(error)),
            "cannot remove it: it runs"
        );
        let through: anyhow::Result<()> =
            Err(Error::new(ErrorKind::Invalid, "what is that")).context("cannot read it");
        assert_eq!(Error::from(through.unwrap_err()).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn what_says_nothing_is_internal() {
        assert_eq!(
            Error::from(anyhow::anyhow!("disk")).kind(),
            ErrorKind::Internal
        );
        let error: Result<()> = Err(anyhow::anyhow!("no KVM")).kind(ErrorKind::Unavailable);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
