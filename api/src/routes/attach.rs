//! `POST /containers/{}/attach`: a container's streams on a raw connection.

use std::io::Write;

use coracle_engine::{
    containers::{AttachOptions, Container, LogOptions},
    state::journal,
};

use super::Call;
use crate::{
    backend::{Backend, Linked},
    error::ApiError,
    frame::{self, Channel},
    http::Hijacked,
    pump::{self, Wishes},
};

/// Attaches a client.
pub fn attach(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let config = container.config();
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
    // Before the client knows that it is attached: it may start the container then.
    let link = match stream {
        true => Some(container.attach(AttachOptions {
            input: wishes.input,
            hold: true,
        })?),
        false => None,
    };
    journal::note(&api.directories().data, config, "attach", &[]);
    let mut hijacked = call.hijack(wishes.frames)?;
    if logs {
        replay(&container, &mut hijacked, wishes)?;
    }
    if let Some(link) = link {
        pump::carry(Linked::new(link), hijacked, wishes)?;
    }
    Ok(())
}

/// What the container wrote before, as far as its log has it.
fn replay(container: &Container, hijacked: &mut Hijacked, wishes: Wishes) -> Result<(), ApiError> {
    for record in container.logs(LogOptions::default())? {
        let record = record?;
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
