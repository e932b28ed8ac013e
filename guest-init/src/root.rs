//! A container's root: layers from a read-only disk, joined by overlayfs with a writable one.
//!
//! Everything that belongs to one container is mounted below one directory, so that one detaching
//! unmount of it frees all.

use std::{
    ffi::{CStr, OsStr},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use contracts::guest::{Layer, MAX_LAYERS, Root, Upper};
use rustix::{
    fs::{Mode, OFlags, mkdir, open, openat, renameat, syncfs},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, mount, unmount,
    },
    process::{chdir, fchdir},
};

use crate::{
    device,
    failure::{Failure, Stage},
    inherit::inherit,
    mounts::{attach, copy_of},
    quota,
    shift::Shift,
    sys::{self, Cloned},
    verity::Checked,
};

/// Permissions of directories that only init reaches.
const PRIVATE: Mode = Mode::RWXU;

/// Permissions of directories that one passes through.
const PASSAGE: Mode = Mode::from_raw_mode(0o711);

/// Permissions of the root directory of a container.
const ROOT_MODE: Mode = Mode::from_raw_mode(0o755);

/// The mounted root of a container, and what lies behind it.
#[derive(Debug)]
pub struct MountedRoot {
    /// The root, mounted nowhere.
    pub root: OwnedFd,
    /// A directory for files that are bound into the container.
    pub files: PathBuf,
    /// Where everything is mounted.
    place: PathBuf,
    /// A writable disk is mounted here.
    disk: Option<PathBuf>,
    /// Its own directory there, where the disk is shared.
    own: Option<PathBuf>,
    /// Layers that are checked while they are read.
    checked: Vec<Checked>,
    /// Who its users are outside.
    shift: Option<Shift>,
}

impl MountedRoot {
    /// Mounts layers and upper under a new directory `place`.
    ///
    /// # Errors
    /// When a disk is absent, holds something else, or the kernel refuses a mount.
    pub fn mount(spec: &Root, place: PathBuf, shift: Option<Shift>) -> Result<Self, Failure> {
        let mut made = Self::prepare(place, &spec.upper, shift)?;
        match made.join(spec) {
            Ok(root) => {
                made.root = root;
                Ok(made)
            }
            Err(failure) => {
                made.unmount();
                Err(failure)
            }
        }
    }

    /// Mounts layers from files, the one of partition 1 first, under a new directory `place`.
    ///
    /// # Errors
    /// As [`Self::mount`].
    pub fn mount_files(
        spec: &Root,
        place: PathBuf,
        files: &[OwnedFd],
        shift: Option<Shift>,
    ) -> Result<Self, Failure> {
        if let Upper::Disk(_) | Upper::Shared { .. } = spec.upper {
            return Err(Failure::setup(
                "cannot give a disk to a container without a machine",
            ));
        }
        let mut made = Self::prepare(place, &spec.upper, shift)?;
        let mount = |_: &mut Self, target: &Path, _, layer: &Layer| {
            let number = usize::from(layer.partition).wrapping_sub(1);
            let file = files.get(number);
            mount_file(
                target,
                file.ok_or_else(|| Failure::setup("a layer is missing"))?,
            )
        };
        let joined = made
            .join_layers(&spec.layers, mount)
            .and_then(|layers| overlay(&layers, &made.place, made.shift));
        match joined {
            Ok(root) => {
                made.root = root;
                Ok(made)
            }
            Err(failure) => {
                made.unmount();
                Err(failure)
            }
        }
    }

    /// Uses a mount that exists already as the root.
    ///
    /// # Errors
    /// When the directory for its files cannot be made.
    pub fn existing(root: OwnedFd, place: PathBuf, shift: Option<Shift>) -> Result<Self, Failure> {
        let mut made = Self::prepare(place, &Upper::Tmpfs(None), shift)?;
        if let Some(shift) = shift {
            map_owners(&root, &shift.namespace()?)?;
        }
        made.root = root;
        Ok(made)
    }

