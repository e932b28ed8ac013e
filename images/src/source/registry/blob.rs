//! A layer as it comes from a registry, taken up again where the connection breaks.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ureq::BodyReader;
use ureq::http::{Response, StatusCode};

use super::ask::get;
use super::client::Ask;
use super::endpoint::Endpoint;
use super::failure::into_cause;
use super::limits::{FIRST_PAUSE, MAX_ATTEMPTS, MIRROR_PACE, PROGRESS};
use super::{Registry, RegistryError};
use crate::digest::Digest;

/// An error that every further read gives again.
#[derive(Debug, Clone)]
pub(crate) struct Shared(pub(crate) Arc<RegistryError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The bytes of a layer from some place on.
pub(super) struct Blob<'a> {
    registry: &'a Registry,
    digest: Digest,
    what: String,
    path: String,
    size: u64,
    at: u64,
    /// Endpoints to ask, the next one first. A mirror that fails is asked no more for this blob.
    order: Vec<usize>,
    stream: Option<Stream>,
    attempts: u32,
    /// Where the attempts began to be counted.
    mark: u64,
    failed: Option<Shared>,
}

/// A response that is being read.
struct Stream {
    /// From which endpoint.
    number: usize,
    body: BodyReader<'static>,
    /// When the pace began to be looked at, and bytes since then.
    since: Instant,
    bytes: u64,
}

impl<'a> Blob<'a> {
    pub(super) fn open(
        registry: &'a Registry,
        digest: &Digest,
        size: u64,
        start: u64,
    ) -> Result<Self, RegistryError> {
        let mut blob = Self {
            registry,
            digest: digest.clone(),
            what: format!("layer {digest}"),
            path: format!("/v2/{}/blobs/{digest}", registry.reference.path()),
            size,
            at: start,
            order: registry.endpoints.for_blobs(),
            stream: None,
            attempts: 0,
            mark: start,
            failed: None,
        };
        if start < size {
            blob.connect()?;
        }
        Ok(blob)
    }

    /// Asks the endpoint that had the manifest, and when that fails the others. What the registry itself says of a
    /// failure is what counts.
    fn connect(&mut self) -> Result<(), RegistryError> {
        let registry = self.registry;
        let mut told = None;
        for number in self.order.clone() {
            let Some(endpoint) = registry.endpoints.get(number) else {
                continue;
            };
            match self.ask(endpoint) {
                // As good as a failure: the others are asked, of which the registry itself is always one.
                Ok(None) if endpoint.is_mirror() => {
                    self.order.retain(|other| *other != number);
                }
                Ok(body) => {
                    registry.endpoints.supplies(number, &self.digest);
                    self.stream = body.map(|body| Stream {
                        number,
                        body,
                        since: Instant::now(),
                        bytes: 0,
                    });
                    return Ok(());
                }
                Err(error) if endpoint.is_mirror() => {
                    self.order.retain(|other| *other != number);
                    told = told.or(Some(error));
                }
                Err(error) => told = Some(error),
            }
        }
        Err(told.expect("there is an endpoint"))
    }

