//! Runs the tests of one test program, each in a process of its own, in several homes at once.
//!
//! `tools/e2e` makes the homes, each with a software host of its own, and has cargo start this in place of
//! the test program, whose path is the first argument; filters follow. Tests are drawn from one queue, so
//! that no home waits while another has work left, and those that take longest are drawn first, so that
//! none of them is alone at the end.

mod queue;

use std::{
    collections::VecDeque,
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use coracle_tests::{Done, done_within, given};

/// Directories of the homes, separated by colons.
const HOMES: &str = "CORACLE_TEST_HOMES";

/// Names of tests that take long, the longest first: one on each line.
const LONGEST: &str = include_str!("../e2e/longest");

/// Tests that run in a home at the same time: while one waits, the software host works for another.
const WORKERS: usize = 2;

/// The longest that any test may take; each command in it has a limit of its own.
const LIMIT: Duration = Duration::from_mins(60);

/// How many of the slowest are named.
const SLOWEST: usize = 10;

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed ",
            Self::Failed => "FAILED ",
            Self::Skipped => "skipped",
        }
    }
}

/// A test that was run.
struct Run {
    name: String,
    outcome: Outcome,
    took: Duration,
    words: String,
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(program) = arguments.next().map(PathBuf::from) else {
        eprintln!("the first argument is the test program; 'make e2e' gives it");
        return ExitCode::FAILURE;
    };
    // What cargo tells the test program of its own is not for this one.
    let filters: Vec<String> = arguments.filter(|word| word != "--quiet").collect();
    let homes = env::var_os(HOMES).map_or_else(
        || vec![given("CORACLE_TEST_HOME")],
        |homes| env::split_paths(&homes).collect(),
    );
    let names = names(&program, &filters);
    if names.is_empty() {
        eprintln!("no test matches {filters:?}");
        return ExitCode::FAILURE;
    }
    for name in queue::unknown(&names, LONGEST).filter(|_| filters.is_empty()) {
        eprintln!("tests/e2e/longest names {name}, which is no test");
    }
    let runs = run_all(&program, queue::in_order(names, LONGEST), &homes);
    if report(&runs) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The names of the tests that match.
fn names(program: &Path, filters: &[String]) -> Vec<String> {
    let mut list = Command::new(program);
    list.args(["--list", "--format", "terse"]).args(filters);
    let list = done_within(&mut list, LIMIT).expect(0);
    queue::listed(&list.stdout)
}

/// Runs them all, [`WORKERS`] at once in each home; each is told of as it ends.
fn run_all(program: &Path, names: Vec<String>, homes: &[PathBuf]) -> Vec<Run> {
    let queue = Mutex::new(VecDeque::from(names));
    let draw = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    thread::scope(|scope| {
        let (sender, runs) = mpsc::channel();
        for home in homes.iter().flat_map(|home| [home; WORKERS]) {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(name) = draw() {
                    // The receiver is there until all have ended.
                    let _ = sender.send(run(program, name, home));
                }
            });
        }
        drop(sender);
        let tell = |run: &Run| {
            let seconds = run.took.as_secs_f64();
            println!("{} {seconds:6.1} s  {}", run.outcome.word(), run.name);
            if run.outcome == Outcome::Failed {
                println!("{}", run.words);
            }
        };
        runs.into_iter().inspect(tell).collect()
    })
}

/// Runs one in a home.
fn run(program: &Path, name: String, home: &Path) -> Run {
    let mut command = Command::new(program);
    command
        .args(["--exact", &name])
        .env("CORACLE_TEST_HOME", home)
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_RUNTIME_DIR", home.join("run"));
    let begun = Instant::now();
    // One that takes too long ends the thread that waits for it.
    let done = thread::spawn(move || done_within(&mut command, LIMIT)).join();
    let took = begun.elapsed();
    let (outcome, words) = match done {
        Ok(done) => (outcome(&done), format!("{}{}", done.stdout, done.stderr)),
        Err(_) => (
            Outcome::Failed,
            format!("it was ended after {} s", LIMIT.as_secs()),
        ),
    };
    Run {
        name,
        outcome,
        took,
        words,
    }
}

/// What the test program says of the one test that it was to run; saying nothing is failing.
fn outcome(done: &Done) -> Outcome {
    let said = |words: &str| done.stdout.contains(words);
    match done.code {
        0 if said("ok. 1 passed; 0 failed") => Outcome::Passed,
        0 if said("ok. 0 passed; 0 failed; 1 ignored") => Outcome::Skipped,
        _ => Outcome::Failed,
    }
}

/// Names the slowest, then those that failed, and last how many did what; true when all is well.
fn report(runs: &[Run]) -> bool {
    let mut slowest: Vec<&Run> = runs.iter().collect();
    slowest.sort_by_key(|run| std::cmp::Reverse(run.took));
    println!("\nthe slowest:");
    for run in slowest.into_iter().take(SLOWEST) {
        println!("{:8.1} s  {}", run.took.as_secs_f64(), run.name);
    }
    let all = |outcome| runs.iter().filter(move |run| run.outcome == outcome);
    let failed = all(Outcome::Failed).count();
    if failed > 0 {
        println!("\nfailed:");
        for run in all(Outcome::Failed) {
            println!("    {}", run.name);
        }
    }
    let mut words = format!("{} passed, {failed} failed", all(Outcome::Passed).count());
    let skipped = all(Outcome::Skipped).count();
    if skipped > 0 {
        words += &format!(", {skipped} skipped");
    }
    println!("\n{words}");
    failed == 0
}
