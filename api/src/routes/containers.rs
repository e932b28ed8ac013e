//! What is done with a container.

use coracle_engine::{
    keeper::{self, wire::Request},
    signal,
    state::{container::Container, journal},
};
use coracle_protocol::TerminalSize;

use super::Call;
use crate::{
    backend::{Backend, Condition},
    create,
    error::ApiError,
    json,
};

/// The signal that ends a process without asking it.
const SIGKILL: u8 = 9;

/// `POST /containers/create`
pub fn create(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let name = call.query.get("name").unwrap_or_default();
    let name = name.strip_prefix('/').unwrap_or(name).to_owned();
    let body: create::Body = json::required(call.exchange())?;
    let id = api.create(&name, &body)?;
    let warnings = create::warnings(&body);
    call.json(201, &serde_json::json!({ "Id": id, "Warnings": warnings }))
}

/// `POST /containers/{}/start`
pub fn start(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    api.start(&container)?;
    call.empty(204)
}

/// `POST /containers/{}/stop`
pub fn stop(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let live = container.state()?.status.is_live();
    if !live {
        return Err(ApiError::not_modified());
    }
    let request = stopping(&container, call)?;
    end(api, &container, &request)?;
    call.empty(204)
}

/// `POST /containers/{}/restart`
pub fn restart(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let request = stopping(&container, call)?;
    end(api, &container, &request)?;
    api.start(&container)?;
    journal::note(&api.directories.data, &container.config, "restart", &[]);
    call.empty(204)
}

/// `POST /containers/{}/kill`
pub fn kill(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api
        .find(call.argument(0))
        .map_err(|error| match error.status {
            404 => ApiError::not_found(format!(
                "cannot kill container: {}: {}",
                call.argument(0),
                error.message
            )),
            _ => error,
        })?;
    let name = &container.config.name;
    let signal = match call.query.text("signal") {
        None => SIGKILL,
        Some(text) => signal::parse(text).ok_or_else(|| {
            ApiError::invalid(format!(
                "cannot kill container: {name}: invalid signal: {text}"
            ))
        })?,
    };
    if !container.state()?.status.is_live() {
        let id = &container.config.id;
        return Err(ApiError::conflict(format!(
            "cannot kill container: {name}: container {id} is not running"
        )));
    }
    let request = Request::Signal {
        container: container.config.id.clone(),
        signal,
    };
    match signal {
        // Whoever removes it next finds that it has ended.
        SIGKILL => end(api, &container, &request)?,
        _ => api.request(&container, &request)?,
    }
    call.empty(204)
}

/// `DELETE /containers/{}`
pub fn remove(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let force = call.query.flag("force");
    match remove_now(api, &container, force) {
        // Its keeper was as quick.
        Err(_) if !container.directory().exists() && force => {}
        done => done?,
    }
    call.empty(204)
}

fn remove_now(api: &Backend, container: &Container, force: bool) -> Result<(), ApiError> {
    let _edit = container.edit()?;
    let state = container.state()?;
    if state.status.is_live() {
        if !force {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"/{}\": container is {}: stop the container before removing or \
                 force remove",
                container.config.name,
                state.status.word()
            )));
        }
        let request = Request::Signal {
            container: container.config.id.clone(),
            signal: SIGKILL,
        };
        end(api, container, &request)?;
    } else {
        keeper::client::release(container, &api.directories)?;
    }
    if !container.directory().is_dir() {
        // Its keeper removed it, as it was told when it was made.
        return Ok(());
    }
    let lock = container.keeper_lock()?;
    api.containers.remove(container, &lock)?;
    journal::note(&api.directories.data, &container.config, "destroy", &[]);
    Ok(())
}

