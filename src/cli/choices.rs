//! Values that are one word of a few, as the command line shows them; what they mean is the engine's.

use clap::{
    ValueEnum,
    builder::{EnumValueParser, TypedValueParser},
};
use coracle_engine::state::{self, container};
use coracle_terminal::report;

/// When a software host is used.
#[derive(Clone, Copy, ValueEnum)]
enum MachineMode {
    /// Never: without usable KVM the command fails
    Never,
    /// Where this machine's KVM cannot run a guest
    Auto,
    /// Always
    Always,
}

/// Reads when a software host is used.
pub(super) fn machine() -> impl TypedValueParser<Value = state::MachineMode> {
    EnumValueParser::<MachineMode>::new().map(|mode| match mode {
        MachineMode::Never => state::MachineMode::Never,
        MachineMode::Auto => state::MachineMode::Auto,
        MachineMode::Always => state::MachineMode::Always,
    })
}

/// What keeps a container apart from this machine.
#[derive(Clone, Copy, ValueEnum)]
enum Isolation {
    /// A microVM
    Vm,
    /// Namespaces and control groups on this machine's kernel, as root; never unless asked for
    Namespace,
}

/// Reads what keeps a container apart.
pub(super) fn isolation() -> impl TypedValueParser<Value = container::Isolation> {
    EnumValueParser::<Isolation>::new().map(|isolation| match isolation {
        Isolation::Vm => container::Isolation::Vm,
        Isolation::Namespace => container::Isolation::Namespace,
    })
}

/// What is reported.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// Errors only
    Error,
    /// Warnings, too
    Warn,
    /// Progress of what takes time, too
    Info,
    /// Every step, too
    Debug,
}

/// Reads a level of reports.
pub(super) fn level() -> impl TypedValueParser<Value = report::Level> {
    EnumValueParser::<Level>::new().map(|level| match level {
        Level::Error => report::Level::Error,
        Level::Warn => report::Level::Warn,
        Level::Info => report::Level::Info,
        Level::Debug => report::Level::Debug,
    })
}
