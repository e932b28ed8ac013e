//! A host: a microVM with our init in it, as a monitor process that this one owns; or, where that is asked
//! for, the same init on this machine's kernel, with no machine of its own.

mod group;
mod initramfs;
pub mod namespace;
mod place;
mod plan;

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use contracts::guest::CONTROL_PORT;
use contracts::monitor::{FromMonitor, Plan, Report, ToMonitor};
use packets::Socket;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_setfd, retry_on_intr},
    net::sockopt::{Timeout, set_socket_timeout},
    process::setpriority_pgrp,
};
use serde::{Deserialize, Serialize};

use coracle_platform::process::{Process, last_words};
pub use group::remove_all as remove_groups;
pub use place::{Place, choose, is_in_machine};
pub use plan::{DEFAULT_MEMORY, Shape, plan};

use group::Group;

use crate::state::Directories;
use coracle_platform::programs;
use coracle_platform::sys::ending;

/// Nice value of a monitor that is about to end: a tenth of the usual share, so that it ends soon on
/// a busy system too.
const PRIORITY_AT_THE_END: i32 = 10;

/// How long a monitor may take to report that it has stopped its machine: a hundred times what it takes, in a
/// software host.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// A microVM that runs, or is about to.
pub struct Host {
    control: Socket,
    monitor: Monitor,
    report: Option<Report>,
    /// What stands around the monitor, in words.
    jail: Option<String>,
}

/// What a host is made of.
#[derive(Serialize, Deserialize)]
pub enum Design {
    /// A machine, and where its monitor runs.
    Machine(Box<Plan>, Place),
    /// Init on this machine's kernel.
    Namespace(namespace::Design),
}

/// Where the monitor runs.
enum Monitor {
    /// A child process, and what it writes on standard error.
    Child {
        child: Process,
        words: File,
        group: Option<Group>,
    },
    /// In a software host.
    Remote,
    /// There is none: init itself, and its control group.
    Init {
        child: Child,
        words: File,
        group: PathBuf,
    },
}

/// What a host's owner is told.
pub enum Event {
    /// The guest connected to a port.
    Connection {
        /// The port.
        port: u32,
        /// Its stream. Whoever is between may have run out of descriptors, where a guest floods it with connections:
        /// the guest finds this one closed, and the others go on.
        stream: Option<UnixStream>,
    },
    /// A file was put on a disk or taken from it.
    Extent {
        /// The place that was asked for.
        place: contracts::monitor::Place,
        /// Why not; `None` when it was.
        refused: Option<String>,
    },
    /// The machine has stopped.
    Stopped(Box<Report>),
}

