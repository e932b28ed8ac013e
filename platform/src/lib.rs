//! What the standard library and rustix lack, for all of Coracle's programs: signals as descriptors, processes that
//! are waited for and ended, files that are their user's alone, clocks and the calendar, archives for initramfs, sizes and spans of
//! time as people write them, and text that is safe to show.
//!
//! Nothing in it knows of containers.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod clean;
pub mod clock;
pub mod cpio;
pub mod date;
pub mod destination;
mod directories;
pub mod duration;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod private;
pub mod process;
pub mod programs;
pub mod size;
pub mod sys;

pub use directories::Directories;
