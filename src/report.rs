//! Diagnostics: errors, warnings and progress, on standard error.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::output;

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[repr(u8)]
pub(crate) enum Level {
    /// Errors only
    Error,
    /// Warnings, too
    Warn,
    /// Progress of what takes time, too
    Info,
    /// Every step, too
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Reports no more than this from now on.
pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn reports(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// An error, with every cause once.
pub(crate) fn error(error: &anyhow::Error) {
    output::message("coracle", &format_args!("{error:#}"));
}

/// Something that a person should know although the command goes on.
pub(crate) fn warn(text: &str) {
    if reports(Level::Warn) {
        output::message("coracle: warning", &text);
    }
}

/// Something that takes time.
pub(crate) fn info(text: &str) {
    if reports(Level::Info) {
        output::message("coracle", &text);
    }
}

/// A step, for a person who looks for a fault.
pub(crate) fn debug(text: impl FnOnce() -> String) {
    if reports(Level::Debug) {
        output::message("coracle: debug", &text());
    }
}
