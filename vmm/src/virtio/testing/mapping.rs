//! What Linux says of the memory behind a guest's, for tests that are about nothing else.

use std::fs;

use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::virtio::Memory;

/// A mapping of this process, as `proc_pid_smaps(5)` tells of it.
pub struct Mapping {
    lines: Vec<String>,
}

impl Mapping {
    /// The one that holds a guest-physical address.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn at(memory: &Memory, address: u64) -> Self {
        let at = memory
            .get_host_address(GuestAddress(address))
            .expect("it is the guest's memory") as usize;
        let maps = fs::read_to_string("/proc/self/smaps").expect("this process can be looked at");
        let mut lines = maps
            .lines()
            .skip_while(|line| !range(line).is_some_and(|range| range.contains(&at)));
        let first = lines.next().expect("memory is mapped").to_owned();
        let rest = lines.take_while(|line| range(line).is_none());
        Self {
            lines: [first].into_iter().chain(rest.map(str::to_owned)).collect(),
        }
    }

    /// Its first line, which ends with the path of its file.
    #[must_use]
    pub fn first(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// What follows a word and a colon.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        let mut lines = self.lines.iter();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .expect("every mapping has it")
    }
}

/// The addresses of a mapping whose first line this is.
fn range(line: &str) -> Option<std::ops::Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}
