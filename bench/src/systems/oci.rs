//! OCI runtimes without a manager: a bundle, which is made before, and one command.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, bail};

use super::{Scene, System, bundle::Bundle};
use crate::command;

/// A runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runtime {
    pub(super) program: &'static str,
    pub(super) about: &'static str,
}

pub(super) struct Oci {
    runtime: Runtime,
    bundle: Option<Bundle>,
}

impl Oci {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            bundle: None,
        }
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = self.runtime.program;
        let path = command::find(program).with_context(|| format!("{program} is not installed"))?;
        let mut command = Command::new(path);
        command.args(arguments);
        Ok(command)
    }

    fn run(
        &mut self,
        scene: &Scene,
        flags: &[&str],
        name: &str,
        program: &[String],
    ) -> Result<Command> {
        let mut command = self.command(&["run"])?;
        let bundle = self.bundle.as_ref().context("there is no bundle")?;
        bundle.write(scene, program)?;
        command
            .args(flags)
            .arg("--bundle")
            .arg(bundle.path())
            .arg(name);
        Ok(command)
    }
}

impl System for Oci {
    fn about(&self) -> &'static str {
        self.runtime.about
    }

    fn release(&self) -> Result<String> {
        let release = super::release_of(self.runtime.program)?;
        if !rustix::process::geteuid().is_root() {
            bail!("its root file system is mounted for it, which only root may do");
        }
        Ok(release)
    }

    fn prepare(&mut self, scene: &Scene) -> Result<()> {
        let mut spec = self.command(&["spec"])?;
        let directory = scene.directory.path().join(self.runtime.program);
        fs::create_dir(&directory).context("cannot make a bundle")?;
        command::output(spec.current_dir(&directory))?;
        self.bundle = Some(Bundle::new(scene, directory)?);
        Ok(())
    }

    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command> {
        let name = scene.unique.clone();
        self.run(scene, &[], &name, program)
    }

    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command> {
        self.run(scene, &["--detach"], name, &super::idling())
    }

    fn end(&self, _scene: &Scene, name: &str) -> Command {
        let mut command = Command::new(command::find(self.runtime.program).unwrap_or_default());
        command.args(["delete", "--force", name]);
        command
    }

    fn disk(&self, scene: &Scene) -> Result<BTreeMap<String, u64>> {
        let path = command::find(self.runtime.program).context("it is gone")?;
        let size = fs::metadata(&path)?.len();
        Ok(BTreeMap::from([
            ("image".to_owned(), scene.image_size()),
            (self.runtime.program.to_owned(), size),
        ]))
    }

    fn clean(&mut self, _scene: &Scene) {
        self.bundle = None;
    }
}
