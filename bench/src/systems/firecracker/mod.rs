//! Firecracker: a microVM alone, without anything that makes containers.
//!
//! It has no images and no init of its own. It is given what Coracle's guests have: the same kernel, the same
//! layers as read-only disks, joined by overlayfs below a directory in memory; and an init that is next to
//! nothing ([`init`]). There are no namespaces, control groups or filters in it: that is what a container has
//! more. Its program's output passes the serial port that Firecracker prints.

mod assembly;
mod init;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Scene, System, process::Process};
use crate::command;
use coracle_platform::cpio;

/// The program, which is measured where it is on the path.
const PROGRAM: &str = "firecracker";

/// MiB of a machine's memory: as much as Coracle's guests have.
const MEMORY: u64 = 512;

/// Most layers: a machine's devices have the interrupts 5 to 23, and one may be taken by Firecracker.
const MAX_LAYERS: usize = 18;

/// The kernel's command line: Firecracker's own (`reboot=k` ends it, and what is not there is not looked for),
/// and what Coracle's guests are told, as far as it is no matter of Coracle's machine. The kernel itself says
/// nothing on the console, not even that it resets.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=0 reboot=k panic=-1 pci=off nomodule i8042.noaux \
    i8042.nomux i8042.dumbkbd no_timer_check rcupdate.rcu_expedited=1 noreplace-smp swiotlb=noforce \
    random.trust_cpu=on percpu_alloc=page initcall_blacklist=slab_late_init,init_hw_perf_events,\
    add_rtc_cmos,irq_sysfs_init,dm_init,dm_verity_init,dm_bufio_init";

/// Starts a machine in the background and waits until init has said on the console that the program runs;
/// what else is said until then is an error's reason. Arguments: a file for the process identifier, the
/// words, and the command.
const IDLE: &str = "pid=$1 words=$2; shift 2; \
    { \"$@\" </dev/null 2>&1 & echo $! >\"$pid\"; } | { \
    while read -r line; do case $line in *\"$words\"*) exit 0;; esac; echo \"$line\" >&2; done; exit 1; }";

/// Ends one: it has nothing to put away.
const END: &str = "kill -KILL \"$(cat \"$1\")\"";

#[derive(Default)]
pub(super) struct Firecracker {
    /// The guest's kernel.
    kernel: PathBuf,
}

