//! An HTTP server before a registry that goes wrong as a test asks, and notes what it was asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A request, as far as tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Ask the registry.
    Pass,
    /// Ask the registry without the header `Range`.
    PassWhole,
    /// Answer with this status line, headers and body.
    Answer(&'static str, Vec<(&'static str, String)>, String),
    /// Ask the registry, and close the connection after so many bytes of the body.
    Truncate(usize),
    /// Ask the registry, and say nothing more after so many bytes of the body.
    Stall(usize),
    /// Ask the registry, and after so many bytes of the body give one byte at a time, slowly.
    Drip(usize),
    /// Ask the registry, and change the byte at this place of the body.
    Corrupt(usize),
}

type Plan = dyn Fn(&Request, usize) -> Action + Send + Sync;

/// The server.
pub(crate) struct Front {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Front {
    /// One before `registry`; `plan` is asked with each request and the number of those before
    /// it with the same path.
    pub(crate) fn start(
        registry: &str,
        plan: impl Fn(&Request, usize) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connection = Connection {
            registry: registry.to_owned(),
            plan: Arc::new(plan),
            seen: Arc::clone(&seen),
        };
        // It ends with the test program; a test's own end closes its connections.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = connection.clone();
                thread::spawn(move || connection.serve(&stream));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests for layers and configurations.
    pub(crate) fn blobs(&self) -> Vec<Request> {
        self.seen().into_iter().filter(Request::is_blob).collect()
    }

    /// The requests for one blob.
    pub(crate) fn blob(&self, digest: &str) -> Vec<Request> {
        let mut blobs = self.blobs();
        blobs.retain(|request| request.path.ends_with(digest));
        blobs
    }
}

#[derive(Clone)]
struct Connection {
    registry: String,
    plan: Arc<Plan>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Connection {
    /// One request; a connection has no second one.
    fn serve(&self, stream: &TcpStream) {
        let Some(request) = read_request(stream) else {
            return;
        };
        let before = {
            let mut seen = self.seen.lock().unwrap();
            let same = seen.iter().filter(|earlier| earlier.path == request.path);
            let before = same.count();
            seen.push(request.clone());
            before
        };
        let whole = usize::MAX;
        match (self.plan)(&request, before) {
            Action::Answer(status, headers, body) => answer(stream, status, &headers, &body),
            Action::Pass => self.pass(stream, &request, true, whole),
            Action::PassWhole => self.pass(stream, &request, false, whole),
            Action::Truncate(length) => self.pass(stream, &request, true, length),
            Action::Corrupt(at) => {
                if let Some((head, mut body)) = self.fetch(&request, true) {
                    if let Some(byte) = body.get_mut(at) {
                        *byte ^= 1;
                    }
                    send(stream, &head, &body);
                }
            }
            Action::Stall(length) => {
                self.pass(stream, &request, true, length);
                // Until the other side gives up.
                let _ = stream.take(u64::MAX).read_to_end(&mut Vec::new());
            }
            Action::Drip(length) => {
                if let Some((head, body)) = self.fetch(&request, true) {
                    let (quick, slow) = body.split_at(length.min(body.len()));
                    send(stream, &head, quick);
                    drip(stream, slow);
                }
            }
        }
    }

    fn pass(&self, stream: &TcpStream, request: &Request, ranges: bool, length: usize) {
        if let Some((head, mut body)) = self.fetch(request, ranges) {
            body.truncate(length);
            send(stream, &head, &body);
        }
    }

    /// What the registry answers: head and body.
    fn fetch(&self, request: &Request, ranges: bool) -> Option<(String, Vec<u8>)> {
        let mut upstream = TcpStream::connect(&self.registry).unwrap();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            request.method, request.path, self.registry
        );
        for (name, value) in &request.headers {
            let dropped = !ranges && name == "range";
            if !dropped && name != "host" && name != "connection" {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += "\r\n";
        upstream.write_all(head.as_bytes()).unwrap();
        let mut upstream = BufReader::new(upstream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if upstream.read_line(&mut head).unwrap() == 0 {
                return None;
            }
        }
        let head = head.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
        let mut body = Vec::new();
        upstream.read_to_end(&mut body).unwrap();
        Some((head, body))
    }
}

/// Whoever asked may have gone.
fn send(mut stream: &TcpStream, head: &str, body: &[u8]) {
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

/// One byte after the other until the other side gives up.
fn drip(mut stream: &TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

fn answer(mut stream: &TcpStream, status: &str, headers: &[(&str, String)], body: &str) {
    let mut text = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text += body;
    let _ = stream.write_all(text.as_bytes());
}