    /// A directory with a tmpfs that holds mount points, and the upper unless that is on a disk.
    fn prepare(place: PathBuf, upper: &Upper, shift: Option<Shift>) -> Result<Self, Failure> {
        mkdir(&place, PRIVATE).stage(|| format!("make directory {}", place.display()))?;
        // The first process of a container with other users passes through on its way into the root; it
        // can list nothing.
        let mode = match shift {
            Some(_) => PASSAGE,
            None => PRIVATE,
        };
        let bits = mode.bits();
        let options = match upper {
            Upper::Tmpfs(Some(limit)) => format!("mode={bits:o},size={limit}"),
            Upper::Tmpfs(None) | Upper::Disk(_) | Upper::Shared { .. } => {
                format!("mode={bits:o}")
            }
        };
        let options = std::ffi::CString::new(options).unwrap_or_default();
        mount(
            "tmpfs",
            &place,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .stage(|| format!("mount tmpfs on {}", place.display()))?;
        let files = place.join("files");
        make_directory(&files, mode)?;
        let root = open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .stage(|| format!("open {}", place.display()))?;
        Ok(Self {
            root,
            files,
            place,
            disk: None,
            own: None,
            checked: Vec::new(),
            shift,
        })
    }

    fn join(&mut self, spec: &Root) -> Result<OwnedFd, Failure> {
        let disk = device::disk(spec.disk)?;
        let mount = |own: &mut Self, target: &Path, index, layer: &Layer| {
            own.mount_layer(target, &disk, (index, *layer))
        };
        let layers = self.join_layers(&spec.layers, mount)?;
        let writable = match spec.upper {
            Upper::Tmpfs(_) => self.place.clone(),
            Upper::Disk(number) => self.mount_disk(&device::disk(number)?, quota::WITHOUT)?,
            Upper::Shared { disk, limit } => {
                let disk = self.mount_disk(&device::disk(disk)?, quota::WITH_LIMITS)?;
                self.own_directory(&disk, limit)?
            }
        };
        overlay(&layers, &writable, self.shift)
    }

    /// Mounts one layer. The kernel has one file system, with one cache, for all mounts of a
    /// partition; a layer that is checked has one of its own.
    fn mount_layer(
        &mut self,
        target: &Path,
        disk: &str,
        (index, layer): (usize, Layer),
    ) -> Result<(), Failure> {
        let number = layer.partition;
        if let Some(range) = layer.range {
            device::make_partition(disk, number, range)?;
        }
        let partition = format!("{disk}{number}");
        make_directory(target, PRIVATE)?;
        let Some(verity) = layer.verity else {
            return match mount_erofs(&partition, target) {
                Err(Errno::NOENT) => {
                    device::wait_for(&partition)?;
                    mount_erofs(&partition, target)
                }
                other => other,
            }
            .stage(|| format!("mount a layer from {partition} as erofs"));
        };
        device::wait_for(&partition)?;
        let id = self.place.file_name().unwrap_or_default().to_string_lossy();
        let checked = Checked::new(format!("{id}-{number}"), &partition, &verity)?;
        let mounted = mount_erofs(&checked.path, target);
        let damaged = mounted.is_err() && checked.is_damaged();
        // It goes away with what is mounted from it.
        checked.remove();
        if damaged {
            return Err(Failure::setup(format!(
                "cannot mount layer {index} of the image: it has changed on the disk since it was \
                 stored (--verify); 'coracle image verify' finds the damage, and pulling the image \
                 repairs it"
            )));
        }
        self.checked.push(checked);
        mounted.stage(|| format!("mount a layer from {partition} as erofs"))
    }

    /// Whether a block of a layer was read that is not what its tree of hashes says.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.checked.iter().any(Checked::is_damaged)
    }

    /// Mounts each layer, and names the places, from the base up. The base is layer 1.
    fn join_layers(
        &mut self,
        layers: &[Layer],
        mount: impl Fn(&mut Self, &Path, usize, &Layer) -> Result<(), Failure>,
    ) -> Result<Vec<PathBuf>, Failure> {
        let count = layers.len();
        if count == 0 || count > MAX_LAYERS {
            return Err(Failure::setup(format!(
                "cannot mount {count} layers: a root has 1 to {MAX_LAYERS}"
            )));
        }
        let users = self.shift.map(Shift::namespace).transpose()?;
        let mut targets = Vec::with_capacity(count);
        for (index, layer) in layers.iter().enumerate() {
            let target = self.place.join((index + 1).to_string());
            mount(self, &target, index + 1, layer)?;
            if let Some(users) = &users {
                cover_mapped(&target, users)?;
            }
            targets.push(target);
        }
        Ok(targets)
    }

    fn mount_disk(&mut self, disk: &str, options: &CStr) -> Result<PathBuf, Failure> {
        device::wait_for(disk)?;
        let target = self.place.join("disk");
        make_directory(&target, PRIVATE)?;
        match mount(disk, &target, "ext4", MountFlags::NOATIME, options) {
            Err(errno) if options == quota::WITH_LIMITS && quota::is_absent(errno) => {
                return Err(quota::absent(errno));
            }
            mounted => mounted.stage(|| format!("mount ext4 from {disk}"))?,
        }
        self.disk = Some(target.clone());
        Ok(target)
    }

