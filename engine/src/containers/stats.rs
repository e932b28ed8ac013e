//! What a container uses of its guest and this machine.

use std::collections::BTreeMap;

use contracts::guest::Tool;

use super::{Container, memory, tool};
use crate::{Result, host::DEFAULT_MEMORY, state::network::Mode};
use coracle_platform::clock;

/// What a container had used at a time, as the guest counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// Microseconds of processor time.
    pub cpu: u64,
    /// Bytes of memory that are charged to it.
    pub charged: u64,
    /// Bytes of these that the kernel would give up first.
    pub reclaimable: u64,
    /// Bytes of memory that it can have at most.
    pub limit: u64,
    /// Bytes that would be free again without it.
    pub marginal: u64,
    /// Bytes received from the network and sent there, where that is counted.
    pub network: Option<(u64, u64)>,
    /// Bytes read from disks and written to them, where that is counted.
    pub blocks: Option<(u64, u64)>,
    /// How many processes and threads it has.
    pub pids: u64,
}

/// What the guest tells: files of the container's cgroup and network.
struct Sample {
    files: BTreeMap<String, String>,
}

impl Container {
    /// What it has used until now. A share of processor time needs two of them, see [`Usage::cpu_since`].
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run.
    pub fn usage(&self) -> Result<Usage> {
        let sample = Sample::read(&tool::answer(self, Tool::Statistics)?);
        let at = clock::now();
        // The guest's own network is not the container's.
        let own_network = self.config().network != Mode::Host;
        Ok(Usage {
            at,
            cpu: sample.named("cpu.stat", "usage_usec"),
            charged: sample.single("memory.current").unwrap_or(0),
            reclaimable: sample.named("memory.stat", "inactive_file"),
            limit: sample
                .single("memory.max")
                .unwrap_or_else(|| self.most_memory()),
            marginal: self.marginal(&sample),
            network: sample.network().filter(|_| own_network),
            blocks: sample.blocks(),
            pids: sample.single("pids.current").unwrap_or(0),
        })
    }

    /// Bytes of memory that it can have at most, where its cgroup has no limit.
    fn most_memory(&self) -> u64 {
        let of_host = || {
            let host = self.config().host.as_ref()?;
            Some(self.engine.hosts().find(host).ok()?.config().memory)
        };
        let limit = self.config().memory.or_else(of_host);
        limit.unwrap_or(DEFAULT_MEMORY)
    }

    /// Bytes that would be free again without the container. With a host of its own: what its keeper and
    /// its monitor, the guest's memory with it, take of this machine, where pages that several share count
    /// in parts. In a named host, and where a software host hides the monitor: what the guest could use
    /// for others, its images' pages not among it.
    fn marginal(&self, sample: &Sample) -> u64 {
        let own = self.config().host.is_none();
        let keeper = self.state().ok().filter(|_| own);
        let processes = keeper.and_then(|state| memory::of_family(state.keeper));
        processes.unwrap_or_else(|| {
            let kinds = ["anon", "shmem", "kernel"];
            kinds
                .map(|kind| sample.named("memory.stat", kind))
                .iter()
                .sum()
        })
    }
}

impl Usage {
    /// Bytes of memory in use: as docker, without what the kernel would give up first.
    pub fn memory(&self) -> u64 {
        self.charged.saturating_sub(self.reclaimable)
    }

    /// Hundredths of a percent of a processor between an earlier time and this one.
    pub fn cpu_since(&self, before: &Self) -> u64 {
        let used = self.cpu.saturating_sub(before.cpu);
        let passed = self.at.saturating_sub(before.at) / 1000;
        used.saturating_mul(10_000) / passed.max(1)
    }
}

impl Sample {
    /// The files that init sends, each after its name.
    fn read(text: &str) -> Self {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            match line
                .strip_prefix("==> ")
                .and_then(|line| line.strip_suffix(" <=="))
            {
                Some(name) => {
                    current = name.into();
                    // One that is there and empty counts nothing yet.
                    files.entry(current.clone()).or_default();
                }
                None => {
                    let file = files.entry(current.clone()).or_default();
                    file.push_str(line);
                    file.push('\n');
                }
            }
        }
        Self { files }
    }

    /// The number in a file that has only one; `None` for `max`.
    fn single(&self, file: &str) -> Option<u64> {
        self.files.get(file)?.trim().parse().ok()
    }

    /// A number by its name.
    fn named(&self, file: &str, name: &str) -> u64 {
        let lines = self.files.get(file).map_or("", String::as_str).lines();
        let mut pairs = lines.filter_map(|line| line.split_once(' '));
        pairs
            .find(|(own, _)| *own == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Bytes read from disks and written to them, where that is counted.
    fn blocks(&self) -> Option<(u64, u64)> {
        let text = self.files.get("io.stat")?;
        let sum = |name: &str| {
            text.split_whitespace()
                .filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok())
                .fold(0, u64::saturating_add)
        };
        Some((sum("rbytes="), sum("wbytes=")))
    }

    /// Bytes received from the network and sent there, where that is counted.
    fn network(&self) -> Option<(u64, u64)> {
        let mut sum = (0_u64, 0_u64);
        for line in self.files.get("net/dev")?.lines() {
            // Those without a colon are the heading.
            let Some((name, counts)) = line.split_once(':') else {
                continue;
            };
            if name.trim() == "lo" {
                continue;
            }
            let mut counts = counts.split_whitespace();
            let mut count = |index| counts.nth(index)?.parse::<u64>().ok();
            // Received: the first; sent: the ninth.
            let (received, sent) = (count(0).unwrap_or(0), count(7).unwrap_or(0));
            sum = (sum.0.saturating_add(received), sum.1.saturating_add(sent));
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read_and_the_rest_is_not_known() {
        let text = "==> net/dev <==\n\
                    Inter-|   Receive                |  Transmit\n \
                    face |bytes    packets errs drop|bytes    packets\n    \
                    lo:  999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n  \
                    eth0: 1500 2 0 0 0 0 0 0 42 1 0 0 0 0 0 0\n\
                    ==> io.stat <==\n\
                    254:0 rbytes=4096 wbytes=0 rios=1 wios=0\n254:16 rbytes=0 wbytes=512\n\
                    ==> memory.max <==\nmax\n\
                    ==> cpu.stat <==\nusage_usec 7\n";
        let sample = Sample::read(text);
        assert_eq!(sample.network(), Some((1500, 42)));
        assert_eq!(sample.blocks(), Some((4096, 512)));
        assert_eq!(sample.single("memory.max"), None);
        assert_eq!(sample.named("cpu.stat", "usage_usec"), 7);
        let nothing = Sample::read("");
        assert_eq!(nothing.network(), None);
        assert_eq!(nothing.blocks(), None);
        // One that is there and empty counts nothing yet.
        assert_eq!(Sample::read("==> io.stat <==\n").blocks(), Some((0, 0)));
    }

    #[test]
    fn share_of_a_processor_is_told_between_two_looks() {
        let look = |at, cpu| Usage {
            at,
            cpu,
            charged: 3,
            reclaimable: 5,
            limit: 0,
            marginal: 0,
            network: None,
            blocks: None,
            pids: 0,
        };
        let (first, second) = (look(0, 0), look(2 * clock::SECOND, 500_000));
        assert_eq!(second.cpu_since(&first), 2500);
        assert_eq!(first.cpu_since(&second), 0);
        assert_eq!(first.memory(), 0);
    }
}
