//! `coracle ps`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    age,
    filter::{Ancestor, NamePattern, has_label},
    format::Format,
    table,
};
use coracle_engine::state::{
    Directories,
    container::{Containers, Shown, State, Status, Summary, Wellness, short},
    host::{Host, Hosts},
};
use coracle_platform::clock;
use coracle_terminal::output::{self, Stream};

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
    /// Filter output based on conditions: id, name, label, status, exited, ancestor, health, host
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
    let filters = Filters::new(&arguments.filter, &directories)?;
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
        .filter(|row| filters.match_row(row))
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

/// Filters by their names.
const FILTERS: [&str; 8] = [
    "id", "name", "label", "status", "exited", "ancestor", "health", "host",
];

/// What is to hold for a row: as docker, one of the values of each filter that is given, and all labels.
struct Filters<'a> {
    labels: Vec<&'a str>,
    /// The values of each other filter that is given.
    others: Vec<(&'static str, Vec<Wanted<'a>>)>,
}

/// A filter's value, understood.
enum Wanted<'a> {
    Text(&'a str),
    Name(NamePattern),
    Image(Ancestor),
}

impl<'a> Filters<'a> {
    fn new(given: &'a [(String, String)], directories: &Directories) -> Result<Self> {
        let mut filters = Self {
            labels: Vec::new(),
            others: Vec::new(),
        };
        for (name, value) in given {
            let Some(filter) = FILTERS.into_iter().find(|filter| filter == name) else {
                bail!("unknown filter {name:?}; there are {}", FILTERS.join(", "));
            };
            let wanted = match filter {
                "label" => {
                    filters.labels.push(value);
                    continue;
                }
                "name" => Wanted::Name(value.parse().map_err(anyhow::Error::msg)?),
                "ancestor" => Wanted::Image(Ancestor::new(value, directories)?),
                _ => Wanted::Text(value),
            };
            match filters
                .others
                .iter_mut()
                .find(|(known, _)| *known == filter)
            {
                Some((_, values)) => values.push(wanted),
                None => filters.others.push((filter, vec![wanted])),
            }
        }
        Ok(filters)
    }

    fn match_row(&self, row: &Row) -> bool {
        let labels = &row.shown().labels;
        self.labels.iter().all(|wanted| has_label(labels, wanted))
            && self
                .others
                .iter()
                .all(|(name, values)| values.iter().any(|value| holds(row, name, value)))
    }
}

fn holds(row: &Row, name: &str, wanted: &Wanted<'_>) -> bool {
    let Row { summary, host } = row;
    let (state, shown) = (&summary.state, row.shown());
    let value = match wanted {
        Wanted::Name(pattern) => return pattern.matches(&summary.name),
        Wanted::Image(ancestor) => return ancestor.is_of(&shown.image, &shown.image_id),
        Wanted::Text(value) => *value,
    };
    match name {
        "host" => host == value || shown.host.as_ref().is_some_and(|id| id.starts_with(value)),
        "id" => shown.id.starts_with(value),
        "status" => state.status.word() == value,
        "exited" => state.status == Status::Exited && state.exit_code.to_string() == value,
        "health" => state.health.map_or("none", Wellness::word) == value,
        _ => false,
    }
}
