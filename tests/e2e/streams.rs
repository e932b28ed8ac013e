//! Standard input, output and error: separate, whole, and at the reader's pace.

use std::{
    io::{Read, Write},
    process::Stdio,
    thread,
};

use coracle_tests::{coracle, done, done_with_input, run, times, wait};
use sha2::{Digest, Sha256};

#[test]
fn output_and_error_are_separate() {
    let done = run(["busybox", "sh", "-c", "echo out; echo err >&2"]).expect(0);
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn input_reaches_the_container_only_when_interactive() {
    let done = done_with_input(&mut coracle(["run", "-i", "busybox", "cat"]), b"line\n").expect(0);
    assert_eq!(done.stdout, "line\n");
    let done = done_with_input(&mut coracle(["run", "busybox", "cat"]), b"line\n").expect(0);
    assert_eq!(done.stdout, "");
}

#[test]
fn two_hundred_megabytes_go_through_and_come_back_equal() {
    let pieces = 16 * times("CORACLE_TEST_STREAM_MIB", 200);
    let mut child = coracle(["run", "-i", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        let mut hash = Sha256::new();
        let mut piece = vec![0; 64 << 10];
        let mut state = 1_u64;
        for _ in 0..pieces {
            for bytes in piece.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.copy_from_slice(&state.to_le_bytes());
            }
            hash.update(&piece);
            input.write_all(&piece).unwrap();
        }
        hash.finalize()
    });
    let mut output = child.stdout.take().unwrap();
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = output.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        length += read;
        hash.update(&piece[..read]);
    }
    assert_eq!(wait(child), 0);
    assert_eq!(length, pieces * (64 << 10));
    assert_eq!(hash.finalize(), feeder.join().unwrap());
}

#[test]
fn reader_that_goes_away_ends_the_writer() {
    let mut child = coracle(["run", "busybox", "yes"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut piece = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut piece).unwrap();
    assert_eq!(&piece, b"y\ny\n");
    // `yes` gets EPIPE or SIGPIPE, as in a pipe.
    assert_ne!(wait(child), 0);
}

#[test]
fn input_that_nobody_reads_is_no_error() {
    let input = vec![b'x'; 4 << 20];
    let _ = done_with_input(&mut coracle(["run", "-i", "busybox", "true"]), &input).expect(0);
}

#[test]
fn output_can_be_opened_again_by_name() {
    let done = run(["busybox", "sh", "-c", "echo again > /dev/stdout"]).expect(0);
    assert_eq!(done.stdout, "again\n");
}

#[test]
fn terminal_is_a_real_one() {
    // script(1) gives the command a terminal, as a person has.
    let coracle = coracle_tests::program("coracle");
    let inside = "tty; stty size; test -t 0 && test -t 1 && echo both; exit 5";
    let line = format!(
        "stty rows 33 cols 101; {} run -it busybox sh -c '{inside}'",
        coracle.display()
    );
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.stdin(Stdio::piped());
    let done = done(&mut command).expect(5);
    assert!(done.stdout.contains("/dev/pts/0"), "{}", done.stdout);
    assert!(done.stdout.contains("33 101"), "{}", done.stdout);
    assert!(done.stdout.contains("both"), "{}", done.stdout);
}

#[test]
fn terminal_without_one_outside_is_refused_when_interactive() {
    let done = done_with_input(&mut coracle(["run", "-it", "busybox", "true"]), b"").expect(125);
    assert!(done.stderr.contains("not a TTY"), "{}", done.stderr);
}
