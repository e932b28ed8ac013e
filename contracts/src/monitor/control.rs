//! Messages on a monitor's control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::walls::Walls;

/// Most bytes of the guest's console that a report carries: the end of a failed boot.
pub const MAX_CONSOLE: usize = 16 << 10;

/// What the owner tells the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToMonitor {
    /// Connect the attached stream to a port on which the guest listens. A refused connection
    /// closes the stream.
    Connect {
        /// Guest port.
        port: u32,
    },
    /// Put the attached file, open for reading, where a read-only disk holds zeros; answered by
    /// [`FromMonitor::Extent`]. The guest must not have looked there before.
    Insert {
        /// The place.
        place: Place,
        /// The file, for a go-between that opens it where the monitor runs; the monitor opens
        /// nothing.
        path: PathBuf,
    },
    /// Make zeros again of what was inserted; answered by [`FromMonitor::Extent`].
    Remove {
        /// The place, as it was inserted.
        place: Place,
    },
    /// Stop the machine now.
    Stop,
}

/// A run of bytes on a disk, whole sectors of 512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index of the disk: 0 is `/dev/vda`.
    pub disk: u8,
    /// First byte.
    pub start: u64,
    /// Number of bytes, at least one sector.
    pub length: u64,
}

/// What the monitor tells its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromMonitor {
    /// The guest connected to a port of the host; the stream is attached.
    Connection {
        /// Host port.
        port: u32,
        /// What stands around the monitor; told with the first connection only, so that it costs no message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        walls: Option<Walls>,
    },
    /// An extent was inserted or removed.
    Extent {
        /// The place that was asked for.
        place: Place,
        /// Why not; `None` when it was.
        refused: Option<String>,
    },
    /// The machine has stopped; the last message.
    Stopped(Report),
}

/// A text as people may be shown it, whoever made it: without characters that a terminal would obey.
#[must_use]
pub fn clean(text: &str) -> String {
    let safe = |letter: &char| *letter == '\n' || !letter.is_control();
    text.chars().filter(safe).collect()
}

impl Report {
    /// The same report with its words [`clean`]: paths, causes and the guest's console are not ours.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        if let StopReason::Failed(words) = &mut self.reason {
            *words = clean(words);
        }
        self.console = clean(&self.console);
        for words in &mut self.failures {
            *words = clean(words);
        }
        self
    }
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why it stopped.
    pub reason: StopReason,
    /// The last bytes of its console, at most [`MAX_CONSOLE`], not valid UTF-8 replaced.
    pub console: String,
    /// When what happened: (step, nanoseconds of `CLOCK_MONOTONIC`).
    pub timeline: Vec<(String, u64)>,
    /// What went wrong meanwhile that the guest could only see as an I/O error, in words.
    pub failures: Vec<String>,
}

/// Why a machine stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The guest asked for a reset or power-off, the way in which it ends in good order.
    GuestReset,
    /// The guest's processor shut down (triple fault), which a panic with no way out also gives.
    TripleFault,
    /// The guest did not open its first vsock connection in time.
    BootDeadline,
    /// The owner asked, or its end of the control socket closed.
    Asked,
    /// The machine could not be built, or KVM refused to go on: words for a person.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_report_hold_nothing_that_a_terminal_obeys() {
        let bad = "a\u{1b}]0;title\u{7}b\r\u{9b}c\nd".to_owned();
        let report = Report {
            reason: StopReason::Failed(bad.clone()),
            console: bad.clone(),
            timeline: Vec::new(),
            failures: vec![bad],
        };
        let good = "a]0;titlebc\nd";
        let report = report.cleaned();
        assert_eq!(report.reason, StopReason::Failed(good.into()));
        assert_eq!((&*report.console, &*report.failures[0]), (good, good));
    }
}
