//! Streams whose connection the host has not taken: they are connected again, or the process has failed.

use std::os::fd::{AsFd, BorrowedFd};

use super::{SIGKILL, Task};
use crate::{
    failure::{Failure, Stage},
    pump::Pump,
    setting::Connect,
};

/// What the streams of a process are called.
const STREAMS: [&str; 3] = ["standard input", "standard output", "standard error"];

impl Task {
    /// A stream cannot be had: the process has not what it was promised, and what comes of it is not to be trusted.
    pub(super) fn lose(&mut self, index: usize) {
        let name = STREAMS.get(index).unwrap_or(&"a stream");
        let message =
            format!("the host did not take the connection of {name}; output or input is lost");
        self.failure.get_or_insert(Failure::setup(message));
        self.signal(SIGKILL);
    }

    /// Streams that need another connection.
    pub(crate) fn take_refused(&mut self) -> impl Iterator<Item = usize> + use<> {
        let refused = std::mem::take(&mut self.refused);
        (0..)
            .zip(refused)
            .filter(|(_, refused)| *refused)
            .map(|(index, _)| index)
    }

    /// Makes another connection for a stream, in whose place `watch` is told of it. False when it cannot be made.
    pub(crate) fn reconnect(
        &mut self,
        index: usize,
        connect: &Connect,
        watch: impl FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> Result<(), Failure>,
    ) -> bool {
        let Some(Some(pump)) = self.pumps.get_mut(index) else {
            return true;
        };
        let made = connect(pump.port())
            .stage(|| "connect a stream")
            .and_then(|socket| {
                let [old, _] = pump.descriptors();
                watch(old, socket.as_fd())?;
                Ok(socket)
            });
        match made {
            Ok(socket) => {
                pump.reconnect(socket);
                true
            }
            Err(_) => {
                self.pump(index, Pump::refuse);
                false
            }
        }
    }
}
