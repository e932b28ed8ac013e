//! What a container needs before its machine can start.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use contracts::monitor::{Extent, Plan};
use serde::{Deserialize, Serialize};

use crate::host::{self, Design, Place, Shape};
use crate::kernel::{self, Observer};
use crate::state::{
    self, Directories, MachineMode,
    container::{Config, Isolation},
};
use crate::{ErrorKind, Kind};

/// How long a guest may take to start a container once it is up, in each place.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_TIMEOUT_IN_MACHINE: Duration = Duration::from_secs(120);

/// A machine that is about to be started.
#[derive(Serialize, Deserialize)]
pub struct Prepared {
    /// What it is made of.
    pub design: Design,
    /// How long the guest may take from its first connection to a container's start.
    pub start_timeout: Duration,
}

/// Finds out where a container can run, and what its machine is.
///
/// # Errors
/// When it can run nowhere, its kernel or a layer is missing, or it wants more than a guest has.
pub fn prepare(
    config: &Config,
    directories: &Directories,
    observer: &mut dyn Observer,
) -> Result<Prepared> {
    if config.isolation == Isolation::Namespace {
        return Ok(Prepared {
            design: Design::Namespace(host::namespace::design(&config.id, &config.layers)?),
            start_timeout: START_TIMEOUT,
        });
    }
    let shape = Shape {
        memory: config.memory,
        cpu: config.cpu,
        kernel: kernel_of(config.kernel.as_deref(), directories, observer)?,
        verify: config.spec.root.is_checked(),
        disk: config
            .own_disk()
            .map(|size| (state::disk::path(&directories.data, &config.id), size)),
        limits: false,
    };
    let disk = images::disk::join(&config.layers).context("cannot join the image's layers")?;
    prepared(config.machine, directories, |place| {
        host::plan(&shape, disk, place, &directories.cache)
    })
}

/// Whether a container in a machine of its own boots the kernel that is built for all.
pub fn boots_own_kernel(config: &Config) -> bool {
    config.isolation == Isolation::Vm && config.kernel.is_none()
}

/// Finds out where a named host can run, and what its machine is.
///
/// # Errors
/// When it can run nowhere, its kernel is missing, or it wants more than a guest has.
pub fn prepare_host(
    config: &state::host::Config,
    directories: &Directories,
    observer: &mut dyn Observer,
) -> Result<Prepared> {
    let shape = Shape {
        memory: Some(config.memory),
        cpu: Some(u64::from(config.cpus) * 1000),
        kernel: kernel_of(config.kernel.as_deref(), directories, observer)?,
        // Any container of it may ask for that.
        verify: true,
        disk: config.disk.map(|size| {
            let path = state::disk::path_of_host(&directories.data, &config.name);
            (path, size)
        }),
        limits: config.disk.is_some(),
    };
    let empty = vec![Extent::Zeros(super::shelf::SIZE)];
    prepared(config.machine, directories, |place| {
        host::plan(&shape, empty, place, &directories.cache)
    })
}

fn kernel_of(
    own: Option<&Path>,
    directories: &Directories,
    observer: &mut dyn Observer,
) -> Result<PathBuf> {
    match own {
        None => Ok(kernel::ensure(&directories.cache, observer).kind(ErrorKind::Unavailable)?),
        Some(path) => {
            kernel::check_bootable(path).kind(ErrorKind::Invalid)?;
            Ok(path.to_owned())
        }
    }
}

fn prepared(
    machine: MachineMode,
    directories: &Directories,
    plan: impl FnOnce(Place) -> Result<Plan>,
) -> Result<Prepared> {
    let place = host::choose(machine, directories).kind(ErrorKind::Unavailable)?;
    Ok(Prepared {
        design: Design::Machine(Box::new(plan(place)?), place),
        start_timeout: match place {
            Place::Here => START_TIMEOUT,
            Place::Machine => START_TIMEOUT_IN_MACHINE,
        },
    })
}
