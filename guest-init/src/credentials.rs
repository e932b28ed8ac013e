//! Who the container's program is, and what it may do.

use std::os::fd::AsFd;

use contracts::guest::{Process, Rlimit};
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, read},
    process::{Gid, Uid},
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

use crate::{
    failure::{Failure, Stage},
    shift::USERS,
    sys,
    users::{self, Identity},
};

/// Number after the highest capability of Linux, `CAP_CHECKPOINT_RESTORE`.
const CAPABILITIES: u32 = 41;

/// Bytes that are read from a file at a time.
const CHUNK: usize = 16 << 10;

/// Finds the user in the files of the container, whose root is this process's.
///
/// # Errors
/// When a file cannot be read or a name has no entry.
pub fn identify(process: &Process) -> Result<Identity, Failure> {
    let passwd = contents("/etc/passwd")?;
    let group = contents("/etc/group")?;
    let identity = users::resolve(&passwd, &group, &process.user, &process.groups)
        .map_err(|error| Failure::setup(error.to_string()))?;
    let all = identity.groups.iter().chain([&identity.uid, &identity.gid]);
    match all.max() {
        Some(highest) if *highest >= USERS && !exists(*highest) => Err(Failure::setup(format!(
            "unable to become user or group {highest}: the container's user namespace has {USERS}; \
             `--userns host` has all"
        ))),
        _ => Ok(identity),
    }
}

/// Whether this process's user namespace has a number.
fn exists(number: u32) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return true;
    };
    map.lines().any(|line| {
        let mut words = line.split_whitespace().map(str::parse::<u32>);
        match (words.next(), words.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => number >= first && number - first < count,
            _ => false,
        }
    })
}

/// Reads a regular file up to a limit; a file that is absent or no file is empty.
fn contents(path: &str) -> Result<Vec<u8>, Failure> {
    // An image may have put a FIFO or a device there, which must not block init's child.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).stage(|| format!("open {path}")),
    };
    let kind = fstat(&file).stage(|| format!("look at {path}"))?.st_mode;
    if FileType::from_raw_mode(kind) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    read_to_end(&file, path)
}

fn read_to_end(file: impl AsFd, path: &str) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = read(&file, &mut chunk).stage(|| format!("read {path}"))?;
        if length == 0 {
            return Ok(content);
        }
        content.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if content.len() > users::MAX_FILE {
            return Err(Failure::setup(format!(
                "cannot read {path}: it is longer than {} bytes",
                users::MAX_FILE
            )));
        }
    }
}

/// Sets resource limits on this process.
///
/// # Errors
/// When a limit does not exist or its values contradict each other.
pub fn limit(limits: &[Rlimit]) -> Result<(), Failure> {
    for limit in limits {
        sys::set_rlimit(limit.resource, limit.soft, limit.hard).stage(|| {
            format!(
                "set resource limit {} to {}:{}",
                limit.resource, limit.soft, limit.hard
            )
        })?;
    }
    Ok(())
}

/// Becomes root of this process's user namespace, in which it is nobody when it comes from outside.
///
/// # Errors
/// When the namespace has no root, or this process may not be it.
pub fn become_root() -> Result<(), Failure> {
    let (gid, uid) = (Gid::ROOT, Uid::ROOT);
    set_thread_res_gid(gid, gid, gid).stage(|| "become root's group in the user namespace")?;
    set_thread_res_uid(uid, uid, uid).stage(|| "become root in the user namespace")
}

/// Becomes the user, with the container's capabilities: all of them are in the bounding set, and
/// only root has them at once, as docker does.
///
/// # Errors
/// As the system calls.
pub fn become_user(identity: &Identity, capabilities: u64) -> Result<(), Failure> {
    for capability in 0..CAPABILITIES {
        if capabilities & (1 << capability) == 0 {
            match sys::drop_bounding(capability) {
                // An older kernel does not know the newest ones.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => break,
                other => other.stage(|| format!("drop capability {capability}"))?,
            }
        }
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups).stage(|| "set supplementary groups")?;
    let gid = Gid::from_raw(identity.gid);
    set_thread_res_gid(gid, gid, gid).stage(|| format!("set group {}", identity.gid))?;
    let uid = Uid::from_raw(identity.uid);
    set_thread_res_uid(uid, uid, uid).stage(|| format!("set user {}", identity.uid))?;
    let own = if identity.uid == 0 {
        CapabilitySet::from_bits_retain(capabilities & ((1 << CAPABILITIES) - 1))
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: own,
        permitted: own,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).stage(|| "set capabilities")
}

/// Sets `PR_SET_NO_NEW_PRIVS`, after which no program can gain privileges by being executed.
///
/// # Errors
/// As `prctl(2)`.
pub fn forbid_new_privileges() -> Result<(), Failure> {
    set_no_new_privs(true).stage(|| "set no_new_privs")
}
