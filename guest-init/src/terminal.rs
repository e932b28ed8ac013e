//! A container's terminal: a pseudo-terminal of its own devpts instance.

use std::os::fd::{AsFd, OwnedFd};

use contracts::guest::TerminalSize;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fstatfs, openat, openat2},
    mount::MountAttrFlags,
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{
    failure::{Failure, Stage},
    mounts::detached,
    shift::Shift,
};

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Group `tty` of every distribution, as docker has it.
const TTY: u32 = 5;

/// Terminals of one container: each takes 24 KiB of the kernel's memory that are counted for nobody.
const TERMINALS: &str = "1024";

/// A new devpts instance, mounted nowhere, made in the container's user namespace or, with who its users
/// are outside, from there.
///
/// # Errors
/// When the kernel has no devpts.
pub fn devpts(shift: Option<Shift>) -> Result<OwnedFd, Failure> {
    let group = shift.map_or(0, Shift::root) + TTY;
    let group = group.to_string();
    let options = [
        ("newinstance", None),
        ("ptmxmode", Some("0666")),
        ("mode", Some("0620")),
        ("gid", Some(&*group)),
        ("max", Some(TERMINALS)),
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    detached("devpts", &options, attributes)
}

/// A terminal and the devpts instance that it lives in.
#[derive(Debug)]
pub struct Terminal {
    /// Mounted nowhere; for the `/dev/pts` of a new container.
    pub devpts: Option<OwnedFd>,
    /// Init's side, not blocking.
    pub master: OwnedFd,
    /// The container's side.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Opens a terminal of this size for a container whose users may be others outside.
    ///
    /// # Errors
    /// When the kernel has no devpts.
    pub fn open(size: TerminalSize, shift: Option<Shift>) -> Result<Self, Failure> {
        let devpts = devpts(shift)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let master = openat(&devpts, "ptmx", flags, Mode::empty()).stage(|| "open a terminal")?;
        Self::of(master, Some(devpts), size)
    }

    /// Opens a terminal of this size in a container that runs, whose root directory this is.
    ///
    /// # Errors
    /// When the container has hidden its `/dev/pts`.
    pub fn inside(root: impl AsFd, size: TerminalSize) -> Result<Self, Failure> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // Whatever the container has made of the path, it leads nowhere but into itself; and only a
        // terminal's master is used.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let place = openat2(
            &root,
            "dev/pts",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
        .stage(|| "open /dev/pts")?;
        let state = fstatfs(&place).stage(|| "look at /dev/pts")?;
        if state.f_type != DEVPTS_MAGIC {
            return Err(Failure::setup(
                "cannot open a terminal: the container's /dev/pts is no devpts",
            ));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        let master =
            openat2(&place, "ptmx", flags, Mode::empty(), resolve).stage(|| "open a terminal")?;
        Self::of(master, None, size)
    }

    fn of(master: OwnedFd, devpts: Option<OwnedFd>, size: TerminalSize) -> Result<Self, Failure> {
        unlockpt(&master).stage(|| "unlock the terminal")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).stage(|| "open the terminal's other side")?;
        resize(&master, size)?;
        Ok(Self {
            devpts,
            master,
            slave,
        })
    }
}

/// Gives a terminal a new size; its foreground processes get `SIGWINCH`.
///
/// # Errors
/// When the descriptor is no terminal.
pub fn resize(master: impl AsFd, size: TerminalSize) -> Result<(), Failure> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).stage(|| "set the terminal's size")
}

/// The bytes that a person types to end the input, when the terminal reads whole lines: once to
/// hand over an unfinished line, and once more with nothing before it.
#[must_use]
pub fn end_of_input(master: impl AsFd, line_is_open: bool) -> Vec<u8> {
    match tcgetattr(master) {
        Ok(settings) if settings.local_modes.contains(LocalModes::ICANON) => {
            let code = settings.special_codes[SpecialCodeIndex::VEOF];
            vec![code; if line_is_open { 2 } else { 1 }]
        }
        _ => Vec::new(),
    }
}
