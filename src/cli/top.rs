//! `coracle top` and `coracle diff`.

use anyhow::Result;
use coracle_protocol::Tool;

use super::{table, tool};
use coracle_engine::state::{Directories, container::Containers};

/// One container
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID
    container: String,
}

/// Clock ticks of a second, as every Linux on x86 tells them.
const TICKS: u64 = 100;

/// Lists a container's processes.
pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let container =
        Containers::new(&Directories::from_environment()?).find(&arguments.container)?;
    let text = tool::answer(&container, Tool::Processes)?;
    let mut printed = table::table(&["UID", "PID", "PPID", "STAT", "RSS", "TIME", "CMD"]);
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(8, '\t').collect();
        let [pid, parent, user, state, time, _, resident, command] = fields[..] else {
            continue;
        };
        let seconds = time.parse::<u64>().unwrap_or(0) / TICKS;
        let time = format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        printed.add_row([user, pid, parent, state, resident, &time, command]);
    }
    table::print(&printed);
    Ok(())
}

/// Files that every container has of its own, and places on which something is mounted.
const NOT_CHANGES: [&str; 8] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/dev/",
    "/sys/",
];

/// Lists what a container has changed of its image's files.
pub(super) fn diff(arguments: &Arguments) -> Result<()> {
    let container =
        Containers::new(&Directories::from_environment()?).find(&arguments.container)?;
    let text = tool::answer(&container, Tool::Changes)?;
    for line in text.lines() {
        let path = line.get(2..).unwrap_or_default();
        if !NOT_CHANGES.contains(&path) {
            outln!("{line}");
        }
    }
    Ok(())
}
