//! An image's configuration and the user's wishes become a container spec.

use anyhow::{Result, bail};

use crate::{
    capability,
    state::container::spec::{
        Cpu, Layer, Mount, NoStreams, Process, Resources, Rlimit, Root, SeccompProfile, Shares,
        Spec, TerminalSize, Upper, Verity,
    },
};

/// What is asked for beyond the image, as the guest takes it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Command and arguments; empty takes the image's.
    pub(crate) command: Vec<String>,
    /// Replaces the image's entry point, and then its command too.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, later ones win.
    pub(crate) env: Vec<String>,
    /// Working directory.
    pub(crate) workdir: Option<String>,
    /// `user[:group]`.
    pub(crate) user: Option<String>,
    /// Supplementary groups.
    pub(crate) groups: Vec<String>,
    /// Host name; the first digits of the identifier otherwise.
    pub(crate) hostname: Option<String>,
    /// Terminal of this size.
    pub(crate) terminal: Option<TerminalSize>,
    /// Changes go to a disk.
    pub(crate) disk: bool,
    /// Without one: bytes of memory that they may take.
    pub(crate) upper_memory: Option<u64>,
    /// Read-only root file system.
    pub(crate) read_only: bool,
    /// Temporary file systems: target and options.
    pub(crate) tmpfs: Vec<(String, Vec<String>)>,
    /// Capabilities, as [`capability::adjusted`] gives them.
    pub(crate) capabilities: u64,
    /// Resource limits.
    pub(crate) rlimits: Vec<Rlimit>,
    /// Kernel settings.
    pub(crate) sysctls: Vec<(String, String)>,
    /// Lines of `/etc/hosts`: name, address.
    pub(crate) hosts: Vec<(String, String)>,
    /// Most processes.
    pub(crate) pids: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cpu: Option<u64>,
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Bytes of `/dev/shm`; docker's 64 MiB otherwise.
    pub(crate) shm_size: Option<u64>,
    /// Run a small init in the container.
    pub(crate) init: bool,
    /// A user namespace for the container.
    pub(crate) user_namespace: bool,
    /// `no-new-privileges`.
    pub(crate) no_new_privileges: bool,
    /// No system call filter.
    pub(crate) seccomp_unconfined: bool,
    /// Namespaces of the guest's own.
    pub(crate) shares: Shares,
    /// Everything that the guest's root can do: docker's `--privileged`.
    pub(crate) privileged: bool,
}

/// Docker's, which images are written for.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's `/dev/shm`, in bytes.
const DEFAULT_SHM: u64 = 64 << 20;

/// Microseconds of a period in which processor time is shared out: docker's and the kernel's.
const CPU_PERIOD: u64 = 100_000;

/// Index of the disk for changes: the one after that of the layers.
pub const DISK: u8 = 1;

/// Longest host name in bytes (`__NEW_UTS_LEN` of Linux).
const MAX_HOSTNAME: usize = 64;

/// Docker's masked paths: what the kernel tells there is about the machine, not the container.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Docker's read-only paths: writing there changes the machine.
const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Options that docker gives each `--tmpfs`.
const TMPFS_OPTIONS: [&str; 3] = ["nosuid", "nodev", "noexec"];

impl Options {
    /// The spec of a container of an image with these layers, from the base up, each with what it is
    /// checked against.
    ///
    /// # Errors
    /// When there is no command, or a name is none.
    pub(crate) fn spec(
        &self,
        id: &str,
        image: &images::image::ContainerConfig,
        layers: &[Option<Verity>],
    ) -> Result<Spec> {
        let hostname = match &self.hostname {
            Some(name) if name.len() > MAX_HOSTNAME || name.contains(['/', '\0']) => {
                bail!("invalid host name {name:?}: at most {MAX_HOSTNAME} bytes without a slash")
            }
            Some(name) if !name.is_empty() => name.clone(),
            _ => id.chars().take(12).collect(),
        };
        let resources = Resources {
            memory: self.memory,
            swap: self.memory.map(|_| 0),
            pids: self.pids,
            cpu: self.cpu.map(|thousandths| Cpu {
                quota: thousandths * CPU_PERIOD / 1000,
                period: CPU_PERIOD,
            }),
        };
        let swapped = |(name, address): &(String, String)| (address.clone(), name.clone());
        Ok(Spec {
            id: id.into(),
            root: Root {
                disk: 0,
                layers: (1..=u8::MAX)
                    .zip(layers)
                    .map(|(partition, verity)| Layer {
                        partition,
                        verity: *verity,
                    })
                    .collect(),
                upper: match self.disk {
                    true => Upper::Disk(DISK),
                    false => Upper::Tmpfs(self.upper_memory),
                },
                read_only: self.read_only,
            },
            process: self.process(&hostname, image)?,
            hostname,
            mounts: self.mounts(),
            shm_size: self.shm_size.unwrap_or(DEFAULT_SHM),
            masked_paths: self.unless_privileged(&MASKED_PATHS),
            readonly_paths: self.unless_privileged(&READONLY_PATHS),
            sysctls: self.sysctls.clone(),
            resources,
            user_namespace: self.user_namespace,
            shares: self.shares,
            privileged: self.privileged,
            // Without a network nothing answers; a resolver that is named would only be waited for.
            resolv_conf: Some(String::new()),
            extra_hosts: self.hosts.iter().map(swapped).collect(),
            no_streams: NoStreams::default(),
        })
    }