    /// A directory of this container's on a disk that others use, too, in which no more than this many bytes fit.
    fn own_directory(&mut self, disk: &Path, limit: u64) -> Result<PathBuf, Failure> {
        let name = self.place.file_name().unwrap_or_default();
        let directory = disk.join(name);
        make_directory(&directory, PRIVATE)?;
        self.own = Some(directory.clone());
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open(path, flags, Mode::empty()).stage(|| format!("open {}", path.display()))
        };
        quota::limit(open(disk)?, open(&directory)?, limit)?;
        Ok(directory)
    }

    /// What is written counts for a limit on a disk that others use, too.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.own.is_some()
    }

    /// Removes what was written on a shared disk, in a process of its own: there may be much of it, and
    /// nobody waits for it.
    fn sweep(&self) {
        let (Some(disk), Some(own)) = (&self.disk, &self.own) else {
            return;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name = own.file_name().unwrap_or_default();
        let opened = open(disk, flags, Mode::empty())
            .and_then(|root| openat(&root, name, flags, Mode::empty()).map(|own| (root, own)));
        let Ok((root, own)) = opened else {
            return;
        };
        // The container may start again before all is removed, and makes a directory of this name then.
        let aside = quota::project_of(&own).map(|number| format!("removed-{number}"));
        let name = match &aside {
            Ok(aside) if renameat(&root, name, &root, aside).is_ok() => OsStr::new(aside),
            _ => name,
        };
        // The mount is gone for others when this process goes on; its root stays in reach by the
        // descriptor. What cannot be removed is gone with the disk.
        if let Ok(Cloned::Child) = sys::clone3(0, None) {
            quota::forget(&root, &own);
            drop(own);
            let removed = fchdir(root).map(|()| std::fs::remove_dir_all(name));
            sys::exit(i32::from(removed.is_err()));
        }
    }

    /// Makes what was written to a disk last, before the host hears that the container has ended: it
    /// stops the machine then.
    pub fn flush(&self) {
        // What is on a shared disk goes with the container.
        if self.own.is_none()
            && let Some(disk) = &self.disk
        {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A disk that cannot be written is for its monitor to tell of.
            let _ = open(disk, flags, Mode::empty()).and_then(syncfs);
        }
    }

    /// The directory of what was changed, and those of the layers, from the base up.
    #[must_use]
    pub fn layers(&self) -> (PathBuf, Vec<PathBuf>) {
        let writable = self.own.as_ref().or(self.disk.as_ref());
        let writable = writable.unwrap_or(&self.place);
        let numbers = 1..=MAX_LAYERS;
        let layers = numbers.map(|number| self.place.join(number.to_string()));
        let layers = layers.take_while(|layer| layer.is_dir()).collect();
        (writable.join("upper"), layers)
    }

    /// Unmounts all of it; a writable disk is flushed first. The container must have ended.
    pub fn unmount(self) {
        self.sweep();
        drop(self.root);
        if self.own.is_none()
            && let Some(disk) = &self.disk
        {
            // The overlay on top goes away with the container's mount namespace; if something
            // still holds it, the flush makes the disk whole.
            if unmount(disk, UnmountFlags::empty()) == Err(Errno::BUSY) {
                rustix::fs::sync();
            }
        }
        let _ = unmount(&self.place, UnmountFlags::DETACH);
        let _ = rustix::fs::rmdir(&self.place);
    }
}

/// Mounts a layer from a device, read-only.
fn mount_erofs(device: &str, target: &Path) -> Result<(), Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOATIME;
    mount(device, target, "erofs", flags, None)
}

/// Mounts one layer from its file, read-only; by a loop device where the kernel (before Linux 6.12) or the
/// file's own file system (tmpfs) cannot do without.
fn mount_file(target: &Path, file: &OwnedFd) -> Result<(), Failure> {
    make_directory(target, PRIVATE)?;
    let flags = MountFlags::RDONLY | MountFlags::NOATIME;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match mount(&path, target, "erofs", flags, None) {
        Err(Errno::NOTBLK) => {
            let (device, number) =
                sys::loop_device(file).stage(|| "show a layer as a loop device")?;
            let mounted = mount(format!("/dev/loop{number}"), target, "erofs", flags, None);
            drop(device);
            mounted
        }
        other => other,
    }
    .stage(|| "mount a layer's file as erofs")
}

