//! `coracle stats`.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::Result;
use coracle_engine::containers::{Container, Containers, Usage};
use coracle_terminal::output::{self, Screen, Stream};
use serde_json::{Value, json};

use super::{
    engine,
    format::{self, Format},
    table,
};

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

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let containers = engine()?.containers();
    let mut before: BTreeMap<String, Usage> = BTreeMap::new();
    let mut first = true;
    loop {
        let all = chosen(arguments, &containers)?;
        let mut rows = Vec::new();
        for container in &all {
            let usage = match container.usage() {
                Ok(usage) => usage,
                // One that has just ended is not shown.
                Err(_) if arguments.containers.is_empty() => continue,
                Err(error) => return Err(error.into()),
            };
            let earlier = before.get(container.id());
            rows.push(row(container, &usage, earlier, arguments.no_trunc));
            before.insert(container.id().into(), usage);
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
        return Ok(names
            .map(|name| containers.find(name))
            .collect::<Result<_, _>>()?);
    }
    let live = |container: &Container| container.state().is_ok_and(|state| state.status.is_live());
    Ok(containers.list()?.into_iter().filter(live).collect())
}

fn row(container: &Container, usage: &Usage, before: Option<&Usage>, whole: bool) -> Value {
    let (used, limit) = (usage.memory(), usage.limit);
    let cpu = before.map_or(0, |before| usage.cpu_since(before));
    json!({
        "ID": if whole { container.id() } else { container.record().short_id() },
        "Container": container.name(),
        "Name": container.name(),
        "CPUPerc": format!("{}%", hundredths(cpu)),
        "MemUsage": format!("{} / {}", table::binary_size(used), table::binary_size(limit)),
        "MemPerc": format!("{}%", hundredths(used.saturating_mul(10_000) / limit.max(1))),
        "MemCharged": usage.charged,
        "MemReclaimable": usage.reclaimable,
        "MemMarginal": usage.marginal,
        "NetIO": both(usage.network),
        "BlockIO": both(usage.blocks),
        "PIDs": usage.pids.to_string(),
    })
}

/// Bytes in and out; docker's dashes where nobody counts them.
fn both(bytes: Option<(u64, u64)>) -> String {
    match bytes {
        Some((read, written)) => format!("{} / {}", table::size(read), table::size(written)),
        None => "--".into(),
    }
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
    fn what_is_not_counted_has_dashes_and_shares_have_two_decimals() {
        assert_eq!(both(Some((1500, 42))), "1.5kB / 42B");
        assert_eq!(both(None), "--");
        assert_eq!(hundredths(2500), "25.00");
        assert_eq!(hundredths(7), "0.07");
    }
}