    /// Its mounts, parents first: what is mounted on a directory hides what was mounted below it. Of
    /// two on one place the later one counts, as with docker.
    fn mounts(&self) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = Vec::new();
        for (target, options) in &self.tmpfs {
            let mount = tmpfs(&clean_path(target), options);
            mounts.retain(|other| other.target != mount.target);
            mounts.push(mount);
        }
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        mounts
    }

    fn unless_privileged(&self, paths: &[&str]) -> Vec<String> {
        let paths = paths.iter().filter(|_| !self.privileged);
        paths.map(|path| (*path).into()).collect()
    }

    fn process(&self, hostname: &str, image: &images::image::ContainerConfig) -> Result<Process> {
        let args = self.args(image);
        if args.is_empty() {
            bail!("no command specified: the image has none; give one after the image");
        }
        if let Some(bad) = args.iter().find(|argument| argument.contains('\0')) {
            bail!("argument {bad:?} contains a NUL byte");
        }
        let workdir = self.workdir.as_deref().unwrap_or(&image.working_dir);
        let cwd = if workdir.is_empty() { "/" } else { workdir };
        if !cwd.starts_with('/') {
            bail!("working directory {cwd:?} is not an absolute path");
        }
        Ok(Process {
            args,
            env: self.env(hostname, image),
            cwd: cwd.into(),
            user: self.user.as_ref().unwrap_or(&image.user).clone(),
            groups: self.groups.clone(),
            terminal: self.terminal,
            rlimits: self.rlimits.clone(),
            capabilities: match self.privileged {
                true => capability::ALL,
                false => self.capabilities & capability::ALL,
            },
            no_new_privileges: self.no_new_privileges,
            seccomp: match (self.privileged, self.seccomp_unconfined) {
                (true, _) => SeccompProfile::Off,
                (false, true) => SeccompProfile::Unconfined,
                (false, false) => SeccompProfile::Default,
            },
            init: self.init,
        })
    }

    /// As docker: an entry point of the user's takes the image's command away; an empty list does not.
    fn args(&self, image: &images::image::ContainerConfig) -> Vec<String> {
        let of_image = image.entrypoint.as_deref().unwrap_or_default();
        let entrypoint = self.entrypoint.as_deref().unwrap_or(of_image);
        let command = match &self.entrypoint {
            Some(own) if !own.is_empty() => &[][..],
            _ => image.cmd.as_deref().unwrap_or_default(),
        };
        let command = if self.command.is_empty() {
            command
        } else {
            &self.command
        };
        // One that is empty is none; any other is taken as it is, whatever is empty in it.
        let entrypoint = match entrypoint {
            [only] if only.is_empty() => &[],
            parts => parts,
        };
        entrypoint.iter().chain(command).cloned().collect()
    }

    fn env(&self, hostname: &str, image: &images::image::ContainerConfig) -> Vec<String> {
        let mut env = vec![
            format!("PATH={DEFAULT_PATH}"),
            format!("HOSTNAME={hostname}"),
        ];
        if self.terminal.is_some() {
            env.push("TERM=xterm".into());
        }
        for entry in image.env.iter().chain(&self.env) {
            set(&mut env, entry);
        }
        env
    }
}

/// Puts a variable into an environment, in the place of one of its name; a name without a value takes
/// that away, as with docker.
pub fn set(env: &mut Vec<String>, entry: &str) {
    let (name, value) = match entry.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (entry, None),
    };
    let same = |other: &String| {
        other
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('='))
    };
    match (env.iter().position(same), value) {
        (Some(index), Some(_)) => {
            if let Some(other) = env.get_mut(index) {
                entry.clone_into(other);
            }
        }
        (Some(index), None) => drop(env.remove(index)),
        (None, Some(_)) => env.push(entry.into()),
        (None, None) => {}
    }
}

