//! Which images containers are of: those that do not run need theirs, too.

use std::collections::BTreeSet;

use images::digest::Digest;

use crate::state::container::Container;

/// The images that containers are of.
pub(super) fn ids(containers: &[Container]) -> BTreeSet<Digest> {
    let ids = containers
        .iter()
        .map(|container| &container.config.image_id);
    ids.filter_map(|id| id.parse().ok()).collect()
}
