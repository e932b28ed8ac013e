//! Clients that come before a container's start: docker's command attaches and waits first, and then
//! starts, so that no output is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use coracle_engine::{keeper::Link, state::container::Container};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// What is given to somebody who waits for it by a descriptor.
#[derive(Debug)]
struct Promise<T> {
    ready: UnixStream,
    value: Arc<Mutex<Option<T>>>,
}

/// The other end of a promise. When it is dropped, the descriptor becomes readable.
#[derive(Debug)]
struct Giver<T> {
    _ready: UnixStream,
    value: Arc<Mutex<Option<T>>>,
}

fn promise<T>() -> std::io::Result<(Giver<T>, Promise<T>)> {
    let (giver, ready) = UnixStream::pair()?;
    let value = Arc::new(Mutex::new(None));
    let giver = Giver {
        _ready: giver,
        value: Arc::clone(&value),
    };
    Ok((giver, Promise { ready, value }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Giver<T> {
    fn give(self, value: T) {
        *lock(&self.value) = Some(value);
    }
}

/// A started container's connection, and who is told of its start.
pub struct Begun {
    /// The connection on which the streams come.
    pub link: Link,
    /// Gets what the keeper says of the start.
    pub tell: Box<dyn FnMut(super::link::Told) + Send>,
}

/// A client that is attached to a container before its start.
pub struct Ticket(Promise<Begun>);

impl Ticket {
    /// Whether a start has come to it.
    pub fn is_ready(&self) -> bool {
        let mut ready = [PollFd::new(&self.0.ready, PollFlags::IN)];
        let now = Timespec::default();
        retry_on_intr(|| poll(&mut ready, Some(&now))).is_ok_and(|count| count > 0)
    }

    /// What the container is started with; `None` when it is not to be had.
    pub fn take(&self) -> Option<Begun> {
        lock(&self.0.value).take()
    }
}

impl AsFd for Ticket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

/// A client that waits for a container's next end.
#[derive(Debug)]
pub struct Waiter(Promise<u8>);

impl Waiter {
    /// Its exit code.
    pub fn take(&self) -> Option<u8> {
        lock(&self.0.value).take()
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

/// Those who wait, by the container's ID.
#[derive(Default)]
pub struct Held {
    waiting: Mutex<BTreeMap<String, Waiting>>,
    /// The IDs of those that are being started here.
    starting: Mutex<BTreeSet<String>>,
}

/// A container is being started for as long as this lives.
#[derive(Debug)]
pub struct Starting {
    held: Arc<Held>,
    id: String,
}

impl Drop for Starting {
    fn drop(&mut self) {
        lock(&self.held.starting).remove(&self.id);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Held")
    }
}

#[derive(Default)]
struct Waiting {
    /// Each with whether it has an input.
    attached: Vec<(bool, Giver<Begun>)>,
    waiters: Vec<Giver<u8>>,
}

impl Held {
    /// Notes that a container is being started.
    pub fn start(self: &Arc<Self>, id: &str) -> Starting {
        lock(&self.starting).insert(id.into());
        Starting {
            held: Arc::clone(self),
            id: id.into(),
        }
    }

    /// Whether a container is being started here, and those who are attached get its streams by that.
    pub fn is_starting(&self, container: &Container) -> bool {
        lock(&self.starting).contains(&container.config.id)
    }

    /// A client that gets the streams when the container is started.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn attach(&self, id: &str, input: bool) -> std::io::Result<Ticket> {
        let (giver, promise) = promise()?;
        let mut all = lock(&self.waiting);
        let waiting = all.entry(id.into()).or_default();
        waiting.attached.push((input, giver));
        Ok(Ticket(promise))
    }

    /// A client that is told of the container's next end.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn wait(&self, id: &str) -> std::io::Result<Waiter> {
        let (giver, promise) = promise()?;
        let mut all = lock(&self.waiting);
        all.entry(id.into()).or_default().waiters.push(giver);
        Ok(Waiter(promise))
    }

    /// Who is attached, those with an input first, and taken out.
    pub fn take_attached(&self, id: &str) -> Vec<(bool, impl FnOnce(Begun) + use<>)> {
        let mut all = lock(&self.waiting);
        let attached = all
            .get_mut(id)
            .map(|waiting| std::mem::take(&mut waiting.attached));
        let mut attached = attached.unwrap_or_default();
        // Those who are gone have left nobody to give to.
        attached.retain(|(_, giver)| Arc::strong_count(&giver.value) > 1);
        attached.sort_by_key(|(input, _)| !input);
        let givers = attached.into_iter();
        givers
            .map(|(input, giver)| (input, move |begun| giver.give(begun)))
            .collect()
    }

    /// A container has ended.
    pub fn ended(&self, id: &str, code: u8) {
        let mut all = lock(&self.waiting);
        let waiting = all
            .get_mut(id)
            .map(|waiting| std::mem::take(&mut waiting.waiters));
        all.retain(|_, waiting| !waiting.attached.is_empty() || !waiting.waiters.is_empty());
        for giver in waiting.into_iter().flatten() {
            giver.give(code);
        }
    }
}
