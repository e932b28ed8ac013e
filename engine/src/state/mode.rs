//! Where a machine may run.

use serde::{Deserialize, Serialize};

/// When a software host is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineMode {
    /// Never: without usable KVM the command fails
    Never,
    /// Where this machine's KVM cannot run a guest
    #[default]
    Auto,
    /// Always
    Always,
}
