//! Takes connections, and gives each a thread.

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, retry_on_intr},
    net::sockopt::socket_peercred,
    process::geteuid,
};

use super::{
    connection::{Connection, NoRequest},
    exchange::Exchange,
    head::{Head, Malformed},
    limits::{MAX_CONNECTIONS, WRITE_TIME},
    reply::{self, Reply},
};

/// Time to wait after connections could not be taken, until others have ended.
const PAUSE: Duration = Duration::from_millis(100);

/// A server on a unix socket.
#[derive(Debug)]
pub struct Server {
    /// Where clients connect to.
    pub listener: UnixListener,
    /// It ends after so long without any connection.
    pub idle: Option<Duration>,
    /// It ends when this becomes readable.
    pub stop: Option<OwnedFd>,
}

/// One of the connections at a time: what counts it, and wakes the server up at its end.
struct Counted {
    count: Arc<AtomicUsize>,
    ended: Arc<OwnedFd>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        // The counter of an eventfd is never full.
        let _ = rustix::io::write(&*self.ended, &1_u64.to_ne_bytes());
    }
}

impl Server {
    /// Serves clients until it is told to stop, or is idle. `handle` answers a request; connections that
    /// are under way then are cut when the process ends.
    ///
    /// # Errors
    /// When the listener fails.
    pub fn run<F>(&self, handle: F) -> io::Result<()>
    where
        F: Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    {
        let handle = Arc::new(handle);
        let count = Arc::new(AtomicUsize::new(0));
        let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ended = Arc::new(ended);
        self.listener.set_nonblocking(true)?;
        let mut quiet_since = Instant::now();
        loop {
            let is_idle = count.load(Ordering::SeqCst) == 0;
            let timeout = self
                .idle
                .filter(|_| is_idle)
                .map(|idle| idle.saturating_sub(quiet_since.elapsed()));
            let ready = self.wait(ended.as_fd(), timeout)?;
            if ready.stop {
                return Ok(());
            }
            if ready.ended {
                let _ = rustix::io::read(&*ended, &mut [0; 8]);
                quiet_since = Instant::now();
            }
            if ready.client {
                let counted = Counted {
                    count: Arc::clone(&count),
                    ended: Arc::clone(&ended),
                };
                let number = count.fetch_add(1, Ordering::SeqCst);
                self.accept(counted, number, &handle)?;
            } else if timeout == Some(Duration::ZERO) && count.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
    }

    fn wait(&self, ended: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut descriptors = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::from_borrowed_fd(ended, PollFlags::IN),
        ];
        if let Some(stop) = &self.stop {
            descriptors.push(PollFd::new(stop, PollFlags::IN));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        retry_on_intr(|| poll(&mut descriptors, timeout.as_ref()))?;
        let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let listener = descriptors.first();
        if listener.is_some_and(|listener| listener.revents().intersects(broken)) {
            // It would be ready at once for ever, and give nobody.
            return Err(io::Error::other("nobody can connect any more"));
        }
        let ready = |index: usize| {
            descriptors
                .get(index)
                .is_some_and(|descriptor| !descriptor.revents().is_empty())
        };
        Ok(Ready {
            client: ready(0),
            ended: ready(1),
            stop: ready(2),
        })
    }

    /// # Errors
    /// When nobody can be accepted ever again.
    fn accept<F>(&self, counted: Counted, others: usize, handle: &Arc<F>) -> io::Result<()>
    where
        F: Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                return match error.raw_os_error().map(Errno::from_raw_os_error) {
                    // It listens no more.
                    Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => {
                        Err(error)
                    }
                    // Another one took it, or it is gone.
                    Some(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(()),
                    // Whatever it is, the next moment is not different.
                    _ => {
                        thread::sleep(PAUSE);
                        Ok(())
                    }
                };
            }
        };
        if !is_allowed(&stream) {
            refuse(&stream, 403, "permission denied");
            return Ok(());
        }
        if others >= MAX_CONNECTIONS {
            refuse(&stream, 503, "too many connections");
            return Ok(());
        }
        let handle = Arc::clone(handle);
        let serve = move || {
            let _counted = counted;
            serve(stream, &*handle);
        };
        // Without a thread the connection is closed, and its client sees that.
        let _ = thread::Builder::new().name("client".into()).spawn(serve);
        Ok(())
    }
}

struct Ready {
    client: bool,
    ended: bool,
    stop: bool,
}

/// Waits until a descriptor is ready, or the client is gone: false then.
///
/// # Errors
/// As `poll(2)`.
pub fn until_hangup(
    client: BorrowedFd<'_>,
    descriptor: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut descriptors = [
        PollFd::from_borrowed_fd(descriptor, PollFlags::IN),
        PollFd::from_borrowed_fd(client, PollFlags::RDHUP),
    ];
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    retry_on_intr(|| poll(&mut descriptors, timeout.as_ref()))?;
    let [_, client] = &descriptors;
    Ok(client.revents().is_empty())
}

/// Whether a client is gone, or sends nothing more.
#[must_use]
pub fn has_hung_up(client: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(client, PollFlags::RDHUP)];
    let now = Timespec::default();
    // What cannot be asked is there still.
    retry_on_intr(|| poll(&mut descriptors, Some(&now))).is_ok_and(|ready| ready > 0)
}

/// Whether a client is a process of this user's, or of root's. The socket is in a directory that
/// nobody else can enter; a mistake in its mode, or a descriptor that was passed on, changes nothing.
fn is_allowed(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}

/// Answers the requests of a connection, one after the other.
fn serve(stream: UnixStream, handle: &impl Fn(&mut Exchange<'_>)) {
    // A socket that was accepted from a listener that does not wait, waits.
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    let mut connection = Connection::new(stream);
    loop {
        match one(&mut connection, handle) {
            Ok(true) => {}
            Ok(false) | Err(NoRequest::Failed) => break,
            Err(NoRequest::Malformed(malformed)) => {
                let Malformed { status, reason } = malformed;
                refuse(connection.stream(), status, reason);
                break;
            }
        }
    }
    // A copy of the descriptor may be held by one who reads still.
    let _ = connection.stream().shutdown(Shutdown::Both);
}

/// Answers one request; false when there is none after it.
fn one(
    connection: &mut Connection,
    handle: &impl Fn(&mut Exchange<'_>),
) -> Result<bool, NoRequest> {
    let head: Head = match connection.head()? {
        Some(head) => head,
        None => return Ok(false),
    };
    let mut exchange = Exchange::new(connection, head).map_err(NoRequest::Malformed)?;
    handle(&mut exchange);
    Ok(exchange.end())
}

/// Answers what is no request with an error, and lets the client go.
fn refuse(stream: &UnixStream, status: u16, reason: &str) {
    use std::io::Write;
    let message = serde_json::json!({ "message": reason }).to_string() + "\n";
    let reply = Reply::new(status).body("application/json", message);
    let mut bytes = reply::head(status, reply::reason(status), &reply.headers).into_bytes();
    bytes.extend(format!("Content-Length: {}\r\n", reply.body.len()).bytes());
    bytes.extend(b"Connection: close\r\n\r\n");
    bytes.extend(&reply.body);
    let _ = stream.set_write_timeout(Some(WRITE_TIME));
    let mut writer = stream;
    let _ = writer.write_all(&bytes);
}
