//! `coracle df`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::Result;
use images::store::{ImageUsage, Usage, short_id};
use serde_json::json;

use super::{
    engine,
    table::{self, size},
};
use coracle_engine::state::{
    Directories,
    container::{Containers, short},
    disk,
    host::{self, Hosts},
};
use coracle_platform::clock;
use coracle_terminal::output;
use docker_model::age;

/// Show what images, containers and hosts take on the disk, and what of it would be free without them
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show each of them, images with what they share with others
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let engine = engine()?;
    let directories = engine.directories();
    let usage = engine.images().usage()?;
    let containers = containers(directories)?;
    let hosts = hosts(directories)?;
    if arguments.json {
        output::json(&json(&usage, &containers, &hosts))?;
    } else if arguments.verbose {
        images(&usage);
        outln!("\nContainers space usage:\n");
        list("CONTAINER ID", &containers);
        outln!("\nHosts space usage:\n");
        list("HOST ID", &hosts);
    } else {
        summary(&usage, &containers, &hosts);
    }
    Ok(())
}

/// What a container or a host takes.
struct Taker {
    id: String,
    name: String,
    /// It runs.
    active: bool,
    /// Docker's word for its state.
    status: &'static str,
    /// Bytes on the disk of its log, its records and its own disk.
    bytes: u64,
}

fn containers(directories: &Directories) -> Result<Vec<Taker>> {
    let mut all = Vec::new();
    for container in Containers::new(directories).list()? {
        // One that is just being removed takes nothing.
        let Ok(state) = container.state() else {
            continue;
        };
        let config = &container.config;
        let disk = disk::path(&directories.data, &config.id);
        all.push(Taker {
            id: config.id.clone(),
            name: config.name.clone(),
            active: state.status.is_live(),
            status: state.status.word(),
            bytes: files(container.directory()) + blocks(&disk),
        });
    }
    Ok(all)
}

fn hosts(directories: &Directories) -> Result<Vec<Taker>> {
    let mut all = Vec::new();
    for host in Hosts::new(directories).list()? {
        let Ok(state) = host.state() else {
            continue;
        };
        let config = &host.config;
        let disk = disk::path_of_host(&directories.data, &config.name);
        all.push(Taker {
            id: config.id.clone(),
            name: config.name.clone(),
            active: state.status == host::Status::Running,
            status: state.status.word(),
            bytes: files(host.directory()) + blocks(&disk),
        });
    }
    Ok(all)
}

/// Bytes that the files in a directory take.
fn files(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| blocks(&entry.path())).sum()
}

/// Bytes that a file takes, which may be sparse; 0 where it is missing.
fn blocks(path: &Path) -> u64 {
    const BLOCK: u64 = 512;
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * BLOCK)
}

fn list(heading: &str, all: &[Taker]) {
    let mut printed = table::table(&[heading, "NAME", "STATUS", "SIZE"]);
    for one in all {
        printed.add_row([
            short(&one.id).to_owned(),
            one.name.clone(),
            one.status.into(),
            size(one.bytes),
        ]);
    }
    table::print(&printed);
}

fn summary(usage: &Usage, containers: &[Taker], hosts: &[Taker]) {
    let mut printed = table::table(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    let active = usage.images.iter().filter(|image| image.active).count();
    let mut row = |kind: &str, total: usize, active: usize, bytes: u64, free: u64| {
        let percent = (free * 100).checked_div(bytes).unwrap_or(0);
        let free = format!("{} ({percent}%)", size(free));
        printed.add_row([
            kind.into(),
            total.to_string(),
            active.to_string(),
            size(bytes),
            free,
        ]);
    };
    row(
        "Images",
        usage.images.len(),
        active,
        usage.layers,
        usage.reclaimable,
    );
    for (kind, all) in [("Containers", containers), ("Hosts", hosts)] {
        let active = all.iter().filter(|one| one.active).count();
        let idle = all.iter().filter(|one| !one.active);
        row(
            kind,
            all.len(),
            active,
            all.iter().map(|one| one.bytes).sum(),
            idle.map(|one| one.bytes).sum(),
        );
    }
    row(
        "Unused layers",
        usage.unused.0,
        0,
        usage.unused.1,
        usage.unused.1,
    );
    row(
        "Partial downloads",
        usage.partial.0,
        0,
        usage.partial.1,
        usage.partial.1,
    );
    table::print(&printed);
}

fn images(usage: &Usage) {
    out!("Images space usage:\n\n");
    let headings = [
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ];
    let mut printed = table::table(&headings);
    let now = clock::wall();
    for image in &usage.images {
        let (repository, tag) = name(image);
        printed.add_row([
            repository,
            tag,
            short_id(&image.id),
            age::ago_of(&image.created, now),
            size(image.shared + image.unique),
            size(image.shared),
            size(image.unique),
            u8::from(image.active).to_string(),
        ]);
    }
    table::print(&printed);
}

fn name(image: &ImageUsage) -> (String, String) {
    let none = || "<none>".to_owned();
    image.names.first().map_or((none(), none()), |name| {
        (
            name.familiar_name(),
            name.tag().map_or_else(none, str::to_owned),
        )
    })
}

fn json(usage: &Usage, containers: &[Taker], hosts: &[Taker]) -> serde_json::Value {
    let taker = |one: &Taker| {
        json!({
            "ID": one.id,
            "Name": one.name,
            "Active": one.active,
            "Status": one.status,
            "Size": one.bytes,
        })
    };
    let image = |image: &ImageUsage| {
        json!({
            "ID": image.id.to_string(),
            "Names": image.names.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
            "SharedSize": image.shared,
            "UniqueSize": image.unique,
            "Active": image.active,
        })
    };
    json!({
        "Images": usage.images.iter().map(image).collect::<Vec<_>>(),
        "Containers": containers.iter().map(taker).collect::<Vec<_>>(),
        "Hosts": hosts.iter().map(taker).collect::<Vec<_>>(),
        "LayersSize": usage.layers,
        "Reclaimable": usage.reclaimable,
        "UnusedLayers": { "Count": usage.unused.0, "Size": usage.unused.1 },
        "PartialDownloads": { "Count": usage.partial.0, "Size": usage.partial.1 },
    })
}
