//! Layers: from tar archives of every form to EROFS images, read back by others. Needs the Debian
//! package erofs-utils; where the kernel can mount EROFS, it reads each image too.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

mod archive;
mod attributes;
mod contents;
mod forms;
mod gnu_tar;
mod image;
mod joined;
mod links;
mod names;
mod refusals;
mod replacements;
mod whiteouts;

#[path = "../support/mod.rs"]
mod support;
