//! `coracle ps`.

use std::collections::BTreeMap;

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
    container::{FILTERS, Filter, Size, command_line, ports_text, status},
    records::{self, Row},
    time,
};
use serde_json::{Value, json};

use super::{
    engine,
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
    /// Show how much each has written, where that is known, and with its image
    #[arg(short, long)]
    size: bool,
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
    let sizes = match arguments.size {
        true => engine()?.containers().sizes(&list)?,
        false => BTreeMap::new(),
    };
    let limit = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, last) => last,
    };
    let rows = records::rows(list, &hosts, &filter, arguments.all, limit).map(|mut row| {
        row.summary.size = sizes.get(&row.summary.id).copied().map(records::size);
        row
    });
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
    let mut headings = vec![
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ];
    headings.extend(arguments.size.then_some("SIZE"));
    let mut printed = table::table(&headings);
    let now = clock::wall();
    for row in rows {
        let command = command(&row, arguments.no_trunc);
        let size = arguments.size.then(|| size(&row));
        let cells = [
            id(&row, arguments.no_trunc),
            row.summary.image,
            command,
            age::ago(row.summary.created, now),
            status(&row.summary.life, now),
            ports_text(&row.summary.ports),
            row.summary.name,
        ];
        printed.add_row(cells.into_iter().chain(size));
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

/// Its size as docker's table has it.
fn size(row: &Row) -> String {
    let Some(Size { written, root }) = row.summary.size else {
        return "0B".into();
    };
    let written = written.map_or_else(|| "N/A".into(), table::size);
    format!("{written} (virtual {})", table::size(root))
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
        "Ports": ports_text(&summary.ports),
        "State": summary.life.status.word(),
        "Status": status(&summary.life, now),
        "Names": summary.name,
        "Labels": labels.join(","),
        "Mounts": "",
        "Networks": networks.join(","),
        "LocalVolumes": "0",
        "Size": size(row),
        "Host": row.host,
    })
}
