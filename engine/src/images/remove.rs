//! What goes, and what containers keep.

use images::store::{Pruned, Removed, Store};

use super::{Images, used};
use crate::{Error, ErrorKind, Result, state::container::Container};

impl Images {
    /// Removes a name, or with its last name the image, or by an ID the image with all its names if that is forced.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Conflict`] when a container is of it, or it has several
    /// names.
    pub fn remove(&self, name: &str, force: bool) -> Result<Removed> {
        let store = self.store(None)?;
        let containers = self.engine.containers().records.list_all()?;
        if let Some(user) = user_of(&store, name, &containers) {
            let user_name = &user.config.name;
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "cannot remove image {name}: it is used by container {user_name} ({}); 'coracle rm {user_name}' \
                     removes that",
                    user.short_id()
                ),
            ));
        }
        Ok(store.remove(name, force)?)
    }

    /// Removes images without a name, or all that no container is of; and downloads that were not completed.
    ///
    /// # Errors
    /// When the store or the containers cannot be read.
    pub fn prune(&self, all: bool) -> Result<Pruned> {
        let containers = self.engine.containers().records.list_all()?;
        let used = used::ids(&containers);
        let held: Vec<_> = containers
            .iter()
            .map(|container| container.config.hold_layers())
            .collect();
        let pruned = self.store(None)?.prune(all, &used)?;
        drop(held);
        Ok(pruned)
    }
}

/// A container that needs the layers of an image that would go.
fn user_of<'a>(store: &Store, image: &str, containers: &'a [Container]) -> Option<&'a Container> {
    let found = store.resolve(image).ok()?;
    let id = found.id.to_string();
    let user = containers
        .iter()
        .find(|container| container.config.image_id == id)?;
    // With another name left, only the name goes.
    let names = store
        .list()
        .ok()?
        .into_iter()
        .find(|one| one.id == found.id)?
        .names;
    let only_a_name = names.len() > 1 && !id.trim_start_matches("sha256:").starts_with(image);
    (!only_a_name).then_some(user)
}
