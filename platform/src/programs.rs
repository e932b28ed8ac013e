//! Where Coracle's other programs are.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};

/// Finds a program of this release: beside `coracle`, or in `libexec/coracle` of the same prefix.
///
/// # Errors
/// When it is in neither place.
pub fn find(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    let prefix = own.parent().and_then(|directory| directory.parent());
    let libexec = prefix.map(|prefix| prefix.join("libexec/coracle").join(name));
    match libexec.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not beside {} nor in ../libexec/coracle; install all of Coracle's programs",
            own.display()
        ),
    }
}
