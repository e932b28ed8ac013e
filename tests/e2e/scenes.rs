//! Real use: what people do with hosts and with containers of their own, all at once.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use coracle_tests::{Installation, sample, signal, times};
use rustix::process::Signal;

use crate::leftovers::nothing_is_left;

/// Hands out numbers over TCP, and prints the sum of the answers.
const QUEUE: &str = "
import socketserver
jobs, done = list(range(60)), {}
class Worker(socketserver.StreamRequestHandler):
    def handle(self):
        while jobs:
            job = jobs.pop()
            self.wfile.write(b'%d\\n' % job)
            done[job] = int(self.rfile.readline())
            if len(done) == 60:
                print('sum', sum(done.values()), flush=True)
server = socketserver.ThreadingTCPServer(('', 9000), Worker)
print('ready', flush=True)
server.serve_forever()
";

/// Takes numbers from there and answers with their squares.
const WORKER: &str = "
import signal, socket
stream = socket.create_connection(('queue', 9000)).makefile('rw')
for line in stream:
    stream.write('%d\\n' % int(line) ** 2)
    stream.flush()
signal.pause()
";

/// Asks the web servers for a page, again and again.
const VISITOR: &str =
    "while :; do wget -qO- http://busybox:8080/hostname || echo nobody; sleep 0.1; done";

/// The lines of a container's log, as they come.
struct Log {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Log {
    fn follow(installation: &Installation, name: &str) -> Self {
        let mut command = installation.coracle(&["logs", "--follow", name]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line for which this holds.
    fn until(&mut self, mut holds: impl FnMut(&str) -> bool) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find(|line| holds(line)).expect("the log goes on")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn does(installation: &Installation, arguments: &[&str]) -> String {
    installation.run(arguments).expect(0).stdout
}

fn load(installation: &Installation, image: &str) {
    let archive = sample(image);
    let _ = does(
        installation,
        &["load", "-q", "-i", archive.to_str().unwrap()],
    );
}

/// Web servers from one to ten to none, while a neighbour visits them.
fn red(installation: &Installation) {
    let scale = |number: &str| {
        let set = format!("busybox={number}");
        let server = ["httpd", "-f", "-p", "8080", "-h", "/etc"];
        let scale = [&["host", "scale", "red", &set, "--"], &server[..]].concat();
        let _ = does(installation, &scale);
    };
    let _ = does(installation, &["host", "create", "red"]);
    scale("1");
    let visitor = [
        "run", "-d", "--host", "red", "--name", "visitor", "busybox", "sh", "-c", VISITOR,
    ];
    let _ = does(installation, &visitor);
    let mut visits = Log::follow(installation, "visitor");
    let is_page = |line: &str| line.len() == 12;
    let _ = visits.until(is_page);
    scale("10");
    let up = ["ps", "-q", "--filter", "host=red"];
    assert_eq!(does(installation, &up).lines().count(), 11);
    let _ = visits.until(is_page);
    scale("0");
    assert_eq!(does(installation, &up).lines().count(), 1);
    let _ = visits.until(|line| line == "nobody");
}

/// A database, and a client of it that shares its network.
fn green(installation: &Installation) {
    load(installation, "postgres");
    let _ = does(installation, &["host", "create", "green"]);
    let database = [
        "run", "-d", "--host", "green", "--name", "database", "postgres",
    ];
    let _ = does(installation, &database);
    let script = "until psql -h 127.0.0.1 -U postgres -Atc 'create table t (n int)' 2>/dev/null; do sleep 0.2; done; \
                  for n in 1 2 3 4 5; do psql -h 127.0.0.1 -U postgres -qc \"insert into t values ($n)\"; done; \
                  psql -h 127.0.0.1 -U postgres -Atc 'select sum(n) from t'";
    let client = [
        "run",
        "--rm",
        "--host",
        "green",
        "--network",
        "container:database",
    ];
    let words = ["--entrypoint", "sh", "postgres", "-c", script];
    let sum = does(installation, &[&client[..], &words].concat());
    assert!(sum.ends_with("\n15\n"), "{sum}");
}

/// A queue and three workers.
fn blue(installation: &Installation) {
    load(installation, "python");
    let _ = does(installation, &["host", "create", "blue"]);
    let queue = [
        "run", "-d", "--host", "blue", "--name", "queue", "python", "python3", "-c", QUEUE,
    ];
    let _ = does(installation, &queue);
    let mut log = Log::follow(installation, "queue");
    let _ = log.until(|line| line == "ready");
    let workers = [
        "host", "scale", "blue", "python=3", "--", "python3", "-c", WORKER,
    ];
    let _ = does(installation, &workers);
    assert_eq!(log.until(|line| line.starts_with("sum")), "sum 70210");
}

/// A tenant who takes all the memory and all the processes that there are.
fn black(installation: &Installation) {
    let _ = does(
        installation,
        &["host", "create", "black", "--memory", "256m"],
    );
    let hog = "bomb() { bomb | bomb & }; bomb; x=a; while :; do x=$x$x; done";
    for number in ["1", "2"] {
        let name = format!("hog-{number}");
        let hog = [
            "run", "-d", "--host", "black", "--name", &name, "busybox", "sh", "-c", hog,
        ];
        // The second may find no room to start in.
        let _ = installation.run(&hog);
    }
}

#[test]
fn tenants_live_side_by_side_whatever_one_of_them_does() {
    let installation = Installation::new(None);
    let _ = does(&installation, &["run", "--rm", "busybox", "true"]);
    black(&installation);
    thread::scope(|all| {
        all.spawn(|| red(&installation));
        all.spawn(|| green(&installation));
        all.spawn(|| blue(&installation));
    });
    let hosts = does(&installation, &["host", "ls", "--format", "{{.Name}}"]);
    for name in ["red", "green", "blue", "black"] {
        assert!(hosts.contains(name), "{hosts}");
        let _ = does(&installation, &["host", "rm", "--force", name]);
    }
    assert_eq!(does(&installation, &["ps", "-aq"]), "");
    nothing_is_left(&installation);
}

/// Jobs of a CI system: `CORACLE_TEST_JOBS` of them, a few unless given.
#[test]
fn short_jobs_run_four_at_a_time_and_see_nothing_of_each_other() {
    let installation = Installation::new(None);
    let jobs = times("CORACLE_TEST_JOBS", 12);
    let _ = does(&installation, &["run", "--rm", "busybox", "true"]);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                return;
            }
            // Its input comes as a file of its own, and what it finds beside it would be another's.
            let script = "ls /work 2>/dev/null; mkdir /work && echo \"$JOB\" > /work/mine && \
                          sleep 0.1 && cat /work/* && exit $((JOB % 7))";
            let variable = format!("JOB={job}");
            let job_run = [
                "run", "--rm", "-e", &variable, "busybox", "sh", "-c", script,
            ];
            let done = installation
                .run(&job_run)
                .expect(i32::try_from(job % 7).unwrap());
            assert_eq!(done.stdout, format!("{job}\n"));
        }
    };
    thread::scope(|all| {
        for _ in 0..4 {
            all.spawn(work);
        }
    });
    assert_eq!(does(&installation, &["ps", "-aq"]), "");
    nothing_is_left(&installation);
}
