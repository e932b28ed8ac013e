//! Names of containers and hosts: docker's rule, names for those who give none, and which there are.

use std::path::Path;

use anyhow::Result;

use crate::{Error, ErrorKind};

/// Longest name: that of a file.
const MAX_NAME: usize = 255;

/// Checks a name by docker's rule.
///
/// # Errors
/// When it breaks it.
pub(crate) fn check(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && (2..=MAX_NAME).contains(&name.len()) {
        return Ok(());
    }
    let words = format!(
        "invalid container name {name:?}: 2 to {MAX_NAME} characters of [a-zA-Z0-9_.-], the first \
         a letter or digit"
    );
    Err(Error::new(ErrorKind::Invalid, words).into())
}

/// Name of the directory of all containers in the user's data.
pub(super) const CONTAINERS: &str = "containers";

/// Name of the directory of all hosts in the user's data.
pub(super) const HOSTS: &str = "hosts";

/// Whether there is a container of this name.
pub(super) fn is_container(data: &Path, name: &str) -> bool {
    let names = data.join(CONTAINERS).join("names");
    check(name).is_ok() && names.join(name).exists()
}

/// Whether there is a host of this name.
pub(super) fn is_host(data: &Path, name: &str) -> bool {
    check(name).is_ok() && data.join(HOSTS).join(name).is_dir()
}

const ADJECTIVES: [&str; 32] = [
    "agile", "amber", "brave", "breezy", "bright", "calm", "clever", "coastal", "curious", "deft",
    "eager", "gentle", "golden", "humble", "jolly", "keen", "light", "lively", "lucky", "merry",
    "mild", "nimble", "patient", "placid", "quick", "quiet", "rustic", "silver", "steady", "sunny",
    "tidy", "witty",
];

/// Small boats of the world.
const BOATS: [&str; 32] = [
    "balsa",
    "bark",
    "barge",
    "canoe",
    "caique",
    "catboat",
    "currach",
    "cutter",
    "dhow",
    "dinghy",
    "dory",
    "dugout",
    "ferry",
    "gig",
    "gondola",
    "kayak",
    "ketch",
    "launch",
    "lugger",
    "outrigger",
    "piragua",
    "pirogue",
    "pontoon",
    "proa",
    "punt",
    "raft",
    "sampan",
    "skiff",
    "sloop",
    "wherry",
    "yawl",
    "yole",
];

/// Names to try, which begin at a place that the identifier gives; the later ones have a number.
pub(super) fn names(id: &str) -> impl Iterator<Item = String> {
    let start = id
        .get(..8)
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .unwrap_or(0);
    let pick =
        |list: &[&'static str; 32], index: usize| list.get(index % 32).copied().unwrap_or("");
    (0..10_000).map(move |step| {
        let adjective = pick(&ADJECTIVES, start / 32);
        let boat = pick(&BOATS, start);
        match step {
            0 => format!("{adjective}_{boat}"),
            _ => format!("{adjective}_{boat}{step}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_against_dockers_rule_are_refused() {
        for name in ["", "a", "../x", "-a", "a/b", "ä1", ".a"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("a_b.c-1").is_ok());
    }

    #[test]
    fn made_names_are_names_and_differ() {
        let made: Vec<String> = names("00112233445566").take(3).collect();
        assert!(made.iter().all(|name| check(name).is_ok()), "{made:?}");
        assert_ne!(made[0], made[1]);
    }
}
