//! `coracle bench`, and virtual time: measurements that people and programs can use.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

use coracle_tests::{Done, coracle, done};
use serde_json::Value;
use tempfile::TempDir;

/// Two starts of two systems, in all forms.
fn measured(directory: &Path) -> Value {
    let file = |name: &str| directory.join(name).display().to_string();
    let (json, csv, html) = (file("a.json"), file("a.csv"), file("a.html"));
    let measured = bench(&[
        "-n",
        "2",
        "--warmup",
        "0",
        "--systems",
        "coracle,coracle-host",
        "--json",
        &json,
        "--csv",
        &csv,
        "--html",
        &html,
    ]);
    let table = measured.expect(0).stdout;
    assert!(table.contains("coracle-host"), "{table}");
    serde_json::from_slice(&fs::read(json).unwrap()).unwrap()
}

fn bench(arguments: &[&str]) -> Done {
    done(coracle(["bench"]).args(arguments))
}

fn names(report: &Value) -> Vec<&str> {
    let systems = report["systems"].as_array().unwrap().iter();
    systems
        .map(|system| system["name"].as_str().unwrap())
        .collect()
}

#[test]
fn systems_are_measured_side_by_side_and_told_in_every_form() {
    let directory = TempDir::new().unwrap();
    let report = measured(directory.path());
    assert_eq!(names(&report), ["coracle", "coracle-host"]);
    for system in report["systems"].as_array().unwrap() {
        assert_eq!(system["starts"].as_array().unwrap().len(), 2);
        for start in system["starts"].as_array().unwrap() {
            let steps: Vec<_> = start.as_array().unwrap().iter().collect();
            let at = |step: &Value| step["ms"].as_f64().unwrap();
            assert!(
                steps.windows(2).all(|two| at(two[0]) <= at(two[1])),
                "{start}"
            );
            for wanted in [
                "image ready",
                "container executed",
                "first byte",
                "all freed",
            ] {
                assert!(
                    steps.iter().any(|step| step["step"] == wanted),
                    "{wanted}: {start}"
                );
            }
        }
        assert_eq!(system["answers"]["shares_kernel"], false, "{system}");
    }
    // Only one of them boots.
    let boots = |system: &Value| system["steps"].to_string().contains("kernel's clock runs");
    assert!(boots(&report["systems"][0]) && !boots(&report["systems"][1]));

    let csv = fs::read_to_string(directory.path().join("a.csv")).unwrap();
    assert_eq!(csv.lines().next(), Some("system,start,step,at_ms,took_ms"));
    assert!(
        csv.lines().skip(1).all(|line| line.split(',').count() == 5),
        "{csv}"
    );
    let html = fs::read_to_string(directory.path().join("a.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("coracle-host"));
    for outside in ["http:", "https:", "src=", "@import", "<link", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn equal_measurements_differ_by_noise_and_slower_ones_are_worse() {
    let directory = TempDir::new().unwrap();
    let report = measured(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let same = bench(&["compare", &path("a.json"), &path("a.json")])
        .expect(0)
        .stdout;
    assert!(same.contains("noise") && !same.contains("worse"), "{same}");

    let mut slower = report.clone();
    for start in slower["systems"][0]["starts"].as_array_mut().unwrap() {
        for event in start.as_array_mut().unwrap() {
            let ms = event["ms"].as_f64().unwrap();
            event["ms"] = (ms * 100.0).into();
        }
    }
    fs::write(path("b.json"), slower.to_string()).unwrap();
    let worse = bench(&["compare", &path("a.json"), &path("b.json")])
        .expect(1)
        .stdout;
    assert!(worse.contains("worse"), "{worse}");
    let better = bench(&["compare", &path("b.json"), &path("a.json")])
        .expect(0)
        .stdout;
    assert!(better.contains("better"), "{better}");
}

#[test]
fn what_cannot_be_measured_is_refused_in_words() {
    let unknown = bench(&["--systems", "coracle,vapour"]).expect(125).stderr;
    assert!(
        unknown.contains("vapour") && unknown.contains("coracle-host"),
        "{unknown}"
    );
    let absent = bench(&["no-such-image", "true"]).expect(125).stderr;
    assert!(absent.contains("no-such-image"), "{absent}");
    let failing = bench(&["-n", "1", "--systems", "coracle", "busybox", "false"])
        .expect(125)
        .stderr;
    assert!(failing.contains("ended with 1"), "{failing}");
}

/// `coracle bench` of Firecracker in virtual time, where the path has something that stands in for it: the
/// machine that it is told to boot is booted.
fn bench_of_firecracker(arguments: &[&str]) -> Done {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("firecracker");
    fs::write(&program, include_str!("firecracker.sh")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = env::var_os("PATH").unwrap();
    let path = [directory.path().to_owned()]
        .into_iter()
        .chain(env::split_paths(&path));
    let mut command = coracle(["bench", "--virtual-time", "--systems", "firecracker"]);
    command.env("PATH", env::join_paths(path).unwrap());
    done(command.args(["-n", "1", "--warmup", "0"]).args(arguments))
}

#[test]
fn machine_for_firecracker_runs_the_program_and_ends() {
    // Fails unless the words arrive as they are, in a root of the image's that can be written.
    let script = "[ \"$1\" = 'a  \"b\"' ] && touch /new && test -x /bin/busybox";
    let subject = ["busybox", "sh", "-c", script, "sh", "a  \"b\""];
    let measured = bench_of_firecracker(&[&["--json", "-"], &subject[..]].concat());
    let report: Value = serde_json::from_str(&measured.expect(0).stdout).unwrap();
    assert_eq!(names(&report), ["firecracker"]);
    let system = &report["systems"][0];
    let release = system["release"].as_str().unwrap();
    assert!(release.starts_with("Firecracker v"), "{release}");
    assert_eq!(system["answers"]["shares_kernel"], false, "{system}");
    // Machines that idle hold memory, and are gone in the end: the measurement waits for that.
    assert!(
        system["answers"]["memory"].as_u64().unwrap() > 4 << 20,
        "{system}"
    );
}

#[test]
fn program_that_fails_in_a_machine_of_firecracker_fails_the_measurement() {
    for (program, words) in [
        (&["sh", "-c", "exit 3"][..], "the program ended with 3"),
        (&["sh", "-c", "kill -9 $$"], "the program ended with 137"),
        (&["no-such-program"], "cannot execute the program"),
    ] {
        let arguments = [&["--only-times", "busybox"], program].concat();
        let failed = bench_of_firecracker(&arguments).expect(125).stderr;
        assert!(failed.contains(words), "{failed}");
    }
}

#[test]
fn command_in_virtual_time_takes_the_same_time_again() {
    let directory = TempDir::new().unwrap();
    let mut times = Vec::new();
    for name in ["a", "b"] {
        let output = directory.path().join(name);
        let script = "i=0; while [ $i -lt 10000 ]; do i=$((i + 1)); done; \
            cut -d' ' -f1 /proc/uptime > /out/uptime; cat /given; exit 7";
        let given = directory.path().join("given");
        fs::write(&given, "words\n").unwrap();
        let ran = done(
            coracle(["machine", "virtual-time", "--file"])
                .arg(format!("{}:given", given.display()))
                .arg("--output")
                .arg(&output)
                .args(["--", "sh", "-c", script]),
        );
        assert_eq!(ran.expect(7).stdout, "words\n");
        let uptime = fs::read_to_string(output.join("uptime")).unwrap();
        times.push(uptime.trim().parse::<f64>().unwrap());
    }
    // The clock of /proc/uptime has hundredths.
    assert!((times[0] - times[1]).abs() < 0.05, "{times:?}");
}
