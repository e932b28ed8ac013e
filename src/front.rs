//! The engine as the command opens it: all that it takes from the environment.

use anyhow::Result;
use coracle_engine::{Engine, Settings, images::Registries, state::Directories};
use images::source::registry;

/// Opens the engine of the user that this environment names.
///
/// # Errors
/// When it names no directories that can be used.
pub(crate) fn engine() -> Result<Engine> {
    Ok(Engine::open(Settings {
        directories: Directories::from_environment()?,
        registries: Registries::new(registry::Settings::from_environment),
    })?)
}
