//! A request that has found its route.

use std::io;

use serde::Serialize;

use crate::{
    error::ApiError,
    http::{Exchange, Hijacked, Reply, Streaming},
    query::Query,
    target::{NEWEST, Version},
};

/// Type of answers in JSON.
pub const JSON: &str = "application/json";

/// Type of a stream of bytes.
pub const RAW: &str = "application/vnd.docker.raw-stream";

/// Type of a stream in which pieces have headers that tell the streams apart.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// A request, and what it says about itself.
pub struct Call<'x, 'c> {
    /// The request, to be answered.
    pub exchange: &'x mut Exchange<'c>,
    /// What the path's placeholders stand for.
    pub arguments: Vec<String>,
    /// The query.
    pub query: Query,
    /// The version that is spoken.
    pub version: Version,
}

/// Headers of every answer.
pub(super) fn headers() -> [(&'static str, String); 4] {
    let server = concat!("Coracle/", env!("CARGO_PKG_VERSION"), " (linux)");
    [
        ("Api-Version", NEWEST.to_string()),
        ("Docker-Experimental", "false".into()),
        ("Ostype", "linux".into()),
        ("Server", server.into()),
    ]
}

fn reply(status: u16) -> Reply {
    let mut reply = Reply::new(status);
    reply.headers.extend(headers());
    reply
}

/// Answers at once, with a body that comes piece by piece.
///
/// # Errors
/// When the client is gone.
pub fn stream<'e>(exchange: &'e mut Exchange<'_>, content_type: &str) -> io::Result<Streaming<'e>> {
    exchange.stream(&reply(200).with("Content-Type", content_type))
}

impl<'c> Call<'_, 'c> {
    /// What a placeholder stands for.
    #[must_use]
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// Answers in JSON.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn json(&mut self, status: u16, value: &impl Serialize) -> Result<(), ApiError> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| ApiError::internal(error.to_string()))?;
        self.reply(&reply(status).body(JSON, text + "\n"))
    }

    /// Answers without a body.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn empty(&mut self, status: u16) -> Result<(), ApiError> {
        self.reply(&reply(status))
    }

    /// Answers with a text and more headers.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn text(
        &mut self,
        text: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), ApiError> {
        let mut reply = reply(200).body("text/plain; charset=utf-8", text);
        let more = headers.iter().map(|(name, value)| (*name, (*value).into()));
        reply.headers.extend(more);
        self.reply(&reply)
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), ApiError> {
        Ok(self.exchange.reply(reply)?)
    }

    /// Answers at once, with a body that comes piece by piece.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn stream(&mut self, content_type: &str) -> io::Result<Streaming<'_>> {
        stream(self.exchange, content_type)
    }

    /// The type of a stream whose pieces have headers or not. Old clients know of none for the former.
    #[must_use]
    pub fn stream_type(&self, frames: bool) -> &'static str {
        match frames && self.version >= MULTIPLEXED_SINCE {
            true => MULTIPLEXED,
            false => RAW,
        }
    }

    /// Makes the connection a stream. Clients that do not upgrade never knew of a type for streams with
    /// headers.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn hijack(&mut self, frames: bool) -> io::Result<Hijacked> {
        let content_type = self.stream_type(frames && self.exchange.head().upgrades());
        let mut own = Reply::new(200).with("Content-Type", content_type);
        own.headers.extend(headers());
        self.exchange.hijack(&own)
    }

    /// The request, for those who answer it in another way.
    pub fn exchange(&mut self) -> &mut Exchange<'c> {
        self.exchange
    }
}

/// The first version whose clients tell the two kinds of streams apart by their type.
const MULTIPLEXED_SINCE: Version = Version(1, 42);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::http::{Connection, Head};

    #[test]
    fn old_clients_know_of_no_type_for_frames() {
        let (_client, server) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(server);
        let head = Head::parse(b"GET /containers/a/logs HTTP/1.1\r\n\r\n").unwrap();
        let mut exchange = Exchange::new(&mut connection, head).unwrap();
        let mut call = Call {
            exchange: &mut exchange,
            arguments: Vec::new(),
            query: Query::parse("").unwrap(),
            version: Version(1, 41),
        };
        assert_eq!(
            (call.stream_type(true), call.stream_type(false)),
            (RAW, RAW)
        );
        call.version = Version(1, 42);
        assert_eq!(call.stream_type(true), MULTIPLEXED);
        assert_eq!(call.stream_type(false), RAW);
    }
}
