//! Diagnostics: errors, warnings and progress, on standard error.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::output;

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
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
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn reports(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// An error, with every cause once.
pub fn error(error: &anyhow::Error) {
    output::message("coracle", &format_args!("{error:#}"));
}

/// Something that a person should know although the command goes on.
pub fn warn(text: &str) {
    if reports(Level::Warn) {
        output::message("coracle: warning", &text);
    }
}

/// Something that takes time.
pub fn info(text: &str) {
    if reports(Level::Info) {
        output::message("coracle", &text);
    }
}

/// A step, for a person who looks for a fault.
pub fn debug(text: impl FnOnce() -> String) {
    if reports(Level::Debug) {
        output::message("coracle: debug", &text());
    }
}

/// Reports what libraries say by the `log` crate.
struct Records;

static RECORDS: Records = Records;

impl log::Log for Records {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // Of other people's libraries nobody has asked to hear.
        metadata.target().starts_with("coracle") && reports(level(metadata.level()))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let name = match level(record.level()) {
            Level::Error | Level::Info => "coracle",
            Level::Warn => "coracle: warning",
            Level::Debug => "coracle: debug",
        };
        output::message(name, record.args());
    }

    fn flush(&self) {}
}

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug | log::Level::Trace => Level::Debug,
    }
}

/// Reports what libraries of Coracle's say, from now on and at the level that is set.
pub fn listen() {
    // Somebody else listens already: never in a program of ours.
    let _ = log::set_logger(&RECORDS);
    log::set_max_level(log::LevelFilter::Debug);
}
