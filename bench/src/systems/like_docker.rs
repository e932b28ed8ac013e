//! Systems with docker's command line.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Scene, System};
use crate::command;
use crate::warn;

/// A program with docker's command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Arguments of a command that fails where it cannot start containers.
    pub(super) ready: &'static [&'static str],
    /// Whether a daemon starts them.
    pub(super) daemon: bool,
}

pub(super) struct LikeDocker {
    program: Program,
    /// The image as it knows it, once it has it.
    image: String,
}

impl LikeDocker {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            image: String::new(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program.name);
        command.args(arguments);
        command
    }
}

impl System for LikeDocker {
    fn about(&self) -> &'static str {
        self.program.about
    }

    fn release(&self) -> Result<String> {
        let release = super::release_of(self.program.name)?;
        command::output(&mut self.command(self.program.ready)).map(|_| release)
    }

    fn prepare(&mut self, scene: &Scene) -> Result<()> {
        let archive = scene.directory.path().join("image.tar");
        // Under a name of its own: what it has under the image's name stays as it is.
        command::output(&mut scene.coracle(&["tag", &scene.image, &scene.unique]))?;
        let mut save = scene.coracle(&["save", "--output"]);
        let saved = command::output(save.arg(&archive).arg(&scene.unique));
        let untagged = command::output(&mut scene.coracle(&["rmi", &scene.unique]));
        saved.and(untagged)?;
        let said = command::output(self.command(&["load", "--input"]).arg(&archive))?;
        fs::remove_file(&archive).context("cannot remove an archive")?;
        let loaded = said.lines().rev().find_map(|line| {
            let (_, name) = line.split_once(": ")?;
            line.starts_with("Loaded image")
                .then(|| name.trim().to_owned())
        });
        self.image =
            loaded.with_context(|| format!("{} has loaded no image: {said}", self.program.name))?;
        Ok(())
    }

    fn start(&mut self, _scene: &Scene, program: &[String]) -> Result<Command> {
        // As Coracle's default.
        let mut command = self.command(&["run", "--rm", "--network", "none"]);
        command.arg(&self.image).args(program);
        Ok(command)
    }

    fn idle(&mut self, _scene: &Scene, name: &str) -> Result<Command> {
        let mut command = self.command(&["run", "--detach", "--rm", "--network", "none"]);
        command
            .args(["--name", name])
            .arg(&self.image)
            .args(super::idling());
        Ok(command)
    }

    fn end(&self, _scene: &Scene, name: &str) -> Command {
        self.command(&["rm", "--force", name])
    }

    fn disk(&self, _scene: &Scene) -> Result<BTreeMap<String, u64>> {
        let text = command::output(&mut self.command(&["image", "inspect", &self.image]))?;
        let inspected: Value = serde_json::from_str(&text)?;
        let size = inspected.pointer("/0/Size").and_then(Value::as_u64);
        Ok(size
            .map(|size| ("image".to_owned(), size))
            .into_iter()
            .collect())
    }
    fn has_daemon(&self) -> bool {
        self.program.daemon
    }

    fn clean(&mut self, _scene: &Scene) {
        let image = std::mem::take(&mut self.image);
        if image.is_empty() {
            return;
        }
        if let Err(error) = command::output(&mut self.command(&["rmi", &image])) {
            warn(&error);
        }
    }
}
