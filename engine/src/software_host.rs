//! The software host that the containers of a machine without usable KVM run in.

use crate::{
    Engine, Result,
    containers::Container,
    host::is_in_machine,
    state::container::{Isolation, Restart, Status},
};

impl Engine {
    /// Stops the software host with all that runs in it, and waits until its containers have ended; gives those that
    /// would start again by their restart policy, and now do not.
    ///
    /// # Errors
    /// When it cannot be stopped, or the records cannot be read.
    pub fn stop_software_host(&self) -> Result<Vec<Container>> {
        let directories = &self.directories;
        let restarts = |container: &Container| {
            let config = container.config();
            config.restart != Restart::No
                && config.host.is_none()
                && config.isolation == Isolation::Vm
                && is_in_machine(config.machine, directories)
        };
        let all = self.containers().list()?.into_iter().filter(restarts);
        let live = all.filter_map(|container| {
            let status = container.state().ok()?.status;
            status.is_live().then_some((container, status))
        });
        let live: Vec<(Container, Status)> = live.collect();
        let was_up = coracle_software_host::status(directories)?.running;
        coracle_software_host::stop(directories)?;
        let ended = live.into_iter().map(|(container, status)| {
            if was_up && status != Status::Restarting {
                // Its keeper has written down the end when it is gone.
                container.until_left();
            }
            container
        });
        Ok(ended.collect())
    }
}
