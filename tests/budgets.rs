//! What SPECIFICATION.md promises of speed and size, measured in virtual time: one machine, in which nothing
//! else runs. `make budgets` sets the scene.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use coracle_tests::{coracle, done, done_within, program, sample};
use serde_json::Value;
use tempfile::TempDir;

/// A promise, its unit, and its number.
type Budget = (&'static str, &'static str, f64);

const START: Budget = ("start", "ms", 95.0);
const IMAGE: Budget = ("image found in the store", "ms", 3.0);
const EXEC: Budget = ("exec", "ms", 20.0);
const RUN_IN_HOST: Budget = ("run in a host that is up", "ms", 31.0);
const PS: Budget = ("ps of 100 containers", "ms", 15.0);
const KERNEL: Budget = ("kernel", "bytes", 10.0 * 1024.0 * 1024.0);
const INIT: Budget = ("init", "bytes", 1_700_000.0);
const MONITOR: Budget = ("monitor's own memory", "MiB", 3.0);
const CONTAINER: Budget = ("an idle container, guest included", "MiB", 20.0);
const LAST: Budget = ("the last of 50 starts by the first", "times", 1.2);
const ONE_MORE: Budget = ("one more container, its keeper included", "MiB", 14.0);
const MACHINE: Budget = ("what the machine has less for it", "MiB", 15.0);

/// How long a machine may take: it has one processor, which another load may take half of.
const PATIENCE: Duration = Duration::from_mins(15);

/// What is measured, each whole process from exec to exit. The first start of all makes what all share.
const SCRIPT: &str = r#"set -e
export XDG_DATA_HOME=/bench/data XDG_CACHE_HOME=/bench/cache XDG_RUNTIME_DIR=/run
cd /bench
coracle load -q -i image.tar > /dev/null
coracle run busybox true
measure() { hyperfine -N -i --warmup 2 --runs 7 --export-json "/out/$1.json" "$2" > /dev/null 2>&1; }
measure start "coracle run busybox true"
for round in 1 2 3; do coracle run --json busybox true 2>> /out/runs; done
coracle container prune --force > /dev/null
coracle host create bench > /dev/null
coracle run -d --host bench --name bench busybox sleep 1000 > /dev/null
# The one processor is also the guest's, which gives memory back for some seconds after it had work.
sleep 10
measure exec "coracle exec bench true"
measure run-in-host "coracle run --rm --host bench busybox true"
coracle host scale bench busybox=99 -- sleep 1000 > /dev/null
sleep 10
measure ps "coracle ps"
coracle host rm --force bench > /dev/null
coracle run -d --rm --name one busybox sleep 1000 > /dev/null
# All of the monitor's mappings but the guest's memory, whose parts are all larger than any other.
awk '/^Size:/ { size = $2 } /^Pss:/ && size < 2048 { sum += $2 } END { print sum }' \
    /proc/$(pidof coracle-vmm)/smaps > /out/monitor
# Seconds in which the guest gives back what it does not use, and what is left of it is packed.
sleep 10
awk '/^Pss:/ { sum += $2 } END { print sum }' /proc/$(pidof coracle-vmm)/smaps > /out/container
coracle rm --force one > /dev/null
"#;

#[test]
fn budgets_are_kept() {
    let directory = TempDir::new().unwrap();
    kept(measured(directory.path()));
}

#[test]
fn containers_pile_up_within_budgets() {
    let directory = TempDir::new().unwrap();
    let store = |command: &mut Command| {
        done_within(command.env("XDG_DATA_HOME", directory.path()), PATIENCE).expect(0)
    };
    let archive = sample("busybox");
    store(&mut coracle([
        "load",
        "--quiet",
        "--input",
        archive.to_str().unwrap(),
    ]));
    let words = [
        "bench",
        "density",
        "-n",
        "50",
        "--virtual-time",
        "--json",
        "-",
        "busybox",
    ];
    let found: Value = serde_json::from_str(&store(&mut coracle(words)).stdout).unwrap();
    let number = |name: &str| found[name].as_f64().unwrap();
    kept(vec![
        (LAST, number("growth")),
        (ONE_MORE, number("memory") / 1024.0 / 1024.0),
        (MACHINE, number("available") / 1024.0 / 1024.0),
    ]);
}

