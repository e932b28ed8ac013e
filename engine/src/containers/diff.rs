//! What a container has changed of its image's files.

use contracts::guest::Tool;

use super::{Container, tool};
use crate::Result;

/// How a file differs from the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The image has none of that name.
    Added,
    /// Its contents or attributes are others.
    Modified,
    /// It is not there any more.
    Deleted,
}

impl ChangeKind {
    /// Docker's letter.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// A file that differs from the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it differs.
    pub kind: ChangeKind,
    /// Its path in the container.
    pub path: String,
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

impl Container {
    /// What it has changed of its image's files, as the guest tells it.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run.
    pub fn diff(&self) -> Result<Vec<Change>> {
        let text = tool::answer(self, Tool::Changes)?;
        Ok(text.lines().filter_map(change).collect())
    }
}

/// A change from a line of init's; `None` when it is none of the container's.
fn change(line: &str) -> Option<Change> {
    let (letter, path) = line.split_once(' ')?;
    let kind = match letter {
        "A" => ChangeKind::Added,
        "C" => ChangeKind::Modified,
        "D" => ChangeKind::Deleted,
        _ => return None,
    };
    let path = path.to_owned();
    (!NOT_CHANGES.contains(&&*path)).then_some(Change { kind, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_container_are_no_changes() {
        let found = change("C /a b").unwrap();
        assert_eq!((found.kind.letter(), &*found.path), ('C', "/a b"));
        for line in ["C /etc", "A /devices", "D /bin/sh"] {
            assert!(change(line).is_some(), "{line}");
        }
        for line in ["C /etc/hosts", "C /dev", "A", "X /a", ""] {
            assert_eq!(change(line), None, "{line}");
        }
    }
}
