//! `coracle host ls` and `host inspect`.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::{
    engine, filter,
    format::{self, Format},
    inspect, options, table,
};
use coracle_engine::{
    hosts::{Host, Listed},
    state::{
        container::short,
        host::{State, Status},
    },
};
use coracle_platform::clock;
use docker_model::{
    age,
    filters::{Filters, NamePattern},
    time,
};

/// List hosts
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
    /// Filter output based on conditions: name, status, label
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// Format output as json, or by a Go template such as '{{.Name}} {{.Status}}'
    #[arg(long)]
    format: Option<Format>,
}

/// Return low-level information on hosts, as JSON
#[derive(clap::Args)]
pub(super) struct Inspect {
    /// Names or IDs
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Format output as json, or by a Go template such as '{{.State.Status}}'
    #[arg(short, long)]
    format: Option<Format>,
}

/// Filters by their names.
const FILTERS: [&str; 3] = ["name", "status", "label"];

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    // Told even where there is no host to filter.
    let filters = filter::filters(&arguments.filter, &FILTERS)?;
    let names = filters.values("name").map(str::parse);
    let names = names.collect::<Result<Vec<NamePattern>, _>>();
    let names = names.map_err(anyhow::Error::msg)?;
    let mut rows = Vec::new();
    for row in engine()?.hosts().overview()? {
        if is_meant(&row.host, &row.state, &filters, &names) {
            rows.push(row);
        }
    }
    if arguments.quiet {
        for row in rows {
            outln!("{}", row.host.name());
        }
        return Ok(());
    }
    if let Some(format) = &arguments.format {
        let values: Vec<Value> = rows.iter().map(json).collect();
        return format::print(format, &values);
    }
    let mut printed = table::table(&[
        "NAME",
        "HOST ID",
        "STATUS",
        "CONTAINERS",
        "CPUS",
        "MEMORY",
        "KERNEL",
    ]);
    for row in rows {
        let config = row.host.config();
        printed.add_row([
            config.name.clone(),
            short(&config.id).into(),
            status(&row.state),
            format!("{} ({} up)", row.containers, row.running),
            config.cpus.to_string(),
            table::binary_size(config.memory),
            row.state.release.clone(),
        ]);
    }
    table::print(&printed);
    Ok(())
}

/// A host's status in the words of a container's.
fn status(state: &State) -> String {
    let now = clock::wall();
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}", age::since(state.started, now)),
        Status::Exited => format!("Exited {}", age::ago(state.finished, now)),
    }
}

fn json(row: &Listed) -> Value {
    let config = row.host.config();
    json!({
        "ID": short(&config.id),
        "Name": config.name,
        "State": row.state.status.word(),
        "Status": status(&row.state),
        "Containers": row.containers,
        "Running": row.running,
        "CPUs": config.cpus,
        "Memory": config.memory,
        "Disk": config.disk,
        "Kernel": row.state.release,
    })
}

fn is_meant(host: &Host, state: &State, filters: &Filters, names: &[NamePattern]) -> bool {
    let mut patterns = names.iter();
    (names.is_empty() || patterns.any(|pattern| pattern.matches(host.name())))
        && filters.is("status", state.status.word())
        && filters.labels(&host.config().labels)
}

/// Prints a list of those that there are; 1 when one is missing.
pub(super) fn inspect(arguments: &Inspect) -> Result<u8> {
    let hosts = engine()?.hosts();
    inspect::print(&arguments.hosts, arguments.format.as_ref(), |name| {
        describe(&hosts.find(name)?)
    })
}

fn describe(host: &Host) -> Result<Value> {
    let state = host.state()?;
    let config = host.config();
    let time = |wall: u64| (wall > 0).then(|| time::rfc3339(wall));
    let own = host.containers()?.into_iter();
    let own: Vec<Value> = own
        .map(|container| json!({"Id": container.id(), "Name": container.name()}))
        .collect();
    Ok(json!({
        "Id": config.id,
        "Name": config.name,
        "Created": time::rfc3339(config.created),
        "CPUs": config.cpus,
        "Memory": config.memory,
        "Disk": config.disk,
        "ContainerDisk": config.container_disk(),
        "KernelFile": config.kernel,
        "Labels": config.labels,
        "State": {
            "Status": state.status.word(),
            "Running": state.status == Status::Running,
            "StartedAt": time(state.started),
            "FinishedAt": time(state.finished),
            "Error": state.error,
            "Kernel": state.release,
            "KeeperPid": if state.status == Status::Running { state.keeper } else { 0 },
        },
        "Containers": own,
    }))
}
