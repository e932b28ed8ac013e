//! Attaching to the first process of a container, while it runs or before its start.

use contracts::keeper::Request;

use super::{
    Container,
    attachment::{Attachment, unavailable},
};
use crate::{ErrorKind, Kind, Result, keeper::client};

/// What of a container is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Its input, too, if it was created with one.
    pub input: bool,
    /// A container that does not run is attached before its next start, so that none of its output is lost: a keeper
    /// holds it for as long as somebody is attached to it so.
    pub hold: bool,
}

impl Container {
    /// Attaches to its first process: its streams, then [`Event::Taken`](super::Event::Taken), and then its end.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run, and is not to be held.
    pub fn attach(&self, options: AttachOptions) -> Result<Attachment> {
        let input = options.input && self.record.config.interactive;
        if options.hold {
            let link = client::attach(&self.record, input, &self.engine.directories);
            return Ok(Attachment::new(link.map_err(unavailable)?));
        }
        let link = self.keeper()?;
        let request = Request::Attach {
            container: self.record.config.id.clone(),
            input,
        };
        link.send(&request, None).kind(ErrorKind::Unavailable)?;
        Ok(Attachment::new(link))
    }
}
