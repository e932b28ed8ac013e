//! What a machine is: validated, serialisable, without file descriptors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Least guest memory in MiB: a kernel and its init fit, with room for a small program.
pub const MIN_MEMORY_MIB: u32 = 64;

/// Most vCPUs of a guest: as many as the MP table and the kernel's configuration hold.
pub const MAX_CPUS: u8 = 32;

/// Most disks of a guest: the interrupt lines left after the other devices.
pub const MAX_DISKS: usize = 8;

/// Most extents of a disk: more than an image of as many layers as there can be has.
pub const MAX_EXTENTS: usize = 1024;

/// Most bytes of a disk, and the end of an extent in its file: what file offsets can say.
pub const MAX_DISK: u64 = i64::MAX.unsigned_abs();

/// Most bytes of a plan as JSON.
pub const MAX_JSON: u64 = 4 << 20;

/// A machine to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Kernel: an ELF `vmlinux` or a bzImage.
    pub kernel: PathBuf,
    /// Initial RAM file system, as the kernel takes it.
    #[serde(default)]
    pub initramfs: Option<PathBuf>,
    /// Kernel command line; the monitor adds its devices to it.
    #[serde(default)]
    pub command_line: String,
    /// Guest memory in MiB, at least [`MIN_MEMORY_MIB`].
    pub memory_mib: u32,
    /// Number of vCPUs, 1 to [`MAX_CPUS`].
    pub cpus: u8,
    /// Disks in order: the first is `/dev/vda`.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Vsock context identifier of the guest, 3 or above; `None` for a guest without vsock.
    #[serde(default)]
    pub vsock_cid: Option<u32>,
    /// Milliseconds in which the guest must open its first vsock connection to the host;
    /// 0 waits for ever.
    #[serde(default)]
    pub boot_deadline_ms: u64,
    /// Refuse to run the machine where the system does not allow all of the monitor's jail.
    #[serde(default)]
    pub require_jail: bool,
}

/// A virtio block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its content, in order, each extent a multiple of 512 bytes. A writable disk is one
    /// [`Extent::File`].
    pub extents: Vec<Extent>,
    /// The guest may only read it; files are then opened read-only.
    pub read_only: bool,
}

/// A run of a disk's bytes: what the store says of an image's layers, and what the monitor is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Extent {
    /// Bytes of a file.
    File {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// These bytes, written as hexadecimal digits.
    Bytes(#[serde(with = "hexadecimal")] Vec<u8>),
    /// This many zero bytes.
    Zeros(u64),
}

impl Plan {
    /// Checks that all values are in their ranges.
    ///
    /// # Errors
    /// Words for the first one that is not.
    pub fn check(&self) -> Result<(), String> {
        let (memory, cpus, disks) = (self.memory_mib, self.cpus, self.disks.len());
        if memory < MIN_MEMORY_MIB {
            return Err(format!(
                "{memory} MiB of memory are too little, at least {MIN_MEMORY_MIB} are needed"
            ));
        }
        if cpus == 0 || cpus > MAX_CPUS {
            return Err(format!("{cpus} processors; 1 to {MAX_CPUS} are possible"));
        }
        if disks > MAX_DISKS {
            return Err(format!("{disks} disks; at most {MAX_DISKS} are possible"));
        }
        if self.vsock_cid.is_some_and(|cid| cid < 3) {
            return Err("a guest's vsock context identifier is 3 or above".into());
        }
        if self.command_line.contains('\0') {
            return Err("the kernel's command line ends at a zero byte in the middle of it".into());
        }
        self.disks.iter().try_for_each(Disk::check)
    }
}

impl Disk {
    fn check(&self) -> Result<(), String> {
        let count = self.extents.len();
        if count > MAX_EXTENTS {
            return Err(format!(
                "a disk of {count} extents; at most {MAX_EXTENTS} are possible"
            ));
        }
        let total = self
            .extents
            .iter()
            .try_fold(0_u64, |total, extent| total.checked_add(extent.length()));
        let ends = self.extents.iter().all(|extent| extent.end() <= MAX_DISK);
        if !ends || total.is_none_or(|total| total > MAX_DISK) {
            return Err(format!("a disk of more than {MAX_DISK} bytes"));
        }
        Ok(())
    }
}

impl Extent {
    /// Where it ends in its file; for others, its length.
    #[must_use]
    pub fn end(&self) -> u64 {
        match self {
            Self::File { offset, length, .. } => offset.saturating_add(*length),
            other => other.length(),
        }
    }

    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } | Self::Zeros(length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

mod hexadecimal {
    //! Bytes as a string of hexadecimal digits, a quarter of the size of a list of numbers.
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        for byte in bytes {
            // By hand: formatting each byte is ten times as much work, on the way of each start.
            text.push(digit(byte >> 4));
            text.push(digit(byte & 0xf));
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("odd number of hexadecimal digits"));
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        pairs
            .iter()
            .map(|[high, low]| {
                let value = digit(*high)? * 16 + digit(*low)?;
                u8::try_from(value).ok()
            })
            .collect::<Option<_>>()
            .ok_or_else(|| D::Error::custom("not a hexadecimal digit"))
    }
}

#[cfg(test)]
mod tests;
