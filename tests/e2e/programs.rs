//! Programs that people run, in images of their distribution's packages.

use coracle_tests::{coracle, done_with_input, run};

#[test]
fn python_traceback_and_exit_code_arrive() {
    let done = run(["python", "python3", "-c", "raise ValueError('boat')"]).expect(1);
    assert!(done.stderr.contains("Traceback") && done.stderr.contains("ValueError: boat"));
    assert_eq!(done.stdout, "");
}

#[test]
fn node_reads_standard_input() {
    let script = "let n = 0; process.stdin.on('data', d => n += d.length)\
                  .on('end', () => console.log(n))";
    let done = done_with_input(
        &mut coracle(["run", "-i", "node", "node", "-e", script]),
        &[b'x'; 100_000],
    );
    assert_eq!(done.expect(0).stdout, "100000\n");
}

#[test]
fn compiler_makes_a_program_that_runs() {
    let source = b"#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 6 * 7); return 3; }\n";
    let script = "gcc -x c -O2 -o /tmp/p - && /tmp/p";
    let done = done_with_input(
        &mut coracle(["run", "-i", "gcc", "sh", "-c", script]),
        source,
    );
    assert_eq!(done.expect(3).stdout, "42\n");
}

#[test]
fn service_starts_answers_and_stops() {
    let script = "start-postgres postgres >/tmp/log 2>&1 & \
                  until psql -h 127.0.0.1 -U postgres -Atc 'select 6*7' 2>/dev/null; do sleep 0.2; done; \
                  kill -INT $!; wait $!; echo stopped $?";
    let done = run(["--entrypoint", "sh", "postgres", "-c", script]).expect(0);
    assert_eq!(done.stdout, "42\nstopped 0\n", "{}", done.stderr);
}

#[test]
fn debian_package_database_is_whole() {
    let done = run(["debian", "dpkg", "--audit"]).expect(0);
    assert_eq!(done.stdout, "");
    // Files that a package names have the checksums that it names.
    let script = "cd / && md5sum --quiet -c /var/lib/dpkg/info/coreutils.md5sums \
                  /var/lib/dpkg/info/bash.md5sums && echo whole";
    assert_eq!(
        run(["debian", "sh", "-c", script]).expect(0).stdout,
        "whole\n"
    );
}
