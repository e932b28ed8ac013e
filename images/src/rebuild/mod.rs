//! The exact tar archive of a layer, from its file system and a recipe.
//!
//! A layer is kept as an EROFS image only. Its archive holds the same data once more, and beyond
//! that headers and padding, whose bytes nobody can guess. The recipe keeps these, compressed, and
//! says where in the image the data is: about one part in a hundred of the archive. Archives that
//! hold what the image does not (files that they replace themselves, files with holes) have none.

mod locate;
mod recipe;
mod scan;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use recipe::{Rebuilt, write};
pub(crate) use scan::Scanner;
