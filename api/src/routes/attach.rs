//! `POST /containers/{}/attach`: a container's streams on a raw connection.

use std::os::fd::AsFd;

use super::Call;
use crate::{
    backend::{Backend, Linked},
    error::ApiError,
    frame::{self, Channel},
    http::Hijacked,
    logs,
    pump::{self, Wishes},
};

/// Attaches a client.
pub fn attach(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let config = &container.config;
    let terminal = config.spec.process.terminal.is_some();
    let query = &call.query;
    let wishes = Wishes {
        input: query.flag("stdin") && config.interactive,
        output: query.flag("stdout"),
        error: query.flag("stderr"),
        frames: !terminal,
        // A terminal has no end of input: who goes away leaves it as it is.
        closes_input: config.input_once && !terminal,
    };
    let (stream, logs) = (query.flag("stream"), query.flag("logs"));
    let mut hijacked = call.hijack(wishes.frames)?;
    if logs {
        replay(&container, &mut hijacked, wishes)?;
    }
    if !stream {
        return Ok(());
    }
    let client = hijacked.stream.as_fd();
    let Some(begun) = api.attach(&container, wishes.input, client)? else {
        return Ok(());
    };
    let mut process = Linked::new(begun.link, begun.tell);
    let ended = pump::carry(&mut process, hijacked, wishes)?;
    if ended == pump::Ended::ClientGone {
        // Others may wait for its end.
        api.follow(&container, process.into_tell())?;
    }
    Ok(())
}

/// What the container wrote before, as far as its log has it.
fn replay(
    container: &coracle_engine::state::container::Container,
    hijacked: &mut Hijacked,
    wishes: Wishes,
) -> Result<(), ApiError> {
    use std::io::Write;
    let mut reader = logs::reader(container)?;
    while let Some(record) = reader.read_record()? {
        let (channel, wanted) = match record.stream {
            2 => (Channel::Error, wishes.error),
            _ => (Channel::Output, wishes.output),
        };
        if wanted && wishes.frames {
            let mut frames = Vec::new();
            frame::append(&mut frames, channel, &record.bytes);
            hijacked.stream.write_all(&frames)?;
        } else if wanted {
            hijacked.stream.write_all(&record.bytes)?;
        }
    }
    Ok(())
}
