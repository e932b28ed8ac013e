//! What runs beside a container's first process.

use std::{
    io::Write,
    net::Shutdown,
    sync::{Mutex, PoisonError},
    thread,
};

use coracle_engine::{
    identifier,
    keeper::wire::{Request, Work},
    set_variable,
};
use coracle_protocol::{Process, TerminalSize};
use docker_model::exec as model;
use serde::Deserialize;
use serde_json::json;

use super::{Call, containers::size};
use crate::{
    backend::{Backend, Exec, Linked, Told, internal},
    create::Command,
    error::ApiError,
    frame::{self, Channel},
    http::Hijacked,
    json,
    pump::{self, Wishes},
};

/// A terminal's size before its client says another.
const SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// The body of `containers/{}/exec`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Create {
    cmd: Option<Command>,
    env: Vec<String>,
    user: String,
    working_dir: String,
    tty: bool,
    privileged: bool,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    console_size: Vec<u16>,
}

/// The body of `exec/{}/start`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Start {
    detach: bool,
    console_size: Vec<u16>,
}

fn console(size: &[u16]) -> Option<TerminalSize> {
    match *size {
        [rows, columns] if rows > 0 && columns > 0 => Some(TerminalSize { rows, columns }),
        _ => None,
    }
}

/// `POST /containers/{}/exec`
pub fn create(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let body: Create = json::required(call.exchange())?;
    api.running(&container)?;
    if body.privileged {
        return Err(ApiError::unsupported(
            "a command cannot have more privileges than its container (--privileged)",
        ));
    }
    let process = process(&container.config.spec.process, &body)?;
    let id = identifier().map_err(internal)?;
    // Any process finds the container by the ID.
    let id: String = container
        .config
        .id
        .chars()
        .take(32)
        .chain(id.chars().skip(32))
        .collect();
    let streams = [body.attach_stdin, body.attach_stdout, body.attach_stderr];
    api.execs
        .add(&id, Exec::new(&container.config.id, process, streams));
    call.json(201, &json!({ "Id": id }))
}

