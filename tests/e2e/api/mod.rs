//! `coracle api`, as docker's clients meet it: Debian's, the newest one at hand, docker-py, and bytes on a
//! socket.

mod errors;
mod exec;
mod lists;
mod pull;
mod python;
mod run;
mod server;
mod streams;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use coracle_tests::{Done, PATIENCE, coracle, done, done_with_input, given, signal, wait};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A server with a socket of its own, which ends with the test.
struct Api {
    directory: TempDir,
    server: Option<Child>,
}

impl Api {
    fn start() -> Self {
        Self::start_as(|arguments| coracle(arguments.iter().copied()))
    }

    /// The same, as another user of the suite's starts it.
    fn start_as(command: impl FnOnce(&[&str]) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let mut command = command(&["api", "--socket", socket.to_str().unwrap()]);
        let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(
            line,
            format!("export DOCKER_HOST=unix://{}\n", socket.display())
        );
        // What else it says is the test's, and it never waits for its reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::stderr()));
        Self {
            directory,
            server: Some(server),
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A client's command.
    fn client(&self, client: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(client);
        command
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.directory.path().join("config"))
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null());
        command
    }

    /// `docker` by the newest client.
    fn docker(&self, arguments: &[&str]) -> Done {
        done(&mut self.client(&newest(), arguments))
    }

    /// The same with these bytes as its input.
    fn docker_with_input(&self, arguments: &[&str], input: &[u8]) -> Done {
        done_with_input(&mut self.client(&newest(), arguments), input)
    }

    /// `docker` in a terminal of 31 lines and 99 columns, in which these bytes are typed.
    fn docker_in_terminal(&self, arguments: &[&str], input: &[u8]) -> Done {
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let line = format!(
            "stty rows 31 cols 99; exec {} {}",
            newest().display(),
            words.join(" ")
        );
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.directory.path().join("config"));
        // A pipe that stays open: the end of a file would be typed as one.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut typed = child.stdin.take().unwrap();
        typed.write_all(input).unwrap();
        let mut stdout = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let code = wait(child);
        drop(typed);
        Done {
            code,
            stdout,
            stderr: String::new(),
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request on a connection of its own.
    fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Connection {
        let mut stream = self.connect();
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Connection {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    /// A request in JSON, and the whole of its answer.
    fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let headers = "Content-Type: application/json\r\nConnection: close\r\n";
        self.send(method, target, headers, body).answer()
    }

    /// The same, of which this status and a JSON answer are expected.
    fn json(&self, method: &str, target: &str, body: &str, status: u16) -> Value {
        let answer = self.ask(method, target, body);
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            signal(server.id(), Signal::TERM);
            let _ = wait(server);
        }
    }
}

/// A connection on which a request was sent.
struct Connection {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Connection {
    /// The status line and the headers.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = self.reader.read_line(&mut head).unwrap();
            assert_ne!(length, 0, "the connection ends within {head:?}");
        }
        head
    }

    /// So many bytes.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes until the connection's end.
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// A chunk of the body; nothing at its end.
    fn chunk(&mut self) -> Vec<u8> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let bytes = self.bytes(size);
        assert_eq!(self.bytes(2), b"\r\n");
        bytes
    }

    fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = match head.contains("Transfer-Encoding: chunked") {
            true => {
                let mut body = Vec::new();
                loop {
                    match self.chunk() {
                        chunk if chunk.is_empty() => break body,
                        chunk => body.extend(chunk),
                    }
                }
            }
            false => self.rest(),
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// Every client at hand: the one on PATH, and Debian's, which `tools/packages test` unpacks.
fn clients() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path)
        .map(|directory| directory.join("docker"))
        .find(|program| program.is_file());
    let unpacked = given("CORACLE_TEST_BIN").join("../tools/docker");
    let found: Vec<PathBuf> = on_path
        .into_iter()
        .chain(Some(unpacked).filter(|program| program.is_file()))
        .collect();
    assert!(
        !found.is_empty(),
        "there is no docker client: run 'tools/packages test'"
    );
    found
}

fn newest() -> PathBuf {
    clients().swap_remove(0)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A container that `docker` made; it is removed when this is dropped.
struct Named<'a> {
    api: &'a Api,
    name: String,
}

impl<'a> Named<'a> {
    /// `docker run -d` with these flags, image and command.
    fn run(api: &'a Api, name: &str, arguments: &[&str]) -> Self {
        let all = [&["run", "-d", "--name", name], arguments].concat();
        let id = api.docker(&all).expect(0).stdout;
        assert_eq!(id.trim().len(), 64, "{id}");
        Self {
            api,
            name: name.into(),
        }
    }

    /// A container whose name is known, whoever makes it.
    fn of(api: &'a Api, name: &str) -> Self {
        Self {
            api,
            name: name.into(),
        }
    }

    fn docker(&self, arguments: &[&str]) -> Done {
        self.api
            .docker(&[arguments, &[self.name.as_str()]].concat())
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let _ = self.docker(&["rm", "--force"]);
    }
}
