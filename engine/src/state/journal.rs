//! What happened to containers and hosts: one JSON object in a line, as docker's events.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{create_directory, private};
use coracle_platform::clock;

/// Bytes after which a new journal is begun; the one before it is kept.
const MAX_SIZE: u64 = 4 << 20;

/// The journals of a user, the current one last.
pub fn paths(data: &Path) -> [PathBuf; 2] {
    let directory = data.join("containers");
    [directory.join("events.1"), directory.join("events")]
}

/// What an event is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `container` or `host`.
    pub kind: &'static str,
    /// Its ID.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The image that it was made of, as that was named.
    pub image: Option<&'a str>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// Something of which there are events.
pub trait Noted {
    /// What the journal says of it.
    fn subject(&self) -> Subject<'_>;
}

/// Notes an event. A journal that cannot be written hinders nobody.
pub fn note(data: &Path, of: &impl Noted, action: &str, attributes: &[(&str, String)]) {
    let _ = append(data, &event(of.subject(), action, attributes).to_string());
}

fn event(subject: Subject<'_>, action: &str, attributes: &[(&str, String)]) -> Value {
    let Subject {
        kind,
        id,
        name,
        image,
        labels,
    } = subject;
    let labels = labels.iter();
    let mut all: Map<String, Value> = labels
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    all.extend(image.map(|image| ("image".into(), image.into())));
    all.insert("name".into(), name.into());
    for (name, value) in attributes {
        all.insert((*name).into(), value.clone().into());
    }
    let now = clock::wall();
    let mut event = json!({
        "status": action,
        "id": id,
        "Type": kind,
        "Action": action,
        "Actor": {"ID": id, "Attributes": all},
        "scope": "local",
        "time": now / clock::SECOND,
        "timeNano": now,
    });
    if let Some(image) = image {
        event["from"] = image.into();
    }
    event
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
