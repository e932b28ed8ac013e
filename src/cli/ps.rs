//! `coracle ps`.

use anyhow::Result;
use coracle_engine::state::{
    Directories,
    container::{self, Containers, short},
    host::{Host, Hosts},
};
use coracle_platform::clock;
use coracle_terminal::output::{self, Stream};
use docker_model::{
    age,
    container::{FILTERS, Filter, Seen, Summary, command_line, status},
    records, time,
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

/// A line of the list.
struct Row {
    summary: Summary,
    /// The named host that it belongs to; empty for one of its own.
    host: String,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let directories = Directories::from_environment()?;
    let list = Containers::new(&directories).summaries()?;
    let hosts = Hosts::new(&directories).list()?;
    let filters = filter::filters(&arguments.filter, &FILTERS)?;
    let filter = Filter::new(filters, &mut Things(&directories)).map_err(|Failure(error)| error)?;
    let limit = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, last) => last,
    };
    let all = arguments.all || limit.is_some() || filter.wants_all();
    let shown = |known: &container::Summary| all || known.state.status.is_live();
    let rows = list.iter().filter(|known| shown(known));
    let rows = rows.filter_map(|known| row(known, &hosts, &filter));
    let rows: Vec<Row> = rows.take(limit.unwrap_or(usize::MAX)).collect();
    if arguments.quiet {
        let lines = rows.iter().map(|row| row.id(arguments.no_trunc) + "\n");
        output::write(Stream::Output, &lines.collect::<String>());
        return Ok(());
    }
    if let Some(format) = &arguments.format {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| row.json(arguments.no_trunc, clock::wall()))
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
        printed.add_row([
            row.id(arguments.no_trunc),
            row.summary.image.clone(),
            row.command(arguments.no_trunc),
            age::ago(row.summary.created, now),
            status(&row.summary.life, now),
            String::new(),
            row.summary.name,
        ]);
    }
    table::print(&printed);
    Ok(())
}

/// A container's row, if the filters hold.
fn row(known: &container::Summary, hosts: &[Host], filter: &Filter) -> Option<Row> {
    let host_id = known.state.shown.host.as_deref().unwrap_or_default();
    let host = hosts.iter().find(|host| host.config.id == host_id);
    let host = host.map_or("", |host| &host.config.name);
    let summary = records::summary(known);
    filter
        .matches(&summary, Seen { host, host_id })
        .then(|| Row {
            host: host.to_owned(),
            summary,
        })
}

/// Longest command that is shown whole, as docker's.
const COMMAND_LENGTH: usize = 20;

impl Row {
    fn id(&self, whole: bool) -> String {
        if whole {
            self.summary.id.clone()
        } else {
            short(&self.summary.id).into()
        }
    }

    fn command(&self, whole: bool) -> String {
        let command = command_line(&self.summary.args);
        // Before it is shortened.
        let command = output::clean_line(&command);
        if whole || command.chars().count() <= COMMAND_LENGTH {
            return format!("\"{command}\"");
        }
        let start: String = command.chars().take(COMMAND_LENGTH - 1).collect();
        format!("\"{start}…\"")
    }

    fn json(&self, whole: bool, now: u64) -> Value {
        let summary = &self.summary;
        let pairs = summary.labels.iter();
        let labels: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let networks: Vec<&str> = summary.networks.keys().map(String::as_str).collect();
        json!({
            "ID": self.id(whole),
            "Image": summary.image,
            "Command": self.command(whole),
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
            "Host": self.host,
        })
    }
}
