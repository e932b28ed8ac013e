//! What a container sees as its file system, after the OCI runtime spec and docker.
//!
//! It is made in two steps. While init's root is still in view, all file systems are created, and
//! files of init's are picked up, as descriptors that are mounted nowhere ([`Parts::make`]). Then
//! the process enters the container's root for good ([`enter`]), and only then are the parts put
//! in their places ([`Parts::assemble`]): whatever symbolic links an image holds, they lead
//! nowhere but into the image.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use contracts::guest::{ContainerSpec, Mount};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, makedev, mkdirat,
        mknodat, open, openat, openat2, statat, symlinkat,
    },
    io::Errno,
    mount::{
        MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change,
        move_mount, unmount,
    },
    process::{chdir, fchdir, pivot_root},
};

use crate::{
    failure::{Failure, Stage},
    ipc,
    mounts::{attach, copy_at, copy_of, detached, detached_if_known, parse_options},
    sys, terminal,
};

mod place;

pub(crate) use place::make_where_links_lead;
use place::{directory, real_directory};

/// Devices that every container has, as (name, major, minor) of the kernel's list of devices.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Symbolic links in `/dev`.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// `PROC_SUPER_MAGIC` of linux/magic.h.
const PROC_MAGIC: i64 = 0x9fa0;

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Bytes of a kernel setting that are compared: a line of four numbers.
const MAX_VALUE: usize = 256;

/// `MOUNT_ATTR_RDONLY` for mount_setattr(2).
const SET_RDONLY: u64 = 1;

