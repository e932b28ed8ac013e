//! What the program says besides its results: one line each, on standard error.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::output;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[repr(u8)]
pub(crate) enum Level {
    /// Only what ends a command.
    Error,
    /// What a person should know, too.
    Warn,
    /// What is being done that takes time.
    Info,
    /// Each step.
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Says no more than this from now on.
pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn says(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// An error, with every cause once.
pub(crate) fn error(error: &anyhow::Error) {
    output::message("coracle", &format_args!("{error:#}"));
}

/// Something that a person should know although the command goes on.
pub(crate) fn warn(text: &str) {
    if says(Level::Warn) {
        output::message("coracle: warning", &text);
    }
}

/// Something that takes time.
pub(crate) fn info(text: &str) {
    if says(Level::Info) {
        output::message("coracle", &text);
    }
}

/// A step, for a person who looks for a fault.
pub(crate) fn debug(text: impl FnOnce() -> String) {
    if says(Level::Debug) {
        output::message("coracle: debug", &text());
    }
}
