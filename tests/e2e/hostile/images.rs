//! Images made to mislead init and the commands that read them.

use coracle_tests::{Host, Image, coracle, done, obeyed};
use serde_json::{Value, json};

/// Escapes for a terminal, as an image's configuration may hold them.
const ESCAPES: &str = "evil\u{1b}]0;title\u{7}\u{1b}[2J\r\u{9b}31m";

/// Images whose files stand in the way of what init puts into every container: a script that makes them, and the
/// code of a container of theirs; 125 is a refusal in words.
const ROOTS: [(&str, &str, &[i32]); 18] = [
    ("proc-link", "ln -s /etc proc", &[125]),
    ("proc-dots", "ln -s ../../../../tmp proc", &[125]),
    ("sys-link", "ln -s /proc sys", &[125]),
    ("dev-link", "ln -s /proc dev", &[125]),
    ("dev-self", "ln -s /proc/self/root/tmp dev", &[125]),
    ("dev-file", "echo > dev", &[125]),
    (
        "console-link",
        "mkdir dev; ln -s /proc/sysrq-trigger dev/console",
        &[0],
    ),
    (
        "null-link",
        "mkdir dev; ln -s /proc/sys/kernel/core_pattern dev/null",
        &[0],
    ),
    ("pts-link", "mkdir dev; ln -s /proc dev/pts", &[0]),
    ("shm-link", "mkdir dev; ln -s /etc dev/shm", &[0]),
    (
        "hosts-link",
        "rm -f etc/hosts; ln -s /proc/self/environ etc/hosts",
        &[0, 125],
    ),
    (
        "hosts-core",
        "ln -s /proc/sys/kernel/core_pattern etc/hosts",
        &[0, 125],
    ),
    (
        "hosts-out",
        "ln -s ../../../../../../init etc/hosts",
        &[0, 125],
    ),
    ("etc-link", "mv etc other; ln -s /proc/self etc", &[0, 125]),
    ("passwd-fifo", "rm etc/passwd; mkfifo etc/passwd", &[0, 125]),
    (
        "passwd-link",
        "rm etc/passwd; ln -s /dev/zero etc/passwd",
        &[0, 125],
    ),
    ("passwd-giant", "truncate -s 64M etc/passwd", &[0, 125]),
    ("group-loop", "ln -s group etc/group", &[0, 125]),
];

#[test]
fn files_of_an_image_in_the_place_of_inits_own_mislead_nobody() {
    let host = Host::create("hostile-roots", &["--memory", "512m"]);
    let neighbour = host.hold("hostile-roots-neighbour", &[]);
    let mut wrong = Vec::new();
    for (name, script, codes) in ROOTS {
        let tag = format!("hostile-{name}");
        Image::new().with(script).load(&tag, &json!({}));
        let done = host.run(&["--rm", &tag, "/attacker", "known-files"]);
        let held = codes.contains(&done.code)
            && !obeyed(&done.stderr)
            && !done.stdout.contains(": done")
            && (done.code == 0 || !done.stderr.is_empty());
        if !held {
            let end: String = done.stdout.chars().take(300).collect();
            wrong.push(format!("{name}: {} {} {end}", done.code, done.stderr));
        }
        let _ = coracle(["rmi", "--force", &tag]).output();
    }
    let _ = neighbour.exec(&["true"]).expect(0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Configurations: a name, the fields, and the codes that are right.
fn configurations() -> Vec<(&'static str, Value, &'static [i32])> {
    let long = "x".repeat(200_000);
    let program = ["/attacker", "idle-not"];
    vec![
        (
            "user-escapes",
            json!({"User": ESCAPES, "Entrypoint": program}),
            &[125],
        ),
        (
            "user-huge",
            json!({"User": "4294967296", "Entrypoint": program}),
            &[125],
        ),
        (
            "user-minus",
            json!({"User": "-1", "Entrypoint": program}),
            &[125],
        ),
        (
            "workdir-fd",
            json!({"WorkingDir": "/proc/self/fd/5", "Entrypoint": program}),
            &[2, 125],
        ),
        (
            "workdir-escapes",
            json!({"WorkingDir": ESCAPES, "Entrypoint": program}),
            &[2, 125],
        ),
        (
            "workdir-long",
            json!({"WorkingDir": format!("/{long}"), "Entrypoint": program}),
            &[125],
        ),
        (
            "entrypoint-escapes",
            json!({"Entrypoint": [ESCAPES]}),
            &[127],
        ),
        (
            "entrypoint-self",
            json!({"Entrypoint": ["/proc/self/exe", "namespace", "3"]}),
            &[2, 101, 125, 126, 127],
        ),
        (
            "entrypoint-fd",
            json!({"Entrypoint": ["/proc/self/fd/3"]}),
            &[125, 126, 127],
        ),
        (
            "environment-escapes",
            json!({"Env": [ESCAPES, "=", "A", "\u{1b}=b"], "Entrypoint": program}),
            &[2, 125],
        ),
        (
            "environment-loader",
            json!({"Env": ["LD_PRELOAD=/attacker", "PATH=/proc/self/fd"], "Entrypoint": program}),
            &[2],
        ),
        (
            "environment-long",
            json!({"Env": [format!("A={long}")], "Entrypoint": program}),
            &[2, 125, 126],
        ),
        (
            "labels",
            json!({"Labels": {ESCAPES: ESCAPES, "long": long}, "Entrypoint": program}),
            &[2],
        ),
        (
            "signal",
            json!({"StopSignal": ESCAPES, "Entrypoint": program}),
            &[2, 125],
        ),
        (
            "volumes",
            json!({"Volumes": {"/../../proc": {}, ESCAPES: {}}, "Entrypoint": program}),
            &[2, 125],
        ),
        (
            "ports",
            json!({"ExposedPorts": {ESCAPES: {}, "99999/tcp": {}}, "Entrypoint": program}),
            &[2, 125],
        ),
    ]
}

#[test]
fn configuration_of_an_image_misleads_nobody() {
    let host = Host::create("hostile-configurations", &[]);
    let mut wrong = Vec::new();
    for (name, config, codes) in configurations() {
        let tag = format!("hostile-{name}");
        Image::new().load(&tag, &config);
        let ran = host.run(&["--name", &tag, &tag]);
        if !codes.contains(&ran.code) || obeyed(&ran.stderr) {
            wrong.push(format!("{name}: {ran:?}"));
        }
        if ran.code == 125 && ran.stderr.len() > 8 << 10 {
            wrong.push(format!("{name}: {} bytes of words", ran.stderr.len()));
        }
        let _ = coracle(["rm", "--force", &tag]).output();
        let _ = coracle(["rmi", "--force", &tag]).output();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Descriptors that init has at the most when a program is about to be started, as far as they could be guessed.
const GUESSED: std::ops::Range<u32> = 3..24;

#[test]
fn working_directory_is_never_a_directory_of_inits() {
    let host = Host::create("hostile-directories", &[]);
    let one = host.hold("hostile-directories-one", &[]);
    for number in GUESSED {
        let path = format!("/proc/self/fd/{number}");
        let exec = ["exec", "--workdir", &path, &one.name, "cat", "init"];
        let done = done(&mut coracle(exec));
        assert_ne!(done.code, 0, "{path}: init's own files are in sight");
        assert!(!done.stdout.contains("ELF"), "{path}");
    }
}
