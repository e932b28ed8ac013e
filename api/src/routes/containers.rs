//! What is done with a container.

use std::{io::Write, os::fd::AsFd};

use contracts::guest::TerminalSize;
use coracle_engine::{
    containers::{AttachOptions, RemoveOptions, StopOptions, values::FOREVER},
    kernel::Unobserved,
    signal,
    state::container::Status,
};

use super::Call;
use crate::{
    backend::{self, Backend},
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
    let platform = call.query.text("platform").map(str::to_owned);
    let (id, warnings) = api.create(&name, &body, platform)?;
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
    if !container.state()?.status.is_live() {
        return Err(ApiError::not_modified());
    }
    container.stop(stopping(call)?)?.finish()?;
    call.empty(204)
}

/// `POST /containers/{}/restart`
pub fn restart(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    container.restart(stopping(call)?, &mut Unobserved)?;
    call.empty(204)
}

/// `POST /containers/{}/kill`
pub fn kill(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let argument = call.argument(0);
    let container = api.find(argument).map_err(|error| match error.status {
        404 => ApiError::not_found(format!(
            "cannot kill container: {argument}: {}",
            error.message
        )),
        _ => error,
    })?;
    let name = container.name();
    let signal = match call.query.text("signal") {
        None => SIGKILL,
        Some(text) => signal::parse(text).ok_or_else(|| {
            ApiError::invalid(format!(
                "cannot kill container: {name}: invalid signal: {text}"
            ))
        })?,
    };
    if !container.state()?.status.is_live() {
        let id = container.id();
        return Err(ApiError::conflict(format!(
            "cannot kill container: {name}: container {id} is not running"
        )));
    }
    // Whoever removes it next finds that it has ended.
    container.kill(signal)?.finish()?;
    call.empty(204)
}

/// `DELETE /containers/{}`
pub fn remove(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let force = call.query.flag("force");
    let state = container.state()?;
    if state.status.is_live() && !force {
        return Err(ApiError::conflict(format!(
            "cannot remove container \"/{}\": container is {}: stop the container before removing or \
             force remove",
            container.name(),
            state.status.word()
        )));
    }
    container.remove(RemoveOptions { force })?;
    call.empty(204)
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
    if let Ok(other) = api.find(name)
        && other.name() == name
    {
        return Err(in_use(name, other.id()));
    }
    container.rename(name)?;
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
    let container = api.find(call.argument(0))?;
    let id = container.id();
    let is_paused = container.state()?.status == Status::Paused;
    match (paused, is_paused) {
        (true, true) => {
            return Err(ApiError::conflict(format!(
                "Container {id} is already paused"
            )));
        }
        (false, false) => {
            return Err(ApiError::internal(format!("Container {id} is not paused")));
        }
        (true, false) => container.pause()?,
        (false, true) => container.unpause()?,
    }
    call.empty(204)
}

/// `POST /containers/{}/wait`
pub fn wait(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let condition = backend::condition(call.query.get("condition").unwrap_or_default())?;
    let container = api.find(call.argument(0))?;
    // It is waited for before anybody is told, so that a start after the answer's head is not missed.
    let waiter = container.wait(condition)?;
    let client = backend::client_of(call.exchange)?;
    let mut stream = call.stream(super::JSON)?;
    if let Some(code) = api.wait(waiter, client.as_fd())? {
        let line = serde_json::json!({ "StatusCode": code }).to_string() + "\n";
        stream.write_all(line.as_bytes())?;
        stream.finish()?;
    }
    Ok(())
}

/// `POST /containers/{}/resize`
pub fn resize(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let size = size(call)?;
    backend::running(&container)?;
    let link = container.attach(AttachOptions::default())?;
    link.resize(size)?;
    link.detach()?;
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

fn stopping(call: &Call<'_, '_>) -> Result<StopOptions, ApiError> {
    let signal = call.query.text("signal").map(|text| {
        signal::parse(text).ok_or_else(|| ApiError::invalid(format!("invalid signal: {text}")))
    });
    let seconds = call.query.number("t")?.map(grace);
    Ok(StopOptions {
        signal: signal.transpose()?,
        seconds,
    })
}

/// Seconds until it is killed. As docker: less than nothing is for ever.
fn grace(seconds: i64) -> u64 {
    u64::try_from(seconds).map_or(FOREVER, |seconds| seconds.min(FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_longer_than_there_is_time() {
        assert_eq!((grace(0), grace(7)), (0, 7));
        for seconds in [-1, i64::MIN, i64::MAX] {
            assert_eq!(grace(seconds), FOREVER);
        }
    }
}