/// The parts of a container's file system, mounted nowhere yet.
#[derive(Debug)]
pub struct Parts {
    proc: OwnedFd,
    dev: OwnedFd,
    pts: OwnedFd,
    shm: OwnedFd,
    /// Absent where the kernel has no POSIX message queues.
    mqueue: Option<OwnedFd>,
    sys: OwnedFd,
    cgroup: OwnedFd,
    /// Files for `/etc`, by name.
    files: Vec<(&'static str, OwnedFd)>,
    /// Init's own devices, where this process may not make any.
    devices: Vec<(&'static str, OwnedFd)>,
    /// All of the guest's devices, where the container may use them.
    nodes: Vec<Node>,
}

/// A device node: its name, its kind, and its number.
type Node = (CString, FileType, u64);

/// Mode of device nodes that only root may use.
const PRIVATE_DEVICE: u32 = 0o600;

impl Parts {
    /// Makes the parts in this process's namespaces. `files` are names in a directory of init's
    /// that appear in the container's `/etc`.
    ///
    /// # Errors
    /// When the kernel lacks or refuses a file system.
    pub fn make(
        spec: &ContainerSpec,
        directory: &Path,
        files: &[&'static str],
        pts: Option<OwnedFd>,
    ) -> Result<Self, Failure> {
        let shm_size = spec.shm_size.to_string();
        let dev = [("mode", Some("755")), ("size", Some("65536k"))];
        let shm = [("mode", Some("1777")), ("size", Some(&*shm_size))];
        let everything = NOSUID | NODEV | NOEXEC;
        let kernels = match spec.privileged {
            true => everything,
            false => everything | RDONLY,
        };
        let mut parts = Self {
            proc: detached("proc", &[], everything)?,
            dev: detached(
                "tmpfs",
                &dev,
                NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            )?,
            pts: pts.map_or_else(|| terminal::devpts(None), Ok)?,
            shm: detached("tmpfs", &shm, everything)?,
            mqueue: detached_if_known("mqueue", &[], everything)?,
            sys: detached("sysfs", &[], kernels)?,
            cgroup: detached("cgroup2", &[], kernels)?,
            files: Vec::with_capacity(files.len()),
            devices: Vec::new(),
            nodes: Vec::new(),
        };
        for name in files {
            let path = directory.join(name);
            let copy = copy_at(CWD, &path, false).stage(|| format!("take {}", path.display()))?;
            parts.files.push((name, copy));
        }
        if spec.user_namespace {
            for (name, _, _) in NODES {
                let path = format!("/dev/{name}");
                let copy = copy_at(CWD, &path, false).stage(|| format!("take {path}"))?;
                parts.devices.push((name, copy));
            }
        }
        if spec.privileged {
            parts.nodes = guests_nodes().stage(|| "list the guest's devices")?;
        }
        Ok(parts)
    }

    /// Puts everything in its place below `/`, which is the container's root by now.
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn assemble(self, spec: &ContainerSpec, console: Option<&OwnedFd>) -> Result<(), Failure> {
        let at = |mount: &OwnedFd, path: &str| {
            attach(mount, real_directory(path)?).stage(|| format!("mount {path}"))
        };
        at(&self.proc, "/proc")?;
        self.fill_dev()?;
        at(&self.dev, "/dev")?;
        self.fill_mounted_dev(console)?;
        at(&self.sys, "/sys")?;
        let control = place::inside(&self.sys, "fs/cgroup").stage(|| "find /sys/fs/cgroup")?;
        attach(&self.cgroup, control).stage(|| "mount /sys/fs/cgroup")?;
        for mount in &spec.mounts {
            add(mount)?;
        }
        for (name, file) in &self.files {
            let path = format!("/etc/{name}");
            if spec.root.read_only {
                // As docker: they are of the root, although init's.
                sys::mount_setattr(file, SET_RDONLY, false)
                    .stage(|| format!("make {path} read-only"))?;
            }
            attach(file, place::file(&path)?).stage(|| format!("mount {path}"))?;
        }
        for (name, value) in &spec.sysctls {
            // Init has made those that this process may not.
            if !(spec.user_namespace && ipc::owns(name) && self.has_sysctl(name, value)) {
                self.set_sysctl(name, value)?;
            }
        }
        for path in &spec.readonly_paths {
            self.make_read_only(path)?;
        }
        for path in &spec.masked_paths {
            self.mask(path)?;
        }
        Ok(())
    }

    fn fill_dev(&self) -> Result<(), Failure> {
        let all = Mode::from_raw_mode(0o666);
        for (name, major, minor) in NODES {
            if self.devices.is_empty() {
                let device = makedev(major, minor);
                mknodat(&self.dev, name, FileType::CharacterDevice, all, device)
            } else {
                mknodat(&self.dev, name, FileType::RegularFile, all, 0)
            }
            .stage(|| format!("make /dev/{name}"))?;
        }
        for (name, target) in LINKS {
            symlinkat(target, &self.dev, name).stage(|| format!("make /dev/{name}"))?;
        }
        for name in ["pts", "shm", "mqueue"] {
            mkdirat(&self.dev, name, Mode::from_raw_mode(0o755))
                .stage(|| format!("make /dev/{name}"))?;
        }
        for (name, kind, number) in &self.nodes {
            let mode = Mode::from_raw_mode(PRIVATE_DEVICE);
            match mknodat(&self.dev, name, *kind, mode, *number) {
                // What every container has.
                Err(Errno::EXIST) => {}
                made => made.stage(|| format!("make /dev/{}", name.to_string_lossy()))?,
            }
        }
        Ok(())
    }

    fn fill_mounted_dev(&self, console: Option<&OwnedFd>) -> Result<(), Failure> {
        let at = |mount: &OwnedFd, name: &str| {
            place::inside(&self.dev, name)
                .and_then(|place| attach(mount, place))
                .stage(|| format!("mount /dev/{name}"))
        };
        at(&self.pts, "pts")?;
        at(&self.shm, "shm")?;
        if let Some(mqueue) = &self.mqueue {
            at(mqueue, "mqueue")?;
        }
        for (name, device) in &self.devices {
            at(device, name)?;
        }
        if let Some(slave) = console {
            let mode = Mode::from_raw_mode(0o600);
            mknodat(&self.dev, "console", FileType::RegularFile, mode, 0)
                .stage(|| "make /dev/console")?;
            let copy = copy_of(slave, false).stage(|| "take the terminal")?;
            at(&copy, "console")?;
        }
        Ok(())
    }

    /// Writes a kernel setting, through the mount of procfs that was made here: no link in the
    /// image, and no mount on top, can turn it into another file.
    fn set_sysctl(&self, name: &str, value: &str) -> Result<(), Failure> {
        self.open_sysctl(name, OFlags::WRONLY)
            .and_then(|file| rustix::io::write(&file, value.as_bytes()))
            .map(drop)
            .stage(|| format!("set sysctl {name} to `{value}`"))
    }

    /// Whether a kernel setting has this value already.
    fn has_sysctl(&self, name: &str, value: &str) -> bool {
        let mut content = [0; MAX_VALUE];
        let length = self
            .open_sysctl(name, OFlags::RDONLY)
            .and_then(|file| rustix::io::read(&file, &mut content));
        let content = content.get(..length.unwrap_or(0)).unwrap_or_default();
        let content = String::from_utf8_lossy(content);
        content.split_whitespace().eq(value.split_whitespace())
    }

    fn open_sysctl(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = format!("sys/{}", name.replace('.', "/"));
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.proc, &path, flags, Mode::empty(), resolve)
    }

    /// Opens what a masked or read-only path names; `None` when there is no such file.
    fn named(&self, path: &str) -> Result<Option<OwnedFd>, Failure> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = match path.strip_prefix("/proc/") {
            Some(inner) => place::inside(&self.proc, inner),
            None => open(path, flags, Mode::empty()),
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).stage(|| format!("open {path}")),
        }
    }

