//! The software host's machine: the command line of QEMU, as a pure function.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Processors of the machine. With several, each a thread of QEMU's, its kernel patches code that
/// another one runs, as kernels do, and the emulation (QEMU 7.2) loses that race every few hundred
/// guests: a breakpoint that was taken away is hit all the same, and the kernel panics. One
/// processor has no such race, and leaves the others of this system to what runs outside.
pub(super) const PROCESSORS: usize = 1;

/// Least memory in MiB: the machine's own kernel, and one guest.
const MIN_MEMORY_MIB: u64 = 2048;

/// Most memory in MiB unless told otherwise: the kernel's table of all pages takes its time at
/// the start, and what emulation can keep busy is not more.
const MAX_MEMORY_MIB: u64 = 8192;

/// The processor: all that the emulation can, without
/// - fast string moves: emulated, each byte counts as an instruction;
/// - state beyond AVX: the emulated save area has a layout that Linux guests complain about.
const PROCESSOR: &str = "max,-erms,-fsrm,-mpx,-pku";

/// The kernel's command line, besides the root and the init. It is emulated: neither are its
/// processors open to attacks that mitigations are for, nor does it have old devices to look for.
/// How long an instruction takes (`lpj`) varies too much to be worth the half second of measuring.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check \
    random.trust_cpu=on i8042.noaux i8042.nopnp i8042.dumbkbd cryptomgr.notests \
    rcupdate.rcu_expedited=1 lpj=12000000 rootfstype=virtiofs root=root ro";

/// What every kernel's command line has under emulation, a guest's too: QEMU (7.2) leaves all flags but one
/// undefined after `cmpxchg16b`, high bits included, so that a kernel that is interrupted just then goes on
/// in virtual-8086 mode. Linux's allocator uses the instruction all the time unless it believes that the
/// processor has none; programs still see that it has. (To take it from QEMU's processor is no way: KVM in
/// the machine runs no guest then.) Guests of a kernel that is told so are not offered it either.
pub const FOR_KERNELS: &str = "clearcpuid=cx16";

/// The machine's kernel tells virtiofsd of every request: where it may leave that out (`VIRTIO_F_EVENT_IDX`,
/// virtio 1.2, 2.7.10), virtiofsd (of QEMU 7.2) says from which request on it wants to be told, and looks
/// for requests once more, without a barrier between the two. On two processors that loses a request now
/// and then, and all who need the file wait until somebody else asks for something.
const ALWAYS_TOLD: &str = "event_idx=off";

/// The clock of virtual time: 2^1 ns for each instruction, and no waiting for what nothing is done in.
const VIRTUAL_CLOCK: &str = "shift=1,sleep=off";

/// The command line of a kernel in virtual time; its serial ports are all that it tells anything by. Naming
/// the first process anew, last, takes from it what the kernel did not know of the words before.
const COMMAND_LINE_IN_VIRTUAL_TIME: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr \
    no_timer_check 8250.nr_uarts=3";

/// What QEMU gives up before the machine runs.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// What the machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Memory in MiB.
    pub(super) memory_mib: u64,
    /// The kernel's image (bzImage, or an ELF file with a PVH entry).
    pub(super) kernel: PathBuf,
    /// The program that the kernel starts, a path in the shared root.
    pub(super) init: PathBuf,
    /// The init's arguments.
    pub(super) arguments: Vec<String>,
}

/// Numbers of the descriptors that QEMU inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// A socket connected to the virtiofsd of the root.
    pub(super) root: String,
    /// A socket connected to that of containers' disks.
    pub(super) disks: String,
    /// A socket that is the byte channel.
    pub(super) channel: String,
}

/// MiB of the machine's memory on a host with as many: half of it. It is taken from the host only
/// as it is used.
pub(super) fn memory(host_mib: u64) -> u64 {
    (host_mib / 2).clamp(MIN_MEMORY_MIB, MAX_MEMORY_MIB)
}

