//! `coracle stats`.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::Result;
use coracle_protocol::Tool;
use serde_json::{Value, json};

use super::{
    format::{self, Format},
    memory, table, tool,
};
use coracle_engine::state::{
    Directories,
    container::{Container, Containers},
    host::Hosts,
    network::Mode,
};
use coracle_platform::clock;
use coracle_terminal::output::{self, Screen, Stream};

/// Display a live stream of container resource usage statistics
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Disable streaming and only print the first result
    #[arg(long)]
    no_stream: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Format output as json, or by a Go template such as '{{.Name}} {{.MemUsage}}'
    #[arg(long)]
    format: Option<Format>,
}

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What a container had used at a time.
struct Sample {
    at: u64,
    files: BTreeMap<String, String>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let directories = Directories::from_environment()?;
    let (containers, hosts) = (Containers::new(&directories), Hosts::new(&directories));
    let mut before: BTreeMap<String, Sample> = BTreeMap::new();
    let mut first = true;
    loop {
        let all = chosen(arguments, &containers)?;
        let mut rows = Vec::new();
        for container in &all {
            let sample = match sample(container) {
                Ok(sample) => sample,
                // One that has just ended is not shown.
                Err(_) if arguments.containers.is_empty() => continue,
                Err(error) => return Err(error),
            };
            let id = &container.config.id;
            let memory = memory_of(container, &hosts);
            let earlier = before.get(id);
            rows.push(row(
                container,
                memory,
                (&sample, earlier),
                arguments.no_trunc,
            ));
            before.insert(id.clone(), sample);
        }
        // A share of time needs two looks.
        if !first || all.is_empty() {
            if !arguments.no_stream && arguments.format.is_none() {
                Screen::default().empty().show(Stream::Output);
            }
            print(arguments, &rows)?;
            output::check()?;
            if arguments.no_stream {
                return Ok(());
            }
        }
        first = false;
        thread::sleep(PAUSE);
    }
}

fn chosen(arguments: &Arguments, containers: &Containers) -> Result<Vec<Container>> {
    if !arguments.containers.is_empty() {
        let names = arguments.containers.iter();
        return names.map(|name| containers.find(name)).collect();
    }
    let live = |container: &Container| container.state().is_ok_and(|state| state.status.is_live());
    Ok(containers.list()?.into_iter().filter(live).collect())
}

fn sample(container: &Container) -> Result<Sample> {
    let text = tool::answer(container, Tool::Statistics)?;
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
    Ok(Sample {
        at: clock::now(),
        files,
    })
}

