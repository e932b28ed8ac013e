//! What has to be installed for a software host.

use std::{env, path::Path};

use anyhow::{Result, bail};

use super::{QEMU, kernel, share};

/// Checks that all programs are there; names those that are missing all at once.
///
/// # Errors
/// When one is missing.
pub(super) fn check(cache: &Path) -> Result<()> {
    let mut missing = Missing::new(cache, None);
    if share::find().is_none() {
        missing.add("virtiofsd", share::package());
    }
    missing.tell("the software host")
}

/// The same, for a machine in virtual time, with a kernel of this series.
///
/// # Errors
/// When one is missing.
pub(super) fn check_virtual_time(cache: &Path, series: Option<&str>) -> Result<()> {
    let mut missing = Missing::new(cache, series);
    for (program, package) in [
        ("busybox", "busybox-static"),
        ("tar", "tar"),
        ("ldd", "libc-bin"),
    ] {
        if !is_installed(program) {
            missing.add(program, package);
        }
    }
    missing.tell("a machine in virtual time")
}

/// What is not installed.
#[derive(Default)]
struct Missing {
    programs: Vec<&'static str>,
    /// The packages of some of them.
    packages: Vec<&'static str>,
}

impl Missing {
    /// What every machine needs: the emulator, and a kernel or the programs to fetch one.
    fn new(cache: &Path, series: Option<&str>) -> Self {
        let mut own = Self::default();
        if !is_installed(QEMU) {
            own.add(QEMU, "qemu-system-x86");
        }
        if !kernel::is_cached(cache, series) {
            for program in ["apt-get", "apt-cache", "dpkg-deb"] {
                if !is_installed(program) {
                    own.programs.push(program);
                }
            }
        }
        own
    }

    fn add(&mut self, program: &'static str, package: &'static str) {
        self.programs.push(program);
        self.packages.push(package);
    }

    fn tell(&self, who: &str) -> Result<()> {
        if self.programs.is_empty() {
            return Ok(());
        }
        let missing = self.programs.join(", ");
        if self.packages.is_empty() {
            bail!(
                "the kernel of {who} comes from a Debian package, and {missing} is missing; \
                 containers need /dev/kvm on this system"
            );
        }
        let packages = self.packages.join(" ");
        bail!("{who} needs {missing}; as root: apt-get install {packages}")
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_on_the_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-program-has-this-name"));
    }
}
