//! The image that a new container needs: from the store, or first from a registry.

use images::{
    image::Platform,
    reference::Reference,
    store::{Held, Image, StoreError},
};

use super::{Images, PullRequest};
use crate::{
    Error, Result,
    progress::{Progress, Report},
    state::container::{CreateRequest, PullPolicy},
};

/// An image, and its layers, which stay in the store as long as this value lives.
pub(crate) struct Obtained {
    pub(crate) image: Image,
    _layers: Vec<Held>,
}

/// Times that an image is looked up again because it was removed meanwhile.
const ROUNDS: usize = 3;

/// Finds the image of a request, and pulls it when that is wanted.
///
/// # Errors
/// When it is neither here nor in its registry, or cannot run on this machine.
pub(crate) fn obtain(
    images: &Images,
    request: &CreateRequest,
    progress: &dyn Progress,
) -> Result<Obtained> {
    let name = &request.image;
    let platform = platform(request)?;
    let store = images.store(platform.as_ref())?;
    let pull = |name: Reference| {
        let request = PullRequest {
            name: name.clone(),
            platform: platform.clone(),
            tls_verify: request.tls_verify,
            credentials: None,
            credential: None,
        };
        let pulled = images.pull(&request, progress);
        pulled.map_err(|error| error.context(format!("cannot pull {}", name.familiar())))
    };
    if request.pull == PullPolicy::Always {
        let reference = reference(name)
            .ok_or_else(|| Error::invalid(format!("invalid image name {name:?}")))?;
        pull(reference)?;
    }
    for _ in 0..ROUNDS {
        let image = match store.resolve(name) {
            Err(error @ StoreError::NotFound { .. }) => {
                let may_pull = request.pull == PullPolicy::Missing;
                let Some(reference) = reference(name).filter(|_| may_pull) else {
                    return Err(error.into());
                };
                progress.report(Report::Missing(&reference));
                pull(reference)?;
                continue;
            }
            image => image?,
        };
        match store.hold(&image) {
            Ok(layers) => {
                return Ok(Obtained {
                    image,
                    _layers: layers,
                });
            }
            Err(StoreError::Missing(path)) => log::debug!("{} is gone", path.display()),
            Err(error) => return Err(error.into()),
        }
    }
    let image = store.resolve(name)?;
    let layers = store.hold(&image)?;
    Ok(Obtained {
        image,
        _layers: layers,
    })
}

/// The platform that was asked for.
///
/// # Errors
/// When it is none, or not one that this machine's processor runs.
fn platform(request: &CreateRequest) -> Result<Option<Platform>> {
    let Some(text) = &request.platform else {
        return Ok(None);
    };
    let wanted: Platform = text
        .parse()
        .map_err(|error: images::image::PlatformError| Error::invalid(error.to_string()))?;
    let own = Platform::of_this_machine();
    if !own.runs(&wanted) {
        return Err(Error::invalid(format!(
            "cannot run an image for {wanted}: this machine's processor is {own}"
        )));
    }
    Ok(Some(wanted))
}

fn reference(name: &str) -> Option<Reference> {
    name.parse::<Reference>()
        .ok()
        .map(Reference::with_default_tag)
}
