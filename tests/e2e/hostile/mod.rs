//! What attacks from inside, each try with the outcome that is right: a container against its host, its
//! neighbours and its helpers; a guest against its keeper and the commands of its owner. The attacks themselves
//! are in `tests/hostile/`.

mod calls;
mod files;
mod guests;
mod helpers;
mod images;
mod neighbours;
mod ports;
mod quota;
mod services;
mod shown;

use std::fs;

/// Whether containers without a machine can be had here: as root, where there is a hierarchy of control groups.
fn without_machine() -> bool {
    let root = rustix::process::geteuid().is_root();
    root && fs::read_to_string("/proc/mounts")
        .unwrap()
        .contains(" cgroup2 ")
}