    fn make_read_only(&self, path: &str) -> Result<(), Failure> {
        let Some(found) = self.named(path)? else {
            return Ok(());
        };
        let copy = copy_of(&found, true).stage(|| format!("copy the mount of {path}"))?;
        sys::mount_setattr(&copy, SET_RDONLY, true).stage(|| format!("make {path} read-only"))?;
        attach(copy, found).stage(|| format!("mount {path} read-only"))
    }

    fn mask(&self, path: &str) -> Result<(), Failure> {
        let Some(found) = self.named(path)? else {
            return Ok(());
        };
        let kind = fstat(&found).stage(|| format!("look at {path}"))?.st_mode;
        let cover = if FileType::from_raw_mode(kind) == FileType::Directory {
            detached(
                "tmpfs",
                &[("size", Some("0"))],
                RDONLY | NOSUID | NODEV | NOEXEC,
            )?
        } else {
            copy_at(&self.dev, "null", false).stage(|| "take /dev/null")?
        };
        attach(cover, found).stage(|| format!("mask {path}"))
    }
}

/// Name of the device that is a container's own terminal.
const CONSOLE: &CStr = c"console";

/// The device nodes in the guest's `/dev`, but for what a container has of its own.
fn guests_nodes() -> Result<Vec<Node>, Errno> {
    let directory = open("/dev", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut nodes = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let name = entry?.file_name().to_owned();
        let state = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(state.st_mode);
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        if device && *name != *CONSOLE {
            nodes.push((name, kind, state.st_rdev));
        }
    }
    Ok(nodes)
}

/// Makes a mount of the spec.
fn add(mount: &Mount) -> Result<(), Failure> {
    let target = &mount.target;
    if !target.starts_with('/') || target.trim_matches(['/', '.']).is_empty() {
        return Err(Failure::setup(format!(
            "cannot mount on `{target}`: not an absolute path below the root"
        )));
    }
    let options = parse_options(&mount.options);
    let mut data = options.data;
    let (place, made) = directory(target)?;
    let state = fstatfs(&place).stage(|| format!("look at {target}"))?;
    if state.f_type == PROC_MAGIC {
        return Err(Failure::setup(format!(
            "cannot mount on {target}: it lies inside /proc"
        )));
    }
    // A directory of the image keeps its permissions, as with runc.
    let mode = fstat(&place).stage(|| format!("look at {target}"))?.st_mode & 0o7777;
    let mode = format!("{mode:o}");
    if mount.kind == "tmpfs" && !made && !data.iter().any(|(key, _)| *key == "mode") {
        data.push(("mode", Some(&*mode)));
    }
    if mount.kind != "tmpfs" {
        data.insert(0, ("source", Some(&*mount.source)));
    }
    let new = detached(&mount.kind, &data, options.attributes)?;
    attach(new, place).stage(|| format!("mount {} on {target}", mount.kind))
}

/// Makes a detached mount the root of this process, in its own mount namespace, and lets go of
/// everything else. `meeting` is any directory of the old root.
///
/// # Errors
/// As the system calls.
pub fn enter(root: impl AsFd, meeting: &Path) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).stage(|| "make mounts private")?;
    move_mount(
        &root,
        "",
        CWD,
        meeting,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .stage(|| "attach the root")?;
    fchdir(&root).stage(|| "enter the root")?;
    // The old root is put on top of the new one, and taken away from there.
    pivot_root(".", ".").stage(|| "pivot into the root")?;
    unmount(".", UnmountFlags::DETACH).stage(|| "let go of the old root")?;
    chdir("/").stage(|| "enter the root")
}

/// Makes the root read-only; mounts on it keep what they are.
///
/// # Errors
/// As `mount_setattr(2)`.
pub fn seal_root() -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, "/", flags, Mode::empty()).stage(|| "open /")?;
    sys::mount_setattr(root, SET_RDONLY, false).stage(|| "make the root read-only")
}
