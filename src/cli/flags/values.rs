//! Values that only flags of 'run' and 'create' take: one word of a few.

use clap::ValueEnum;

use coracle_engine::containers::PullPolicy;

/// `--log-driver`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogDriver {
    Local,
    None,
}

impl LogDriver {
    /// Docker's word; none for the usual one.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Local => "",
            Self::None => "none",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Namespace {
    Host,
    Private,
}

impl Namespace {
    /// Docker's word where it is the guest's; none for one of the container's own, which is usual.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Private => "",
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// Each time.
    Always,
    /// When it is not here.
    Missing,
    /// Not at all.
    Never,
}

impl From<When> for PullPolicy {
    fn from(when: When) -> Self {
        match when {
            When::Always => Self::Always,
            When::Missing => Self::Missing,
            When::Never => Self::Never,
        }
    }
}
