//! Partitions whose every block is checked when it is read: dm-verity, by the device mapper's own
//! messages (linux/dm-ioctl.h).

use std::os::fd::OwnedFd;

use contracts::guest::Verity;
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

use crate::{
    failure::{Failure, Stage},
    sys::{self, DM_HEADER},
};

/// The device mapper's control device.
const CONTROL: &str = "/dev/mapper/control";

/// The message format that is spoken: major number 4, which has been the same since 2001.
const VERSION: u32 = 4;

// Commands.
const CREATE: u8 = 3;
const REMOVE: u8 = 4;
const RESUME: u8 = 6;
const LOAD: u8 = 9;
const STATUS: u8 = 12;

// Fields of the header (`struct dm_ioctl`), by offset.
const DATA_START: usize = 16;
const TARGETS: usize = 20;
const FLAGS: usize = 28;
const DEVICE: usize = 40;
const NAME: usize = 48;

/// Longest name, without the zero byte at its end.
const MAX_NAME: usize = 127;

/// Flags: the device is read-only; remove it when nothing uses it any more.
const READ_ONLY: u32 = 1;
const WHEN_UNUSED: u32 = 1 << 17;

// A target (`struct dm_target_spec`): its size, and offsets in it.
const TARGET: usize = 40;
const TARGET_SECTORS: usize = 8;
const TARGET_NEXT: usize = 20;
const TARGET_KIND: usize = 24;

/// Bytes of a block, and sectors in it.
const BLOCK: u64 = 4096;
const SECTORS: u64 = BLOCK / 512;

/// Room for a target's state, which is one letter.
const STATE_ROOM: usize = 256;

/// A device that checks what is read from it.
#[derive(Debug)]
pub struct Checked {
    name: String,
    /// Its node in `/dev`.
    pub(crate) path: String,
}

impl Checked {
    /// Makes one over a partition that holds data and, behind them, their tree of hashes.
    ///
    /// # Errors
    /// When the kernel has no device mapper, or refuses the device.
    pub(crate) fn new(name: String, partition: &str, verity: &Verity) -> Result<Self, Failure> {
        let control = control()?;
        let step = || format!("make a device that checks {partition}");
        let mut message = header(&name, 0).stage(step)?;
        sys::device_mapper(&control, CREATE, &mut message).stage(step)?;
        let path = format!("/dev/dm-{}", minor(&message));
        let made = Self { name, path };
        let done = made.fill(&control, &table(partition, verity));
        if done.is_err() {
            made.remove();
        }
        done.stage(step)?;
        Ok(made)
    }

    /// Gives it its one target, and lets it begin.
    fn fill(
        &self,
        control: &OwnedFd,
        (sectors, parameters): &(u64, String),
    ) -> std::io::Result<()> {
        let mut message = header(&self.name, READ_ONLY)?;
        put(&mut message, TARGETS, &1_u32.to_ne_bytes());
        message.extend(target(*sectors, parameters));
        sys::device_mapper(control, LOAD, &mut message)?;
        let mut message = header(&self.name, 0)?;
        sys::device_mapper(control, RESUME, &mut message)
    }

    /// Lets it go away as soon as nothing is mounted from it.
    pub(crate) fn remove(&self) {
        let removed = control().map(|control| {
            let mut message = header(&self.name, WHEN_UNUSED)?;
            sys::device_mapper(&control, REMOVE, &mut message)
        });
        // What cannot be removed stays until the machine ends, and is in nobody's way.
        drop(removed);
    }

    /// Whether a block was read that is not what the tree says.
    pub(crate) fn is_damaged(&self) -> bool {
        let state = || {
            let mut message = header(&self.name, 0).ok()?;
            message.resize(DM_HEADER + TARGET + STATE_ROOM, 0);
            sys::device_mapper(control().ok()?, STATUS, &mut message).ok()?;
            message.get(DM_HEADER + TARGET).copied()
        };
        state() == Some(b'C')
    }
}

fn control() -> Result<OwnedFd, Failure> {
    match open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => Err(Failure::setup(
            "cannot check layers while they are read (--verify): the guest's kernel has no device \
             mapper, or has not started it",
        )),
        other => other.stage(|| format!("open {CONTROL}")),
    }
}

/// A message's first part.
fn header(name: &str, flags: u32) -> Result<Vec<u8>, Errno> {
    if name.len() > MAX_NAME {
        return Err(Errno::NAMETOOLONG);
    }
    let mut message = vec![0; DM_HEADER];
    put(&mut message, 0, &VERSION.to_ne_bytes());
    let start = u32::try_from(DM_HEADER).unwrap_or(0);
    put(&mut message, DATA_START, &start.to_ne_bytes());
    put(&mut message, FLAGS, &flags.to_ne_bytes());
    put(&mut message, NAME, name.as_bytes());
    Ok(message)
}

/// What is checked: its sectors, and dm-verity's parameters (Linux,
/// `Documentation/admin-guide/device-mapper/verity.rst`). The tree is in the same partition.
fn table(partition: &str, verity: &Verity) -> (u64, String) {
    let blocks = verity.blocks;
    let root: String = verity
        .root
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parameters =
        format!("1 {partition} {partition} {BLOCK} {BLOCK} {blocks} {blocks} sha256 {root} -");
    (blocks.saturating_mul(SECTORS), parameters)
}

/// The one target of a device, from its first sector on.
fn target(sectors: u64, parameters: &str) -> Vec<u8> {
    let mut target = vec![0; TARGET];
    put(&mut target, TARGET_SECTORS, &sectors.to_ne_bytes());
    put(&mut target, TARGET_KIND, b"verity");
    target.extend(parameters.as_bytes());
    target.push(0);
    // The next one would begin at a multiple of 8.
    target.resize(target.len().next_multiple_of(8), 0);
    let next = u32::try_from(target.len()).unwrap_or(0);
    put(&mut target, TARGET_NEXT, &next.to_ne_bytes());
    target
}

/// A device's minor number, from the answer to its making: the kernel packs it around the major one.
fn minor(message: &[u8]) -> u64 {
    let field = message.get(DEVICE..).and_then(<[u8]>::first_chunk::<8>);
    let device = field.map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    device & 0xff | device >> 12 & 0xfff00
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    let place = bytes.iter_mut().skip(offset);
    place.zip(value).for_each(|(byte, value)| *byte = *value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_what_the_usual_tool_loads() {
        let verity = Verity {
            blocks: 129,
            root: [0xab; 32],
        };
        let (sectors, parameters) = table("/dev/vda1", &verity);
        assert_eq!(sectors, 1032);
        let root = "ab".repeat(32);
        assert_eq!(
            parameters,
            format!("1 /dev/vda1 /dev/vda1 4096 4096 129 129 sha256 {root} -")
        );
    }

    #[test]
    fn minor_number_is_unpacked() {
        let mut message = header("a", 0).unwrap();
        // Major 253, minor 300.
        put(&mut message, DEVICE, &0x0010_fd2c_u64.to_ne_bytes());
        assert_eq!(minor(&message), 300);
    }

    #[test]
    fn name_that_does_not_fit_is_refused() {
        assert!(header(&"a".repeat(MAX_NAME), 0).is_ok());
        assert!(header(&"a".repeat(MAX_NAME + 1), 0).is_err());
    }
}
