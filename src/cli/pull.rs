//! `coracle pull`.

use anyhow::{Result, bail};
use images::{
    image::Platform,
    reference::Reference,
    source::registry::{Registry, Settings},
    store::{Loaded, Silent, Store},
};

use super::progress::Lines;
use coracle_engine::state::Directories;
use coracle_terminal::output::Stream;

/// Pull an image from a registry
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Image to pull
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: Reference,
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    options: Options,
}

/// What all commands that pull can be told.
#[derive(clap::Args, Default)]
pub(super) struct Options {
    /// Platform of the image, such as linux/arm64 [default: this machine's]
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    pub(super) platform: Option<Platform>,
    /// Require HTTPS and verify certificates when contacting registries
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) tls_verify: Option<bool>,
}

impl Options {
    /// The store for images of the platform.
    pub(super) fn store(&self, directories: &Directories) -> Result<Store> {
        let store = Store::open(&directories.data)?;
        Ok(match &self.platform {
            Some(platform) => store.for_platform(platform.clone()),
            None => store,
        })
    }
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let store = options.store(&Directories::from_environment()?)?;
    let names = if arguments.all_tags {
        all_tags(arguments)?
    } else {
        vec![arguments.name.clone().with_default_tag()]
    };
    if arguments.name.tag().is_none()
        && arguments.name.digest().is_none()
        && !arguments.all_tags
        && !arguments.quiet
    {
        outln!("Using default tag: {}", images::reference::DEFAULT_TAG);
    }
    for name in &names {
        let registry = Registry::new(name, Settings::from_environment(options.tls_verify)?)?;
        if arguments.quiet {
            store.pull(&registry, &Silent)?;
        } else {
            pull(&store, &registry, Stream::Output)?;
        }
    }
    if arguments.all_tags {
        outln!("{}", arguments.name.name());
    } else {
        for name in &names {
            outln!("{name}");
        }
    }
    Ok(())
}

fn all_tags(arguments: &Arguments) -> Result<Vec<Reference>> {
    let name = &arguments.name;
    if name.tag().is_some() || name.digest().is_some() {
        bail!("tag can't be used with --all-tags/-a");
    }
    let settings = Settings::from_environment(arguments.options.tls_verify)?;
    let tags = Registry::new(name, settings)?.tags()?;
    if tags.is_empty() {
        bail!("{} has no tags", name.familiar_name());
    }
    Ok(tags
        .iter()
        .map(|tag| name.with_tag(tag))
        .collect::<Result<_, _>>()?)
}

/// Pulls with a line for each layer, and says at the end what came of it.
pub(super) fn pull(store: &Store, registry: &Registry, stream: Stream) -> Result<Loaded> {
    let reference = registry.reference();
    let lines = Lines::new(stream);
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    let what = tag.map_or_else(|| reference.familiar(), str::to_owned);
    lines.say(&format!("{what}: Pulling from {}", reference.path()));
    let before = store
        .resolve(&reference.familiar())
        .ok()
        .map(|image| image.id);
    let loaded = store.pull(registry, &lines);
    lines.end();
    let loaded = loaded?;
    if let Some(digest) = &loaded.digest {
        lines.say(&format!("Digest: {digest}"));
    }
    let news = if before.as_ref() == Some(&loaded.id) {
        "Image is up to date for"
    } else {
        "Downloaded newer image for"
    };
    lines.say(&format!("Status: {news} {}", reference.familiar()));
    Ok(loaded)
}
