//! Everything as a user does it: real kernels, real images, real processes.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

mod api;
mod attacks;
mod bench;
mod copy;
mod crashes;
mod disks;
mod embedded;
mod exec;
mod exit_codes;
mod filters;
mod golden;
mod held;
mod hostile;
mod hostile_images;
mod hosts;
mod image_commands;
mod isolation;
mod kernels;
mod layers;
mod leftovers;
mod lifecycle;
mod limits;
mod namespace;
mod neighbours;
mod network;
mod observed;
mod ordinary_user;
mod output;
mod private;
mod process;
mod programs;
mod readme;
mod registry;
mod scenes;
mod signals;
mod streams;
mod userlands;
