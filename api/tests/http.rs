//! The server as a client on a socket sees it.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use coracle_api::http::{Exchange, Reply, Server, limits, until_hangup};

/// Nothing that a test waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// As long as any time is.
const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

/// A server of some answers, which ends with the test.
struct Scene {
    directory: tempfile::TempDir,
    /// What handlers report, in their order.
    reports: mpsc::Receiver<String>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (sender, reports) = mpsc::channel();
        let server = Server {
            listener,
            idle: None,
            stop: None,
        };
        thread::spawn(move || server.run(move |exchange| answer(exchange, &sender)));
        Self { directory, reports }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that is answered to these bytes, until the connection's end.
    /// But for the time, which is another each time.
    fn talk(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        without_date(&answer)
    }

    fn report(&self) -> String {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }
}

fn without_date(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("Date: ")).collect()
}

fn answer(exchange: &mut Exchange<'_>, reports: &mpsc::Sender<String>) {
    let target = exchange.head().target.clone();
    let done = match target.as_str() {
        "/echo" => {
            let body = exchange.read_all(100).unwrap();
            let reply = match body {
                Some(body) => Reply::new(200).body("text/plain", body),
                None => Reply::new(413),
            };
            exchange.reply(&reply)
        }
        "/empty" => exchange.reply(&Reply::new(204)),
        "/wait" => wait(exchange, reports),
        "/raw" => raw(exchange),
        _ => exchange.reply(&Reply::new(404).with("X-Target", target)),
    };
    let _ = done;
}

/// Answers at once, and sends the body when the client is gone or says so on another connection.
fn wait(exchange: &mut Exchange<'_>, reports: &mpsc::Sender<String>) -> std::io::Result<()> {
    let (never, _writer) = std::io::pipe()?;
    let mut stream = exchange.stream(&Reply::new(200))?;
    stream.write_all(b"begun")?;
    reports.send("waiting".into()).unwrap();
    let client = std::os::fd::AsFd::as_fd(&stream);
    let still = until_hangup(client, std::os::fd::AsFd::as_fd(&never), Some(PATIENCE))?;
    reports.send(format!("client is there: {still}")).unwrap();
    Ok(())
}

/// Sends back what comes in capitals, and a word when the client has ended its half.
fn raw(exchange: &mut Exchange<'_>) -> std::io::Result<()> {
    let hijacked = exchange.hijack(&Reply::new(200).with("Content-Type", "raw"));
    let mut hijacked = match hijacked {
        Ok(hijacked) => hijacked,
        Err(error) => {
            assert!(!exchange.is_answered());
            exchange.reply(&Reply::new(400))?;
            return Err(error);
        }
    };
    let mut input = std::mem::take(&mut hijacked.early);
    hijacked.stream.read_to_end(&mut input)?;
    input.make_ascii_uppercase();
    hijacked.stream.write_all(&input)?;
    hijacked.stream.write_all(b" over")
}

#[test]
fn requests_follow_each_other_on_a_connection() {
    let scene = Scene::new();
    let text = scene.talk(
        "POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\r\n\
         POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n\
         GET /empty HTTP/1.1\r\n\r\n",
    );
    let hi = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    let you = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nyou";
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(text, [hi, you, empty].concat());
}

#[test]
fn body_that_nobody_read_is_no_request() {
    let scene = Scene::new();
    let body = "GET /smuggled HTTP/1.1\r\n\r\n";
    let length = body.len();
    let text = scene.talk(&format!(
        "POST /empty HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}GET /next HTTP/1.1\r\n\r\n"
    ));
    assert!(text.contains("X-Target: /next\r\n"), "{text}");
    assert!(!text.contains("smuggled"), "{text}");
}

#[test]
fn head_is_answered_without_a_body() {
    let text = Scene::new().talk("HEAD /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi");
    assert!(text.ends_with("Content-Length: 2\r\n\r\n"), "{text}");
}

