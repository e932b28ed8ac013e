//! `GET /events`: what has happened, and what happens.

use std::{io::Write, os::fd::AsFd, time::Duration};

use coracle_engine::containers::Next;
use coracle_platform::clock;
use docker_model::{
    event::{self, Event},
    filters::Filters,
    moment,
};

use crate::{
    backend::{self, Backend},
    error::ApiError,
    http::until_hangup,
    routes::{Call, JSON},
};

/// Tells events, one in a line.
pub fn events(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let time = |name: &str| -> Result<Option<u64>, ApiError> {
        call.query
            .text(name)
            .map(|text| {
                moment::absolute(text)
                    .ok_or_else(|| ApiError::invalid(format!("invalid value for {name}: {text:?}")))
            })
            .transpose()
    };
    let (since, end) = (time("since")?, time("until")?);
    let filters = Filters::from_json(call.query.get("filters").unwrap_or_default())?;
    event::check(&filters)?;
    let mut events = api.engine.events(since, end)?;
    let client = backend::client_of(call.exchange)?;
    let mut stream = call.stream(JSON)?;
    loop {
        match events.next_now()? {
            Next::Piece(piece) => {
                let event = Event::read(&piece.line);
                if let Some(event) = event.filter(|event| event.matches(&filters)) {
                    let text = serde_json::to_string(&event).unwrap_or_default() + "\n";
                    stream.write_all(text.as_bytes())?;
                }
            }
            Next::Later => {
                let left = end.map(|end| Duration::from_nanos(end.saturating_sub(clock::wall())));
                if !until_hangup(client.as_fd(), events.as_fd(), left)? {
                    return Ok(());
                }
            }
            Next::End => {
                stream.finish()?;
                return Ok(());
            }
        }
    }
}
