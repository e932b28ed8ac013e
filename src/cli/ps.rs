//! `coracle ps`.

use anyhow::Result;
use coracle_engine::state::{
    Directories,
    container::{Containers, short},
    host::Hosts,
};
use coracle_platform::clock;
use coracle_terminal::output::{self, Stream};
use docker_model::{
    age,
    container::{FILTERS, Filter, command_line, status},
    records::{self, Row},
    time,
};
use serde_json::{Value, json};

use super::{
    filter::{self, Failure, Things},
    format::{self, Format},
    table,
};

/// List containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Show the last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Filter output based on conditions: ancestor, before, exited, expose, health, host, id, label, name, network,
    /// publish, since, status, volume
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// Format output as json, or by a Go template such as '{{.ID}} {{.Names}}'
    #[arg(long)]
    format: Option<Format>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let directories = Directories::from_environment()?;
    let list = Containers::new(&directories).summaries()?;
    let hosts = Hosts::new(&directories).list()?;
    let filters = filter::filters(&arguments.filter, &FILTERS)?;
    let filter = Filter::new(filters, &mut Things).map_err(|Failure(error)| error)?;
    let limit = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, last) => last,
    };
    let rows = records::rows(list, &hosts, &filter, arguments.all, limit);
    if arguments.quiet {
        let lines = rows.map(|row| id(&row, arguments.no_trunc) + "\n");
        output::write(Stream::Output, &lines.collect::<String>());
        return Ok(());
    }
    if let Some(format) = &arguments.format {
        let values: Vec<Value> = rows
            .map(|row| json(&row, arguments.no_trunc, clock::wall()))
            .collect();
        return format::print(format, &values);
    }
    let mut printed = table::table(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]);
    let now = clock::wall();
    for row in rows {
        let command = command(&row, arguments.no_trunc);
        printed.add_row([
            id(&row, arguments.no_trunc),
            row.summary.image,
            command,
            age::ago(row.summary.created, now),
            status(&row.summary.life, now),
            String::new(),
            row.summary.name,
        ]);
    }
    table::print(&printed);
    Ok(())
}

/// Longest command that is shown whole, as docker's.
const COMMAND_LENGTH: usize = 20;

fn id(row: &Row, whole: bool) -> String {
    if whole {
        row.summary.id.clone()
    } else {
        short(&row.summary.id).into()
    }
}

fn command(row: &Row, whole: bool) -> String {
    let command = command_line(&row.summary.args);
    // Before it is shortened.
    let command = output::clean_line(&command);
    if whole || command.chars().count() <= COMMAND_LENGTH {
        return format!("\"{command}\"");
    }
    let start: String = command.chars().take(COMMAND_LENGTH - 1).collect();
    format!("\"{start}…\"")
}

fn json(row: &Row, whole: bool, now: u64) -> Value {
    let summary = &row.summary;
    let pairs = summary.labels.iter();
    let labels: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let networks: Vec<&str> = summary.networks.keys().map(String::as_str).collect();
    json!({
        "ID": id(row, whole),
        "Image": summary.image,
        "Command": command(row, whole),
        "CreatedAt": time::rfc3339_fixed(summary.created),
        "RunningFor": age::ago(summary.created, now),
        "Ports": "",
        "State": summary.life.status.word(),
        "Status": status(&summary.life, now),
        "Names": summary.name,
        "Labels": labels.join(","),
        "Mounts": "",
        "Networks": networks.join(","),
        "LocalVolumes": "0",
        "Size": "0B",
        "Host": row.host,
    })
}