/// Says what was found, and fails when one of them is above its budget.
fn kept(found: Vec<(Budget, f64)>) {
    let mut broken = Vec::new();
    for ((what, unit, limit), number) in found {
        let line = format!("{what}: {number:.2} {unit}, at most {limit}");
        println!("{line}");
        if number > limit {
            broken.push(line);
        }
    }
    assert!(broken.is_empty(), "above the budget: {broken:#?}");
}

/// Measures all of them.
fn measured(directory: &Path) -> Vec<(Budget, f64)> {
    let output = directory.join("out");
    let kernel = done(&mut coracle(["kernel", "path"])).expect(0);
    let kernel = PathBuf::from(kernel.stdout.trim());
    let script = directory.join("script");
    fs::write(&script, SCRIPT).unwrap();
    let mut machine = coracle(["machine", "virtual-time", "--memory", "3g", "--output"]);
    machine.arg(&output);
    let mut add = |source: &Path, target: &str| {
        machine
            .arg("--file")
            .arg(format!("{}:{target}", source.display()));
    };
    for name in ["coracle", "coracle-init", "coracle-keeper", "coracle-vmm"] {
        add(&program(name), &format!("usr/bin/{name}"));
    }
    add(Path::new("/usr/bin/hyperfine"), "usr/bin/hyperfine");
    add(&sample("busybox"), "bench/image.tar");
    add(&script, "bench/script");
    let above = kernel
        .ancestors()
        .find(|path| path.ends_with("coracle"))
        .unwrap();
    let inner = kernel.strip_prefix(above).unwrap();
    add(&kernel, &format!("bench/cache/coracle/{}", inner.display()));
    machine.args(["--", "sh", "/bench/script"]);
    let ran = done_within(&mut machine, PATIENCE);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(output.join(name)).unwrap()).unwrap()
    };
    let median = |name: &str| {
        let result = &json(name)["results"][0];
        let codes = result["exit_codes"].as_array().unwrap().iter();
        let failed = codes.filter(|code| code.as_i64() != Some(0)).count();
        assert_eq!(failed, 0, "{name}: so many of the runs failed");
        result["median"].as_f64().unwrap() * 1000.0
    };
    let mebibytes = |name: &str| {
        let kib = fs::read_to_string(output.join(name)).unwrap();
        kib.trim().parse::<f64>().unwrap() / 1024.0
    };
    vec![
        (START, median("start.json")),
        (
            IMAGE,
            found_after(&fs::read_to_string(output.join("runs")).unwrap()),
        ),
        (EXEC, median("exec.json")),
        (RUN_IN_HOST, median("run-in-host.json")),
        (PS, median("ps.json")),
        (KERNEL, size(&kernel)),
        (INIT, size(&program("coracle-init"))),
        (MONITOR, mebibytes("monitor")),
        (CONTAINER, mebibytes("container")),
    ]
}

/// Milliseconds of the step in which the image is found, the median of some runs.
fn found_after(runs: &str) -> f64 {
    let took = |run: &str| {
        let run: Value = serde_json::from_str(run).unwrap();
        let steps = run["timeline"].as_array().unwrap();
        let at = |index: usize| steps[index]["ms"].as_f64().unwrap();
        let mut names = steps.iter().map(|step| step["step"].as_str().unwrap());
        let found = names.position(|name| name == "image found").unwrap();
        at(found) - at(found - 1)
    };
    let mut all: Vec<f64> = runs.lines().map(took).collect();
    assert_eq!(all.len(), 3, "a start failed");
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of files are smaller than 2^53"
)]
fn size(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64
}
