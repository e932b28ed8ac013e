//! Programs that are run for what they say.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Where programs are looked for beside `PATH`.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// `coracle`, which is beside this program or, where that lies in `libexec/coracle`, in `bin`.
///
/// # Errors
/// When it is in neither place.
pub(crate) fn coracle() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name("coracle");
    let bin = own
        .ancestors()
        .nth(3)
        .map(|prefix| prefix.join("bin/coracle"));
    let mut places = [Some(beside), bin].into_iter().flatten();
    places
        .find(|path| path.is_file())
        .with_context(|| format!("coracle is not beside {}", own.display()))
}

/// Where a program is; `None` when it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = SYSTEM_DIRECTORIES.map(PathBuf::from);
    let mut directories = env::split_paths(&path).chain(more);
    directories.find_map(|directory| {
        let path = directory.join(name);
        path.is_file().then_some(path)
    })
}

/// What a command prints.
///
/// # Errors
/// When it cannot be run, or fails: with its words.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let arguments: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        bail!(
            "{name} {} failed ({}): {}",
            arguments.join(" "),
            output.status,
            words.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
