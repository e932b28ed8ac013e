//! What a container may ask of its kernel, by whose kernel that is.

use anyhow::{Result, bail};
use contracts::guest::sysctl::{self, Owner};

use super::capability;
use crate::state::{
    container::{Config, Isolation, spec::SeccompProfile},
    network::Mode,
};

/// Whose the kernel of a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// Its own: a microVM that goes with it.
    Own,
    /// That of a named host, which others use.
    Hosts,
    /// This machine's.
    Machines,
}

impl Kernel {
    fn of(config: &Config) -> Self {
        match (config.isolation, &config.host) {
            (Isolation::Namespace, _) => Self::Machines,
            (Isolation::Vm, Some(_)) => Self::Hosts,
            (Isolation::Vm, None) => Self::Own,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Own => "its microVM",
            Self::Hosts => "its host, and with it every neighbour",
            Self::Machines => "this machine",
        }
    }
}

/// Refuses what reaches beyond the container. It is asked when one is made and when one is started:
/// an earlier release may have made it.
///
/// # Errors
/// In words that say which wish it is, and whom it would reach.
pub fn check(config: &Config) -> Result<()> {
    let kernel = Kernel::of(config);
    for (name, _) in &config.spec.sysctls {
        check_setting(config, kernel, name)?;
    }
    if kernel == Kernel::Machines {
        let process = &config.spec.process;
        if let Some((name, why)) = capability::of_the_machine(process.capabilities) {
            bail!(
                "--isolation namespace and capability {name} contradict each other: {why}; a \
                 microVM (--isolation vm) has a kernel of its own"
            );
        }
        if !config.spec.user_namespace
            && let Some((name, why)) = capability::by_machines_root(process.capabilities)
        {
            bail!(
                "--isolation namespace, --userns host and capability {name} contradict each other: \
                 {why}; leave out --userns host"
            );
        }
        if process.seccomp != SeccompProfile::Default {
            bail!(
                "--isolation namespace and seccomp=unconfined contradict each other: every call of \
                 this machine's kernel would be open; a microVM (--isolation vm) has a kernel of its \
                 own"
            );
        }
    }
    Ok(())
}

/// Docker's rule, a namespace's settings where that is the container's own; and where the whole kernel
/// is, every setting of it: nobody else is there whom it could reach, and databases ask for some
/// (`vm.max_map_count`).
fn check_setting(config: &Config, kernel: Kernel, name: &str) -> Result<()> {
    let Some(name) = sysctl::name(name) else {
        bail!("--sysctl {name:?} is no name of a kernel setting");
    };
    match sysctl::owner(&name) {
        Owner::Network => {
            if let Mode::Host | Mode::Container(_) = config.network {
                bail!("--sysctl {name} would change a network that is not the container's own");
            }
        }
        Owner::Ipc if config.spec.shares.ipc => bail!(
            "--sysctl {name} would change inter-process communication that is not the container's \
             own (--ipc host)"
        ),
        Owner::Ipc => {}
        Owner::Kernel if kernel == Kernel::Own => {
            if config.spec.user_namespace {
                bail!(
                    "--sysctl {name} is a setting of the kernel, which a container with a user \
                     namespace of its own may not change: leave out --userns private"
                );
            }
        }
        Owner::Kernel => bail!(
            "--sysctl {name} is not allowed: it is a setting of the whole kernel, and would change \
             {}; only what belongs to a namespace of the container's can be set (net.*, \
             fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm*)",
            kernel.words()
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Options;
    use crate::state::{
        MachineMode,
        container::{LogPolicy, Restart, VERSION},
    };

    fn config() -> Config {
        let image = images::image::ContainerConfig {
            cmd: Some(vec!["true".into()]),
            ..Default::default()
        };
        let id = "0123456789abcdef";
        let spec = Options::default().spec(id, &image, &[None]);
        Config {
            version: VERSION,
            id: id.into(),
            name: "one".into(),
            created: 0,
            image: "image".into(),
            image_id: "id".into(),
            layers: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            interactive: false,
            input_once: false,
            remove: false,
            log: LogPolicy::None,
            restart: Restart::No,
            stop_signal: 15,
            stop_timeout: 10,
            timeout: None,
            memory: None,
            cpu: None,
            disk: None,
            kernel: None,
            machine: MachineMode::Auto,
            host: None,
            isolation: Isolation::Vm,
            network: Mode::None,
            aliases: Vec::new(),
            health: None,
            asked: None,
            spec: spec.unwrap(),
        }
    }

    fn with(setting: &str) -> Config {
        let mut config = config();
        config.spec.sysctls = vec![(setting.into(), "1".into())];
        config
    }

    #[test]
    fn settings_of_a_namespace_are_for_whose_namespace_it_is() {
        for name in ["net.core.somaxconn", "net/core/somaxconn", "kernel.shmmax"] {
            let mut config = with(name);
            for host in [None, Some("1".into())] {
                config.host = host;
                assert!(check(&config).is_ok(), "{name}");
            }
            config.host = None;
            config.isolation = Isolation::Namespace;
            assert!(check(&config).is_ok(), "{name}");
            config.network = Mode::Host;
            config.spec.shares.ipc = true;
            assert!(check(&config).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_of_the_kernel_are_for_who_has_one_alone() {
        for name in ["vm.swappiness", "kernel/pid_max", "kernel.core_pattern"] {
            let mut config = with(name);
            assert!(check(&config).is_ok(), "{name}");
            config.host = Some("1".into());
            let words = check(&config).unwrap_err().to_string();
            assert!(words.contains("every neighbour"), "{words}");
            config.host = None;
            config.isolation = Isolation::Namespace;
            let words = check(&config).unwrap_err().to_string();
            assert!(words.contains("this machine"), "{words}");
        }
    }

    #[test]
    fn what_equals_root_is_refused_on_this_machines_kernel_only() {
        let mut config = config();
        config.spec.process.capabilities = 1 << 21;
        config.spec.process.seccomp = SeccompProfile::Unconfined;
        assert!(check(&config).is_ok());
        config.isolation = Isolation::Namespace;
        let words = check(&config).unwrap_err().to_string();
        assert!(words.contains("SYS_ADMIN"), "{words}");
        config.spec.process.capabilities = 1 << 12;
        let words = check(&config).unwrap_err().to_string();
        assert!(words.contains("unconfined"), "{words}");
        config.spec.process.seccomp = SeccompProfile::Default;
        assert!(check(&config).is_ok());
    }

    #[test]
    fn what_only_the_machines_root_may_is_refused_to_that_root() {
        for capability in [19, 23] {
            let mut config = config();
            config.spec.process.capabilities = 1 << capability;
            config.spec.user_namespace = false;
            assert!(check(&config).is_ok());
            config.isolation = Isolation::Namespace;
            let words = check(&config).unwrap_err().to_string();
            assert!(words.contains("--userns host"), "{words}");
            config.spec.user_namespace = true;
            assert!(check(&config).is_ok());
        }
    }
}
