//! File systems that are mounted nowhere yet, and options as in `fstab(5)`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
    path::Arg,
};

use crate::failure::{Failure, Stage};

/// Makes a new instance of a file system, mounted nowhere. An option without a value is a flag.
///
/// # Errors
/// When the kernel does not know the file system or refuses an option.
pub fn detached(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    match detached_if_known(kind, options, attributes)? {
        Some(mount) => Ok(mount),
        None => Err(Errno::NODEV).stage(|| format!("open file system type `{kind}`")),
    }
}

/// As [`detached`]; `None` when the kernel does not know the file system.
///
/// # Errors
/// When the kernel refuses an option.
pub fn detached_if_known(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<Option<OwnedFd>, Failure> {
    let context = match fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NODEV) => return Ok(None),
        other => other.stage(|| format!("open file system type `{kind}`"))?,
    };
    // What `/proc/mounts` shows; without it, `none`.
    let source = ("source", Some(kind));
    let named = options.iter().any(|(key, _)| *key == "source");
    for (key, value) in options.iter().chain((!named).then_some(&source)) {
        match value {
            Some(value) => fsconfig_set_string(&context, *key, *value)
                .stage(|| format!("set option `{key}={value}` of {kind}"))?,
            None => fsconfig_set_flag(&context, *key)
                .stage(|| format!("set option `{key}` of {kind}"))?,
        }
    }
    fsconfig_create(&context).stage(|| format!("create file system {kind}"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map(Some)
        .stage(|| format!("mount file system {kind}"))
}

/// A detached copy of the mount at a descriptor: what a bind mount attaches elsewhere.
///
/// # Errors
/// As `open_tree(2)`.
pub fn copy_of(place: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    copy_at(place, "", recursive)
}

/// A detached copy of the mount at a path below a descriptor.
///
/// # Errors
/// As `open_tree(2)`.
pub fn copy_at(directory: impl AsFd, path: impl Arg, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(directory, path, flags)
}

/// Attaches a detached mount at the place of a descriptor.
///
/// # Errors
/// As `move_mount(2)`.
pub fn attach(mount: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Mount options, split into what the mount and what the file system takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options<'a> {
    /// Attributes of the mount.
    pub attributes: MountAttrFlags,
    /// Options of the file system; without a value they are flags.
    pub data: Vec<(&'a str, Option<&'a str>)>,
}

/// Splits options as in `fstab(5)`; of two that contradict each other the later one counts.
#[must_use]
pub fn parse_options(options: &[String]) -> Options<'_> {
    let mut attributes = MountAttrFlags::empty();
    let mut data = Vec::new();
    let words = options.iter().flat_map(|option| option.split(','));
    for option in words.filter(|option| !option.is_empty()) {
        match option {
            "ro" => attributes.insert(MountAttrFlags::MOUNT_ATTR_RDONLY),
            "rw" => attributes.remove(MountAttrFlags::MOUNT_ATTR_RDONLY),
            "nosuid" => attributes.insert(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "suid" => attributes.remove(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "nodev" => attributes.insert(MountAttrFlags::MOUNT_ATTR_NODEV),
            "dev" => attributes.remove(MountAttrFlags::MOUNT_ATTR_NODEV),
            "noexec" => attributes.insert(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "exec" => attributes.remove(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "nodiratime" => attributes.insert(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "diratime" => attributes.remove(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "nosymfollow" => attributes.insert(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
            "symfollow" => attributes.remove(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
            "noatime" => set_atime(&mut attributes, MountAttrFlags::MOUNT_ATTR_NOATIME),
            "strictatime" => set_atime(&mut attributes, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
            "relatime" | "atime" => set_atime(&mut attributes, MountAttrFlags::empty()),
            // Propagation: all mounts of a container are private, and nothing else is offered.
            "defaults" | "private" | "rprivate" | "slave" | "rslave" | "async" => {}
            other => {
                let (key, value) = match other.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (other, None),
                };
                data.retain(|(earlier, _)| *earlier != key);
                data.push((key, value));
            }
        }
    }
    Options { attributes, data }
}

/// The three kinds of access times exclude each other; relative ones are no bit.
fn set_atime(attributes: &mut MountAttrFlags, kind: MountAttrFlags) {
    attributes.remove(MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_STRICTATIME);
    attributes.insert(kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let text = words(&["rw", "noexec", "nosuid,nodev", "size=64m", "mode=1777"]);
        let options = parse_options(&text);
        assert_eq!(
            options.attributes,
            MountAttrFlags::MOUNT_ATTR_NOEXEC
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
        );
        assert_eq!(
            options.data,
            [("size", Some("64m")), ("mode", Some("1777"))]
        );
    }

    #[test]
    fn later_option_overrules_earlier_one() {
        let text = words(&["noexec", "ro", "size=1", "exec", "rw", "size=2"]);
        let options = parse_options(&text);
        assert_eq!(options.attributes, MountAttrFlags::empty());
        assert_eq!(options.data, [("size", Some("2"))]);
    }

    #[test]
    fn access_time_options_exclude_each_other() {
        let text = words(&["strictatime", "noatime"]);
        assert_eq!(
            parse_options(&text).attributes,
            MountAttrFlags::MOUNT_ATTR_NOATIME
        );
    }
}
