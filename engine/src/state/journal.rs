//! What happened to containers and hosts: one JSON object in a line, as docker's events.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{container::Config, create_directory, host, private};
use coracle_platform::clock;

/// Bytes after which a new journal is begun; the one before it is kept.
const MAX_SIZE: u64 = 4 << 20;

/// The journals of a user, the current one last.
pub fn paths(data: &Path) -> [PathBuf; 2] {
    let directory = data.join("containers");
    [directory.join("events.1"), directory.join("events")]
}

/// Notes an event. A journal that cannot be written hinders nobody.
pub fn note(data: &Path, config: &Config, action: &str, attributes: &[(&str, String)]) {
    let _ = append(data, &event(config, action, attributes).to_string());
}

/// Notes an event of a named host, as [`note`].
pub fn note_host(data: &Path, config: &host::Config, action: &str) {
    let mut all = labels(&config.labels);
    all.insert("name".into(), config.name.clone().into());
    let _ = append(data, &object("host", &config.id, action, all).to_string());
}

fn labels(labels: &BTreeMap<String, String>) -> Map<String, Value> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect()
}

fn event(config: &Config, action: &str, attributes: &[(&str, String)]) -> Value {
    let mut all = labels(&config.labels);
    all.insert("image".into(), config.image.clone().into());
    all.insert("name".into(), config.name.clone().into());
    for (name, value) in attributes {
        all.insert((*name).into(), value.clone().into());
    }
    let mut event = object("container", &config.id, action, all);
    event["from"] = config.image.clone().into();
    event
}

fn object(kind: &str, id: &str, action: &str, attributes: Map<String, Value>) -> Value {
    let now = clock::wall();
    json!({
        "status": action,
        "id": id,
        "Type": kind,
        "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "scope": "local",
        "time": now / clock::SECOND,
        "timeNano": now,
    })
}

fn append(data: &Path, line: &str) -> io::Result<()> {
    let [old, current] = paths(data);
    let mut file = match open(&current) {
        // There is a host, and never was a container.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = current.parent().unwrap_or(data);
            create_directory(directory).map_err(io::Error::other)?;
            open(&current)?
        }
        file => file?,
    };
    if file.metadata()?.len() > MAX_SIZE {
        fs::rename(&current, &old)?;
        file = open(&current)?;
    }
    // In one piece: others append, too.
    file.write_all(format!("{line}\n").as_bytes())
}

fn open(path: &Path) -> io::Result<File> {
    private::options().append(true).create(true).open(path)
}
