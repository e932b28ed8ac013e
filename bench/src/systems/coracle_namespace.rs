//! The same container without a machine: Coracle's init on this kernel. What a microVM costs is what the two
//! differ by.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Result, bail};

use super::{Scene, System, coracle};
use crate::ladder;

/// What asks for it.
const FLAGS: [&str; 2] = ["--isolation", "namespace"];

pub(super) struct CoracleNamespace;

impl System for CoracleNamespace {
    fn about(&self) -> &'static str {
        "namespaces on this kernel, by Coracle's own init"
    }

    fn release(&self) -> Result<String> {
        if !rustix::process::geteuid().is_root() {
            bail!("it uses this machine's kernel, which only root may do");
        }
        coracle::release()
    }

    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command> {
        Ok(coracle::run(scene, &FLAGS, program))
    }

    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command> {
        Ok(coracle::idle(scene, &FLAGS, name))
    }

    fn end(&self, scene: &Scene, name: &str) -> Command {
        scene.coracle(&["rm", "--force", name])
    }

    fn told(&self, words: &str) -> Vec<(String, u64)> {
        ladder::told(words)
    }

    fn disk(&self, scene: &Scene) -> Result<BTreeMap<String, u64>> {
        coracle::disk(scene, &["coracle-init"], false)
    }
}