impl System for Firecracker {
    fn about(&self) -> &'static str {
        "a microVM alone, no container in it: Coracle's kernel, an init of some system calls, output by a serial port"
    }

    fn release(&self) -> Result<String> {
        let release = super::release_of(PROGRAM)?;
        if !super::runs_guests(&command::coracle()?)? {
            bail!(
                "it needs a KVM that runs guests, which this machine has not; 'coracle doctor' tells why"
            );
        }
        Ok(release)
    }

    fn prepare(&mut self, scene: &Scene) -> Result<()> {
        let count = scene.layers().len();
        if count > MAX_LAYERS {
            bail!("the image has {count} layers, and a machine of Firecracker {MAX_LAYERS} disks");
        }
        let path = command::output(&mut scene.coracle(&["kernel", "path"]))
            .context("the guest kernel is not built; run: coracle kernel build")?;
        self.kernel = path.trim().into();
        Ok(())
    }

    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command> {
        let process = Process::new(scene, program)?;
        self.machine(scene, &scene.unique, &process, false)
    }

    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command> {
        let process = Process::new(scene, &super::idling())?;
        let machine = self.machine(scene, name, &process, true)?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", IDLE, "sh"])
            .arg(identifier(scene, name))
            .arg(format!("{}{}", init::OWN_WORDS, init::STARTED))
            .arg(machine.get_program())
            .args(machine.get_args());
        Ok(shell)
    }

    fn end(&self, scene: &Scene, name: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", END, "sh"]).arg(identifier(scene, name));
        shell
    }

    fn failure(&self, output: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(output);
        let words = text.lines().find_map(|line| {
            let (_, words) = line.split_once(init::OWN_WORDS)?;
            Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        words.map(|words| format!("in the machine of Firecracker: {words}"))
    }

    fn disk(&self, scene: &Scene) -> Result<BTreeMap<String, u64>> {
        let path = command::find(PROGRAM).context("it is gone")?;
        Ok(BTreeMap::from([
            ("image".to_owned(), scene.image_size()),
            (PROGRAM.to_owned(), fs::metadata(&path)?.len()),
            ("guest kernel".into(), fs::metadata(&self.kernel)?.len()),
        ]))
    }

    fn has_guests(&self) -> bool {
        true
    }
}

impl Firecracker {
    /// The command for a machine with this program in it.
    fn machine(
        &self,
        scene: &Scene,
        name: &str,
        process: &Process,
        tells_start: bool,
    ) -> Result<Command> {
        let layers = scene.layers();
        let file = |ending: &str| scene.directory.path().join(format!("{name}.{ending}"));
        let (initramfs, configuration, log) = (file("cpio"), file("json"), file("log"));
        let mut archive = cpio::Archive::new(Vec::new());
        archive.file(
            "init",
            0o755,
            &init::init(layers.len(), process, tells_start),
        )?;
        write(&initramfs, &archive.finish()?)?;
        let described = describe(&self.kernel, &initramfs, &layers);
        write(&configuration, &serde_json::to_vec_pretty(&described)?)?;
        let path = command::find(PROGRAM).with_context(|| format!("{PROGRAM} is not installed"))?;
        let mut command = Command::new(path);
        command
            .args(["--id", name, "--no-api", "--config-file"])
            .arg(configuration);
        // Else it logs to standard output, where only the program's words are to be. The file has to be there.
        write(&log, &[])?;
        command
            .arg("--log-path")
            .arg(log)
            .args(["--level", "Error"]);
        Ok(command)
    }
}

/// A machine, in the words of Firecracker's `--config-file`. Disks are not the root: that is the initial file
/// system.
fn describe(kernel: &Path, initramfs: &Path, layers: &[PathBuf]) -> Value {
    let drives: Vec<Value> = layers
        .iter()
        .enumerate()
        .map(|(number, path)| {
            json!({
                "drive_id": format!("layer{number}"),
                "path_on_host": path,
                "is_root_device": false,
                "is_read_only": true,
            })
        })
        .collect();
    json!({
        "boot-source": {
            "kernel_image_path": kernel,
            "initrd_path": initramfs,
            "boot_args": COMMAND_LINE,
        },
        "drives": drives,
        "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY},
    })
}

/// Where an idle machine's process identifier is.
fn identifier(scene: &Scene, name: &str) -> PathBuf {
    scene.directory.path().join(format!("{name}.pid"))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_described_in_firecrackers_words() {
        let layers = [PathBuf::from("/a"), PathBuf::from("/b")];
        let described = describe(Path::new("/kernel"), Path::new("/init.cpio"), &layers);
        let at = |place: &str| described.pointer(place).unwrap().clone();
        assert_eq!(at("/boot-source/kernel_image_path"), "/kernel");
        assert_eq!(at("/boot-source/initrd_path"), "/init.cpio");
        assert_eq!(at("/boot-source/boot_args"), COMMAND_LINE);
        assert_eq!(at("/drives/1/path_on_host"), "/b");
        assert_eq!(at("/drives/1/is_read_only"), true);
        assert_eq!(at("/drives/1/is_root_device"), false);
        assert_eq!(at("/machine-config/vcpu_count"), 1);
        assert_eq!(at("/machine-config/mem_size_mib"), MEMORY);
        // It refuses a description with anything else in it.
        assert_eq!(described.as_object().unwrap().len(), 3);
        let identifiers = [at("/drives/0/drive_id"), at("/drives/1/drive_id")];
        for identifier in identifiers {
            let text = identifier.as_str().unwrap().to_owned();
            assert!(text.chars().all(|letter| letter.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn command_line_leaves_room_for_devices() {
        // Of the 2048 bytes that Linux takes, each device has some 40.
        assert!(COMMAND_LINE.len() + 40 * (MAX_LAYERS + 1) < 2048);
    }

    #[test]
    fn only_inits_own_words_are_a_failure() {
        let own = Firecracker::default();
        assert_eq!(own.failure(b"hello\r\nthe program ended with 3\r\n"), None);
        let output = format!("hello\r\n{}the program ended with  3\r\n", init::OWN_WORDS);
        let words = own.failure(output.as_bytes()).unwrap();
        assert!(words.ends_with(": the program ended with 3"), "{words}");
    }

    #[test]
    fn idle_machine_is_awaited_until_it_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", IDLE, "sh"]);
            shell.arg(directory.path().join("pid"));
            shell.args(["words", "sh", "-c", script]).output().unwrap()
        };
        let up = run("echo some words; exec sleep 100");
        assert!(up.status.success());
        let mut end = Command::new("sh");
        end.args(["-c", END, "sh"])
            .arg(directory.path().join("pid"));
        assert!(end.status().unwrap().success());
        let down = run("echo why; exit 3");
        assert!(!down.status.success());
        assert_eq!(String::from_utf8_lossy(&down.stderr), "why\n");
    }
}