#[test]
fn client_that_waits_is_asked_for_its_body() {
    let scene = Scene::new();
    let mut stream = scene.connect();
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(b"hi").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n\r\nhi"), "{rest}");
    // One that is not asked cannot use its connection again: its body may come or not.
    let text =
        scene.talk("POST /empty HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
    assert!(text.contains("Connection: close"), "{text}");
}

#[test]
fn old_clients_get_what_they_can_read() {
    let scene = Scene::new();
    let text = scene.talk("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    assert!(text.contains("Connection: close\r\n"), "{text}");
    let mut stream = scene.connect();
    stream.write_all(b"GET /wait HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(scene.report(), "waiting");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(!text.contains("chunked"), "{text}");
    assert!(text.ends_with("\r\n\r\nbegun"), "{text}");
}

#[test]
fn headers_come_before_the_body_and_a_client_that_goes_is_noticed() {
    let scene = Scene::new();
    let mut stream = scene.connect();
    stream.write_all(b"POST /wait HTTP/1.1\r\n\r\n").unwrap();
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
    let mut text = vec![0; whole.len() + DATE.len()];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(without_date(&String::from_utf8(text).unwrap()), whole);
    assert_eq!(scene.report(), "waiting");
    drop(stream);
    assert_eq!(scene.report(), "client is there: false");
}

#[test]
fn connection_becomes_a_stream_in_both_forms() {
    let scene = Scene::new();
    // The body is the request's; what follows is the stream's, also what came with it.
    let text = scene.talk(
        "POST /raw HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}hello",
    );
    let head =
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: raw\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    assert_eq!(text, format!("{head}HELLO over"));
    let text = scene.talk("POST /raw HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}hello");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\n";
    assert_eq!(text, format!("{head}HELLO over"));
}

#[test]
fn body_is_never_the_stream_s() {
    let scene = Scene::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\n";
    for (version, headers, body) in [
        ("1.1", "Connection: close\r\nContent-Length: 2\r\n", "{}"),
        ("1.0", "Content-Length: 2\r\n", "{}"),
        (
            "1.1",
            "Connection: close\r\nTransfer-Encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
        ),
    ] {
        let text = scene.talk(&format!(
            "POST /raw HTTP/{version}\r\n{headers}\r\n{body}hello"
        ));
        assert_eq!(text, format!("{head}HELLO over"), "{version} {headers}");
    }
    // One that waits is asked for it.
    let text = scene
        .talk("POST /raw HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}hello");
    assert_eq!(
        text,
        format!("HTTP/1.1 100 Continue\r\n\r\n{head}HELLO over")
    );
    // One whose end is far, or that does not come, makes no stream.
    for (length, sent) in [(limits::MAX_DRAIN + 1, limits::MAX_DRAIN + 1), (3, 2)] {
        for connection in ["close", "Upgrade\r\nUpgrade: tcp"] {
            let mut stream = scene.connect();
            let body = "x".repeat(sent);
            let request = format!(
                "POST /raw HTTP/1.1\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            // Not all of it may be taken.
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains("X over"), "{text}");
            assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        }
    }
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let scene = Scene::new();
    for (request, status) in [
        ("hello\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\n\r\n", "505"),
        ("POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400"),
        (
            "POST /echo HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
    ] {
        let text = scene.talk(&format!("{request}GET /next HTTP/1.1\r\n\r\n"));
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("{\"message\":"), "{text}");
        assert!(!text.contains("/next"), "{text}");
    }
    let header = format!("A: {}\r\n", "b".repeat(limits::MAX_HEAD));
    let mut stream = scene.connect();
    // The server stops reading, so not all of it may be written.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\n{header}\r\n").as_bytes());
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    assert!(line.starts_with("HTTP/1.1 431 "), "{line}");
}

#[test]
fn body_that_is_too_large_is_refused() {
    let text = Scene::new().talk(&format!(
        "POST /echo HTTP/1.1\r\nContent-Length: 101\r\n\r\n{}",
        "x".repeat(101)
    ));
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[test]
fn server_without_connections_ends_when_it_is_idle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server {
        listener: UnixListener::bind(&path).unwrap(),
        idle: Some(Duration::from_millis(1)),
        stop: None,
    };
    // It does not end while somebody is connected.
    let mut client = UnixStream::connect(&path).unwrap();
    let running = thread::spawn(move || {
        server.run(|exchange| {
            let _ = exchange.reply(&Reply::new(204));
        })
    });
    for _ in 0..10 {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; "HTTP/1.1 204 No Content\r\n\r\n".len() + DATE.len()];
        client.read_exact(&mut answer).unwrap();
        thread::sleep(Duration::from_millis(3));
    }
    drop(client);
    running.join().unwrap().unwrap();
}

#[test]
fn server_ends_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let (stop, tell) = std::io::pipe().unwrap();
    let server = Server {
        listener: UnixListener::bind(directory.path().join("socket")).unwrap(),
        idle: None,
        stop: Some(stop.into()),
    };
    drop(tell);
    server.run(|_| {}).unwrap();
}

#[test]
fn server_whose_listener_is_broken_ends() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
    let server = Server {
        listener,
        idle: None,
        stop: None,
    };
    server.run(|_| {}).unwrap_err();
}