impl Sample {
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

/// Bytes of memory that a container can have at most.
fn memory_of(container: &Container, hosts: &Hosts) -> u64 {
    let of_host = || {
        let host = container.config.host.as_ref()?;
        Some(hosts.find(host).ok()?.config.memory)
    };
    let limit = container.config.memory.or_else(of_host);
    limit.unwrap_or(coracle_engine::host::DEFAULT_MEMORY)
}

fn row(
    container: &Container,
    memory: u64,
    (sample, before): (&Sample, Option<&Sample>),
    whole: bool,
) -> Value {
    let charged = sample.single("memory.current").unwrap_or(0);
    let reclaimable = sample.named("memory.stat", "inactive_file");
    // As docker: what the kernel would give up first is not counted.
    let used = charged.saturating_sub(reclaimable);
    let limit = sample.single("memory.max").unwrap_or(memory);
    // The guest's own network is not the container's.
    let network = sample
        .network()
        .filter(|_| container.config.network != Mode::Host);
    json!({
        "ID": if whole { &container.config.id } else { container.short_id() },
        "Container": container.config.name,
        "Name": container.config.name,
        "CPUPerc": format!("{}%", hundredths(cpu(sample, before))),
        "MemUsage": format!("{} / {}", table::binary_size(used), table::binary_size(limit)),
        "MemPerc": format!("{}%", hundredths(used.saturating_mul(10_000) / limit.max(1))),
        "MemCharged": charged,
        "MemReclaimable": reclaimable,
        "MemMarginal": marginal(container, sample),
        "NetIO": both(network),
        "BlockIO": both(sample.blocks()),
        "PIDs": sample.single("pids.current").unwrap_or(0).to_string(),
    })
}

/// Bytes in and out; docker's dashes where nobody counts them.
fn both(bytes: Option<(u64, u64)>) -> String {
    match bytes {
        Some((read, written)) => format!("{} / {}", table::size(read), table::size(written)),
        None => "--".into(),
    }
}

/// Bytes that would be free again without the container. With a host of its own: what its keeper and
/// its monitor, the guest's memory with it, take of this machine, where pages that several share count
/// in parts. In a named host, and where a software host hides the monitor: what the guest could use
/// for others, its images' pages not among it.
fn marginal(container: &Container, sample: &Sample) -> u64 {
    let own = container.config.host.is_none();
    let keeper = container.state().ok().filter(|_| own);
    let processes = keeper.and_then(|state| memory::of_family(state.keeper));
    processes.unwrap_or_else(|| {
        let kinds = ["anon", "shmem", "kernel"];
        kinds
            .map(|kind| sample.named("memory.stat", kind))
            .iter()
            .sum()
    })
}

/// Hundredths of a percent of a processor between two looks.
fn cpu(sample: &Sample, before: Option<&Sample>) -> u64 {
    let Some(before) = before else { return 0 };
    let micros = |sample: &Sample| sample.named("cpu.stat", "usage_usec");
    let used = micros(sample).saturating_sub(micros(before));
    let passed = sample.at.saturating_sub(before.at) / 1000;
    used.saturating_mul(10_000) / passed.max(1)
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn print(arguments: &Arguments, rows: &[Value]) -> Result<()> {
    if let Some(format) = &arguments.format {
        return format::print(format, rows);
    }
    let columns = [
        ("CONTAINER ID", "ID"),
        ("NAME", "Name"),
        ("CPU %", "CPUPerc"),
        ("MEM USAGE / LIMIT", "MemUsage"),
        ("MEM %", "MemPerc"),
        ("NET I/O", "NetIO"),
        ("BLOCK I/O", "BlockIO"),
        ("PIDS", "PIDs"),
    ];
    let mut printed = table::table(&columns.map(|(heading, _)| heading));
    for row in rows {
        printed.add_row(columns.map(|(_, name)| {
            row.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        }));
    }
    table::print(&printed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_and_the_rest_has_dashes() {
        let interfaces = "Inter-|   Receive                |  Transmit\n \
                          face |bytes    packets errs drop|bytes    packets\n    \
                          lo:  999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n  \
                          eth0: 1500 2 0 0 0 0 0 0 42 1 0 0 0 0 0 0\n";
        let disks = "254:0 rbytes=4096 wbytes=0 rios=1 wios=0\n254:16 rbytes=0 wbytes=512\n";
        let files = [
            ("net/dev".into(), interfaces.into()),
            ("io.stat".into(), disks.into()),
        ];
        let sample = Sample {
            at: 0,
            files: files.into(),
        };
        assert_eq!(sample.network(), Some((1500, 42)));
        assert_eq!(sample.blocks(), Some((4096, 512)));
        assert_eq!(both(sample.network()), "1.5kB / 42B");
        let nothing = Sample {
            at: 0,
            files: BTreeMap::new(),
        };
        assert_eq!(both(nothing.network()), "--");
        assert_eq!(both(nothing.blocks()), "--");
    }

    #[test]
    fn share_of_a_processor_is_told_between_two_looks() {
        let look = |at, used: u64| Sample {
            at,
            files: [("cpu.stat".into(), format!("usage_usec {used}\n"))].into(),
        };
        let (first, second) = (look(0, 0), look(2 * clock::SECOND, 500_000));
        assert_eq!(hundredths(cpu(&second, Some(&first))), "25.00");
        assert_eq!(cpu(&second, None), 0);
    }
}
