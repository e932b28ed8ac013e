//! What happened to containers: one JSON object in a line, as docker's events.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{container::Config, private};
use crate::clock;

/// Bytes after which a new journal is begun; the one before it is kept.
const MAX_SIZE: u64 = 4 << 20;

/// The journals of a user, the current one last.
pub(crate) fn paths(data: &Path) -> [PathBuf; 2] {
    let directory = data.join("containers");
    [directory.join("events.1"), directory.join("events")]
}

/// Notes an event. A journal that cannot be written hinders nobody.
pub(crate) fn note(data: &Path, config: &Config, action: &str, attributes: &[(&str, String)]) {
    let _ = append(data, &event(config, action, attributes).to_string());
}

fn event(config: &Config, action: &str, attributes: &[(&str, String)]) -> Value {
    let mut all = Map::new();
    for (name, value) in &config.labels {
        all.insert(name.clone(), value.clone().into());
    }
    all.insert("image".into(), config.image.clone().into());
    all.insert("name".into(), config.name.clone().into());
    for (name, value) in attributes {
        all.insert((*name).into(), value.clone().into());
    }
    let now = clock::wall();
    json!({
        "status": action,
        "id": config.id,
        "from": config.image,
        "Type": "container",
        "Action": action,
        "Actor": {"ID": config.id, "Attributes": all},
        "scope": "local",
        "time": now / clock::SECOND,
        "timeNano": now,
    })
}

fn append(data: &Path, line: &str) -> io::Result<()> {
    let [old, current] = paths(data);
    let mut file = open(&current)?;
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
