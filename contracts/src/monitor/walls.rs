//! What stands around a monitor.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What stands around the monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walls {
    /// Namespaces of its own, with an empty root.
    pub namespaces: bool,
    /// A PID namespace of its own.
    pub processes: bool,
    /// A user ID of its own; without one it has that of who started it.
    pub user: Option<u32>,
    /// It was started by root, and so should have one.
    pub by_root: bool,
    /// Version of Landlock's interface, where the kernel has it.
    pub landlock: Option<u32>,
    /// A cgroup of its own.
    pub group: bool,
}

impl Walls {
    /// What is missing of what every system can have; Landlock and cgroups are not on every kernel, and are not
    /// needed beside the others.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            (self.namespaces, "namespaces"),
            (self.processes, "a PID namespace"),
            (self.user.is_some() || !self.by_root, "a user ID of its own"),
        ];
        let missing = all.into_iter().filter(|(there, _)| !there);
        missing.map(|(_, name)| name).collect()
    }

    /// Whether nothing is missing that every system can have.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.missing().is_empty()
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.namespaces {
            words.push("namespaces".to_owned());
        }
        if self.processes {
            words.push("PID namespace".to_owned());
        }
        words.extend(self.user.map(|user| format!("uid {user}")));
        words.extend(self.landlock.map(|version| format!("landlock v{version}")));
        // No thread runs without its filter.
        words.push("seccomp".to_owned());
        if self.group {
            words.push("cgroup".to_owned());
        }
        write!(formatter, "{}", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_said_in_words() {
        let mut walls = Walls::default();
        assert_eq!(walls.to_string(), "seccomp");
        assert!(!walls.complete());
        walls = Walls {
            namespaces: true,
            processes: true,
            landlock: Some(4),
            ..walls
        };
        assert_eq!(
            walls.to_string(),
            "namespaces, PID namespace, landlock v4, seccomp"
        );
        assert!(walls.complete());
        walls.by_root = true;
        assert!(!walls.complete());
        walls.user = Some(0x7800_0000);
        assert!(walls.complete());
    }
}
