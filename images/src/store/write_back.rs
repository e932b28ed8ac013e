//! Writing to the disk while there is more to come, so that little is left to wait for at the end.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes of an archive after which the disk is set to work again: as much as a disk takes at once,
/// and little beside a layer that is worth it.
const STEP: u64 = 16 << 20;

/// What the thread is told.
enum Message {
    /// There is more to write.
    More,
    /// That was all.
    Last,
}

/// Makes a file durable beside the one who writes it.
pub(super) struct WriteBack<'scope> {
    file: &'scope File,
    /// Bytes of the archive when the thread was told the last time.
    told: u64,
    thread: Option<(
        SyncSender<Message>,
        ScopedJoinHandle<'scope, io::Result<()>>,
    )>,
}

impl<'scope> WriteBack<'scope> {
    /// Begins; a machine that gives no more threads writes all at the end.
    pub(super) fn new(scope: &'scope Scope<'scope, '_>, file: &'scope File) -> Self {
        // One waits while one is done: all that is written by then is seen by the one that waits.
        let (sender, receiver) = sync_channel(1);
        let thread = Builder::new()
            .name("layer-sync".to_owned())
            .spawn_scoped(scope, move || write(file, &receiver));
        Self {
            file,
            told: 0,
            thread: thread.ok().map(|thread| (sender, thread)),
        }
    }

    /// So many bytes of the archive are done.
    pub(super) fn advance(&mut self, bytes: u64) {
        if bytes - self.told >= STEP {
            self.told = bytes;
            if let Some((sender, _)) = &self.thread {
                // One that is busy looks again by itself, or has failed and says so at the end.
                drop(sender.try_send(Message::More));
            }
        }
    }

    /// Has all of the file written; meanwhile `work` is done.
    pub(super) fn finish<T>(self, work: impl FnOnce() -> T) -> (io::Result<()>, T) {
        let Some((sender, thread)) = self.thread else {
            return (self.file.sync_all(), work());
        };
        // One that is gone has failed.
        drop(sender.send(Message::Last));
        let result = work();
        (thread.join().expect("the thread does not panic"), result)
    }
}

/// The thread. An error is told once by the kernel, and so kept.
fn write(file: &File, messages: &Receiver<Message>) -> io::Result<()> {
    for message in messages {
        match message {
            Message::More => file.sync_data()?,
            Message::Last => return file.sync_all(),
        }
    }
    Ok(())
}
