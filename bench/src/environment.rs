//! Where it was measured: whatever makes the same start take another time.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::command;
use crate::systems::Scene;

/// Files whose one line says something.
const FILES: [(&str, &str); 7] = [
    ("kernel", "/proc/sys/kernel/osrelease"),
    (
        "transparent huge pages",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ),
    ("same page merging", "/sys/kernel/mm/ksm/run"),
    (
        "processor governor",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    ),
    (
        "clock source",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    ("machine", "/sys/class/dmi/id/product_name"),
    (
        "mitigations of kernel",
        "/sys/devices/system/cpu/vulnerabilities/spectre_v2",
    ),
];

/// What is known of this machine.
pub(crate) fn read(scene: &Scene) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, path) in FILES {
        if let Ok(text) = fs::read_to_string(path) {
            found.insert(name.to_owned(), chosen(text.trim()).to_owned());
        }
    }
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = processors.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    if let Some(model) = models.next() {
        let count = models.count() + 1;
        found.insert("processor".into(), format!("{model}, {count} of them"));
    }
    if let Ok(line) = fs::read_to_string("/proc/meminfo")
        && let Some(total) = line
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("MemTotal:"))
    {
        found.insert("memory".into(), total.trim().to_owned());
    }
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        found.insert("load when it ended".into(), load.trim().to_owned());
    }
    found.extend(doctor(scene));
    found
}

/// Of a choice such as `always [madvise] never`, what is chosen.
fn chosen(text: &str) -> &str {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text, |(chosen, _)| chosen)
}

/// What `coracle doctor` knows of the virtualisation.
fn doctor(scene: &Scene) -> BTreeMap<String, String> {
    // It ends with 1 when something is bad, which is then what it says.
    let output = scene.coracle(&["doctor", "--json"]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let findings: Value = serde_json::from_slice(&text).unwrap_or_default();
    let mut found: BTreeMap<String, String> = findings
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|finding| {
            let subject = finding.get("subject")?.as_str()?;
            let seen = finding.get("seen")?.as_str()?;
            matches!(subject, "kvm" | "processor" | "nested" | "kvm speed")
                .then(|| (subject.to_owned(), seen.to_owned()))
        })
        .collect();
    let version = command::output(&mut scene.coracle(&["--version"]));
    if let Ok(version) = version {
        found.insert(
            "coracle".into(),
            version.split_whitespace().collect::<Vec<_>>().join(" "),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_setting_is_the_one_in_brackets() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("performance"), "performance");
    }
}
