//! A container in a named host that is up, beside others.

use std::{collections::BTreeMap, process::Command};

use anyhow::Result;

use super::{Scene, System, coracle};
use crate::command;
use crate::ladder;
use crate::start;
use crate::warn;

/// Memory of the host: enough for hundreds of containers that idle. It is taken as it is used.
const MEMORY: &str = "2g";

#[derive(Default)]
pub(super) struct CoracleHost {
    /// The host, once there is one.
    name: Option<String>,
}

impl CoracleHost {
    fn flags(&self) -> Vec<&str> {
        self.name.iter().flat_map(|name| ["--host", name]).collect()
    }
}

impl System for CoracleHost {
    fn about(&self) -> &'static str {
        "a named host that is up, one kernel for its containers"
    }

    fn release(&self) -> Result<String> {
        coracle::release()
    }

    fn prepare(&mut self, scene: &Scene) -> Result<()> {
        let name = format!("{}-host", scene.unique);
        let create = scene.coracle(&["host", "create", "--memory", MEMORY, &name]);
        start::that_succeeds(create)?;
        self.name = Some(name);
        Ok(())
    }

    fn start(&mut self, scene: &Scene, program: &[String]) -> Result<Command> {
        Ok(coracle::run(scene, &self.flags(), program))
    }

    fn idle(&mut self, scene: &Scene, name: &str) -> Result<Command> {
        Ok(coracle::idle(scene, &self.flags(), name))
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
        coracle::disk(
            scene,
            &["coracle-keeper", "coracle-vmm", "coracle-init"],
            true,
        )
    }

    fn counts_what_was_there(&self) -> bool {
        true
    }

    fn clean(&mut self, scene: &Scene) {
        if let Some(name) = self.name.take()
            && let Err(error) =
                command::output(&mut scene.coracle(&["host", "rm", "--force", &name]))
        {
            warn(&error);
        }
    }
}
