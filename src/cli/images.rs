//! `coracle images`.

use anyhow::Result;
use images::{
    reference::Reference,
    store::{Listed, short_id},
};
use serde_json::json;

use super::{engine, table};
use coracle_platform::clock;
use coracle_terminal::output;
use docker_model::age;

/// List images
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only images of this name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<Reference>,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

/// One line of the list: an image under one of its names.
struct Row<'a> {
    image: &'a Listed,
    name: Option<&'a Reference>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let list = engine()?.images().list()?;
    let rows: Vec<Row<'_>> = list
        .iter()
        .flat_map(|image| rows(image, arguments))
        .collect();
    if arguments.quiet {
        let mut last = None;
        for row in rows {
            if last != Some(&row.image.id) {
                outln!("{}", row.id(arguments.no_trunc));
            }
            last = Some(&row.image.id);
        }
        return Ok(());
    }
    if arguments.json {
        for row in rows {
            output::json(&row.json())?;
        }
        return Ok(());
    }
    let mut headings = vec!["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"];
    headings.retain(|heading| arguments.digests || *heading != "DIGEST");
    let mut printed = table::table(&headings);
    let now = clock::wall();
    for row in rows {
        let mut cells = vec![row.repository(), row.tag()];
        if arguments.digests {
            cells.push(row.digest());
        }
        cells.extend([
            row.id(arguments.no_trunc),
            age::ago_of(&row.image.created, now),
            table::size(row.image.size),
        ]);
        printed.add_row(cells);
    }
    table::print(&printed);
    Ok(())
}

fn rows<'a>(image: &'a Listed, arguments: &Arguments) -> Vec<Row<'a>> {
    let wanted = |name: &&Reference| {
        arguments.name.as_ref().is_none_or(|wanted| {
            name.name() == wanted.name() && wanted.tag().is_none_or(|tag| name.tag() == Some(tag))
        })
    };
    if image.names.is_empty() && arguments.name.is_none() {
        return vec![Row { image, name: None }];
    }
    image
        .names
        .iter()
        .filter(wanted)
        .map(|name| Row {
            image,
            name: Some(name),
        })
        .collect()
}

impl Row<'_> {
    fn repository(&self) -> String {
        // An image that was pulled by its digest has a repository and no tag.
        let name = self.name.or_else(|| self.image.digests.first());
        name.map_or("<none>".into(), Reference::familiar_name)
    }

    fn tag(&self) -> String {
        self.name
            .and_then(Reference::tag)
            .unwrap_or("<none>")
            .into()
    }

    fn digest(&self) -> String {
        let own = self
            .image
            .digests
            .iter()
            .find(|digest| self.name.is_none_or(|name| name.name() == digest.name()));
        let digest = own.and_then(Reference::digest).map(ToString::to_string);
        digest.unwrap_or_else(|| "<none>".into())
    }

    fn id(&self, whole: bool) -> String {
        if whole {
            self.image.id.to_string()
        } else {
            short_id(&self.image.id)
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "Repository": self.repository(),
            "Tag": self.tag(),
            "Digest": self.digest(),
            "ID": self.image.id.to_string(),
            "CreatedAt": self.image.created,
            "CreatedSince": age::ago_of(&self.image.created, clock::wall()),
            "Size": table::size(self.image.size),
            "Bytes": self.image.size,
        })
    }
}
