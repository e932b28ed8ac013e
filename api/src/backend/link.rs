//! A connection to a container's keeper, as the process whose streams are carried.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use coracle_engine::keeper::{
    Link,
    wire::{Event, Request},
};

use crate::pump::{News, Process};

/// A connection on which a keeper tells of a process, and passes its streams.
#[derive(Debug)]
pub struct Linked(Link);

impl Linked {
    /// A connection on which it was asked for.
    #[must_use]
    pub fn new(link: Link) -> Self {
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
        Ok(match self.0.receive::<Event>()? {
            Some((Event::Stream { index }, Some(stream))) => {
                News::Stream(index, UnixStream::from(stream))
            }
            Some((Event::Started, _)) => News::Started,
            Some((Event::Exited(_), _)) | None => News::Over(None),
            Some((Event::Failed { message, .. } | Event::Refused { message, .. }, _)) => {
                News::Over(Some(message))
            }
            Some(_) => News::Nothing,
        })
    }

    fn detach(&mut self) {
        // A keeper that is gone needs no word.
        let _ = self.0.send(&Request::Detach, None);
        while let Ok(Some((event, _))) = self.0.receive::<Event>() {
            if event == Event::Done {
                break;
            }
        }
    }
}
