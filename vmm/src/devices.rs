//! The devices of a machine: one line for each.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use contracts::monitor::{Disk, Extent, Plan};

use crate::virtio::{
    Device,
    balloon::Balloon,
    block::{self, Block, Content},
    rng::Rng,
    vsock::{self, Vsock},
};

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is shorter than its extent.
    #[error("{} has {found} bytes where {needed} are needed", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes up to the extent's end.
        needed: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// An extent is no whole number of sectors.
    #[error("an extent of {0} bytes is no multiple of 512")]
    Alignment(u64),
    /// The system gives no event for the socket device.
    #[error("cannot make an event: {0}")]
    Event(io::Error),
    /// A writable disk must be one file.
    #[error("a writable disk must be one file, this one has {0} parts")]
    Writable(usize),
}

/// A disk whose files are open.
pub struct OpenDisk {
    content: Vec<(Content, u64)>,
    read_only: bool,
}

/// Bytes of a sector (virtio 1.2, section 5.2).
const SECTOR: u64 = 512;

impl OpenDisk {
    /// Opens a disk's files, read-only unless it is writable.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(disk: &Disk) -> Result<Self, DiskError> {
        let single = matches!(disk.extents.as_slice(), [Extent::File { .. }]);
        if !disk.read_only && !single {
            return Err(DiskError::Writable(disk.extents.len()));
        }
        let mut content = Vec::with_capacity(disk.extents.len());
        for extent in &disk.extents {
            let length = extent.length();
            if !length.is_multiple_of(SECTOR) {
                return Err(DiskError::Alignment(length));
            }
            let part = match extent {
                Extent::File {
                    path,
                    offset,
                    length,
                } => {
                    let open = |source| DiskError::Open {
                        path: path.clone(),
                        source,
                    };
                    let mut options = OpenOptions::new();
                    options.read(true).write(!disk.read_only);
                    // A pipe would be waited for; it has no length, and is refused for that.
                    options.custom_flags(libc::O_NONBLOCK);
                    let file = options.open(path).map_err(open)?;
                    let found = file.metadata().map_err(open)?.len();
                    let needed = offset.saturating_add(*length);
                    if found < needed {
                        return Err(DiskError::Short {
                            path: path.clone(),
                            needed,
                            found,
                        });
                    }
                    Content::File {
                        file,
                        offset: *offset,
                    }
                }
                Extent::Bytes(bytes) => Content::Bytes(bytes.clone()),
                Extent::Zeros(_) => Content::Zeros,
            };
            content.push((part, length));
        }
        Ok(Self {
            content,
            read_only: disk.read_only,
        })
    }
}

/// A device, and which event loop it works on.
pub struct Placed {
    /// The device.
    pub device: Box<dyn Device>,
    /// On the disks' loop, whose thread may wait for files; the main one never waits.
    pub on_disk_loop: bool,
}

/// All devices of a machine.
pub struct Devices {
    /// In the order of their addresses.
    pub devices: Vec<Placed>,
    /// Set once the guest idles.
    pub idle: Arc<AtomicBool>,
    /// How to connect to the guest, when it has vsock.
    pub vsock: Option<vsock::Handle>,
    /// How to change the disks, in their order.
    pub disks: Vec<block::Handle>,
}

/// Makes the devices of a plan.
///
/// # Errors
/// When the system refuses a descriptor.
pub fn devices(
    plan: &Plan,
    disks: Vec<OpenDisk>,
    host: Option<Box<dyn vsock::Host>>,
) -> Result<Devices, DiskError> {
    let mut devices = Vec::new();
    let mut handles = Vec::new();
    for OpenDisk { content, read_only } in disks {
        let device = Box::new(Block::new(content, read_only, plan.cpus));
        handles.push(device.handle());
        devices.push(Placed {
            device,
            on_disk_loop: true,
        });
    }
    let mut place = |device: Box<dyn Device>| {
        devices.push(Placed {
            device,
            on_disk_loop: false,
        })
    };
    let vsock = match (plan.vsock_cid, host) {
        (Some(cid), Some(host)) => {
            let (vsock, handle) = Vsock::new(cid.into(), host).map_err(DiskError::Event)?;
            place(Box::new(vsock));
            Some(handle)
        }
        _ => None,
    };
    place(Box::new(Rng::new()));
    let balloon = Balloon::new();
    let idle = balloon.idle();
    place(Box::new(balloon));
    Ok(Devices {
        devices,
        idle,
        vsock,
        disks: handles,
    })
}

#[cfg(test)]
mod tests;
