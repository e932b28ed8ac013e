//! The systems that can be measured: one file each, one line in one table.

mod bundle;
mod coracle;
mod coracle_host;
mod coracle_namespace;
mod crun;
mod docker;
mod firecracker;
mod like_docker;
mod oci;
mod podman;
mod process;
mod runc;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::command;

/// Makes what knows a system.
type Make = fn() -> Box<dyn System>;

/// All systems, by name, in the order in which they are shown.
const SYSTEMS: [(&str, Make); 8] = [
    ("coracle", || Box::new(coracle::Coracle)),
    ("coracle-host", || {
        Box::new(coracle_host::CoracleHost::default())
    }),
    ("coracle-namespace", || {
        Box::new(coracle_namespace::CoracleNamespace)
    }),
    ("firecracker", || {
        Box::new(firecracker::Firecracker::default())
    }),
    ("runc", || Box::new(oci::Oci::new(runc::RUNC))),
    ("crun", || Box::new(oci::Oci::new(crun::CRUN))),
    ("podman", || {
        Box::new(like_docker::LikeDocker::new(podman::PODMAN))
    }),
    ("docker", || {
        Box::new(like_docker::LikeDocker::new(docker::DOCKER))
    }),
];

/// Seconds for which an idle container sleeps: longer than any measurement takes.
const IDLE_SECONDS: &str = "100000";

/// What a container does that is only there.
pub(crate) fn idling() -> Vec<String> {
    vec!["sleep".into(), IDLE_SECONDS.into()]
}

/// A system that starts containers.
pub(crate) trait System {
    /// What it is, in a few words.
    fn about(&self) -> &'static str;

    /// Its release.
    ///
    /// # Errors
    /// When it cannot be measured here: why not.
    fn release(&self) -> Result<String>;

    /// Does what has to be done once before anything is started.
    ///
    /// # Errors
    /// When it cannot be done.
    fn prepare(&mut self, _scene: &Scene) -> Result<()> {
        Ok(())
    }

    /// The command that starts a container with this program in it, and ends with it. Nothing of the
    /// container stays.
    ///
    /// # Errors
    /// When the program cannot be written down for it.
    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command>;

    /// The command that starts a container of this name, which idles, and ends when it is up.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command>;

    /// The command that ends such a container, and removes it.
    fn end(&self, scene: &Scene, name: &str) -> Command;

    /// The steps that it tells of a start, from what it wrote on standard error.
    fn told(&self, _words: &str) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// Why a start has failed whose command ended with 0, from what it wrote on standard output: for systems
    /// that have no other way to tell.
    fn failure(&self, _output: &[u8]) -> Option<String> {
        None
    }

    /// What it keeps on the disk for this image, in bytes.
    ///
    /// # Errors
    /// When something of it cannot be looked at.
    fn disk(&self, scene: &Scene) -> Result<BTreeMap<String, u64>>;

    /// Where memory is that belongs to its containers and is not their own processes': the processes that
    /// [`Self::prepare`] left do not count otherwise.
    fn counts_what_was_there(&self) -> bool {
        false
    }

    /// Its containers' memory is a guest's, which is out of sight where monitors run in a software host.
    fn has_guests(&self) -> bool {
        false
    }

    /// Its containers are a daemon's processes, which are not seen from here: neither what they weigh nor when
    /// the last of them has ended.
    fn has_daemon(&self) -> bool {
        false
    }

    /// Undoes [`Self::prepare`].
    fn clean(&mut self, _scene: &Scene) {}
}

/// Whether the memory of a system's containers can be seen.
pub(crate) fn is_visible(system: &dyn System, scene: &Scene) -> bool {
    scene.sees_monitors || !system.has_guests()
}

/// Whether this machine's own KVM runs guests, as this `coracle` finds.
///
/// # Errors
/// When it cannot be run.
fn runs_guests(coracle: &Path) -> Result<bool> {
    let mut doctor = Command::new(coracle);
    doctor.args(["doctor", "--quiet"]).stdin(Stdio::null());
    let status = doctor.status().context("cannot run coracle")?;
    Ok(status.success())
}

/// What all systems are measured with.
pub(crate) struct Scene {
    /// The `coracle` beside this program.
    pub(crate) coracle: PathBuf,
    /// The image's name in Coracle's store.
    pub(crate) image: String,
    /// What `coracle inspect` tells of the image.
    pub(crate) inspected: Value,
    /// For files that are needed meanwhile.
    pub(crate) directory: TempDir,
    /// Begins the names of all that is made.
    pub(crate) unique: String,
    /// Monitors run on this machine, where their memory can be seen.
    pub(crate) sees_monitors: bool,
}

