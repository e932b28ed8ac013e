//! `coracle df`.

use anyhow::Result;
use images::store::{ImageUsage, Store, Usage, short_id};
use serde_json::json;

use super::{
    age::age,
    prune::images_of,
    table::{self, size},
};
use crate::state::{Directories, container::Containers};

/// Show what images take on the disk, and what of it would be free without them
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show each image, with what it shares with others
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let directories = Directories::new()?;
    let containers = Containers::new(&directories).list()?;
    let usage = Store::open(&directories.data)?.usage(&images_of(&containers))?;
    if arguments.json {
        println!("{}", json(&usage));
    } else if arguments.verbose {
        images(&usage);
    } else {
        summary(&usage);
    }
    Ok(())
}

fn summary(usage: &Usage) {
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
    println!("Images space usage:\n");
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
    for image in &usage.images {
        let (repository, tag) = name(image);
        printed.add_row([
            repository,
            tag,
            short_id(&image.id),
            age(&image.created),
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

fn json(usage: &Usage) -> serde_json::Value {
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
        "LayersSize": usage.layers,
        "Reclaimable": usage.reclaimable,
        "UnusedLayers": { "Count": usage.unused.0, "Size": usage.unused.1 },
        "PartialDownloads": { "Count": usage.partial.0, "Size": usage.partial.1 },
    })
}
