//! The command line of `coracle-vmm`.

use contracts::monitor::{Disk, Extent, Plan};

/// What `--help` prints.
pub(super) const HELP: &str = "\
Boots a kernel in a microVM on KVM, and ends with it.

Usage: coracle-vmm --kernel FILE [OPTIONS]

Options:
  --kernel FILE        ELF vmlinux (PVH or 64-bit entry) or bzImage
  --initramfs FILE     initial RAM file system
  --cmdline TEXT       kernel command line [default: console=ttyS0 reboot=k panic=-1]
  --memory MIB         memory of the guest, 64 and more [default: 256]
  --cpus NUMBER        processors, 1 to 32 [default: 1]
  --disk FILE[:ro]     a disk, /dev/vda and so on in order; may be repeated
  --console            print the guest's serial console on standard output
  --boot-deadline MS   time for the guest's first vsock connection [default: none]
  --probe              tell whether KVM runs a guest's instructions, and end
  --jail               print what of the monitor's jail this system allows, and end
  --version            print the version
  --help               print this

For a program that owns the monitor:
  --control-fd NUMBER  its socket (SOCK_SEQPACKET), for vsock connections and the report
  --plan-fd NUMBER     the machine as JSON, read to its end
  --cgroup-fd NUMBER   directory of the cgroup to run in

Example:
  coracle-vmm --kernel vmlinux --initramfs init.cpio --disk root.img:ro --console

Ends with 0 when the guest resets or powers off, with 125 otherwise.
";

/// What the user asks for.
pub(super) enum Request {
    Help,
    Version,
    Probe,
    Jail,
    Run(Arguments),
}

/// A machine to run, and for whom.
pub(super) struct Arguments {
    pub(super) plan: Plan,
    pub(super) plan_descriptor: Option<i32>,
    pub(super) control: Option<i32>,
    /// Directory of the cgroup to run in.
    pub(super) group: Option<i32>,
    pub(super) console: bool,
}

/// First descriptor that can be passed: those below are the standard streams.
const FIRST_DESCRIPTOR: i32 = 3;

/// Context identifier of a guest whose owner asks for vsock without a plan.
const GUEST_CID: u32 = 3;

/// Parses arguments.
///
/// # Errors
/// Words for an option that is unknown, lacks its value or has a wrong one.
pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut parsed = Arguments {
        plan: Plan {
            kernel: std::path::PathBuf::new(),
            initramfs: None,
            command_line: "console=ttyS0 reboot=k panic=-1".into(),
            memory_mib: 256,
            cpus: 1,
            disks: Vec::new(),
            vsock_cid: None,
            boot_deadline_ms: 0,
            require_jail: false,
        },
        plan_descriptor: None,
        control: None,
        group: None,
        console: false,
    };
    let mut arguments = arguments;
    while let Some(option) = arguments.next() {
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option, None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| arguments.next())
                .ok_or(format!("{name} lacks its value"))
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            "--probe" => return Ok(Request::Probe),
            "--jail" => return Ok(Request::Jail),
            "--console" => parsed.console = true,
            "--kernel" => parsed.plan.kernel = value()?.into(),
            "--initramfs" => parsed.plan.initramfs = Some(value()?.into()),
            "--cmdline" => parsed.plan.command_line = value()?,
            "--memory" => parsed.plan.memory_mib = number(&name, &value()?)?,
            "--cpus" => parsed.plan.cpus = number(&name, &value()?)?,
            "--boot-deadline" => parsed.plan.boot_deadline_ms = number(&name, &value()?)?,
            "--disk" => parsed.plan.disks.push(disk(&value()?)?),
            "--control-fd" => parsed.control = Some(descriptor(&name, &value()?)?),
            "--cgroup-fd" => parsed.group = Some(descriptor(&name, &value()?)?),
            "--plan-fd" => parsed.plan_descriptor = Some(descriptor(&name, &value()?)?),
            _ => return Err(format!("unknown option {name:?}")),
        }
    }
    let mut passed = [parsed.control, parsed.plan_descriptor, parsed.group]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    passed.sort_unstable();
    let count = passed.len();
    passed.dedup();
    if passed.len() != count {
        return Err(
            "two of --control-fd, --plan-fd and --cgroup-fd name the same descriptor".into(),
        );
    }
    if parsed.plan_descriptor.is_none() && parsed.plan.kernel.as_os_str().is_empty() {
        return Err("no --kernel given".into());
    }
    parsed.plan.vsock_cid = parsed.control.map(|_| GUEST_CID);
    Ok(Request::Run(parsed))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name}: {value:?} is not a number that it can have"))
}

fn descriptor(name: &str, value: &str) -> Result<i32, String> {
    match number(name, value)? {
        descriptor if descriptor >= FIRST_DESCRIPTOR => Ok(descriptor),
        _ => Err(format!("{name}: {value} is a standard stream")),
    }
}

fn disk(value: &str) -> Result<Disk, String> {
    let (path, read_only) = match value.strip_suffix(":ro") {
        Some(path) => (path, true),
        None => (value, false),
    };
    let length = std::fs::metadata(path)
        .map_err(|error| format!("--disk: cannot look at {path}: {error}"))?
        .len();
    let extent = Extent::File {
        path: path.into(),
        offset: 0,
        length,
    };
    Ok(Disk {
        extents: vec![extent],
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Request, String> {
        parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn options_are_taken_in_both_forms() {
        let Ok(Request::Run(run)) = parsed(&["--kernel", "k", "--memory=64", "--cpus", "2"]) else {
            panic!("not taken");
        };
        assert_eq!((run.plan.memory_mib, run.plan.cpus), (64, 2));
    }

    #[test]
    fn wrong_options_are_named() {
        for (arguments, word) in [
            (&["--kernel"][..], "--kernel"),
            (&["--nope"], "--nope"),
            (&["--kernel", "k", "--cpus", "many"], "many"),
            (&["--kernel", "k", "--control-fd", "1"], "standard"),
            (&["--plan-fd", "4", "--control-fd", "4"], "same"),
            (&[], "--kernel"),
        ] {
            let words = parsed(arguments).err().unwrap();
            assert!(words.contains(word), "{words}");
        }
    }
}
