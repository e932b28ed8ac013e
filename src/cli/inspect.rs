//! `coracle inspect`.

use anyhow::{Result, bail};
use clap::ValueEnum;
use docker_model::{container, image, records};
use images::store::{Store, StoreError};
use serde::Serialize;

use super::format::{self, Format};
use coracle_engine::{
    keeper,
    state::{
        Directories, NotFound,
        container::{Container, Containers},
        host::Hosts,
    },
};
use coracle_terminal::output;

/// Return low-level information on containers and images, as JSON
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only look up objects of this type
    #[arg(long, value_name = "KIND")]
    r#type: Option<Kind>,
    /// Format output as json, or by a Go template such as '{{.State.Status}}'
    #[arg(short, long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

/// Prints a list of those that there are; 1 when one is missing.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    look_up(arguments, arguments.r#type)
}

/// The same of images only.
pub(super) fn images(arguments: &Arguments) -> Result<u8> {
    look_up(arguments, Some(Kind::Image))
}

fn look_up(arguments: &Arguments, kind: Option<Kind>) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let store = Store::open(&directories.data)?;
    let containers = Containers::new(&directories);
    let hosts = Hosts::new(&directories);
    print(&arguments.names, arguments.format.as_ref(), |name| {
        one(name, kind, &store, &containers, &hosts)
    })
}

/// Prints a list of what is known of those that there are; 1 when one is missing, which is told.
pub(super) fn print<T: Serialize>(
    names: &[String],
    format: Option<&Format>,
    mut describe: impl FnMut(&str) -> Result<T>,
) -> Result<u8> {
    let mut found = Vec::new();
    let code = super::each(names, |name| {
        found.push(describe(name)?);
        Ok(())
    })?;
    match format {
        Some(format) => format::print_texts(format, &found)?,
        None => output::json_pretty(&found)?,
    }
    Ok(code)
}

/// What there is of a name.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Container(Box<container::Inspect>),
    Image(Box<image::Inspect>),
}

fn one(
    name: &str,
    kind: Option<Kind>,
    store: &Store,
    containers: &Containers,
    hosts: &Hosts,
) -> Result<Found> {
    if kind != Some(Kind::Image) {
        match containers.find(name) {
            Ok(container) => return describe(&container, hosts),
            Err(error) if kind == Some(Kind::Container) || !error.is::<NotFound>() => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    match store.inspect(name) {
        Ok(found) => Ok(Found::Image(Box::new(image::inspect(&(&found).into())))),
        Err(error @ (StoreError::NotFound { .. } | StoreError::Name { .. })) if kind.is_none() => {
            match hosts.find(name) {
                Ok(_) => bail!(
                    "no such container or image: {name}; it is a host: 'coracle host inspect {name}' shows it"
                ),
                // Several hosts, or one that cannot be read: that there is no image is not what is wrong.
                Err(of_host) if !of_host.is::<NotFound>() => Err(of_host),
                Err(_) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// A container under docker's names.
fn describe(container: &Container, hosts: &Hosts) -> Result<Found> {
    let state = container.state()?;
    let around = container.surroundings(&state, hosts);
    let mut known = records::container(&container.config, &state, &around);
    // None of one that has just ended.
    known.exec_ids = keeper::client::execs(container).unwrap_or_default();
    Ok(Found::Container(Box::new(container::inspect(&known))))
}
