//! The commands that talk to the broker: a thread for each.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use packets::Socket;

use super::{
    super::{
        Status,
        mux::Channel,
        relay::{self, Exchange, MAX_MESSAGE, Messages, Purpose},
        wire::{self, Envelope, Reply, Request},
    },
    Settings,
};

/// Who uses the machine.
pub(super) struct Clients {
    settings: Settings,
    started: Instant,
    exchange: Arc<Exchange>,
    waker: UnixStream,
    stopping: AtomicBool,
    use_: Mutex<Use>,
}

struct Use {
    clients: usize,
    /// When the number last became zero.
    since: Instant,
}

/// Wakes the main thread.
pub(super) fn wake(mut waker: &UnixStream) {
    // One that is awake already, or gone, needs no waking.
    let _ = waker.write_all(&[0]);
}

impl Clients {
    /// None yet.
    pub(super) fn new(settings: Settings, exchange: Arc<Exchange>, waker: UnixStream) -> Self {
        let now = Instant::now();
        let use_ = Mutex::new(Use {
            clients: 0,
            since: now,
        });
        let stopping = AtomicBool::new(false);
        Self {
            settings,
            started: now,
            exchange,
            waker,
            stopping,
            use_,
        }
    }

    /// For how long nobody has used the machine; `None` when someone does.
    pub(super) fn idle(&self) -> Option<Duration> {
        let use_ = self.lock();
        (use_.clients == 0).then(|| use_.since.elapsed())
    }

    /// Whether a client has asked to stop.
    pub(super) fn asked_to_stop(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection in a thread of its own.
    ///
    /// # Errors
    /// When there cannot be one more thread.
    pub(super) fn serve(self: &Arc<Self>, packets: Socket) -> Result<()> {
        let this = self.clone();
        let work = move || {
            let packets = Arc::new(packets);
            if let Err(error) = this.answer(&packets) {
                super::println_to_log(&format!("{error:#}"));
                // A client that has gone away needs no answer.
                let _ = packets.send(&Reply::Failed(format!("{error:#}")), None);
            }
        };
        thread::Builder::new()
            .name("client".into())
            .spawn(work)
            .context("cannot start a thread")?;
        Ok(())
    }

    fn answer(&self, packets: &Arc<Socket>) -> Result<()> {
        let Some((envelope, attached)) = packets
            .receive::<Envelope>()
            .context("cannot receive a request")?
        else {
            return Ok(());
        };
        match wire::open(envelope)? {
            Request::Status => Ok(packets.send(&Reply::Status(self.status()), None)?),
            Request::Stop => {
                self.stopping.store(true, Ordering::Release);
                wake(&self.waker);
                // Never closed: it closes when this process ends, which is what the client
                // waits for.
                std::mem::forget(packets.clone());
                Ok(())
            }
            Request::Monitor { program } => {
                let plan = attached.context("a monitor without a plan")?;
                self.used(|| self.relay(packets, &Purpose::Monitor { program }, Some(plan)))
            }
            Request::Shell { term, size } => {
                self.used(|| self.relay(packets, &Purpose::Shell { term, size }, None))
            }
        }
    }

    /// Counts a client while it uses the machine.
    fn used<T>(&self, work: impl FnOnce() -> T) -> T {
        self.lock().clients += 1;
        let result = work();
        let mut use_ = self.lock();
        use_.clients -= 1;
        use_.since = Instant::now();
        // The main thread counts from now on.
        drop(use_);
        result
    }

    fn relay(&self, packets: &Arc<Socket>, purpose: &Purpose, plan: Option<OwnedFd>) -> Result<()> {
        let channel = self
            .exchange
            .open(purpose)
            .context("the software host has exited")?;
        let Channel {
            mut sender,
            receiver,
        } = channel;
        if let Some(plan) = plan {
            relay::send(&mut sender, 0, &read(plan)?).context("the software host takes no plan")?;
        }
        packets.send(&Reply::Done, None)?;
        self.exchange.relay(
            packets,
            sender,
            Messages::new(receiver),
            |_| None,
            |_| None,
            || {},
        );
        Ok(())
    }

    fn status(&self) -> Status {
        let name = self
            .settings
            .kernel
            .file_name()
            .and_then(|name| name.to_str());
        Status {
            running: true,
            pid: Some(process::id()),
            seconds: self.started.elapsed().as_secs(),
            processors: super::super::qemu::PROCESSORS,
            memory_mib: self.settings.memory_mib,
            clients: self.lock().clients,
            idle_seconds: self.settings.idle_seconds,
            kernel: name
                .unwrap_or_default()
                .trim_start_matches("kernel-")
                .to_owned(),
        }
    }
}

fn read(file: OwnedFd) -> Result<Vec<u8>> {
    let mut file = File::from(file);
    let mut bytes = Vec::new();
    file.rewind().context("the plan is no file")?;
    let limit = u64::try_from(MAX_MESSAGE)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .context("cannot read the plan")?;
    anyhow::ensure!(
        bytes.len() <= MAX_MESSAGE,
        "a plan of more than {MAX_MESSAGE} bytes"
    );
    Ok(bytes)
}
