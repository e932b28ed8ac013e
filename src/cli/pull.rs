//! `coracle pull`.

use anyhow::{Result, bail};
use coracle_engine::{
    images::{Images, PullRequest},
    progress::Silent,
};
use images::{image::Platform, reference::Reference};

use super::{engine, told::Told};
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
    /// The pull of an image.
    fn request(&self, name: Reference) -> PullRequest {
        PullRequest {
            name,
            platform: self.platform.clone(),
            tls_verify: self.tls_verify,
            credentials: None,
            credential: None,
        }
    }
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let images = engine()?.images();
    let names = if arguments.all_tags {
        all_tags(arguments, &images)?
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
        let request = arguments.options.request(name.clone());
        if arguments.quiet {
            images.pull(&request, &Silent)?;
        } else {
            images.pull(&request, &Told::new(Stream::Output))?;
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

fn all_tags(arguments: &Arguments, engine: &Images) -> Result<Vec<Reference>> {
    let name = &arguments.name;
    if name.tag().is_some() || name.digest().is_some() {
        bail!("tag can't be used with --all-tags/-a");
    }
    let tags = engine.tags(name, arguments.options.tls_verify)?;
    if tags.is_empty() {
        bail!("{} has no tags", name.familiar_name());
    }
    Ok(tags
        .iter()
        .map(|tag| name.with_tag(tag))
        .collect::<Result<_, _>>()?)
}
