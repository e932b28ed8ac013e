//! The processes of a container.

use contracts::guest::Tool;

use super::{Container, tool};
use crate::Result;

/// Clock ticks of a second, as every Linux on x86 tells them.
const TICKS: u64 = 100;

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number in the guest.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// Its user, by number.
    pub user: u32,
    /// Its state, as `ps(1)` has it.
    pub state: String,
    /// Seconds of processor time that it has used.
    pub seconds: u64,
    /// KiB of memory that are resident.
    pub resident: u64,
    /// Its program and arguments, in one line.
    pub command: String,
}

impl Container {
    /// Its processes, as the guest tells them.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run.
    pub fn top(&self) -> Result<Vec<Process>> {
        let text = tool::answer(self, Tool::Processes)?;
        Ok(text.lines().filter_map(process).collect())
    }
}

/// A process from a line of init's; `None` when it is not one.
fn process(line: &str) -> Option<Process> {
    let fields: Vec<&str> = line.splitn(8, '\t').collect();
    let [pid, parent, user, state, time, _, resident, command] = fields[..] else {
        return None;
    };
    Some(Process {
        pid: pid.parse().ok()?,
        parent: parent.parse().ok()?,
        user: user.parse().ok()?,
        state: state.into(),
        seconds: time.parse::<u64>().ok()? / TICKS,
        resident: resident.parse().ok()?,
        command: command.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_guests_is_a_process_or_is_passed_over() {
        let line = "7\t1\t1000\tS\t250\t99\t4096\tsh -c a\tb";
        let expected = Process {
            pid: 7,
            parent: 1,
            user: 1000,
            state: "S".into(),
            seconds: 2,
            resident: 4096,
            command: "sh -c a\tb".into(),
        };
        assert_eq!(process(line), Some(expected));
        assert_eq!(process("7\t1"), None);
        assert_eq!(process("x\t1\t0\tS\t0\t0\t0\tinit"), None);
    }
}
