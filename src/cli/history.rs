//! `coracle history`.

use anyhow::Result;
use images::store::short_id;

use super::{engine, table};
use coracle_platform::clock;
use docker_model::age;

/// Show the history of an image, newest step first
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID
    image: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
}

/// Characters of a command that are shown unless told otherwise, as docker's.
const COMMAND: usize = 45;

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let steps = engine()?.images().history(&arguments.image)?;
    let mut printed = table::table(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    let now = clock::wall();
    for step in steps {
        let mut command = step.created_by.clone();
        if !arguments.no_trunc && command.chars().count() > COMMAND {
            command = command.chars().take(COMMAND - 1).chain(['…']).collect();
        }
        let id = match &step.id {
            Some(id) if arguments.no_trunc => id.to_string(),
            Some(id) => short_id(id),
            None => "<missing>".into(),
        };
        printed.add_row([
            id,
            age::ago_of(&step.created, now),
            command,
            table::size(step.size),
            step.comment,
        ]);
    }
    table::print(&printed);
    Ok(())
}
