//! `coracle bench`, and virtual time: measurements that people and programs can use.

use std::{fs, path::Path};

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
