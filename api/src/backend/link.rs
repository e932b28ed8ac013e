//! A connection to a container's keeper, as the process whose streams are carried.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Weak},
};

use coracle_engine::keeper::{
    Link,
    wire::{Event, Request},
};

use crate::pump::{News, Process};

/// What a keeper says of the start and the end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It runs.
    Started,
    /// It has ended with this code.
    Exited(u8),
    /// It could not be started: why, and docker's code for that.
    Failed(String, u8),
    /// Its keeper is gone.
    Lost,
}

/// A connection on which a keeper tells of a process. Whoever else wants to know is told as well.
pub struct Linked<F> {
    link: Arc<Link>,
    tell: F,
    over: bool,
}

impl<F: FnMut(Told)> Linked<F> {
    /// A connection on which the streams come; `tell` gets what is said of the process.
    pub fn new(link: Link, tell: F) -> Self {
        Self {
            link: Arc::new(link),
            tell,
            over: false,
        }
    }

    /// The connection, for others to send something on it while it lives.
    pub fn link(&self) -> Weak<Link> {
        Arc::downgrade(&self.link)
    }

    /// Lets the connection go; gives who is to be told.
    pub fn into_tell(self) -> F {
        self.tell
    }

    /// Takes what is said until the process's end, where nobody wants its streams.
    pub fn until_over(mut self) {
        while !self.over && self.news().is_ok() {}
    }
}

impl<F> AsFd for Linked<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl<F: FnMut(Told)> Process for Linked<F> {
    fn news(&mut self) -> io::Result<News> {
        let (told, news) = match self.link.receive::<Event>()? {
            Some((Event::Stream { index }, Some(stream))) => {
                return Ok(News::Stream(index, UnixStream::from(stream)));
            }
            Some((Event::Started, _)) => (Told::Started, News::Started),
            Some((Event::Exited(exit), _)) => (Told::Exited(exit.code), News::Over(None)),
            Some((Event::Failed { message, code }, _)) => (
                Told::Failed(message.clone(), code),
                News::Over(Some(message)),
            ),
            Some((Event::Refused { message, .. }, _)) => (
                Told::Failed(message.clone(), 125),
                News::Over(Some(message)),
            ),
            Some(_) => return Ok(News::Nothing),
            None => (Told::Lost, News::Over(None)),
        };
        self.over = matches!(news, News::Over(_));
        (self.tell)(told);
        Ok(news)
    }

    fn detach(&mut self) {
        // A keeper that is gone needs no word.
        let _ = self.link.send(&Request::Detach, None);
        while let Ok(Some((event, _))) = self.link.receive::<Event>() {
            if event == Event::Done {
                break;
            }
        }
    }
}
