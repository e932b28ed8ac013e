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

/// The kernel describes a guest's memory to itself when it is needed: what there is and what is left must be as if
/// it did so at once, on both sides of the gap below 4 GiB.
#[test]
fn memory_of_a_large_guest_is_there_and_counted() {
    let script = "def left():
  lines = [line.split() for line in open('/proc/meminfo')]
  return {line[0]: int(line[1]) >> 10 for line in lines}
before = left()
taken = [b'x' * (100 << 20) for _ in range(7)]
during = left()
small = [bytes(3000 + number % 2000) for number in range(50000)]
del taken, small
after = left()
print(before['MemTotal:'], before['MemAvailable:'], during['MemAvailable:'], after['MemAvailable:'])";
    let flags = ["--memory", "5g", "python", "python3", "-c", script];
    let done = run(flags).expect(0);
    let numbers: Vec<i64> = done
        .stdout
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [total, before, during, after] = numbers[..] else {
        panic!("{done:?}")
    };
    assert!((4900..=5200).contains(&total), "{numbers:?}");
    assert!(before > total - 150, "{numbers:?}");
    assert!((690..=760).contains(&(before - during)), "{numbers:?}");
    assert!((before - after).abs() < 60, "{numbers:?}");
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
        ["--memory", "10"],
        ["--timeout", "soon"],
        ["--stop-timeout", "-2"],
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