/// QEMU's arguments.
///
/// # Errors
/// When a path cannot be said on a kernel's command line.
pub(super) fn arguments(shape: &Shape, descriptors: &Descriptors) -> Result<Vec<OsString>> {
    let Shape {
        memory_mib,
        kernel,
        init,
        arguments,
    } = shape;
    let mut line = format!("{COMMAND_LINE} {FOR_KERNELS} init={} --", quoted(init)?);
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(Path::new(argument))?);
    }
    let Descriptors {
        root,
        disks,
        channel,
    } = descriptors;
    let options = [
        ("-name", "coracle-machine".to_owned()),
        ("-accel", "tcg,thread=single".to_owned()),
        ("-machine", "pc,memory-backend=memory".to_owned()),
        ("-cpu", PROCESSOR.to_owned()),
        ("-smp", PROCESSORS.to_string()),
        ("-m", format!("{memory_mib}M")),
        // Shared, so that virtiofsd can write into it; not touched before it is used.
        (
            "-object",
            format!("memory-backend-memfd,id=memory,size={memory_mib}M,share=on"),
        ),
        ("-chardev", format!("socket,id=root,fd={root}")),
        (
            "-device",
            format!("vhost-user-fs-pci,chardev=root,tag=root,{ALWAYS_TOLD}"),
        ),
        ("-chardev", format!("socket,id=disks,fd={disks}")),
        (
            "-device",
            format!(
                "vhost-user-fs-pci,chardev=disks,tag={},{ALWAYS_TOLD}",
                super::DISKS
            ),
        ),
        ("-device", "virtio-serial-pci".to_owned()),
        ("-chardev", format!("socket,id=channel,fd={channel}")),
        (
            "-device",
            format!("virtserialport,chardev=channel,name={}", super::PORT),
        ),
        // What the machine frees goes back to the host.
        (
            "-device",
            "virtio-balloon-pci,free-page-reporting=on".to_owned(),
        ),
        ("-serial", "stdio".to_owned()),
        ("-display", "none".to_owned()),
        ("-sandbox", SANDBOX.to_owned()),
        ("-append", line),
    ];
    Ok(bare(&options, kernel))
}

/// What a machine in virtual time is made of; files are named by descriptors that QEMU inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InVirtualTime<'a> {
    /// Memory in MiB.
    pub(super) memory_mib: u64,
    /// The kernel's image.
    pub(super) kernel: &'a Path,
    /// The archive that the root file system is unpacked from.
    pub(super) root: &'a str,
    /// Takes what the kernel says.
    pub(super) console: &'a str,
    /// Takes what came of it.
    pub(super) result: &'a str,
    /// The first argument of the machine's first process.
    pub(super) argument: &'a str,
}

/// QEMU's arguments for a machine whose clock counts its instructions. Its second serial port is QEMU's
/// standard output.
pub(super) fn in_virtual_time(machine: &InVirtualTime<'_>) -> Vec<OsString> {
    let by_number = |descriptor: &str| format!("/dev/fd/{descriptor}");
    let to_file = |descriptor: &str| format!("file:{}", by_number(descriptor));
    let options = [
        ("-accel", "tcg,thread=single".to_owned()),
        ("-icount", VIRTUAL_CLOCK.to_owned()),
        ("-machine", "pc".to_owned()),
        ("-cpu", PROCESSOR.to_owned()),
        ("-smp", PROCESSORS.to_string()),
        ("-m", format!("{}M", machine.memory_mib)),
        ("-initrd", by_number(machine.root)),
        ("-serial", to_file(machine.console)),
        ("-serial", "stdio".to_owned()),
        ("-serial", to_file(machine.result)),
        ("-display", "none".to_owned()),
        ("-sandbox", SANDBOX.to_owned()),
        (
            "-append",
            format!(
                "{COMMAND_LINE_IN_VIRTUAL_TIME} {FOR_KERNELS} rdinit=/init -- {}",
                machine.argument
            ),
        ),
    ];
    bare(&options, machine.kernel)
}

/// Arguments for a machine that has nothing but what these options say, and this kernel.
fn bare(options: &[(&str, String)], kernel: &Path) -> Vec<OsString> {
    let mut result: Vec<OsString> = ["-no-user-config", "-nodefaults", "-no-reboot"]
        .map(OsString::from)
        .into();
    for (name, value) in options {
        result.push(name.into());
        result.push(value.into());
    }
    result.push("-kernel".into());
    result.push(kernel.into());
    result
}

