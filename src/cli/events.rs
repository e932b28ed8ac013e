//! `coracle events`.

use anyhow::{Result, bail};
use coracle_platform::clock;
use coracle_terminal::output;
use serde_json::Value;

use super::{engine, format::Format, moment::Moment};

/// Get real time events of containers and hosts
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Filter output based on conditions: event, container, host, image, label, type
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// Format output as json, or by a Go template such as '{{.Action}} {{.Actor.ID}}'
    #[arg(long)]
    format: Option<Format>,
}

const FILTERS: [&str; 6] = ["event", "container", "host", "image", "label", "type"];

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    for (name, _) in &arguments.filter {
        if !FILTERS.contains(&name.as_str()) {
            bail!("unknown filter {name:?}; there are {}", FILTERS.join(", "));
        }
    }
    let since = arguments.since.map(|Moment(since)| since);
    let until = arguments.until.map(|Moment(until)| until);
    for event in engine()?.events(since, until)? {
        let event = event?;
        if wanted(&event.value, &arguments.filter) {
            print(&event.value, event.time, arguments)?;
            output::check()?;
        }
    }
    Ok(())
}

fn text<'a>(event: &'a Value, path: &str) -> &'a str {
    event.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn wanted(event: &Value, filters: &[(String, String)]) -> bool {
    FILTERS.iter().all(|filter| {
        let mut values = filters.iter().filter(|(name, _)| name == filter).peekable();
        values.peek().is_none() || values.any(|(name, value)| holds(event, name, value))
    })
}

fn holds(event: &Value, name: &str, value: &str) -> bool {
    match name {
        "event" => text(event, "/Action") == value,
        "container" | "host" => {
            let named = text(event, "/Actor/Attributes/name") == value;
            text(event, "/Type") == name && (named || text(event, "/id").starts_with(value))
        }
        "image" => text(event, "/from") == value,
        "type" => text(event, "/Type") == value,
        _ => {
            let (label, wanted) = match value.split_once('=') {
                Some((label, wanted)) => (label, Some(wanted)),
                None => (value, None),
            };
            let attributes = event.pointer("/Actor/Attributes");
            let own = attributes
                .and_then(|all| all.get(label))
                .and_then(Value::as_str);
            own.is_some_and(|own| wanted.is_none_or(|wanted| own == wanted))
        }
    }
}

fn print(event: &Value, time: u64, arguments: &Arguments) -> Result<()> {
    if let Some(format) = &arguments.format {
        return format.print(std::slice::from_ref(event));
    }
    let attributes = event
        .pointer("/Actor/Attributes")
        .and_then(Value::as_object);
    let pairs: Vec<String> = attributes
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    outln!(
        "{} {} {} {} ({})",
        clock::rfc3339(time),
        text(event, "/Type"),
        text(event, "/Action"),
        text(event, "/id"),
        pairs.join(", ")
    );
    Ok(())
}
