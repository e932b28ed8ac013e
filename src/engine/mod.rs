//! A container's life as a command sees it: from an image and the user's wishes to an exit code.

mod attach;
pub(crate) mod capability;
mod guest;
pub(crate) mod policy;
pub(crate) mod signal;
mod spec;
mod streams;
mod terminal;
mod timeline;
mod words;

use anyhow::{Context, Result};

pub(crate) use attach::{Attached, Ended, Interrupted, take_signals};
pub(crate) use guest::Guest;
pub(crate) use spec::{DISK, Request, set as set_variable};
pub(crate) use terminal::{
    DetachKeys, Terminal, size as terminal_size, standard_input_is_terminal,
};
pub(crate) use timeline::Timeline;
pub(crate) use words::{clean, damage, failure, merge, stopped};

/// Bytes of an identifier, as docker's.
const ID_BYTES: usize = 32;

/// 64 hexadecimal digits at random, as docker's.
///
/// # Errors
/// As `getrandom(2)`.
pub(crate) fn identifier() -> Result<String> {
    let mut bytes = [0; ID_BYTES];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("cannot get random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