/// A word for a kernel's command line, which knows double quotes and no escapes.
fn quoted(word: &Path) -> Result<String> {
    match word.to_str() {
        Some(text) if !text.contains(['"', '\n']) => Ok(format!("\"{text}\"")),
        _ => bail!(
            "the software host cannot be told of {}: it must be UTF-8 without quotes",
            word.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            memory_mib: 4096,
            kernel: "/cache/kernel/vmlinux".into(),
            init: "/opt/my tools/coracle".into(),
            arguments: vec!["machine-agent".into(), "/cache/kernel".into()],
        }
    }

    fn built(shape: &Shape) -> Vec<String> {
        let descriptors = Descriptors {
            root: "7".into(),
            disks: "8".into(),
            channel: "9".into(),
        };
        let arguments = arguments(shape, &descriptors).unwrap();
        arguments
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn clock_of_virtual_time_counts_instructions_of_one_processor() {
        let arguments = in_virtual_time(&InVirtualTime {
            memory_mib: 2048,
            kernel: Path::new("/cache/vmlinux"),
            root: "5",
            console: "6",
            result: "7",
            argument: "machine-inside",
        });
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect();
        assert_eq!(value(&arguments, "-icount"), "shift=1,sleep=off");
        assert_eq!(value(&arguments, "-smp"), "1");
        assert_eq!(value(&arguments, "-initrd"), "/dev/fd/5");
        assert!(arguments.contains(&"file:/dev/fd/7".to_owned()));
        let line = value(&arguments, "-append");
        assert!(
            line.ends_with(" clearcpuid=cx16 rdinit=/init -- machine-inside"),
            "{line}"
        );
        assert!(!arguments.contains(&"-device".to_owned()));
    }

    fn value<'a>(arguments: &'a [String], option: &str) -> &'a str {
        let position = arguments
            .iter()
            .position(|argument| argument == option)
            .unwrap();
        &arguments[position + 1]
    }

    #[test]
    fn machine_is_emulated_with_its_memory_shared() {
        let arguments = built(&shape());
        assert_eq!(value(&arguments, "-accel"), "tcg,thread=single");
        assert_eq!(value(&arguments, "-smp"), "1");
        assert_eq!(value(&arguments, "-m"), "4096M");
        assert_eq!(
            value(&arguments, "-object"),
            "memory-backend-memfd,id=memory,size=4096M,share=on"
        );
        assert_eq!(value(&arguments, "-kernel"), "/cache/kernel/vmlinux");
    }

    #[test]
    fn machine_has_no_device_that_is_not_asked_for() {
        let arguments = built(&shape());
        assert!(arguments.contains(&"-nodefaults".to_owned()));
        assert!(arguments.contains(&"-no-user-config".to_owned()));
        assert_eq!(
            arguments
                .iter()
                .filter(|argument| *argument == "-device")
                .count(),
            5
        );
    }

    #[test]
    fn file_server_is_told_of_every_request() {
        let arguments = built(&shape());
        let devices = arguments
            .iter()
            .filter(|text| text.starts_with("vhost-user"));
        let told = devices.map(|text| text.split(',').any(|option| option == "event_idx=off"));
        assert_eq!(told.collect::<Vec<_>>(), [true, true]);
    }

    #[test]
    fn descriptors_reach_their_devices() {
        let arguments = built(&shape());
        assert!(arguments.contains(&"socket,id=root,fd=7".to_owned()));
        assert!(arguments.contains(&"socket,id=disks,fd=8".to_owned()));
        assert!(arguments.contains(&"socket,id=channel,fd=9".to_owned()));
    }

    #[test]
    fn kernel_starts_the_agent_whatever_its_path() {
        let arguments = built(&shape());
        let line = value(&arguments, "-append");
        assert!(
            line.ends_with(r#" clearcpuid=cx16 init="/opt/my tools/coracle" -- "machine-agent" "/cache/kernel""#),
            "{line}"
        );
    }

    #[test]
    fn path_that_no_command_line_can_hold_is_refused() {
        let shape = Shape {
            init: r#"/a"b"#.into(),
            ..shape()
        };
        let descriptors = Descriptors {
            root: "7".into(),
            disks: "8".into(),
            channel: "9".into(),
        };
        assert!(arguments(&shape, &descriptors).is_err());
    }

    #[test]
    fn size_follows_the_host_within_bounds() {
        assert_eq!(
            (memory(1024), memory(12_000), memory(1 << 20)),
            (2048, 6000, 8192)
        );
    }
}
