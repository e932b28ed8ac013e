//! What the guest's kernel says on its serial port: the end of it is kept, for boots that fail.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use contracts::monitor::MAX_CONSOLE;

/// The end of what was written, shared with who reports it.
#[derive(Clone, Default)]
pub struct Console {
    ring: Arc<Mutex<VecDeque<u8>>>,
    /// Also written to standard output, as it comes.
    live: bool,
}

impl Console {
    /// An empty console; `live` also prints what comes on standard output.
    #[must_use]
    pub fn new(live: bool) -> Self {
        Self {
            ring: Arc::default(),
            live,
        }
    }

    /// Whether what comes is printed.
    #[must_use]
    pub fn live(&self) -> bool {
        self.live
    }

    /// The last [`MAX_CONSOLE`] bytes, not valid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(ring.make_contiguous()).into_owned()
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if ring.len() >= MAX_CONSOLE {
                ring.pop_front();
            }
            ring.push_back(*byte);
        }
        if self.live {
            let mut out = io::stdout();
            out.write_all(bytes).and_then(|()| out.flush())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contracts::monitor::{FromMonitor, MAX_DISKS, Report, StopReason};
    use packets::{MAX_PACKET, Socket};

    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut console = Console::new(false);
        console.write_all(&[b'a'; MAX_CONSOLE]).unwrap();
        console.write_all(b"end").unwrap();
        let text = console.text();
        assert_eq!(text.len(), MAX_CONSOLE);
        assert!(text.ends_with("aend"));
    }

    #[test]
    fn report_with_the_worst_console_fits_into_a_packet() {
        for byte in [1, b'"', 0xff] {
            let mut console = Console::new(false);
            console.write_all(&vec![byte; MAX_PACKET]).unwrap();
            let report = FromMonitor::Stopped(Report {
                reason: StopReason::Failed("x".repeat(1000)),
                console: console.text(),
                timeline: vec![("a step of the start".into(), u64::MAX); 100],
                failures: vec!["a disk could not be written".into(); MAX_DISKS],
            });
            let (one, other) = Socket::pair().unwrap();
            one.send(&report, None).unwrap();
            let received = other.receive::<FromMonitor>().unwrap().unwrap();
            assert_eq!(received.0, report);
        }
    }
}
