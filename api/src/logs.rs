//! `GET /containers/{}/logs`.

use std::{io::Write, os::fd::AsFd};

use coracle_engine::{
    containers::{LogOptions, Next},
    state::{container::LogPolicy, log::Record},
};
use docker_model::{moment, time};

use crate::{
    backend::{self, Backend},
    error::ApiError,
    frame::{self, Channel},
    http::until_hangup,
    routes::Call,
};

/// Answers with a container's log.
pub fn logs(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let query = &call.query;
    let (output, error) = (query.flag("stdout"), query.flag("stderr"));
    if !output && !error {
        return Err(ApiError::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    if container.config().log == LogPolicy::None {
        return Err(ApiError::unsupported(
            "configured logging driver does not support reading",
        ));
    }
    let options = LogOptions {
        since: time_of(query.text("since"))?,
        until: time_of(query.text("until"))?,
        // As docker: what is no number of lines is all of them.
        tail: query.text("tail").and_then(|text| text.parse().ok()),
        follow: query.flag("follow"),
    };
    let terminal = container.config().spec.process.terminal.is_some();
    let mut writer = Writer {
        output,
        error,
        timestamps: query.flag("timestamps"),
        frames: !terminal,
        at_start: [true; 2],
    };
    let mut logs = container.logs(options)?;
    let client = backend::client_of(call.exchange)?;
    let content_type = call.stream_type(!terminal);
    let mut stream = call.stream(content_type)?;
    loop {
        match logs.next_now()? {
            Next::Piece(record) => {
                let bytes = writer.bytes(&record);
                stream.write_all(&bytes)?;
            }
            Next::Later => {
                if let Some(descriptor) = logs.descriptor()
                    && !until_hangup(client.as_fd(), descriptor, None)?
                {
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

/// A time in seconds with a fraction, as docker's clients send it; 0 is none.
fn time_of(text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match moment::absolute(text) {
        Some(0) => Ok(None),
        Some(moment) => Ok(Some(moment)),
        None => Err(ApiError::invalid(format!(
            "invalid value for a time: {text:?}"
        ))),
    }
}

/// What of a log is sent, and how.
struct Writer {
    output: bool,
    error: bool,
    timestamps: bool,
    frames: bool,
    /// Whether the next byte of a stream begins a line.
    at_start: [bool; 2],
}

impl Writer {
    /// A record as it is sent; nothing of a stream that is not wanted.
    fn bytes(&mut self, record: &Record) -> Vec<u8> {
        let (channel, index, wanted) = match record.stream {
            2 => (Channel::Error, 1, self.error),
            _ => (Channel::Output, 0, self.output),
        };
        let mut bytes = Vec::new();
        let at_start = self.at_start.get_mut(index);
        match at_start.filter(|_| self.timestamps) {
            _ if !wanted => {}
            None => bytes.extend_from_slice(&record.bytes),
            Some(at_start) => {
                for line in record.bytes.split_inclusive(|byte| *byte == b'\n') {
                    if *at_start {
                        bytes.extend_from_slice(time::rfc3339_fixed(record.time).as_bytes());
                        bytes.push(b' ');
                    }
                    bytes.extend_from_slice(line);
                    *at_start = line.ends_with(b"\n");
                }
            }
        }
        if !self.frames {
            return bytes;
        }
        let mut frames = Vec::with_capacity(bytes.len() + 8);
        frame::append(&mut frames, channel, &bytes);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_inside_of_frames_and_at_the_beginning_of_lines() {
        let mut writer = Writer {
            output: true,
            error: false,
            timestamps: true,
            frames: true,
            at_start: [true; 2],
        };
        let mut record = |stream, bytes: &[u8]| {
            writer.bytes(&Record {
                stream,
                time: 1_500_000_000,
                bytes: bytes.into(),
            })
        };
        let first = record(1, b"half");
        let stamped = b"1970-01-01T00:00:01.500000000Z half";
        assert_eq!(first[..8], [1, 0, 0, 0, 0, 0, 0, 35]);
        assert_eq!(&first[8..], stamped);
        assert_eq!(record(1, b" a line\n"), b"\x01\0\0\0\0\0\0\x08 a line\n");
        assert!(record(2, b"not wanted\n").is_empty());
    }

    #[test]
    fn time_of_zero_is_none() {
        assert_eq!(time_of(Some("0")), Ok(None));
        assert_eq!(time_of(Some("1.5")), Ok(Some(1_500_000_000)));
        assert!(time_of(Some("soon")).is_err());
    }
}
