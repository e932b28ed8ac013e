//! A new container, from what docker's clients ask for.

use coracle_engine::{ErrorKind, progress::Silent};
use images::{image::Platform, store::Store};

use super::Backend;
use crate::{
    create::{self, Body},
    error::{ApiError, whole},
    routes::{containers::in_use, images::failure},
};

impl Backend {
    /// Makes a container of this name, or of one that is free; gives its ID, and what of it
    /// has no effect.
    ///
    /// # Errors
    /// In docker's words when it cannot be.
    pub fn create(
        &self,
        name: &str,
        body: &Body,
        platform: Option<String>,
    ) -> Result<(String, Vec<String>), ApiError> {
        if !name.is_empty() {
            create::check_name(name)?;
            self.check_free(name)?;
        }
        let mut request = create::request(body, name)?;
        let store = Store::open(self.store());
        let store = store.map_err(|error| ApiError::internal(whole(&error)))?;
        let found = store.resolve(&request.image);
        let image = found.map_err(|error| failure(&request.image, &error))?;
        if let Some(platform) = &platform {
            check_platform(&request.image, &image.platform, platform)?;
        }
        request.platform = platform;
        match self.engine.containers().create(&request, &Silent) {
            Ok(container) => Ok((container.id().into(), create::warnings(body, &request))),
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

/// Refuses an image that is not for the platform that is asked for: docker's command pulls the one that is. For
/// one that cannot run here, it need not.
fn check_platform(image: &str, actual: &Platform, wanted: &str) -> Result<(), ApiError> {
    let wanted: Platform = wanted
        .parse()
        .map_err(|_| ApiError::invalid(format!("{wanted:?} is no platform such as linux/amd64")))?;
    let own = Platform::of_this_machine();
    if !own.runs(&wanted) {
        return Err(ApiError::invalid(format!(
            "cannot run an image for {wanted}: this machine's processor is {own}"
        )));
    }
    if !wanted.runs(actual) {
        return Err(ApiError::not_found(format!(
            "image with reference {image} was found but does not match the specified platform: wanted {wanted}, \
             actual: {actual}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_of_another_platform_is_not_the_one_that_is_meant() {
        let own = Platform::of_this_machine();
        let name = own.to_string();
        let other = match own.architecture.as_str() {
            "arm64" => "linux/amd64",
            _ => "linux/arm64",
        };
        assert_eq!(check_platform("x", &own, &name), Ok(()));
        let error = check_platform("x", &other.parse().unwrap(), &name).unwrap_err();
        assert_eq!(error.status, 404);
        assert!(
            error
                .message
                .contains("does not match the specified platform")
        );
        for never in [other, "windows/amd64", "a b"] {
            assert_eq!(
                check_platform("x", &own, never).unwrap_err().status,
                400,
                "{never}"
            );
        }
    }
}
