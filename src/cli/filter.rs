//! What `--filter` of several commands means.

use anyhow::{Result, anyhow};
use coracle_engine::state::{Directories, container::Containers};
use docker_model::{
    container::Named,
    filters::{FilterError, Filters},
};
use images::store::{Store, StoreError};

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

/// What filters of containers name.
pub(super) struct Things<'a>(pub(super) &'a Directories);

impl Named for Things<'_> {
    type Error = Failure;

    fn created(&mut self, container: &str) -> Result<u64, Failure> {
        let found = Containers::new(self.0).find(container);
        Ok(found.map_err(Failure)?.config.created)
    }

    fn image(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let store = Store::open(&self.0.data).map_err(|error| Failure(error.into()))?;
        match store.resolve(name) {
            Ok(image) => Ok(Some(image.id.to_string())),
            Err(StoreError::NotFound { .. } | StoreError::Name { .. }) => Ok(None),
            Err(error) => Err(Failure(error.into())),
        }
    }
}

/// Why a filter cannot be understood, in words for a person.
pub(super) struct Failure(pub(super) anyhow::Error);

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self(refused(error, &[]))
    }
}
