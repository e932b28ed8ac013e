//! A container in a microVM of its own, which is booted for it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{Scene, System};
use crate::command;
use crate::ladder;

pub(super) struct Coracle;

impl System for Coracle {
    fn about(&self) -> &'static str {
        "a microVM of its own, cold"
    }

    fn release(&self) -> Result<String> {
        release()
    }

    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command> {
        Ok(run(scene, &[], program))
    }

    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command> {
        Ok(idle(scene, &[], name))
    }

    fn end(&self, scene: &Scene, name: &str) -> Command {
        scene.coracle(&["rm", "--force", name])
    }

    fn has_guests(&self) -> bool {
        true
    }

    fn told(&self, words: &str) -> Vec<(String, u64)> {
        ladder::told(words)
    }

    fn disk(&self, scene: &Scene) -> Result<BTreeMap<String, u64>> {
        disk(
            scene,
            &["coracle-keeper", "coracle-vmm", "coracle-init"],
            true,
        )
    }
}

/// The release of `coracle`.
pub(super) fn release() -> Result<String> {
    let text = command::output(Command::new(command::coracle()?).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// `coracle run` with these flags, which tells its steps.
pub(super) fn run(scene: &Scene, flags: &[&str], program: &[String]) -> Command {
    let mut command = scene.coracle(&["run", "--rm", "--json"]);
    command.args(flags).arg(&scene.image).args(program);
    command
}

/// `coracle run` of a container that idles.
pub(super) fn idle(scene: &Scene, flags: &[&str], name: &str) -> Command {
    let mut command = scene.coracle(&["run", "--detach", "--rm", "--name", name]);
    command.args(flags).arg(&scene.image).args(super::idling());
    command
}

/// What Coracle keeps on the disk: the image, the guest's kernel, and programs.
pub(super) fn disk(
    scene: &Scene,
    programs: &[&str],
    kernel: bool,
) -> Result<BTreeMap<String, u64>> {
    let size = |path: &Path| {
        let metadata = fs::metadata(path);
        let metadata = metadata.with_context(|| format!("cannot look at {}", path.display()))?;
        Ok::<u64, anyhow::Error>(metadata.len())
    };
    let mut disk = BTreeMap::from([
        ("image".to_owned(), scene.image_size()),
        ("coracle".to_owned(), size(&scene.coracle)?),
    ]);
    for program in programs {
        disk.insert(
            (*program).to_owned(),
            size(&beside(&scene.coracle, program)?)?,
        );
    }
    if kernel {
        let path = command::output(&mut scene.coracle(&["kernel", "path"]))?;
        disk.insert("guest kernel".into(), size(Path::new(path.trim()))?);
    }
    Ok(disk)
}

/// Another program of the same installation.
fn beside(coracle: &Path, name: &str) -> Result<std::path::PathBuf> {
    let libexec = coracle
        .ancestors()
        .nth(2)
        .map(|prefix| prefix.join("libexec/coracle").join(name));
    let mut places = [Some(coracle.with_file_name(name)), libexec]
        .into_iter()
        .flatten();
    places
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed"))
}
