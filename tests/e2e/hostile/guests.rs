//! A guest's init, or a monitor that was taken over, that breaks the contract with the keeper.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use coracle_tests::{Done, PATIENCE, Rogue, attacker_image, coracle, done, obeyed, zeros};

use super::without_machine;

/// The longest that a keeper may wait for what does not come, and the time of everything beside it.
const BOUNDED: Duration = Duration::from_secs(60);

/// An attack, the exit code that is right, and a word of the message.
type Case = (&'static str, i32, &'static str);

/// What is answered at once.
const AT_ONCE: [Case; 33] = [
    ("hello-version", 125, "version"),
    ("hello-twice", 125, "protocol error"),
    ("hello-long", 125, "4096 are allowed"),
    ("hello-escapes", 0, ""),
    ("hello-times", 0, ""),
    ("frame-giant", 125, "longer than the limit"),
    ("frame-garbage", 125, "invalid message"),
    ("frame-bytes", 7, ""),
    ("status-range", 125, "invalid message"),
    // No code is beyond what 64 signals give.
    ("status-signal", 192, ""),
    ("flood-messages", 125, "protocol error"),
    ("flood-memory", 125, "lack of memory"),
    ("exited-first", 125, "protocol error"),
    ("exited-other", 125, "protocol error"),
    // The first word counts, whatever is said later.
    ("exited-twice", 3, ""),
    ("started-other", 125, "protocol error"),
    ("started-twice", 125, "protocol error"),
    // It has run: whatever became of it, that is no start which failed.
    ("failed-late", 125, "was ended: late"),
    ("failed-long", 125, "4096 are allowed"),
    ("failed-escapes", 125, "evil"),
    ("forgotten", 125, "not asked"),
    ("vanish", 125, "ended without"),
    ("streams-twice", 0, ""),
    ("streams-unproved", 0, ""),
    ("streams-foreign", 0, ""),
    ("streams-flood", 0, ""),
    ("door-garbage", 125, "monitor"),
    ("door-unknown", 125, "monitor"),
    ("door-giant", 125, ""),
    ("door-bare", 125, "without its socket"),
    ("door-descriptors", 125, ""),
    ("door-report", 125, "evil"),
    ("door-words", 125, "evil"),
];

/// What is only noticed by its absence, all at the same time.
const LATE: [Case; 8] = [
    ("absent", 125, ""),
    ("elsewhere", 125, ""),
    ("silent", 125, ""),
    ("frame-half", 125, ""),
    // Words that nobody asked for, and no guest after them.
    ("door-extent", 125, ""),
    ("streams-never", 125, "output is lost"),
    // It reads a little, again and again, so that no single write takes long.
    ("trickle", 125, "not responding"),
    ("stop-ignored", 0, ""),
];

/// The command that starts a container with an init of this kind.
fn start(rogue: &Rogue, attack: &str, flags: &[&str]) -> Command {
    let mut command = rogue.coracle(&["run", "--rm"]);
    command.args(flags);
    if attack == "trickle" {
        // More than what a socket holds by itself.
        let large = "x".repeat(100 << 10);
        for number in 0..9 {
            command.arg("-e").arg(format!("LARGE{number}={large}"));
        }
    }
    command.args([attacker_image(), "/attacker", "idle"]);
    command
}

/// What is wrong with what came of an attack.
fn fault((attack, code, word): Case, done: &Done, took: Duration) -> Option<String> {
    let right = done.code == code && done.stderr.contains(word) && took < BOUNDED;
    let clean = !obeyed(&done.stderr) && done.stderr.len() < 16 << 10;
    (!right || !clean).then(|| format!("{attack} ({took:?}): {done:?}"))
}

/// Tries one, without a machine.
fn attempt(case: Case) -> Option<String> {
    let rogue = Rogue::new(case.0);
    let begun = Instant::now();
    let done = done(&mut start(&rogue, case.0, &["--isolation", "namespace"]));
    fault(case, &done, begun.elapsed())
}

#[test]
fn guest_that_breaks_the_contract_ends_in_words_and_never_as_a_success() {
    if !without_machine() {
        return;
    }
    let _ = attacker_image();
    let wrong: Vec<String> = AT_ONCE.into_iter().filter_map(attempt).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn guest_that_says_nothing_or_hears_nothing_is_given_up() {
    if !without_machine() {
        return;
    }
    let _ = attacker_image();
    let wrong: Vec<String> = thread::scope(|all| {
        let tries = LATE.map(|case| all.spawn(move || attempt(case)));
        let tried = tries.into_iter().map(|one| one.join().unwrap());
        tried.flatten().collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn guest_that_reads_nothing_is_killed_all_the_same() {
    if !without_machine() {
        return;
    }
    let rogue = Rogue::new("deaf");
    let flags = [
        "--isolation",
        "namespace",
        "--interactive",
        "--timeout",
        "1",
    ];
    let begun = Instant::now();
    let mut command = start(&rogue, "deaf", &flags);
    let done = done(command.stdin(zeros(64 << 20).unwrap()));
    let case = ("deaf", 137, "--timeout");
    let wrong = fault(case, &done, begun.elapsed());
    assert!(wrong.is_none(), "{wrong:?}");
}

/// The same words from a real guest, over the monitor's vsock device, and what only such a one can do.
const IN_A_MACHINE: [Case; 4] = [
    ("hello-twice", 125, "protocol error"),
    ("failed-escapes", 125, "evil"),
    ("streams-twice", 0, ""),
    // Its init ends, which is the end of its kernel.
    ("vanish", 125, "before its container ended"),
];

#[test]
fn real_guest_with_such_an_init_harms_nobody_beside_it() {
    let kernel = done(&mut coracle(["kernel", "path"])).expect(0).stdout;
    let _ = attacker_image();
    let mut wrong = Vec::new();
    for case in IN_A_MACHINE {
        let rogue = Rogue::new(case.0);
        let flags = ["--kernel", kernel.trim()];
        let begun = Instant::now();
        let done = done(&mut start(&rogue, case.0, &flags));
        wrong.extend(fault(case, &done, begun.elapsed().min(PATIENCE)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
