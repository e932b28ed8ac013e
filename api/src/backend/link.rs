//! A link to a process in a container, whose streams are carried.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
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
pub struct Linked(Attachment);

impl Linked {
    /// A process that is attached to.
    #[must_use]
    pub fn new(link: Attachment) -> Self {
        Self(link)
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
            Ok(Some(Event::Exited(_)) | None) => News::Over(None),
            Ok(Some(Event::Failed { message, .. })) => News::Over(Some(message)),
            Ok(Some(Event::Taken)) => News::Nothing,
            Err(error) => refused(error),
        })
    }

    fn detach(self) {
        // A keeper that is gone needs no word.
        let _ = self.0.detach();
    }
}
