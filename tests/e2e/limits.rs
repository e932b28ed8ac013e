//! Limits hold, and breaking them is told as what it is.

use coracle_tests::{coracle, done, run};

#[test]
fn fork_storm_stays_within_the_limit() {
    let script = "i=0; while [ $i -lt 1000 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; \
                  cat /sys/fs/cgroup/pids.current";
    let done = run(["--pids-limit", "50", "busybox", "sh", "-c", script]);
    assert!(!done.stdout.contains("1000"), "{done:?}");
    let storm = "import os, sys\nmade = 0\nfor _ in range(1000):\n  try:\n    \
                 if os.fork() == 0:\n      import signal; signal.pause()\n    made += 1\n  \
                 except OSError: pass\nprint(made)";
    let done = run(["--pids-limit", "50", "python", "python3", "-c", storm]).expect(0);
    let made: u32 = done.stdout.trim().parse().unwrap();
    assert!((40..=49).contains(&made), "{made}");
}

#[test]
fn memory_over_the_limit_is_killed_and_reported() {
    let script = "x = b'x' * (256 << 20); print(len(x))";
    let done = run(["--memory", "64m", "python", "python3", "-c", script]).expect(137);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("memory"), "{}", done.stderr);
}

#[test]
fn memory_within_the_limit_is_there() {
    let script = "x = b'x' * (200 << 20); print(len(x))";
    let done = run(["--memory", "300m", "python", "python3", "-c", script]).expect(0);
    assert_eq!(done.stdout, "209715200\n");
}

#[test]
fn processor_share_is_a_quota() {
    let text = run(["--cpus", "0.5", "busybox", "cat", "/sys/fs/cgroup/cpu.max"])
        .expect(0)
        .stdout;
    assert_eq!(text, "50000 100000\n");
}

#[test]
fn container_that_runs_too_long_is_killed() {
    let done = run(["--timeout", "1", "busybox", "sleep", "1000"]).expect(137);
    assert!(done.stderr.contains("--timeout"), "{}", done.stderr);
}

#[test]
fn memory_killing_is_in_the_json() {
    let script = "x = b'x' * (256 << 20)";
    let done = run([
        "--json", "--memory", "64m", "python", "python3", "-c", script,
    ])
    .expect(137);
    let line = done
        .stderr
        .lines()
        .find(|line| line.starts_with('{'))
        .unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["oom_killed"], true, "{value}");
    assert_eq!(value["exit_code"], 137, "{value}");
}

#[test]
fn wrong_limits_are_refused() {
    for arguments in [
        ["--memory", "lots"],
        ["--cpus", "0"],
        ["--cpus", "1000"],
        ["--ulimit", "nofile"],
        ["--cap-add", "NOPE"],
        ["--tmpfs", "relative"],
        ["--stop-signal", "SIGNOPE"],
        ["--isolation", "process"],
    ] {
        let done = done(coracle(["run"]).args(arguments).args(["busybox", "true"])).expect(125);
        assert!(!done.stderr.is_empty(), "{arguments:?}");
    }
}
