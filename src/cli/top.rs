//! `coracle top`.

use anyhow::Result;

use super::{engine, table};

/// One container
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID
    pub(super) container: String,
}

/// Lists a container's processes.
pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let container = engine()?.containers().find(&arguments.container)?;
    let mut printed = table::table(&["UID", "PID", "PPID", "STAT", "RSS", "TIME", "CMD"]);
    for process in container.top()? {
        let seconds = process.seconds;
        let time = format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        printed.add_row([
            &process.user.to_string(),
            &process.pid.to_string(),
            &process.parent.to_string(),
            &process.state,
            &process.resident.to_string(),
            &time,
            &process.command,
        ]);
    }
    table::print(&printed);
    Ok(())
}
