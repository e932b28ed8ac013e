//! What a machine is: validated, serialisable, without file descriptors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Least guest memory in MiB: a kernel and its init fit, with room for a small program.
pub const MIN_MEMORY_MIB: u32 = 64;

/// Most vCPUs of a guest: as many as the MP table and the kernel's configuration hold.
pub const MAX_CPUS: u8 = 32;

/// Most disks of a guest: the interrupt lines left after the other devices.
pub const MAX_DISKS: usize = 8;

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

/// A run of a disk's bytes.
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

impl Extent {
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
    use std::fmt::Write;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
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
