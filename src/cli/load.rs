//! `coracle load`.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use images::{reference::Reference, source::Input, store::Event};

use super::{engine, table::size};
use coracle_engine::progress::{Progress, Report};
use coracle_terminal::output::{self, Screen, Stream};

/// Load images: an archive of 'docker save', an OCI image layout (directory or tar), or a root
/// file system (directory or tar)
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// File or directory to read from [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Name for the image; a root file system has none of its own
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Option<Reference>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let input = match &arguments.input {
        Some(path) => Input::Path(path),
        None if io::stdin().is_terminal() => {
            bail!("standard input is a terminal; use --input, or pipe an archive in")
        }
        None => {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            Input::Stream(File::from(stdin.context("cannot read standard input")?))
        }
    };
    let bar = Bar::new(!arguments.quiet);
    let name = arguments.tag.clone().map(Reference::with_default_tag);
    let loaded = engine()?.images().load(input, name.as_ref(), &bar);
    bar.clear();
    for image in loaded? {
        for (name, id) in &image.replaced {
            outln!("The image {} had the name {} before", id, name.familiar());
        }
        for name in &image.names {
            outln!("Loaded image: {}", name.familiar());
        }
        if image.names.is_empty() {
            outln!("Loaded image ID: {}", image.id);
        }
    }
    Ok(())
}

/// Least time between two drawings of the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// How far it is: a line that is drawn again on a terminal, and nothing elsewhere.
struct Bar {
    shown: bool,
    state: Mutex<State>,
}

struct State {
    total: u64,
    read: Vec<u64>,
    drawn: Instant,
}

impl Bar {
    fn new(wanted: bool) -> Self {
        Self {
            shown: wanted && output::is_terminal(Stream::Error),
            state: Mutex::new(State {
                total: 0,
                read: Vec::new(),
                drawn: Instant::now(),
            }),
        }
    }

    fn clear(&self) {
        if self.shown {
            Screen::default().empty_line().show(Stream::Error);
        }
    }
}

impl Progress for Bar {
    fn report(&self, report: Report<'_>) {
        let Report::Layers(event) = report else {
            return;
        };
        if !self.shown {
            return;
        }
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        match event {
            Event::Begin { bytes, .. } => state.total = bytes,
            Event::LayerRead { layer, bytes } => {
                if state.read.len() <= layer {
                    state.read.resize(layer + 1, 0);
                }
                if let Some(read) = state.read.get_mut(layer) {
                    *read = bytes;
                }
            }
            _ => {}
        }
        if state.drawn.elapsed() >= REDRAW {
            state.drawn = Instant::now();
            let read: u64 = state.read.iter().sum();
            let total = match state.total {
                0 => String::new(),
                total => format!(" of {}", size(total)),
            };
            Screen::default()
                .empty_line()
                .text(format_args!("loading: {}{total}", size(read)))
                .show(Stream::Error);
        }
    }
}
