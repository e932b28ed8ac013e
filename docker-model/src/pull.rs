//! What docker says of a pull, before and after its layers.

use images::{digest::Digest, reference::Reference};

/// What a name stands for in the line that opens a pull: its tag, or all of it where that has none or is a digest's.
#[must_use]
pub fn tag(name: &Reference) -> String {
    let tag = name.tag().filter(|_| name.digest().is_none());
    tag.map_or_else(|| name.familiar(), str::to_owned)
}

/// What is said beside it.
#[must_use]
pub fn opening(name: &Reference) -> String {
    format!("Pulling from {}", name.path())
}

/// The lines that close it: the digest, where its registry gives one, and whether the name is another image's now.
pub fn closing(
    name: &Reference,
    digest: Option<&Digest>,
    newer: bool,
) -> impl Iterator<Item = String> {
    let news = match newer {
        true => "Downloaded newer image for",
        false => "Image is up to date for",
    };
    let digest = digest.map(|digest| format!("Digest: {digest}"));
    let status = format!("Status: {news} {}", name.familiar());
    digest.into_iter().chain([status])
}
