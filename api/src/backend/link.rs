//! A link to a process in a container, whose streams are carried.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
};

use coracle_engine::{
    Error,
    containers::{Attachment, Event},
};

use crate::{
    error::whole,
    pump::{News, Process},
};

/// A link on which a keeper tells of a process, and passes its streams.
#[derive(Debug)]
pub struct Linked(Attachment, Arc<OnceLock<u8>>);

impl Linked {
    /// A process that is attached to.
    #[must_use]
    pub fn new(link: Attachment) -> Self {
        Self(link, Arc::default())
    }

    /// Where its exit code will be.
    #[must_use]
    pub fn code(&self) -> Arc<OnceLock<u8>> {
        Arc::clone(&self.1)
    }
}

impl AsFd for Linked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Process for Linked {
    fn news(&mut self) -> io::Result<News> {
        let refused = |error: Error| News::Over(Some(whole(&error)));
        Ok(match self.0.next() {
            Ok(Some(Event::Stream { index, stream })) => News::Stream(index, stream),
            Ok(Some(Event::Started)) => News::Started,
            Ok(Some(Event::Exited(exit))) => {
                // The first one is the process's own.
                let _ = self.1.set(exit.code);
                News::Over(None)
            }
            Ok(None) => News::Over(None),
            Ok(Some(Event::Failed { message, code })) => {
                let _ = self.1.set(code);
                News::Over(Some(message))
            }
            Ok(Some(Event::Taken)) => News::Nothing,
            Err(error) => refused(error),
        })
    }

    fn detach(self) {
        // A keeper that is gone needs no word.
        let _ = self.0.detach();
    }
}