impl Host {
    /// One whose monitor is at the other end of a socket, wherever that is.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn at(control: Socket) -> Self {
        Self {
            control,
            monitor: Monitor::Remote,
            report: None,
            jail: None,
        }
    }

    /// Starts a monitor, or init alone.
    ///
    /// # Errors
    /// When the program is missing or cannot be started, or the software host cannot.
    pub fn start(design: &Design, directories: &Directories) -> Result<Self> {
        let host = Self::begin(design, directories)?;
        // One that is stuck reads nothing, and must not hold up who writes to it.
        set_socket_timeout(&host.control, Timeout::Send, Some(REPORT_TIMEOUT))
            .context("cannot set a timeout")?;
        Ok(host)
    }

    fn begin(design: &Design, directories: &Directories) -> Result<Self> {
        match design {
            Design::Namespace(design) => {
                let (control, child, words) = namespace::start(design)?;
                Ok(Self {
                    control,
                    monitor: Monitor::Init {
                        child,
                        words,
                        group: design.group.clone(),
                    },
                    report: None,
                    jail: None,
                })
            }
            Design::Machine(plan, Place::Here) => Self::start_here(plan),
            Design::Machine(plan, Place::Machine) => {
                let control = coracle_software_host::spawn_monitor(directories, plan)?;
                Ok(Self {
                    control: Socket::from(control),
                    monitor: Monitor::Remote,
                    report: None,
                    jail: None,
                })
            }
        }
    }

    fn start_here(plan: &Plan) -> Result<Self> {
        let program = programs::own("coracle-vmm")?;
        let (control, theirs) = Socket::pair().context("cannot make a socket")?;
        let theirs = OwnedFd::from(theirs);
        let json = serde_json::to_vec(plan).context("cannot write the plan")?;
        let plan = memory_file("plan", &json)?;
        let words = memory_file("words", &[])?;
        let group = Group::make();
        let passed = [theirs.as_fd(), plan.as_fd()].into_iter();
        // The monitor must inherit these; nothing else is started in between.
        for descriptor in passed.chain(group.as_ref().map(AsFd::as_fd)) {
            fcntl_setfd(descriptor, FdFlags::empty()).context("cannot pass a descriptor on")?;
        }
        let mut command = Command::new(&program);
        command
            .arg("--control-fd")
            .arg(theirs.as_raw_fd().to_string())
            .arg("--plan-fd")
            .arg(plan.as_raw_fd().to_string());
        if let Some(group) = &group {
            let number = group.as_fd().as_raw_fd();
            command.arg("--cgroup-fd").arg(number.to_string());
        }
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words.try_clone().context("cannot duplicate a file")?);
        let child = Process::spawn(&mut command)
            .with_context(|| format!("cannot start {}", program.display()))?;
        if let Some(group) = &group {
            fcntl_setfd(group, FdFlags::CLOEXEC).context("cannot keep a descriptor")?;
        }
        Ok(Self {
            control,
            monitor: Monitor::Child {
                child,
                words,
                group,
            },
            report: None,
            jail: None,
        })
    }

    /// The next thing that happens to the host; waits for it.
    ///
    /// # Errors
    /// When the monitor died without a report.
    pub fn receive(&mut self) -> Result<Event> {
        match self.control.receive::<FromMonitor>() {
            // Nobody floods that port: the guest's first connection is there before any process.
            Ok(Some((FromMonitor::Connection { port, .. }, None))) if port == CONTROL_PORT => {
                bail!("the monitor announced a connection to port {port} without its socket")
            }
            Ok(Some((FromMonitor::Connection { port, walls }, stream))) => {
                if let Some(walls) = walls {
                    self.jail = Some(walls.to_string());
                    if let Monitor::Child { child, .. } = &mut self.monitor {
                        child.settle();
                    }
                }
                Ok(Event::Connection {
                    port,
                    stream: stream.map(UnixStream::from),
                })
            }
            Ok(Some((FromMonitor::Extent { place, refused }, _))) => {
                Ok(Event::Extent { place, refused })
            }
            Ok(Some((FromMonitor::Stopped(report), _))) => {
                self.report = Some(report.clone());
                Ok(Event::Stopped(Box::new(report)))
            }
            Ok(None) => Err(self.died()),
            Err(error) => Err(error).context("lost connection to the monitor"),
        }
    }

    /// Asks for a file to be put on a disk, where it holds zeros; [`Event::Extent`] follows.
    ///
    /// # Errors
    /// When the file cannot be opened, or the monitor is gone.
    pub fn insert(&self, place: contracts::monitor::Place, path: &Path) -> Result<()> {
        let file = match &self.monitor {
            Monitor::Child { .. } | Monitor::Init { .. } => {
                let file = File::open(path);
                Some(file.with_context(|| format!("cannot open {}", path.display()))?)
            }
            // It is opened where the monitor is.
            Monitor::Remote => None,
        };
        let path = match file {
            Some(_) => path.to_owned(),
            None => coracle_software_host::visible(path)?,
        };
        let insert = ToMonitor::Insert { place, path };
        let attached = file.as_ref().map(AsFd::as_fd);
        let told = self.control.send(&insert, attached);
        told.context("cannot reach the monitor")
    }

    /// Asks for zeros where a file was put; [`Event::Extent`] follows.
    ///
    /// # Errors
    /// When the monitor is gone.
    pub fn remove(&self, place: contracts::monitor::Place) -> Result<()> {
        let told = self.control.send(&ToMonitor::Remove { place }, None);
        told.context("cannot reach the monitor")
    }

    /// Whether [`Self::receive`] would not wait.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn has_event(&self) -> Result<bool> {
        self.has_event_within(Duration::ZERO)
    }

    fn has_event_within(&self, time: Duration) -> Result<bool> {
        let mut descriptor = [PollFd::new(&self.control, PollFlags::IN)];
        let time = Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let ready = retry_on_intr(|| poll(&mut descriptor, Some(&time)));
        Ok(ready.context("cannot look at the monitor's socket")? > 0)
    }

    /// What stands around the monitor, in words; empty where there is none, or the guest was not heard yet.
    pub fn jail(&self) -> &str {
        self.jail.as_deref().unwrap_or_default()
    }

    /// Words for a monitor that is gone without a report.
    fn died(&mut self) -> anyhow::Error {
        let (who, status, words) = match &mut self.monitor {
            Monitor::Child { child, words, .. } => {
                ("the monitor", child.end(ending::PATIENCE), words)
            }
            Monitor::Init { child, words, .. } => {
                ("init", ending::end(child, ending::PATIENCE), words)
            }
            Monitor::Remote => {
                return anyhow!(
                    "the software host's connection broke; see 'coracle machine status'"
                );
            }
        };
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let text = last_words(words);
        anyhow!("{who} ended without a report ({status}) {text}")
    }

    /// Whether the monitor's clock is this process's.
    pub fn shares_clock(&self) -> bool {
        matches!(self.monitor, Monitor::Child { .. })
    }

    /// Whether init's kernel, and so its clock, is this process's.
    pub fn shares_kernel(&self) -> bool {
        matches!(self.monitor, Monitor::Init { .. })
    }

    /// Stops the machine; its report, if it could still give one. However the monitor is, this ends, and so does
    /// the monitor.
    ///
    /// A monitor that has reported is only about to end: it is killed, should it not, and not waited for. The
    /// system takes its time (some timer ticks) to take a virtual machine apart, and nothing depends on that.
    /// One that has not is waited for, and killed when that takes too long.
    pub fn finish(self) -> Option<Report> {
        self.finish_within(REPORT_TIMEOUT, ending::PATIENCE)
    }

    fn finish_within(mut self, to_report: Duration, to_end: Duration) -> Option<Report> {
        self.step_back();
        if self.report.is_none() {
            // A monitor that is gone already has nothing to be told.
            let told = self.control.send(&ToMonitor::Stop, None);
            let until = Instant::now() + to_report;
            while told.is_ok() && self.report.is_none() {
                // One that is stuck says nothing.
                let left = until.saturating_duration_since(Instant::now());
                if !self.has_event_within(left).unwrap_or(false) {
                    break;
                }
                match self.control.receive::<FromMonitor>() {
                    Ok(Some((FromMonitor::Stopped(report), _))) => self.report = Some(report),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        let Self {
            control,
            mut monitor,
            report,
            ..
        } = self;
        drop(control);
        let ended = match &mut monitor {
            Monitor::Remote => Ok(()),
            Monitor::Child { child, .. } if report.is_some() => {
                child.kill();
                Ok(())
            }
            Monitor::Init { child, .. } if report.is_some() => {
                // One that has ended just now cannot be killed.
                let _ = child.kill();
                Ok(())
            }
            Monitor::Child { child, .. } => child.end(to_end).map(drop),
            Monitor::Init { child, .. } => ending::end(child, to_end).map(drop),
        };
        if let Err(error) = ended {
            log::warn!("cannot wait for the monitor: {error}");
        }
        if let Monitor::Child {
            group: Some(group), ..
        } = monitor
        {
            group.leave();
        } else if let Monitor::Init { group, .. } = &monitor {
            // Where it could not do that itself.
            namespace::end_group(group);
        }
        report
    }

    /// Lets everyone else go first from here on: what the guest still does is of no use to anyone,
    /// and its memory takes milliseconds to free, which the command must not wait for where there is
    /// one processor for both.
    fn step_back(&self) {
        if let Monitor::Child { child, .. } = &self.monitor {
            // The group is the monitor with all its threads. It may be gone already.
            let _ = setpriority_pgrp(Some(child.group()), PRIORITY_AT_THE_END);
        }
    }
}

impl AsFd for Host {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// A file in memory with this content, read from its start.
fn memory_file(name: &str, content: &[u8]) -> Result<File> {
    let write = || -> io::Result<File> {
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    write().context("cannot make a file in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitor_that_does_nothing_any_more_is_killed() {
        let (control, theirs) = Socket::pair().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM INT HUP; while :; do sleep 1; done"]);
        let child = Process::spawn(&mut command).unwrap();
        let group = child.group();
        let words = memory_file("words", &[]).unwrap();
        let host = Host {
            control,
            monitor: Monitor::Child {
                child,
                words,
                group: None,
            },
            report: None,
            jail: None,
        };
        let moment = Duration::from_millis(1);
        assert!(host.finish_within(moment, moment).is_none());
        // It was waited for, and so is nobody any more.
        assert!(rustix::process::test_kill_process(group).is_err());
        drop(theirs);
    }
}
