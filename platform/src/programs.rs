//! Where Coracle's other programs are.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};

/// Where `make install` puts those that nobody calls by hand, below its prefix.
const LIBEXEC: &str = "libexec/coracle";

/// Finds a program of this release: beside this one, or where `make install` puts it below the same prefix.
///
/// # Errors
/// When it is in neither place.
pub fn find(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    // From `bin`, and from `libexec/coracle`.
    let places = [(2, LIBEXEC), (3, "bin")];
    let mut installed = places.into_iter().filter_map(|(above, place)| {
        let prefix = own.ancestors().nth(above)?;
        Some(prefix.join(place).join(name))
    });
    match installed.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not beside {} nor in ../{LIBEXEC}; install all of Coracle's programs",
            own.display()
        ),
    }
}