    /// Asks one endpoint; without a body when that ended before it began.
    fn ask(&self, endpoint: &Endpoint) -> Result<Option<BodyReader<'static>>, RegistryError> {
        let from = |start| {
            let ask = Ask {
                what: &self.what,
                path: &self.path,
                accept: "application/octet-stream, */*",
                start,
                small: false,
            };
            get(&self.registry.client, endpoint, ask)
        };
        let unsatisfiable = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();
        let response = match from(self.at) {
            // It takes ranges for granted and then does not know this one: the whole is asked for.
            Err(RegistryError::Status { status, .. }) if status == unsatisfiable && self.at > 0 => {
                from(0)?
            }
            other => other?,
        };
        self.begin(endpoint, response)
    }

    /// Takes a response that begins where we are, or at the beginning, from a server that knows no
    /// ranges.
    fn begin(
        &self,
        endpoint: &Endpoint,
        response: Response<ureq::Body>,
    ) -> Result<Option<BodyReader<'static>>, RegistryError> {
        let wrong = |reason: String| RegistryError::Answer {
            host: endpoint.authority.clone(),
            what: self.what.clone(),
            reason,
        };
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let start = if partial { self.at } else { 0 };
        if partial {
            let range = response.headers().get("content-range");
            let range = range
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if !is_range(range, self.at, self.size) {
                let (range, at) = (super::printable(range, 100), self.at);
                return Err(wrong(format!(
                    "its range is {range:?}, asked for were bytes from {at}"
                )));
            }
        }
        let announced = self.size - start;
        if let Some(length) = response.body().content_length()
            && length != announced
        {
            return Err(wrong(format!(
                "it has {length} bytes where the manifest announces {announced}"
            )));
        }
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let skipped = self.skip(endpoint, &mut body, self.at - start);
        Ok(skipped.unwrap_or(false).then_some(body))
    }

    /// Reads over bytes that are here already; whether all of them came, and of a mirror at its pace.
    fn skip(&self, endpoint: &Endpoint, body: &mut impl Read, bytes: u64) -> io::Result<bool> {
        let window = self.registry.client.settings.timeouts.stall();
        let mut body = body.take(bytes);
        let mut buffer = [0; 8 << 10];
        let (mut since, mut mark) = (Instant::now(), bytes);
        while body.limit() > 0 {
            if body.read(&mut buffer)? == 0 {
                return Ok(false);
            }
            if since.elapsed() < window {
                continue;
            }
            if endpoint.is_mirror() && mark - body.limit() < MIRROR_PACE {
                return Ok(false);
            }
            (since, mark) = (Instant::now(), body.limit());
        }
        Ok(true)
    }

    /// The endpoint that is being read, when it is a mirror.
    fn mirror(&self) -> Option<usize> {
        let number = self.stream.as_ref()?.number;
        let endpoint = self.registry.endpoints.get(number)?;
        endpoint.is_mirror().then_some(number)
    }

    /// Goes on with another endpoint, which has all its attempts.
    fn leave(&mut self, mirror: usize) {
        self.order.retain(|number| *number != mirror);
        self.stream = None;
        (self.mark, self.attempts) = (self.at, 0);
    }

    /// Counts a failure; with too many of them it is the last.
    fn broke(&mut self, cause: Box<dyn std::error::Error + Send + Sync>) -> io::Result<()> {
        if let Some(mirror) = self.mirror() {
            self.leave(mirror);
            return Ok(());
        }
        self.stream = None;
        if self.at - self.mark >= PROGRESS {
            self.mark = self.at;
            self.attempts = 0;
        }
        self.attempts += 1;
        if self.attempts < MAX_ATTEMPTS {
            thread::sleep(FIRST_PAUSE * self.attempts);
            return Ok(());
        }
        Err(self.fail(RegistryError::Broken {
            host: self.registry.endpoints.own().authority.clone(),
            what: self.what.clone(),
            got: self.at,
            size: self.size,
            source: cause,
        }))
    }

    fn fail(&mut self, error: RegistryError) -> io::Error {
        let shared = Shared(Arc::new(error));
        self.failed = Some(shared.clone());
        io::Error::other(shared)
    }

    /// Takes note of bytes that came, and leaves a mirror that drips.
    fn advance(&mut self, count: usize) {
        self.at += count as u64;
        let window = self.registry.client.settings.timeouts.stall();
        let Some(stream) = &mut self.stream else {
            return;
        };
        stream.bytes += count as u64;
        if stream.since.elapsed() < window {
            return;
        }
        let is_slow = stream.bytes < MIRROR_PACE;
        (stream.since, stream.bytes) = (Instant::now(), 0);
        if is_slow && let Some(mirror) = self.mirror() {
            self.leave(mirror);
        }
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        loop {
            let left = self.size - self.at;
            let room = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            if room == 0 {
                return Ok(0);
            }
            let Some(stream) = &mut self.stream else {
                match self.connect() {
                    Ok(()) if self.stream.is_some() => {}
                    Ok(()) => self.broke("the connection ended early".into())?,
                    Err(error) if error.is_transient() => self.broke(Box::new(error))?,
                    Err(error) => return Err(self.fail(error)),
                }
                continue;
            };
            let Some(room) = buffer.get_mut(..room) else {
                return Ok(0);
            };
            match stream.body.read(room) {
                Ok(0) => self.broke("the connection ended early".into())?,
                Ok(count) => {
                    self.advance(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broke(into_cause(error))?,
            }
        }
    }
}

/// Whether a `Content-Range` (RFC 9110 section 14.4) goes from `start` to the end of `size` bytes.
fn is_range(text: &str, start: u64, size: u64) -> bool {
    let parse = || {
        let (range, all) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let all_fits = all == "*" || all.parse() == Ok(size);
        Some(all_fits && first.parse() == Ok(start) && last.parse::<u64>().ok()? + 1 == size)
    };
    parse().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::source::registry::Settings;

    /// A server that answers all requests with this; its address.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // It ends with the test program.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head = lines.map_while(Result::ok);
                let _ = head.take_while(|line| !line.is_empty()).count();
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn registry_is_asked_where_a_mirror_without_ranges_ends_before_what_is_here() {
        let mirror = server("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
        let own = server(
            "HTTP/1.1 206 Partial Content\r\nconnection: close\r\n\
             content-range: bytes 5-9/10\r\ncontent-length: 5\r\n\r\nfghij",
        );
        let mirrors = BTreeMap::from([(own.clone(), vec![format!("http://{mirror}")])]);
        let settings = Settings {
            mirrors,
            ..Settings::default()
        };
        let reference = format!("{own}/boat").parse().unwrap();
        let registry = Registry::new(&reference, settings).unwrap();
        registry.endpoints.own().https.get_or_init(|| false);
        let mut blob = Blob::open(&registry, &Digest::of(b"abcdefghij"), 10, 5).unwrap();
        let mut rest = String::new();
        blob.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "fghij");
        assert_eq!(blob.attempts, 0);
    }

    #[test]
    fn only_the_range_that_was_asked_for_is_taken() {
        for good in ["bytes 5-9/10", "bytes 5-9/*"] {
            assert!(is_range(good, 5, 10), "{good}");
        }
        for bad in [
            "",
            "bytes 0-9/10",
            "bytes 5-8/10",
            "bytes 5-9/11",
            "bytes */10",
            "5-9/10",
            "bytes 5-99999999999999999999/10",
            "bytes -5-9/10",
        ] {
            assert!(!is_range(bad, 5, 10), "{bad}");
        }
    }
}
