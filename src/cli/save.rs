//! `coracle save`.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use images::store::{Archive, Directory};

use super::engine;
use coracle_engine::images::Images;
use coracle_terminal::output::{self, Stream};

/// Save images to an archive or directory that docker, podman and skopeo read
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Write to a file, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Archive format
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As docker: an OCI layout as a tar archive, with docker's manifest.json
    DockerArchive,
    /// An OCI layout as a tar archive
    OciArchive,
    /// An OCI layout as a directory
    OciDir,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let images = engine()?.images();
    match (&arguments.output, arguments.format) {
        (None, Format::OciDir) => bail!("--format oci-dir requires --output"),
        (Some(path), Format::OciDir) => directory(&images, arguments, path),
        (Some(path), _) => {
            coracle_platform::destination::write(path, |file| archive(&images, arguments, file))
        }
        (None, _) => {
            if output::is_terminal(Stream::Output) {
                bail!("standard output is a terminal; use --output, or a pipe");
            }
            archive(&images, arguments, &mut output::raw(Stream::Output))
        }
    }
}

fn archive(images: &Images, arguments: &Arguments, output: &mut dyn Write) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(output));
    let with_docker = arguments.format == Format::DockerArchive;
    images.save(&arguments.images, with_docker, &mut archive)?;
    let mut output = archive
        .finish()
        .context("cannot write the end of the archive")?;
    output
        .flush()
        .context("cannot write the end of the archive")
}

fn directory(images: &Images, arguments: &Arguments, path: &Path) -> Result<()> {
    if path.exists() {
        bail!(
            "{} exists already; give a name that is free",
            path.display()
        );
    }
    let new = beside(path)?;
    let write = || {
        let mut directory =
            Directory::create(&new).with_context(|| format!("cannot create {}", new.display()))?;
        images.save(&arguments.images, false, &mut directory)?;
        fs::rename(&new, path).with_context(|| format!("cannot create {}", path.display()))
    };
    write().inspect_err(|_| drop(fs::remove_dir_all(&new)))
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    let mut new = name.to_owned();
    new.push(format!(".new.{}", std::process::id()));
    Ok(path.with_file_name(new))
}
