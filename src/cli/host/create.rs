//! `coracle host create`.

use std::{collections::BTreeMap, path::PathBuf};

use crate::cli::choices;
use crate::kernel_build::Display;
use anyhow::{Context, Result, bail};

use super::super::options::{self, Bytes};
use coracle_engine::keeper;
use coracle_engine::kernel;
use coracle_engine::state::{
    Directories, MachineMode, disk,
    host::{self, Config, Hosts},
};
use coracle_platform::{clock, size};

/// Create a host and start it
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name of the host
    #[arg(value_name = "NAME")]
    name: String,
    /// Number of vCPUs, shared by its containers
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(vmm::plan::MAX_CPUS)))]
    cpus: u8,
    /// Memory, shared by its containers; allocated as they use it, and returned when freed
    #[arg(short, long, value_name = "SIZE", default_value = "2g", value_parser = options::memory_of_host)]
    memory: u64,
    /// Keep its containers' writable layers on a disk of this size, instead of in memory; allocated
    /// as they use it, and empty whenever the host starts
    #[arg(long, value_name = "SIZE")]
    disk: Option<Bytes>,
    /// Limit each container's writable layer to this much of the disk, unless it has a '--storage-opt size'
    /// of its own [default: half of the disk]
    #[arg(long, value_name = "SIZE", requires = "disk")]
    container_disk: Option<Bytes>,
    /// Guest kernel to boot: an ELF vmlinux or a bzImage
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Set metadata on the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// When to use a software host, which is slow but needs no KVM
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = choices::machine())]
    machine: MachineMode,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let directories = Directories::from_environment()?;
    let hosts = Hosts::new(&directories);
    let kernel = match &arguments.kernel {
        Some(path) => {
            kernel::check_bootable(path)?;
            let absolute = std::path::absolute(path);
            Some(absolute.with_context(|| format!("cannot find {}", path.display()))?)
        }
        None => None,
    };
    let labels: BTreeMap<String, String> = arguments
        .label
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let (disk, container_disk) = disks(arguments)?;
    let config = Config {
        version: host::VERSION,
        id: coracle_engine::identifier()?,
        name: arguments.name.clone(),
        created: clock::wall(),
        memory: arguments.memory,
        cpus: arguments.cpus,
        kernel,
        machine: arguments.machine,
        labels,
        disk,
        container_disk,
    };
    // What cannot be is refused before anything is made.
    let prepared = keeper::prepare_host(&config, &directories, &mut Display::new())?;
    let host = hosts.create(config)?;
    if let Err(error) = super::boot(&host, prepared, &directories) {
        let removed = host
            .keeper_lock()
            .and_then(|lock| hosts.remove(&host, &lock));
        return Err(removed.err().unwrap_or(error));
    }
    outln!("{}", host.config.name);
    Ok(())
}

/// Bytes of the host's disk, and of each container's part of it, where they are given.
fn disks(arguments: &Arguments) -> Result<(Option<u64>, Option<u64>)> {
    let size = |given: Option<Bytes>, flag: &'static str| {
        let size = given.map(|Bytes(bytes)| disk::size(bytes));
        size.transpose().context(flag)
    };
    let disk = size(arguments.disk, "--disk")?;
    let part = size(arguments.container_disk, "--container-disk")?;
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
