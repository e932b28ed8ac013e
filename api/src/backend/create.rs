//! A new container, from what docker's clients ask for.

use coracle_engine::{ErrorKind, progress::Silent};
use images::store::Store;

use super::Backend;
use crate::{
    create::{self, Body},
    error::{ApiError, whole},
    routes::{containers::in_use, images::failure},
};

impl Backend {
    /// Makes a container of this name, or of one that is free; gives its ID.
    ///
    /// # Errors
    /// In docker's words when it cannot be.
    pub fn create(&self, name: &str, body: &Body) -> Result<String, ApiError> {
        if !name.is_empty() {
            create::check_name(name)?;
            self.check_free(name)?;
        }
        create::unsupported(body)?;
        let request = body.request(name)?;
        let store = Store::open(self.store());
        let store = store.map_err(|error| ApiError::internal(whole(&error)))?;
        let found = store.resolve(&request.image);
        found.map_err(|error| failure(&request.image, &error))?;
        match self.engine.containers().create(&request, &Silent) {
            Ok(container) => Ok(container.id().into()),
            Err(error) => Err(self.refused(name, &error)),
        }
    }

    fn refused(&self, name: &str, error: &coracle_engine::Error) -> ApiError {
        match (error.kind(), self.check_free(name)) {
            // Somebody was as quick.
            (ErrorKind::Conflict, Err(taken)) if !name.is_empty() => taken,
            // Another container or a host. Not 404, by which docker's command would pull the image.
            (ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Unavailable, _) => {
                ApiError::invalid(whole(error))
            }
            (ErrorKind::Conflict, _) => ApiError::conflict(whole(error)),
            _ => ApiError::internal(whole(error)),
        }
    }

    fn check_free(&self, name: &str) -> Result<(), ApiError> {
        match self.find(name) {
            Ok(other) if other.name() == name => Err(in_use(name, other.id())),
            _ => Ok(()),
        }
    }
}