/// A path without empty parts, `.` and `..`, as far as it says itself.
fn clean_path(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn tmpfs(target: &str, options: &[String]) -> Mount {
    let opposite = |option: &str| option.trim_start_matches("no").to_owned();
    let asked = |default: &&&str| !options.contains(&opposite(default));
    let defaults = TMPFS_OPTIONS
        .iter()
        .filter(asked)
        .map(|option| (*option).into());
    Mount {
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        target: target.into(),
        options: defaults.chain(options.iter().cloned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> images::image::ContainerConfig {
        images::image::ContainerConfig {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["serve".into()]),
            env: vec!["PATH=/image/bin".into(), "A=1".into()],
            ..Default::default()
        }
    }

    fn spec(request: &Options) -> Spec {
        request.spec("0123456789abcdef", &image(), &[None]).unwrap()
    }

    #[test]
    fn command_replaces_the_images_command_only() {
        let request = Options {
            command: vec!["x".into()],
            ..Default::default()
        };
        assert_eq!(spec(&request).process.args, ["/entry", "x"]);
        assert_eq!(spec(&Options::default()).process.args, ["/entry", "serve"]);
    }

    #[test]
    fn entry_point_takes_the_images_command_away() {
        let request = Options {
            entrypoint: Some(vec!["sh".into()]),
            ..Default::default()
        };
        assert_eq!(spec(&request).process.args, ["sh"]);
    }

    #[test]
    fn empty_arguments_are_kept_wherever_they_come_from() {
        let mut image = image();
        image.entrypoint = Some(vec!["/entry".into(), String::new()]);
        image.cmd = Some(vec![String::new(), "serve".into(), String::new()]);
        let args = |request: &Options| {
            let spec = request.spec("0123456789abcdef", &image, &[None]);
            spec.unwrap().process.args
        };
        let request = Options::default();
        assert_eq!(args(&request), ["/entry", "", "", "serve", ""]);
        let request = Options {
            command: vec![String::new()],
            ..Default::default()
        };
        assert_eq!(args(&request), ["/entry", "", ""]);
        // No entry point, and a command without a name: nothing is found by that.
        let request = Options {
            entrypoint: Some(vec![String::new()]),
            command: vec![String::new(), "a".into()],
            ..Default::default()
        };
        assert_eq!(args(&request), ["", "a"]);
    }

    #[test]
    fn name_without_a_value_takes_a_variable_away() {
        let request = Options {
            env: vec!["A".into(), "B=1".into(), "B".into(), "NONE".into()],
            ..Default::default()
        };
        let env = spec(&request).process.env;
        assert_eq!(env, ["PATH=/image/bin", "HOSTNAME=0123456789ab"]);
    }

    #[test]
    fn mounts_are_made_parents_first_and_once() {
        let wishes = ["/a/b/c", "/a/x/../b", "//a/", "/z", "/a/b/c/"];
        let request = Options {
            tmpfs: wishes.map(|path| (path.into(), vec![])).into(),
            ..Default::default()
        };
        let mounts = spec(&request).mounts;
        let targets: Vec<&str> = mounts.iter().map(|mount| &*mount.target).collect();
        assert_eq!(targets, ["/a", "/z", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn host_name_has_up_to_64_bytes() {
        let hostname = |name: String| Options {
            hostname: Some(name),
            ..Default::default()
        };
        assert_eq!(spec(&hostname("h".repeat(64))).hostname.len(), 64);
        let id = "0123456789abcdef";
        let long = hostname("h".repeat(65));
        assert!(long.spec(id, &image(), &[None]).is_err());
        assert_eq!(spec(&hostname(String::new())).hostname, "0123456789ab");
    }

    #[test]
    fn empty_entry_point_and_no_command_is_an_error() {
        let request = Options {
            entrypoint: Some(vec![String::new()]),
            ..Default::default()
        };
        assert!(request.spec("0", &image(), &[None]).is_err());
    }

    #[test]
    fn users_environment_wins_over_the_images_and_that_over_the_default() {
        let request = Options {
            env: vec!["A=2".into(), "B=3".into()],
            ..Default::default()
        };
        let env = spec(&request).process.env;
        assert_eq!(
            env,
            ["PATH=/image/bin", "HOSTNAME=0123456789ab", "A=2", "B=3"]
        );
    }

    #[test]
    fn privileged_container_has_all_capabilities_and_nothing_hidden() {
        let spec = spec(&Options {
            privileged: true,
            ..Default::default()
        });
        assert_eq!(spec.process.capabilities, capability::ALL);
        assert_eq!(spec.process.seccomp, SeccompProfile::Off);
        assert!(spec.masked_paths.is_empty() && spec.readonly_paths.is_empty());
    }

    #[test]
    fn temporary_file_system_is_not_executable_unless_asked() {
        assert_eq!(tmpfs("/t", &[]).options, ["nosuid", "nodev", "noexec"]);
        assert_eq!(
            tmpfs("/t", &["exec".into()]).options,
            ["nosuid", "nodev", "exec"]
        );
    }

    #[test]
    fn processor_share_is_a_quota_of_the_period() {
        let request = Options {
            cpu: Some(1500),
            ..Default::default()
        };
        let cpu = spec(&request).resources.cpu;
        assert_eq!(
            cpu,
            Some(Cpu {
                quota: 150_000,
                period: 100_000
            })
        );
    }
}
