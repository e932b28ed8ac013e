//! What `--filter` of several commands means.

use anyhow::{Result, anyhow};
use docker_model::{
    container::Named,
    filters::{FilterError, Filters},
};

use super::engine;

/// The filters of a command line, which are to be of these.
///
/// # Errors
/// When one is not; says which there are.
pub(super) fn filters(given: &[(String, String)], known: &[&str]) -> Result<Filters> {
    let pairs = given.iter().map(|(name, value)| (&**name, &**value));
    let filters = Filters::from_pairs(pairs);
    filters
        .check(known)
        .map_err(|error| refused(error, known))?;
    Ok(filters)
}

/// Docker says which filter it does not have; a person wants to know which there are.
fn refused(error: FilterError, known: &[&str]) -> anyhow::Error {
    match error {
        FilterError::Unknown { name } => {
            anyhow!("unknown filter {name:?}; there are {}", known.join(", "))
        }
        FilterError::Malformed(message) => anyhow!(message),
        other => other.into(),
    }
}

/// What filters of containers name. The engine is opened when one names something.
pub(super) struct Things;

impl Named for Things {
    type Error = Failure;

    fn created(&mut self, container: &str) -> Result<u64, Failure> {
        let containers = engine().map_err(Failure)?.containers();
        let found = containers.find(container);
        Ok(found
            .map_err(|error| Failure(error.into()))?
            .config()
            .created)
    }

    fn image(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let images = engine().map_err(Failure)?.images();
        images.id(name).map_err(|error| Failure(error.into()))
    }
}

/// Why a filter cannot be understood, in words for a person.
pub(super) struct Failure(pub(super) anyhow::Error);

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self(refused(error, &[]))
    }
}
