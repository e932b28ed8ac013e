//! The outside's root, as the machine sees it: virtiofsd, confined to reading; and the directory of containers'
//! disks: another one, which can write there and nowhere else.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    process::{getegid, geteuid},
    thread::UnshareFlags,
};

use super::sys;

/// Where distributions keep virtiofsd: Debian 12 (the one in C, of QEMU), then later ones (in
/// Rust).
const PLACES: [(&str, Dialect); 3] = [
    ("/usr/lib/qemu/virtiofsd", Dialect::C),
    ("/usr/libexec/virtiofsd", Dialect::Rust),
    ("/usr/lib/virtiofsd", Dialect::Rust),
];

/// How a virtiofsd wants its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    C,
    Rust,
}

/// Where virtiofsd is, if it is installed.
pub(super) fn find() -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|(path, _)| PathBuf::from(path))
        .find(|path| path.exists())
}

/// The Debian package of virtiofsd: QEMU's own up to Debian 12.
pub(super) fn package() -> &'static str {
    let version = fs::read_to_string("/etc/debian_version").unwrap_or_default();
    let version = version
        .split('.')
        .next()
        .and_then(|number| number.trim().parse::<u32>().ok());
    match version {
        Some(..=12) => "qemu-system-common",
        _ => "virtiofsd",
    }
}

/// Its arguments: a directory, for who connects to the listening socket of this number. Names and sizes of
/// files are looked at anew when they are opened, since the outside goes on changing them.
fn arguments(dialect: Dialect, listener: &str, directory: &str) -> Vec<String> {
    match dialect {
        Dialect::C => vec![
            format!("--fd={listener}"),
            "-o".into(),
            format!("source={directory},cache=auto,sandbox=chroot,log_level=err"),
        ],
        Dialect::Rust => vec![
            format!("--fd={listener}"),
            format!("--shared-dir={directory}"),
            "--cache=auto".into(),
            "--sandbox=chroot".into(),
            "--log-level=error".into(),
        ],
    }
}

/// Becomes virtiofsd on the listening socket of this number, as a process of its own that sees
/// every mount read-only: for the root, or for a directory that alone can be written.
///
/// # Errors
/// Only ever returns one: when this user may not do it, or there is no virtiofsd.
pub(super) fn become_server(
    listener: &OsString,
    written: Option<OsString>,
) -> Result<std::convert::Infallible> {
    let listener = listener
        .to_str()
        .context("the socket's number is not a number")?;
    let written = written.map(PathBuf::from);
    let directory = match &written {
        None => "/",
        // A comma would end the option.
        Some(path) => path
            .to_str()
            .filter(|text| !text.contains(','))
            .with_context(|| format!("cannot share {}", path.display()))?,
    };
    confine(written.as_deref())?;
    let (path, dialect) = PLACES
        .iter()
        .find(|(path, _)| Path::new(path).exists())
        .context("virtiofsd is not installed")?;
    let error = Command::new(path)
        .args(arguments(*dialect, listener, directory))
        .exec();
    Err(error).with_context(|| format!("cannot run {path}"))
}

/// Enters a mount namespace in which nothing can be written, but for one directory. Root that may not make one (in a
/// container) goes on without: what is shared is then protected by the machine's own read-only
/// mount alone.
fn confine(written: Option<&Path>) -> Result<()> {
    let is_root = geteuid().is_root();
    let confined = if is_root && sys::unshare(UnshareFlags::NEWNS).is_ok() {
        read_only(written)
    } else {
        user_namespace().and_then(|()| read_only(written))
    };
    match confined {
        Ok(()) => Ok(()),
        Err(error) if is_root => {
            errln!("warning: the shared root is not confined to reading: {error}");
            Ok(())
        }
        Err(error) => Err(anyhow!(
            "this user may not make a user namespace ({error}), without which virtiofsd runs as \
             root only; allow it (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0), or run coracle as root"
        )),
    }
}

/// A user namespace in which this user is root.
fn user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn read_only(written: Option<&Path>) -> io::Result<()> {
    // What is mounted outside later still appears here; nothing from here appears outside.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    // A mount of its own for what can be written.
    if let Some(path) = written {
        mount_bind(path, path)?;
    }
    sys::make_all_mounts_read_only()?;
    written.map_or(Ok(()), sys::make_mount_writable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_share_the_root_and_look_anew_at_changed_files() {
        for dialect in [Dialect::C, Dialect::Rust] {
            let arguments = arguments(dialect, "5", "/").join(" ");
            assert!(arguments.contains("--fd=5"), "{arguments}");
            assert!(arguments.contains("cache=auto"), "{arguments}");
            assert!(arguments.contains("sandbox=chroot"), "{arguments}");
        }
    }
}
