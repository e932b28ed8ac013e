//! New hosts.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Host, Hosts};
use crate::{
    ErrorKind, Kind, Result, keeper,
    kernel::{self, Observer},
    state::{
        MachineMode, disk,
        host::{Config, VERSION},
    },
};
use coracle_platform::{clock, size};

/// What is asked for of a new host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRequest {
    /// Its name, which is no other host's.
    pub name: String,
    /// Number of its processors.
    pub cpus: u8,
    /// Bytes of memory for all of its containers.
    pub memory: u64,
    /// Bytes of a disk for what its containers write; without one they write to its memory.
    pub disk: Option<u64>,
    /// Bytes that each of its containers may take of that; the engine's own limit otherwise.
    pub container_disk: Option<u64>,
    /// A kernel of the user's.
    pub kernel: Option<PathBuf>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When a software host is used.
    pub machine: MachineMode,
}

impl Hosts {
    /// Makes a host and starts it; waits until its guest is up. One that does not come up is removed again. The
    /// observer hears of a guest kernel that has to be built first.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the name is in use, [`Invalid`](ErrorKind::Invalid) when it is not a
    /// name, or the kernel or the disk's size is not possible. When the host cannot be started.
    pub fn create(&self, request: HostRequest, observer: &mut dyn Observer) -> Result<Host> {
        let kernel = match &request.kernel {
            Some(path) => {
                kernel::check_bootable(path).kind(ErrorKind::Invalid)?;
                let absolute = std::path::absolute(path);
                Some(absolute.with_context(|| format!("cannot find {}", path.display()))?)
            }
            None => None,
        };
        let (disk, container_disk) = disks(&request).kind(ErrorKind::Invalid)?;
        let config = Config {
            version: VERSION,
            id: crate::identifier()?,
            name: request.name,
            created: clock::wall(),
            memory: request.memory,
            cpus: request.cpus,
            kernel,
            machine: request.machine,
            labels: request.labels,
            disk,
            container_disk,
        };
        // What cannot be is refused before anything is made.
        let prepared = keeper::prepare_host(
            &config,
            &self.engine.directories,
            self.engine.launch.require_jail,
            observer,
        )?;
        let host = self.with(self.records.create(config)?);
        if let Err(error) = host.boot(prepared) {
            let removed = host
                .record
                .keeper_lock()
                .and_then(|lock| self.records.remove(&host.record, &lock));
            return Err(removed.err().map_or(error, Into::into));
        }
        Ok(host)
    }
}

/// Bytes of the host's disk, and of each container's part of it, where they are given.
fn disks(request: &HostRequest) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let size =
        |given: Option<u64>, flag: &'static str| given.map(disk::size).transpose().context(flag);
    let disk = size(request.disk, "--disk")?;
    let part = size(request.container_disk, "--container-disk")?;
    if let (Some(disk), Some(part)) = (disk, part)
        && part > disk
    {
        bail!(
            "--container-disk is {}, more than the whole disk: {}",
            size::binary(part),
            size::binary(disk)
        );
    }
    Ok((disk, part))
}
