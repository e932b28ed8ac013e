//! Attaching to the first process of a container that runs.

use super::{Container, attachment::Attachment};
use crate::{ErrorKind, Kind, Result, keeper::wire::Request};

/// What of a container is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Its input, too, if it was created with one.
    pub input: bool,
}

impl Container {
    /// Attaches to its first process: its streams, and then its end.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run.
    pub fn attach(&self, options: AttachOptions) -> Result<Attachment> {
        let link = self.keeper()?;
        let request = Request::Attach {
            container: self.record.config.id.clone(),
            input: options.input && self.record.config.interactive,
        };
        link.send(&request, None).kind(ErrorKind::Unavailable)?;
        Ok(Attachment::new(link))
    }
}
