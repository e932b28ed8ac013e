//! Which devices a container may use: docker's list, held by a program that the kernel asks at
//! each `mknod` and `open` of a device node (control groups, version 2, `Device controller`).
//!
//! Without it a container with `CAP_MKNOD`, which docker gives to every one, could make a node for
//! any of the guest's disks and read what belongs to its neighbours.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::sys;

/// Character devices that may be read and written, as (major, minor); `None` is any minor.
const ALLOWED: [(u16, Option<u16>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pseudo terminals
];

/// Kind of access and of device in the first field of what the program is given
/// (`struct bpf_cgroup_dev_ctx` of linux/bpf.h).
const MAKE_NODE: i32 = 1;
const CHARACTER: i32 = 2;

/// Operation codes (linux/bpf.h, `Documentation/bpf/standardization/instruction-set.rst`).
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const MOVE: u8 = 0xb4;
const EXIT: u8 = 0x95;

/// Registers: the result, and where the program keeps what it was given.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// One instruction, as the kernel takes it on a little-endian machine.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

/// The program: everyone may make nodes, only those of the list may be used.
fn program() -> Vec<u64> {
    let mut code = vec![
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, KIND, 0, 0, 0xffff),
        // Over the next two instructions, which allow.
        instruction(JUMP_UNLESS_EQUAL, ACCESS, 0, 2, MAKE_NODE),
    ];
    let allow = [
        instruction(MOVE, RESULT, 0, 0, 1),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let deny = [
        instruction(MOVE, RESULT, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    code.extend(allow);
    // Over the next two instructions, which deny.
    code.push(instruction(JUMP_IF_EQUAL, KIND, 0, 2, CHARACTER));
    code.extend(deny);
    for (major, minor) in ALLOWED {
        let over = if minor.is_some() { 3 } else { 2 };
        code.push(instruction(JUMP_UNLESS_EQUAL, MAJOR, 0, over, major.into()));
        if let Some(minor) = minor {
            code.push(instruction(JUMP_UNLESS_EQUAL, MINOR, 0, 2, minor.into()));
        }
        code.extend(allow);
    }
    code.extend(deny);
    code
}

/// Holds the processes of a control group to docker's devices. False where the kernel has no such
/// filter (`CONFIG_CGROUP_BPF`).
///
/// # Errors
/// When the kernel has it and refuses.
pub fn confine(group: impl AsFd) -> Result<bool, Errno> {
    let attached = sys::load_device_filter(&program())
        .and_then(|filter: OwnedFd| sys::attach_device_filter(group.as_fd(), &filter));
    match attached {
        Ok(()) => Ok(true),
        // The call, the kind of program, or the place to attach it are not compiled in.
        Err(Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program gives for an access: a small interpreter of the instructions above.
    fn allows(access: u32, kind: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let program = program();
        let mut registers = [0_u32; 6];
        let mut next = 0;
        loop {
            let [code, to_from, o1, o2, v1, v2, v3, v4] = program[next].to_le_bytes();
            let (to, value) = (
                usize::from(to_from & 15),
                u32::from_le_bytes([v1, v2, v3, v4]),
            );
            let offset = usize::from(u16::from_le_bytes([o1, o2]));
            next += 1;
            match code {
                LOAD_WORD => registers[to] = context[offset / 4],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                MOVE => registers[to] = value,
                JUMP_IF_EQUAL if registers[to] == value => next += offset,
                JUMP_UNLESS_EQUAL if registers[to] != value => next += offset,
                EXIT => return registers[0] == 1,
                _ => {}
            }
        }
    }

    const READ: u32 = 2;
    const WRITE: u32 = 4;
    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;

    #[test]
    fn dockers_devices_can_be_read_and_written() {
        for (major, minor) in ALLOWED {
            let minor = minor.unwrap_or(17).into();
            assert!(
                allows(READ | WRITE, CHARACTER, major.into(), minor),
                "{major}:{minor}"
            );
        }
    }

    #[test]
    fn every_node_can_be_made_and_disks_not_be_used() {
        assert!(allows(1, BLOCK, 254, 0));
        assert!(!allows(READ, BLOCK, 254, 0));
        assert!(!allows(1 | READ, BLOCK, 254, 0));
        // A block device with the numbers of null.
        assert!(!allows(READ, BLOCK, 1, 3));
    }

    #[test]
    fn kernel_memory_and_others_cannot_be_used() {
        for (major, minor) in [(1, 1), (1, 2), (1, 4), (10, 183), (4, 64), (5, 3)] {
            assert!(!allows(READ, CHARACTER, major, minor), "{major}:{minor}");
            assert!(!allows(WRITE, CHARACTER, major, minor), "{major}:{minor}");
        }
    }
}
