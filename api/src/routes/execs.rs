//! What runs beside a container's first process.

use std::io::Write;

use contracts::guest::TerminalSize;
use coracle_engine::containers::{Ended, ExecRequest, ExecStreams};
use docker_model::exec as model;
use serde::Deserialize;
use serde_json::json;

use super::{Call, containers::size};
use crate::{
    backend::{Backend, Linked, create_exec, failed},
    create::Command,
    error::ApiError,
    frame::{self, Channel},
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
    if body.privileged {
        return Err(ApiError::unsupported(
            "a command cannot have more privileges than its container (--privileged)",
        ));
    }
    let id = create_exec(&container, &request(&body)?)?;
    call.json(201, &json!({ "Id": id }))
}

/// What is asked for.
fn request(body: &Create) -> Result<ExecRequest, ApiError> {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let invalid =
        |entry: &&String| entry.is_empty() || entry.starts_with('=') || entry.contains('\0');
    if let Some(entry) = body.env.iter().find(invalid) {
        return Err(ApiError::invalid(format!(
            "invalid environment variable: {entry}"
        )));
    }
    let command = body.cmd.clone().map(Command::words).unwrap_or_default();
    if command.is_empty() {
        return Err(ApiError::invalid("No exec command specified"));
    }
    let size = || console(&body.console_size).unwrap_or(SIZE);
    Ok(ExecRequest {
        command,
        terminal: body.tty.then(size),
        env: body.env.clone(),
        workdir: some(&body.working_dir),
        user: some(&body.user),
        streams: ExecStreams {
            stdin: body.attach_stdin,
            stdout: body.attach_stdout,
            stderr: body.attach_stderr,
        },
    })
}

/// `POST /exec/{}/start`
pub fn start(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let body: Start = json::optional(call.exchange())?;
    let exec = match api.inspect_exec(&id) {
        Err(error) if error.status == 404 => {
            api.check_startable(&id)?;
            return Err(error);
        }
        other => other?,
    };
    let terminal = exec.process.terminal.is_some();
    let size = console(&body.console_size).filter(|_| terminal);
    if body.detach {
        let link = api.start_exec(&id, true, size)?;
        if let Some(Ended::Failed { message, code }) = link.until_started()? {
            return Err(failed(&message, code));
        }
        return call.empty(200);
    }
    let wishes = Wishes {
        input: exec.streams.stdin,
        output: exec.streams.stdout,
        error: exec.streams.stderr,
        frames: !terminal,
        closes_input: !terminal,
    };
    if exec.running || exec.exit_code.is_some() {
        // Docker tells of this in the stream.
        let mut hijacked = call.hijack(wishes.frames)?;
        let text = format!("Error: Exec command {id} has already run\r\n");
        return Ok(hijacked.stream.write_all(&framed(&text))?);
    }
    let link = api.start_exec(&id, false, size)?;
    let hijacked = call.hijack(wishes.frames)?;
    let mut client = hijacked.stream.try_clone()?;
    let ended = pump::carry(Linked::new(link), hijacked, wishes)?;
    if let pump::Ended::Over(Some(message)) = ended {
        // As the runtime of docker's says it; the code is told by inspect.
        let text = format!("{message}\r\n");
        let bytes = match terminal {
            true => text.into_bytes(),
            false => framed(&text),
        };
        client.write_all(&bytes)?;
    }
    Ok(())
}

fn framed(text: &str) -> Vec<u8> {
    let mut frames = Vec::new();
    frame::append(&mut frames, Channel::Output, text.as_bytes());
    frames
}

/// `GET /exec/{}/json`
pub fn inspect(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let exec = api.inspect_exec(&id)?;
    let inspect = model::inspect(&model::Exec {
        id,
        container: exec.container,
        args: exec.process.args,
        user: exec.process.user,
        tty: exec.process.terminal.is_some(),
        stdin: exec.streams.stdin,
        stdout: exec.streams.stdout,
        stderr: exec.streams.stderr,
        running: exec.running,
        exit_code: exec.exit_code.map(i32::from),
        pid: exec.pid,
        ..model::Exec::default()
    });
    call.json(200, &inspect)
}

/// `POST /exec/{}/resize`
pub fn resize(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let id = call.argument(0).to_owned();
    let size = size(call)?;
    api.resize_exec(&id, size)?;
    call.empty(201)
}
