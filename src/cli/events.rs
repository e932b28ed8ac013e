//! `coracle events`.

use anyhow::Result;
use coracle_terminal::output;
use docker_model::event::{Event, FILTERS};

use super::{
    engine, filter,
    format::{self, Format},
    moment::Moment,
};

/// Get real time events of containers and hosts
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Filter output based on conditions: event, container, host, image, label, type, and others of docker's
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
    /// Format output as json, or by a Go template such as '{{.Action}} {{.Actor.ID}}'
    #[arg(long)]
    format: Option<Format>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let filters = filter::filters(&arguments.filter, &FILTERS)?;
    let since = arguments.since.map(|Moment(since)| since);
    let until = arguments.until.map(|Moment(until)| until);
    for noted in engine()?.events(since, until)? {
        // One that another release has noted is passed over.
        if let Some(event) = Event::read(&noted?.line)
            && event.matches(&filters)
        {
            print(&event, arguments)?;
            output::check()?;
        }
    }
    Ok(())
}

fn print(event: &Event, arguments: &Arguments) -> Result<()> {
    match &arguments.format {
        Some(format) => format::print(format, std::slice::from_ref(event))?,
        None => outln!("{}", event.line()),
    }
    Ok(())
}