/// Puts a mount with the same files, whose owners are a container's users, on top of another one.
fn cover_mapped(target: &Path, users: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place =
        open(target, flags, Mode::empty()).stage(|| format!("open {}", target.display()))?;
    let copy = copy_of(&place, false).stage(|| "copy the mount of a layer")?;
    map_owners(&copy, users)?;
    attach(copy, place).stage(|| "mount a layer with other owners")
}

fn map_owners(mount: &OwnedFd, users: &OwnedFd) -> Result<(), Failure> {
    sys::mount_idmap(mount, users).map_err(|error| {
        Failure::setup(format!(
            "cannot map the owners of the image's files: {error}; the kernel has to be Linux 5.19 or \
             newer, and `--userns host` does without"
        ))
    })
}

/// Joins layers, from the base up, with `upper` and `work` in a writable directory.
fn overlay(layers: &[PathBuf], writable: &Path, shift: Option<Shift>) -> Result<OwnedFd, Failure> {
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    let made = match mkdir(&upper, ROOT_MODE) {
        // A disk that was used before.
        Err(Errno::EXIST) => Vec::new(),
        made => {
            made.stage(|| format!("make directory {}", upper.display()))?;
            if let Some(shift) = shift {
                open(&upper, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .and_then(|upper| shift.give(upper))
                    .stage(|| format!("give away {}", upper.display()))?;
            }
            match layers {
                [_] => Vec::new(),
                _ => inherit(layers, &upper).stage(
                    || "make the directories that the image's upper layers do not describe",
                )?,
            }
        }
    };
    make_directory(&work, PRIVATE)?;
    let context = match joined(layers, &upper, &work) {
        Ok(context) => context,
        Err((errno, what)) => Err(errno).stage(|| what)?,
    };
    let root = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .stage(|| "mount overlay")?;
    for path in made {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&root, &path, flags, Mode::empty())
            .stage(|| format!("look at {} of the image", path.display()))?;
    }
    Ok(root)
}

/// A step that failed, and why.
type Step = (Errno, String);

/// Joins layers by overlayfs, each by an option of its own; a kernel before Linux 6.7 knows only one for all.
fn joined(layers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd, Step> {
    let each = layers.iter().rev();
    let each: Vec<_> = each.map(|layer| ("lowerdir+", layer.as_path())).collect();
    let rest = [("upperdir", upper), ("workdir", work)];
    match overlay_of(&[&each[..], &rest].concat(), layers.len()) {
        Err((Errno::INVAL, _)) => joined_at_once(layers, rest),
        other => other,
    }
}

/// The same by one option, which takes 255 bytes and not the page that mount(2) does: from the directory that
/// they are in, their names are numbers.
fn joined_at_once(layers: &[PathBuf], rest: [(&str, &Path); 2]) -> Result<OwnedFd, Step> {
    let step = |what: &str| {
        let what = what.to_owned();
        move |errno| (errno, what)
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = open(".", flags, Mode::empty()).map_err(step("open the working directory"))?;
    let place = layers.first().and_then(|layer| layer.parent());
    chdir(place.unwrap_or(Path::new("/"))).map_err(step("go to the layers"))?;
    let names = layers.iter().rev().filter_map(|layer| layer.file_name());
    let names = names.collect::<Vec<_>>().join(std::ffi::OsStr::new(":"));
    let lower = [("lowerdir", Path::new(&names))];
    let context = overlay_of(&[&lower[..], &rest].concat(), layers.len());
    fchdir(before).map_err(step("go back to the working directory"))?;
    context
}

/// An overlay with these options.
fn overlay_of(options: &[(&str, &Path)], count: usize) -> Result<OwnedFd, Step> {
    let open = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
    let context = open.map_err(|errno| (errno, "open file system type overlay".into()))?;
    let named = fsconfig_set_string(&context, "source", "overlay");
    named.map_err(|errno| (errno, "name the overlay".into()))?;
    for (key, path) in options {
        fsconfig_set_string(&context, *key, *path)
            .map_err(|errno| (errno, format!("set {key} of overlay to {}", path.display())))?;
    }
    let created = fsconfig_create(&context);
    created.map_err(|errno| (errno, format!("join {count} layers by overlay")))?;
    Ok(context)
}

fn make_directory(path: &Path, mode: Mode) -> Result<(), Failure> {
    match mkdir(path, mode) {
        Err(Errno::EXIST) => Ok(()),
        other => other.stage(|| format!("make directory {}", path.display())),
    }
}
