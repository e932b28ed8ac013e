//! Images.

use super::Call;
use crate::{
    backend::Backend,
    error::{ApiError, whole},
    pull,
};

/// `POST /images/create`
pub fn create(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let settings = api
        .registries()
        .map_err(|error| ApiError::internal(whole(&error)))?;
    pull::pull(call, api.store(), settings)
}
