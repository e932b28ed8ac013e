//! "VM or container?": what one sees from inside, what it takes, and what it shares.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};

use crate::memory;
use crate::processes;
use crate::report::Answers;
use crate::start;
use crate::systems::{self, Scene, System};

/// Containers that are added to a first one, to see what one more weighs.
const MORE: u64 = 3;

/// Seconds for which they idle before they are weighed.
const IDLE_SECONDS: u64 = 3;

/// Tells what is in view, in lines of NAME=VALUE; what an image or a kernel has not, is not told.
const SCRIPT: &str = "\
    echo boot=$(cat /proc/sys/kernel/random/boot_id); \
    echo kernel=$(uname -r); \
    echo processes=$(ls /proc | grep -c '^[0-9]'); \
    echo processors=$(grep -c ^processor /proc/cpuinfo); \
    echo memory=$(grep MemTotal /proc/meminfo); \
    echo uptime=$(cut -d. -f1 /proc/uptime); \
    echo cmdline=$(cat /proc/cmdline); \
    echo modules=$(cat /proc/modules 2>/dev/null | wc -l); \
    echo log=$(dmesg 2>/dev/null | wc -l); \
    echo mounts=$(wc -l < /proc/mounts)";

/// What is looked for from inside, in words, and how this machine calls it.
const VIEWS: [(&str, &str); 6] = [
    ("processors", "processors"),
    ("memory", "memory of the machine"),
    ("uptime", "time since the machine's boot"),
    ("cmdline", "command line of the machine's kernel"),
    ("modules", "modules of the machine's kernel"),
    ("log", "lines of the kernel's log"),
];

/// Seconds by which two readings of one clock may differ.
const SAME_TIME: u64 = 60;

/// Asks a system all questions.
///
/// # Errors
/// When a container cannot be started, or has no shell.
pub(crate) fn ask(system: &mut dyn System, scene: &Scene) -> Result<Answers> {
    let inside = look(system, scene)?;
    let outside = |name: &str| of_this_machine(name);
    let mut visible = BTreeMap::new();
    for (name, words) in VIEWS {
        let Some(seen) = inside.get(name).filter(|seen| !seen.is_empty()) else {
            continue;
        };
        let same = outside(name).is_some_and(|own| is_same(name, seen, &own));
        let whose = match (name, same) {
            ("log" | "modules", _) if seen == "0" => "none",
            (_, true) => "the machine's",
            (_, false) => "its own",
        };
        let unit = if name == "uptime" { " s" } else { "" };
        let answer = format!("{whose} ({}{unit})", shortened(seen));
        visible.insert(words.to_owned(), answer);
    }
    let own_processes = inside.get("processes").cloned().unwrap_or_default();
    visible.insert("processes in view".into(), own_processes);
    let boot = inside.get("boot").filter(|boot| !boot.is_empty());
    let (memory, available) = weigh(system, scene)?;
    Ok(Answers {
        disk: system.disk(scene)?,
        memory,
        available,
        kernel: inside.get("kernel").cloned().unwrap_or_default(),
        shares_kernel: boot.map(|boot| outside("boot").as_ref() == Some(boot)),
        visible,
    })
}

fn look(system: &mut dyn System, scene: &Scene) -> Result<BTreeMap<String, String>> {
    let program = ["sh", "-c", SCRIPT].map(String::from);
    let command = system.start(scene, &program)?;
    let start = start::to_the_end(command)?;
    anyhow::ensure!(
        start.code == 0,
        "the image must have a shell (or give --only-times): {}",
        start.reason()
    );
    if let Some(why) = system.failure(&start.output) {
        bail!("the image must have a shell (or give --only-times): {why}");
    }
    let text = String::from_utf8_lossy(&start.output).into_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let clean = value.chars().filter(|letter| !letter.is_control());
        Some((name.to_owned(), clean.collect::<String>().trim().to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// The same, as this machine's kernel tells it to this process.
fn of_this_machine(name: &str) -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let count =
        |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    let text = match name {
        "boot" => read("/proc/sys/kernel/random/boot_id")?,
        "processors" => count(&read("/proc/cpuinfo")?, "processor").to_string(),
        "memory" => {
            let text = read("/proc/meminfo")?;
            text.lines()
                .find(|line| line.starts_with("MemTotal"))?
                .to_owned()
        }
        "uptime" => read("/proc/uptime")?.split('.').next()?.to_owned(),
        "cmdline" => read("/proc/cmdline")?,
        "modules" => count(&read("/proc/modules")?, "").to_string(),
        _ => return None,
    };
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn is_same(name: &str, inside: &str, outside: &str) -> bool {
    if name != "uptime" {
        return inside.split_whitespace().eq(outside.split_whitespace());
    }
    match (inside.parse::<u64>(), outside.parse::<u64>()) {
        (Ok(inside), Ok(outside)) => inside.abs_diff(outside) < SAME_TIME && inside > SAME_TIME,
        _ => false,
    }
}

/// As much of a text as a table has room for.
fn shortened(text: &str) -> String {
    const ROOM: usize = 40;
    let text = text.strip_prefix("MemTotal:").unwrap_or(text).trim();
    if text.chars().count() <= ROOM {
        return text.into();
    }
    text.chars().take(ROOM).chain(['…']).collect()
}

/// What one more container weighs that does nothing: its processes, and what the machine has less.
fn weigh(system: &mut dyn System, scene: &Scene) -> Result<(Option<u64>, Option<u64>)> {
    let before = processes::children()?;
    let besides = match system.counts_what_was_there() {
        // It is the host that grows.
        true => std::collections::BTreeSet::new(),
        false => before.clone(),
    };
    let mut weights = Vec::new();
    let mut up = Vec::new();
    let mut failed = Ok(());
    for number in 0..=MORE {
        let name = format!("{}-idle-{number}", scene.unique);
        let started = system.idle(scene, &name).and_then(start::that_succeeds);
        if let Err(error) = started {
            failed = Err(error.context("cannot start a container that idles"));
            break;
        }
        up.push(name);
        if number == 0 || number == MORE {
            memory::let_idle(IDLE_SECONDS);
            weights.push((memory::of_descendants(&besides)?, memory::available()?));
        }
    }
    for name in &up {
        start::that_succeeds(system.end(scene, name))?;
    }
    processes::until_only(&before)?;
    failed?;
    let (first, last) = weights
        .first()
        .zip(weights.last())
        .context("nothing was weighed")?;
    let part = |less: u64, more: u64| more.saturating_sub(less) / MORE;
    if !systems::is_visible(system, scene) {
        return Ok((None, None));
    }
    let memory = (!system.has_daemon()).then(|| part(first.0, last.0));
    Ok((memory, Some(part(last.1, first.1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_sees_itself() {
        for name in ["boot", "processors", "memory", "uptime", "cmdline"] {
            let seen = of_this_machine(name).unwrap();
            assert!(!seen.is_empty(), "{name}");
        }
    }

    #[test]
    fn times_are_the_same_when_they_are_close() {
        assert!(is_same("uptime", "1000", "1010"));
        assert!(!is_same("uptime", "3", "10"));
        assert!(!is_same("uptime", "500", "1010"));
        assert!(is_same("memory", "MemTotal:  5 kB", "MemTotal: 5 kB"));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened("MemTotal:   5 kB"), "5 kB");
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), 41);
    }
}
