//! `coracle host create`.

use std::path::PathBuf;

use anyhow::Result;
use coracle_engine::{hosts::HostRequest, state::MachineMode};

use crate::{
    cli::{
        choices, engine,
        options::{self, Bytes},
    },
    kernel_build::Display,
};

/// Create a host and start it
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name of the host
    #[arg(value_name = "NAME")]
    name: String,
    /// Number of vCPUs, shared by its containers
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(contracts::monitor::MAX_CPUS)))]
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
    let labels = arguments.label.iter();
    let labels = labels.map(|label| label.split_once('=').unwrap_or((label, "")));
    let request = HostRequest {
        name: arguments.name.clone(),
        cpus: arguments.cpus,
        memory: arguments.memory,
        disk: arguments.disk.map(|Bytes(bytes)| bytes),
        kernel: arguments.kernel.clone(),
        labels: labels
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        machine: arguments.machine,
        container_disk: arguments.container_disk.map(|Bytes(bytes)| bytes),
    };
    let host = engine()?.hosts().create(request, &mut Display::new())?;
    outln!("{}", host.name());
    Ok(())
}
