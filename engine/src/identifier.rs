//! IDs of containers and hosts.

use anyhow::{Context, Result};

/// Bytes of an identifier, as docker's.
const ID_BYTES: usize = 32;

/// 64 hexadecimal digits at random, as docker's.
///
/// # Errors
/// As `getrandom(2)`.
pub fn identifier() -> Result<String> {
    let mut bytes = [0; ID_BYTES];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("cannot get random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
