//! What is mounted here, by whomever.

use std::{collections::BTreeSet, fs};

/// The lines of `/proc/self/mountinfo`.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
    text.lines().map(str::to_owned).collect()
}

/// Whether nothing is mounted that was not before. Others of this machine mount things as well, and take
/// them away again: this is for [`crate::until`].
///
/// # Errors
/// What is mounted since.
pub fn no_mounts_since(before: &BTreeSet<String>) -> Result<(), String> {
    let now = mounts();
    let new: Vec<&String> = now.difference(before).collect();
    if new.is_empty() {
        Ok(())
    } else {
        Err(format!("mounted since: {new:#?}"))
    }
}
