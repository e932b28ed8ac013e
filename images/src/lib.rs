//! Container images made bootable.
//!
//! A [`source`] gives verified documents and layers, [`layer`] makes a layer a file system that a
//! guest mounts, [`disk`] joins layers into one disk, and the [`store`] keeps all of it and says in
//! one look what running an image needs.

mod crc;
pub mod digest;
pub mod disk;
mod erofs;
pub mod image;
pub mod layer;
mod rebuild;
pub mod reference;
pub mod source;
pub mod store;
mod verity;
