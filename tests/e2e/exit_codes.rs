//! Exit codes are docker's.

use coracle_tests::{coracle, done, run};

#[test]
fn container_exit_code_is_the_commands() {
    assert_eq!(run(["busybox", "true"]).expect(0).stderr, "");
    let _ = run(["busybox", "sh", "-c", "exit 42"]).expect(42);
}

#[test]
fn container_killed_by_a_signal_gives_128_and_its_number() {
    // PID 1 of a namespace cannot be killed from inside, so a child is, and the shell says so.
    let _ = run(["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).expect(137);
}

#[test]
fn missing_program_gives_127() {
    let done = run(["busybox", "no-such-program"]).expect(127);
    assert!(done.stderr.contains("no-such-program"), "{}", done.stderr);
    assert!(done.stderr.contains("not found"), "{}", done.stderr);
}

#[test]
fn program_that_cannot_be_executed_gives_126() {
    let done = run(["busybox", "/etc/passwd"]).expect(126);
    assert!(done.stderr.contains("/etc/passwd"), "{}", done.stderr);
    let _ = run(["busybox", "/bin"]).expect(126);
}

#[test]
fn failures_of_coracle_itself_give_125() {
    let done = run(["--no-such-flag", "busybox"]).expect(125);
    assert!(done.stderr.contains("--no-such-flag"), "{}", done.stderr);
    let done = run(["no-such-image"]).expect(125);
    assert!(done.stderr.contains("no-such-image"), "{}", done.stderr);
    let _ = run(["--workdir", "relative", "busybox", "true"]).expect(125);
    let _ = run([]).expect(125);
}

#[test]
fn dockers_flags_that_are_missing_are_refused_in_words() {
    for (flags, word) in [
        (["-p", "80:80"], "ports"),
        (["--publish", "80:80"], "ports"),
        (["-v", "/tmp:/tmp"], "coracle cp"),
        (["--mount", "type=bind"], "coracle cp"),
    ] {
        let done = run(flags.into_iter().chain(["busybox", "true"])).expect(125);
        assert!(done.stderr.contains(word), "{done:?}");
    }
}

#[test]
fn flags_after_the_image_belong_to_the_command() {
    let done = run(["busybox", "echo", "--rm", "-it", "--help"]).expect(0);
    assert_eq!(done.stdout, "--rm -it --help\n");
}

#[test]
fn wrong_kernel_files_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("picture.jpg");
    std::fs::write(&picture, b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01").unwrap();
    let path = picture.to_str().unwrap();
    let done = run(["--kernel", path, "busybox", "true"]).expect(125);
    assert!(done.stderr.contains("kernel"), "{}", done.stderr);
    let done = run(["--kernel", "/no/such/file", "busybox", "true"]).expect(125);
    assert!(done.stderr.contains("/no/such/file"), "{}", done.stderr);
}

#[test]
fn least_memory_is_enough_for_a_program() {
    let done = run(["--rm", "--memory", "6m", "busybox", "echo", "fits"]).expect(0);
    assert_eq!(done.stdout, "fits\n");
    let refused = run(["--memory", "10", "busybox", "true"]).expect(125);
    assert!(
        refused.stderr.contains("minimum is 6MiB"),
        "{}",
        refused.stderr
    );
}

#[test]
fn version_and_help_succeed() {
    let done = done(&mut coracle(["--version"])).expect(0);
    assert!(done.stdout.contains("coracle"), "{}", done.stdout);
    for command in [
        "run", "load", "images", "rmi", "inspect", "kernel", "machine", "doctor",
    ] {
        let help = coracle_tests::done(&mut coracle([command, "--help"])).expect(0);
        assert!(help.stdout.contains("Usage:"), "{command}");
    }
}