impl Scene {
    /// Finds the image, which must be in the store.
    ///
    /// # Errors
    /// When there is no `coracle`, or no such image.
    pub(crate) fn new(image: &str) -> Result<Self> {
        let coracle = command::coracle()?;
        let mut inspect = Command::new(&coracle);
        inspect.args(["inspect", "--type", "image", image]);
        let inspected = command::output(&mut inspect).with_context(|| {
            format!("image {image} must be here before it is measured; 'coracle pull {image}'")
        })?;
        let mut inspected: Value = serde_json::from_str(&inspected)?;
        let sees_monitors = runs_guests(&coracle)?;
        Ok(Self {
            coracle,
            image: image.into(),
            inspected: inspected.get_mut(0).map(Value::take).unwrap_or_default(),
            directory: tempfile::tempdir().context("cannot make a temporary directory")?,
            unique: format!("bench-{}", std::process::id()),
            sees_monitors,
        })
    }

    /// Brings up the software host if one of these systems runs its guests there: it stays up for a while, and
    /// is no part of the start that happens to be the first.
    pub(crate) fn ready(&self, systems: &[Present]) {
        let needed = systems
            .iter()
            .any(|one| !is_visible(one.system.as_ref(), self));
        if needed {
            // Why it cannot be brought up is told by the first start that needs it.
            let _ = command::output(&mut self.coracle(&["machine", "start"]));
        }
    }

    /// `coracle` with these arguments.
    pub(crate) fn coracle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.coracle);
        command.args(arguments);
        command
    }

    /// Something that the image's configuration says.
    pub(crate) fn config(&self, name: &str) -> &Value {
        self.inspected
            .pointer(&format!("/Config/{name}"))
            .unwrap_or(&Value::Null)
    }

    /// What is run when nothing is given.
    pub(crate) fn program_of_image(&self) -> Vec<String> {
        let words = |name: &str| texts(self.config(name));
        [words("Entrypoint"), words("Cmd")].concat()
    }

    /// The files of the image's layers, each an EROFS file system, the lowest first.
    pub(crate) fn layers(&self) -> Vec<PathBuf> {
        let layers = self.inspected.pointer("/Coracle/Layers");
        let all = layers.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|layer| layer.get("Path")?.as_str().map(PathBuf::from))
            .collect()
    }

    /// Bytes of the image on Coracle's disk.
    pub(crate) fn image_size(&self) -> u64 {
        self.inspected
            .get("Size")
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

/// A system that can be measured, with its name and release.
pub(crate) struct Present {
    pub(crate) name: &'static str,
    pub(crate) release: String,
    pub(crate) system: Box<dyn System>,
}

/// The systems of these names, or all; and those of all that cannot be measured, with the reason.
///
/// # Errors
/// When one of the names is unknown, or cannot be measured here.
pub(crate) fn choose(names: &[String]) -> Result<(Vec<Present>, BTreeMap<String, String>)> {
    let known: Vec<&str> = SYSTEMS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "there is no system {unknown:?}; there are {}",
            known.join(", ")
        );
    }
    let (mut present, mut absent) = (Vec::new(), BTreeMap::new());
    for (name, make) in SYSTEMS {
        let named = names.iter().any(|wanted| wanted == name);
        if !names.is_empty() && !named {
            continue;
        }
        let system = make();
        match system.release() {
            Ok(release) => present.push(Present {
                name,
                release,
                system,
            }),
            Err(error) if named => return Err(error.context(format!("cannot measure {name}"))),
            Err(error) => {
                absent.insert(name.to_owned(), format!("{error:#}"));
            }
        }
    }
    Ok((present, absent))
}

/// The first line of what a program says its version is.
///
/// # Errors
/// When it is not installed, or does not say.
pub(crate) fn release_of(name: &str) -> Result<String> {
    let path = command::find(name).with_context(|| format!("{name} is not installed"))?;
    let text = command::output(Command::new(path).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_system_is_refused_with_those_that_there_are() {
        let error = choose(&["coracle".into(), "vapour".into()]).err().unwrap();
        let words = error.to_string();
        assert!(
            words.contains("vapour") && words.contains("coracle-host"),
            "{words}"
        );
    }

    #[test]
    fn names_of_systems_are_their_own() {
        let names: std::collections::BTreeSet<_> = SYSTEMS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), SYSTEMS.len());
    }
}
