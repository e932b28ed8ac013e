//! `coracle ps`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{age, format::Format, table};
use crate::{
    clock,
    output::{self, Stream},
    state::{
        Directories,
        container::{Containers, Shown, State, Status, Summary, Wellness, short},
        host::{Host, Hosts},
    },
};

/// List containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print only identifiers
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten identifiers and commands
    #[arg(long)]
    no_trunc: bool,
    /// The newest one, in whatever state
    #[arg(short, long)]
    latest: bool,
    /// The newest ones, in whatever state
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Only those for which it holds: id, name, label, status, exited, ancestor, health, host
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// json, or a Go template such as '{{.ID}} {{.Names}}'
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
    let directories = Directories::new()?;
    let list = Containers::new(&directories).summaries()?;
    let hosts = Hosts::new(&directories).list()?;
    check(&arguments.filter)?;
    let limit = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, last) => last,
    };
    let by_status = arguments
        .filter
        .iter()
        .any(|(name, _)| name == "status" || name == "exited");
    let all = arguments.all || limit.is_some() || by_status;
    let mut rows: Vec<Row> = list
        .into_iter()
        .map(|summary| row(summary, &hosts))
        .filter(|row| all || row.summary.state.status.is_live())
        .filter(|row| arguments.filter.is_empty() || matches(row, &arguments.filter))
        .collect();
    rows.truncate(limit.unwrap_or(usize::MAX));
    if arguments.quiet {
        let lines = rows.iter().map(|row| row.id(arguments.no_trunc) + "\n");
        output::write(Stream::Output, &lines.collect::<String>());
        return Ok(());
    }
    if let Some(format) = &arguments.format {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| row.json(arguments.no_trunc))
            .collect();
        return format.print(&values);
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
            row.shown().image.clone(),
            row.command(arguments.no_trunc),
            age::since(row.shown().created, now),
            status(&row.summary.state, now),
            String::new(),
            row.summary.name,
        ]);
    }
    table::print(&printed);
    Ok(())
}

fn row(summary: Summary, hosts: &[Host]) -> Row {
    let host = summary.state.shown.host.as_ref().and_then(|id| {
        let host = hosts.iter().find(|host| host.config.id == *id);
        host.map(|host| host.config.name.clone())
    });
    Row {
        host: host.unwrap_or_default(),
        summary,
    }
}

/// A container's status in docker's words.
pub(super) fn status(state: &State, now: u64) -> String {
    let since = |wall: u64| age::duration(now.saturating_sub(wall) / clock::SECOND);
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => {
            let health = match state.health {
                None => "",
                Some(Wellness::Starting) => " (health: starting)",
                Some(Wellness::Healthy) => " (healthy)",
                Some(Wellness::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            since(state.finished)
        ),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
    }
}

/// Longest command that is shown whole, as docker's.
const COMMAND_LENGTH: usize = 20;

impl Row {
    fn shown(&self) -> &Shown {
        &self.summary.state.shown
    }

    fn id(&self, whole: bool) -> String {
        if whole {
            self.shown().id.clone()
        } else {
            short(&self.shown().id).into()
        }
    }

    fn command(&self, whole: bool) -> String {
        let command = self.shown().command.join(" ");
        // Before it is shortened.
        let command = output::clean_line(&command);
        if whole || command.chars().count() <= COMMAND_LENGTH {
            return format!("\"{command}\"");
        }
        let start: String = command.chars().take(COMMAND_LENGTH - 1).collect();
        format!("\"{start}…\"")
    }

    fn json(&self, whole: bool) -> Value {
        let labels: Vec<String> = self
            .shown()
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        json!({
            "ID": self.id(whole),
            "Image": self.shown().image,
            "Command": self.command(whole),
            "CreatedAt": clock::rfc3339(self.shown().created),
            "RunningFor": age::since(self.shown().created, clock::wall()),
            "Ports": "",
            "State": self.summary.state.status.word(),
            "Status": status(&self.summary.state, clock::wall()),
            "Names": self.summary.name,
            "Labels": labels.join(","),
            "Mounts": "",
            "Networks": self.shown().network,
            "LocalVolumes": "0",
            "Size": "0B",
            "Host": self.host,
        })
    }
}

const FILTERS: [&str; 8] = [
    "id", "name", "label", "status", "exited", "ancestor", "health", "host",
];

fn check(filters: &[(String, String)]) -> Result<()> {
    for (name, _) in filters {
        if !FILTERS.contains(&name.as_str()) {
            bail!("unknown filter {name:?}; there are {}", FILTERS.join(", "));
        }
    }
    Ok(())
}

/// As docker: one of the values of each filter that is given, and all labels.
fn matches(row: &Row, filters: &[(String, String)]) -> bool {
    let labels = filters.iter().filter(|(name, _)| name == "label");
    let others = FILTERS.iter().filter(|filter| **filter != "label");
    let mut others = others.map(|filter| filters.iter().filter(move |(name, _)| name == filter));
    labels.clone().all(|(_, value)| has_label(row, value))
        && others.all(|values| {
            let mut values = values.peekable();
            values.peek().is_none() || values.any(|(name, value)| holds(row, name, value))
        })
}

fn has_label(row: &Row, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => row.shown().labels.get(name).is_some_and(|own| own == value),
        None => row.shown().labels.contains_key(wanted),
    }
}

fn holds(row: &Row, name: &str, value: &str) -> bool {
    let Row { summary, host } = row;
    let (state, shown) = (&summary.state, row.shown());
    match name {
        "host" => host == value || shown.host.as_ref().is_some_and(|id| id.starts_with(value)),
        "id" => shown.id.starts_with(value),
        "name" => summary
            .name
            .contains(value.trim_start_matches('^').trim_end_matches('$')),
        "status" => state.status.word() == value,
        "exited" => state.status == Status::Exited && state.exit_code.to_string() == value,
        "ancestor" => {
            shown.image == value
                || shown.image.split(':').next() == Some(value)
                || shown
                    .image_id
                    .trim_start_matches("sha256:")
                    .starts_with(value.trim_start_matches("sha256:"))
        }
        "health" => state.health.map_or("none", Wellness::word) == value,
        _ => false,
    }
}
