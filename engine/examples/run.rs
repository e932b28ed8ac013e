//! Runs a command in a new container, prints what it writes, and removes the container:
//!
//! ```text
//! cargo run --package coracle-engine --example run -- busybox echo hello
//! cargo run --package coracle-engine --example run -- --load busybox.tar busybox echo hello
//! ```
//!
//! Coracle's programs (`coracle-keeper`, `coracle-vmm`, `coracle-init`) have to be beside it. The image is loaded from an
//! archive, is here already, or is pulled.

use std::{
    error::Error,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    thread::{self, JoinHandle},
};

use coracle_engine::{
    Engine, Settings,
    containers::{
        Attachment, Container, CreateRequest, Event, PullPolicy, RemoveOptions, StartOptions,
    },
    kernel::Unobserved,
    progress::{Report, Silent},
    state::Directories,
};
use images::source::Input;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Where containers and images are; an engine reads nothing of the environment by itself.
    let engine = Engine::open(Settings {
        environment: || std::env::vars_os().collect(),
        ..Settings::new(Directories::from_environment()?)
    })?;
    if let [flag, archive, ..] = &arguments[..]
        && flag == "--load"
    {
        let input = Input::Path(Path::new(archive));
        engine.images().load(input, None, &Silent)?;
        arguments.drain(..2);
    }
    let Some((image, command)) = arguments.split_first() else {
        return Err("usage: run [--load FILE] IMAGE [COMMAND...]".into());
    };
    let request = CreateRequest {
        image: image.clone(),
        cmd: Some(command.to_vec()),
        pull: PullPolicy::Missing,
        ..CreateRequest::default()
    };
    let told = |report: Report<'_>| {
        if let Report::Pulling(name) = report {
            eprintln!("pulling {name}");
        }
    };
    let container = engine.containers().create(&request, &told)?;
    eprintln!("created {}", container.name());
    let code = run(&container);
    // Whatever became of it.
    container.remove(RemoveOptions { force: true })?;
    Ok(code?.into())
}

/// Runs it to its end, and gives its exit code.
fn run(container: &Container) -> Result<u8, Box<dyn Error>> {
    let options = StartOptions {
        attach: Some(false),
        owner: true,
    };
    let attachment = container.start(options, &mut Unobserved)?;
    let mut streams = Vec::new();
    let code = follow(&attachment, &mut streams)?;
    for stream in streams {
        stream.join().map_err(|_| "a stream was not copied")??;
    }
    // All that it had is free when its keeper hangs up.
    while attachment.next()?.is_some() {}
    Ok(code)
}

/// Has its output copied until it ends.
fn follow(attachment: &Attachment, streams: &mut Vec<Copied>) -> Result<u8, Box<dyn Error>> {
    loop {
        match attachment.next()? {
            Some(Event::Stream { index: 1, stream }) => {
                streams.push(thread::spawn(|| copy(stream, std::io::stdout())));
            }
            Some(Event::Stream { stream, .. }) => {
                streams.push(thread::spawn(|| copy(stream, std::io::stderr())));
            }
            Some(Event::Exited(exit)) => return Ok(exit.code),
            Some(Event::Failed { message, .. }) => return Err(message.into()),
            Some(Event::Taken | Event::Started) => {}
            None => return Err("the container's keeper was killed".into()),
        }
    }
}

type Copied = JoinHandle<std::io::Result<()>>;

fn copy(mut from: UnixStream, mut to: impl Write) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match from.read(&mut bytes)? {
            0 => return to.flush(),
            read => to.write_all(bytes.get(..read).unwrap_or_default())?,
        }
    }
}
