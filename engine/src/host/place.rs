//! Where the monitor runs: here, or in a software host where KVM is unusable.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use vmm::probe::Probe;

use crate::state::{self, Directories, MachineMode};

/// Where a monitor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On this machine's KVM.
    Here,
    /// In the software host.
    Machine,
}

/// Whether the monitor of a container that runs is in the software host.
pub fn is_in_machine(mode: MachineMode, directories: &Directories) -> bool {
    match mode {
        MachineMode::Always => true,
        MachineMode::Never => false,
        MachineMode::Auto => !matches!(state::probe(&directories.cache), Probe::Usable),
    }
}

/// Decides where, by trying KVM out; says so when a software host has to be started.
///
/// # Errors
/// When KVM is unusable and no software host is allowed.
pub fn choose(mode: MachineMode, directories: &Directories) -> Result<Place> {
    if mode == MachineMode::Always {
        return Ok(Place::Machine);
    }
    let probe = state::probe(&directories.cache);
    if matches!(probe, Probe::Usable) {
        return Ok(Place::Here);
    }
    if mode == MachineMode::Never {
        bail!("{probe}; 'coracle doctor' shows how to fix it, or use --machine auto");
    }
    if coracle_software_host::status(directories).is_ok_and(|status| !status.running) {
        log::info!(
            "{probe}; starting a software host instead, about 20 times slower \
             ('coracle machine stop' stops it)"
        );
    }
    Ok(Place::Machine)
}