/// The container's own process with another command.
fn process(of: &Process, body: &Create) -> Result<Process, ApiError> {
    let mut process = of.clone();
    process.args = body.cmd.clone().map(Command::words).unwrap_or_default();
    if process.args.is_empty() {
        return Err(ApiError::invalid("No exec command specified"));
    }
    process.init = false;
    process.terminal = body
        .tty
        .then(|| console(&body.console_size).unwrap_or(SIZE));
    if body.tty && !process.env.iter().any(|line| line.starts_with("TERM=")) {
        process.env.push("TERM=xterm".into());
    }
    for entry in &body.env {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(ApiError::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
        set_variable(&mut process.env, entry);
    }
    if !body.working_dir.is_empty() {
        if !body.working_dir.starts_with('/') {
            return Err(ApiError::invalid(format!(
                "working directory {:?} is not an absolute path",
                body.working_dir
            )));
        }
        process.cwd.clone_from(&body.working_dir);
    }
    if !body.user.is_empty() {
        process.user.clone_from(&body.user);
        process.groups.clear();
    }
    Ok(process)
}

/// `POST /exec/{}/start`
pub fn start(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let body: Start = json::optional(call.exchange())?;
    let mut exec = api.execs.get(&id)?;
    let container = api.find(&exec.container)?;
    if !body.detach {
        // Docker tells of this in the stream.
        let begun = api.execs.begin(&id);
        let terminal = exec.process.terminal.is_some();
        if let (Some(size), true) = (console(&body.console_size), terminal) {
            exec.process.terminal = Some(size);
        }
        if begun {
            api.running(&container)?;
        }
        let hijacked = call.hijack(!terminal)?;
        return match begun {
            true => attached(api, &id, exec, hijacked),
            false => say(
                hijacked,
                &format!("Error: Exec command {id} has already run\r\n"),
            ),
        };
    }
    if !api.execs.begin(&id) {
        return Err(ApiError::conflict(format!(
            "Exec command {id} is already running"
        )));
    }
    api.running(&container)?;
    detached(api, &id, exec)?;
    call.empty(200)
}

fn request(exec: &Exec, input: bool, output: bool) -> Request {
    Request::Exec {
        container: exec.container.clone(),
        work: Box::new(Work::Program(exec.process.clone())),
        input,
        output,
    }
}

/// Runs it with a client's streams.
fn attached(api: &Backend, id: &str, exec: Exec, hijacked: Hijacked) -> Result<(), ApiError> {
    let container = api.find(&exec.container)?;
    let terminal = exec.process.terminal.is_some();
    let wishes = Wishes {
        input: exec.input,
        output: exec.output,
        error: exec.error,
        frames: !terminal,
        closes_input: !terminal,
    };
    let request = request(&exec, exec.input, exec.output || exec.error);
    let Some(link) = api.ask(&container, &request)? else {
        api.execs.end(id, 255);
        return say(hijacked, "the container is not running\r\n");
    };
    let why = Mutex::new(None);
    // The code is known before the stream ends: clients ask for it at once.
    let mut process = Linked::new(link, |told| match told {
        Told::Exited(code) => api.execs.end(id, code),
        Told::Failed(message, code) => {
            api.execs.end(id, code);
            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        }
        Told::Lost => api.execs.end(id, 255),
        Told::Started => {}
    });
    api.execs.run(id, process.link());
    let client = hijacked.stream.try_clone()?;
    let ended = pump::carry(&mut process, hijacked, wishes)?;
    if ended == pump::Ended::ClientGone {
        // It goes on, and its end is noted.
        process.until_over();
        return Ok(());
    }
    let message = why.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(message) = message {
        let mut client = &client;
        // As the runtime of docker's writes it.
        let text = format!("{message}\r\n");
        let bytes = match terminal {
            true => text.into_bytes(),
            false => framed(&text),
        };
        let _ = client.write_all(&bytes);
    }
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}

fn framed(text: &str) -> Vec<u8> {
    let mut frames = Vec::new();
    frame::append(&mut frames, Channel::Output, text.as_bytes());
    frames
}

/// Says something on a stream, and ends it.
fn say(mut hijacked: Hijacked, text: &str) -> Result<(), ApiError> {
    hijacked.stream.write_all(&framed(text))?;
    Ok(())
}

/// Runs it without anybody, and returns when it runs.
fn detached(api: &Backend, id: &str, exec: Exec) -> Result<(), ApiError> {
    let container = api.find(&exec.container)?;
    let Some(link) = api.ask(&container, &request(&exec, false, false))? else {
        return Err(ApiError::conflict(format!(
            "container {} is not running",
            exec.container
        )));
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let (execs, id) = (std::sync::Arc::clone(&api.execs), id.to_owned());
    let tell = move |told: Told| {
        match &told {
            Told::Exited(code) | Told::Failed(_, code) => execs.end(&id, *code),
            Told::Lost => execs.end(&id, 255),
            Told::Started => {}
        }
        let _ = sender.send(told);
    };
    let work = move || Linked::new(link, tell).until_over();
    thread::Builder::new().name("exec".into()).spawn(work)?;
    match receiver.recv() {
        Ok(Told::Failed(message, code)) => {
            let status = if matches!(code, 126 | 127) { 400 } else { 500 };
            Err(ApiError::new(status, message))
        }
        _ => Ok(()),
    }
}

/// `GET /exec/{}/json`
pub fn inspect(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let exec = api.execs.get(&id)?;
    let inspect = model::inspect(&model::Exec {
        id,
        container: exec.container.clone(),
        args: exec.process.args.clone(),
        user: exec.process.user.clone(),
        tty: exec.process.terminal.is_some(),
        stdin: exec.input,
        stdout: exec.output,
        stderr: exec.error,
        running: exec.started && exec.exit_code.is_none(),
        exit_code: exec.exit_code.map(i32::from),
        ..model::Exec::default()
    });
    call.json(200, &inspect)
}

/// `POST /exec/{}/resize`
pub fn resize(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let size = size(call)?;
    let _ = api.execs.get(&id)?;
    api.execs.resize(&id, size);
    call.empty(201)
}