/// `POST /containers/{}/rename`
pub fn rename(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let mut container = api.find(call.argument(0))?;
    let name = call.query.get("name").unwrap_or_default();
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::invalid("Neither old nor new names may be empty"));
    }
    create::check_name(name)?;
    if let Ok(other) = api.containers.find(name)
        && other.config.name == name
    {
        return Err(in_use(name, &other.config.id));
    }
    api.containers.rename(&mut container, name)?;
    journal::note(&api.directories.data, &container.config, "rename", &[]);
    let request = Request::Rename {
        container: container.config.id.clone(),
    };
    // One that has just ended is known to nobody.
    let _ = api.request(&container, &request);
    call.empty(204)
}

/// Docker's words for a name that is taken, which clients look for.
#[must_use]
pub fn in_use(name: &str, holder: &str) -> ApiError {
    ApiError::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
         remove (or rename) that container to be able to reuse that name."
    ))
}

/// `POST /containers/{}/pause`
pub fn pause(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    set_paused(api, call, true)
}

/// `POST /containers/{}/unpause`
pub fn unpause(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    set_paused(api, call, false)
}

fn set_paused(api: &Backend, call: &mut Call<'_, '_>, paused: bool) -> Result<(), ApiError> {
    use coracle_engine::state::container::Status;
    let container = api.find(call.argument(0))?;
    let id = &container.config.id;
    let status = container.state()?.status;
    match (paused, status) {
        (true, Status::Paused) => {
            return Err(ApiError::conflict(format!(
                "Container {id} is already paused"
            )));
        }
        (false, status) if status != Status::Paused => {
            return Err(ApiError::internal(format!("Container {id} is not paused")));
        }
        _ => {}
    }
    let request = Request::Pause {
        container: id.clone(),
        paused,
    };
    api.request(&container, &request)?;
    call.empty(204)
}

/// `POST /containers/{}/wait`
pub fn wait(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let condition = match call.query.get("condition").unwrap_or_default() {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => {
            return Err(ApiError::invalid(format!("invalid condition: \"{other}\"")));
        }
    };
    let container = api.find(call.argument(0))?;
    // It is waited for before anybody is told, so that a start after the answer's head is not missed.
    let waiting = api.begin_wait(&container, condition)?;
    let client = call.exchange.client().try_clone_to_owned()?;
    let mut stream = call.stream(super::JSON)?;
    let client = std::os::fd::AsFd::as_fd(&client);
    if let Some(code) = api.wait(&container, waiting, client)? {
        let line = serde_json::json!({ "StatusCode": code }).to_string() + "\n";
        std::io::Write::write_all(&mut stream, line.as_bytes())?;
        stream.finish()?;
    }
    Ok(())
}

/// `POST /containers/{}/resize`
pub fn resize(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let size = size(call)?;
    api.resize(&container, size)?;
    call.empty(200)
}

/// The size of a terminal in a query.
pub(super) fn size(call: &Call<'_, '_>) -> Result<TerminalSize, ApiError> {
    let number = |name: &str| -> Result<u16, ApiError> {
        let number = call.query.number(name)?.unwrap_or(0);
        u16::try_from(number).map_err(|_| {
            ApiError::invalid(format!("{name}={number} is no number of lines or columns"))
        })
    };
    Ok(TerminalSize {
        rows: number("h")?,
        columns: number("w")?,
    })
}

fn stopping(container: &Container, call: &Call<'_, '_>) -> Result<Request, ApiError> {
    let signal = call.query.text("signal").map(|text| {
        signal::parse(text).ok_or_else(|| ApiError::invalid(format!("invalid signal: {text}")))
    });
    let seconds = call.query.number("t")?.map(|seconds| {
        // As docker: less than nothing is for ever.
        u64::try_from(seconds).unwrap_or(u64::MAX)
    });
    Ok(Request::Stop {
        container: container.config.id.clone(),
        signal: signal.transpose()?,
        seconds,
    })
}

/// Asks a container to end, and waits until it has.
fn end(api: &Backend, container: &Container, request: &Request) -> Result<(), ApiError> {
    if let Some(link) = api.ask(container, request)? {
        crate::backend::answer(&link)?;
        // Its keeper is gone with it, and a start may follow at once.
        drop(container.keeper_lock());
    }
    Ok(())
}
