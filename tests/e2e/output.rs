//! What reaches a terminal: nothing of an image, a guest or a registry that it would obey, and no panic when nobody
//! reads.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use coracle_tests::{Detached, Done, coracle, done, run};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Moves the cursor, sets the title, by ESC and by C1; turns the direction; makes a line of its own.
const HOSTILE: &str = "evil\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1A\u{202e}\r\nforged line";

/// Whether a terminal would obey something of this.
fn is_obeyed(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t')) || letter == '\u{202e}'
}

fn assert_harmless(what: &str, done: &Done) {
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(is_obeyed), "{what}: {text:?}");
    }
}

/// Writes a blob of an OCI layout; its descriptor.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = layout.join("blobs/sha256");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(&digest), bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

/// An OCI layout of an image without layers that says something hostile wherever it can say anything.
fn hostile_layout(layout: &Path, architecture: &str) {
    let layer = vec![0; 1024];
    let layer = blob(layout, "application/vnd.oci.image.layer.v1.tar", &layer);
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "author": HOSTILE,
        "created": "2024-01-01T00:00:00Z",
        "config": {
            "Cmd": ["/bin/nothing", HOSTILE],
            "Env": [format!("A={HOSTILE}")],
            "Labels": {(format!("key{HOSTILE}")): HOSTILE, "plain": HOSTILE},
            "User": "0",
            "WorkingDir": "/",
        },
        "history": [{"created_by": HOSTILE, "comment": HOSTILE, "created": HOSTILE}],
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config = blob(layout, "application/vnd.oci.image.config.v1+json", &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
        "annotations": {"org.opencontainers.image.title": HOSTILE},
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = blob(layout, kind, &manifest);
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

#[test]
fn nothing_that_an_image_says_reaches_the_terminal_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    hostile_layout(&layout, "amd64");
    let layout = layout.to_str().unwrap();
    let load = ["load", "--input", layout, "--tag", "hostile:1"];
    let loaded = done(&mut coracle(load)).expect(0);
    assert_harmless("load", &loaded);
    let created = done(&mut coracle(["create", "--name", "hostile", "hostile:1"])).expect(0);
    assert_harmless("create", &created);
    let commands: [&[&str]; 17] = [
        &["ps", "-a"],
        &["ps", "-a", "--no-trunc"],
        &[
            "ps",
            "-a",
            "--format",
            "{{.ID}} {{.Command}} {{.Labels}} {{.Image}}",
        ],
        &["ps", "-a", "--format", "table {{.ID}}\t{{.Labels}}"],
        &["ps", "-a", "--format", "json"],
        &["inspect", "hostile"],
        &[
            "inspect",
            "--format",
            "{{.Config.Env}} {{.Config.Labels.plain}}",
            "hostile",
        ],
        &["inspect", "--format", "{{json .}}", "hostile"],
        &["inspect", "--type", "image", "hostile:1"],
        &["history", "--no-trunc", "hostile:1"],
        &["images", "--json"],
        &["events", "--since", "1h", "--until", "0s"],
        &[
            "events", "--since", "1h", "--until", "0s", "--format", "json",
        ],
        &[
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--format",
            "{{.Actor.Attributes}}",
        ],
        &[
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--format",
            "{{.Actor.Attributes.plain}}",
        ],
        // It ends with the words of init: there is no such program.
        &["start", "hostile"],
        &["rmi", HOSTILE],
    ];
    for command in commands {
        let told = done(&mut coracle(command.iter().copied()));
        assert_harmless(&command.join(" "), &told);
        // In a list, nothing of an image's is a line of its own.
        if !command.contains(&"inspect") {
            let forged = |line: &str| line.trim_start().starts_with("forged");
            assert!(
                !told.stdout.lines().any(forged),
                "{command:?}: {}",
                told.stdout
            );
        }
    }
    // A script that wants the value gets it.
    let inspected = done(&mut coracle(["inspect", "hostile"])).expect(0).stdout;
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected[0]["Config"]["Labels"]["plain"], HOSTILE);
    let _ = done(&mut coracle(["rm", "--force", "hostile"])).expect(0);
    let _ = done(&mut coracle(["rmi", "hostile:1"])).expect(0);
}

#[test]
fn platform_of_an_image_is_named_without_its_escapes() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    hostile_layout(&layout, HOSTILE);
    let layout = layout.to_str().unwrap();
    let refused = done(&mut coracle([
        "load",
        "--input",
        layout,
        "--tag",
        "hostile:2",
    ]));
    assert_harmless("load", &refused);
    let refused = run(["--rm", "hostile:2"]).expect(125);
    assert_harmless("run", &refused);
    let _ = done(&mut coracle(["rmi", "hostile:2"]));
}

#[test]
fn nothing_that_a_guest_says_reaches_the_terminal_but_its_own_streams() {
    let script = "printf 'echo ready\\nwhile :; do sleep 0.1; done' > \"/tmp/$1\"; touch \"/$1\"; sh \"/tmp/$1\" \"$1\"";
    let name = "evil\u{1b}[2J\u{9b}1A";
    let guest = Detached::start("speaks", &["busybox", "sh", "-c", script, "sh", name]);
    guest.until_ready();
    for told in [
        guest.does(&["top"]),
        guest.does(&["diff"]),
        guest.does(&["stats", "--no-stream"]),
        guest.exec(&[name]),
        guest.does(&["inspect", "--format", "{{.Args}}"]),
    ] {
        assert_harmless("a guest's words", &told);
    }
    // What the container writes is its user's, byte by byte.
    let own = guest.exec(&["printf", "\\033[1m"]).expect(0);
    assert_eq!(own.stdout, "\u{1b}[1m");
}

/// Where standard output or standard error of a command goes to.
#[derive(Debug, Clone, Copy)]
enum To {
    ClosedPipe,
    Full,
}

fn open(to: To) -> Stdio {
    match to {
        To::ClosedPipe => {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            drop(reader);
            Stdio::from(writer)
        }
        To::Full => Stdio::from(File::options().write(true).open("/dev/full").unwrap()),
    }
}

/// What a command says on one stream while the other leads nowhere.
fn while_one_fails(mut command: Command, output: bool, to: To) -> (i32, String) {
    let other = Stdio::piped();
    if output {
        command.stdout(open(to)).stderr(other);
    } else {
        command.stderr(open(to)).stdout(other);
    }
    let child = command.spawn().unwrap();
    let told = child.wait_with_output().unwrap();
    let text = if output { told.stderr } else { told.stdout };
    let signal = std::os::unix::process::ExitStatusExt::signal(&told.status);
    let code = told.status.code().unwrap_or(128 + signal.unwrap_or(0));
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Commands that print something whatever there is.
const TELL: [&[&str]; 16] = [
    &["ps", "-a"],
    &["host", "ls"],
    &["images"],
    &["image", "ls", "--json"],
    &["inspect", "busybox"],
    &["history", "busybox"],
    &["df"],
    &["doctor"],
    &["kernel", "list"],
    &["kernel", "path"],
    &["completion", "bash"],
    &["image", "verify", "busybox"],
    &["events", "--since", "0", "--format", "json"],
    &["run", "--help"],
    &["--version"],
    &["bench", "--help"],
];

#[test]
fn closed_pipe_ends_every_command_as_it_ends_ps() {
    // Something for 'events' to tell, without an end.
    let _ = done(&mut coracle([
        "create", "--rm", "--name", "noted", "busybox",
    ]))
    .expect(0);
    for command in TELL {
        let own = coracle(command.iter().copied());
        let (code, words) = while_one_fails(own, true, To::ClosedPipe);
        assert_eq!((code, &*words), (141, ""), "{command:?}");
    }
    let _ = done(&mut coracle(["rm", "noted"])).expect(0);
}

#[test]
fn full_disk_is_an_error_of_every_command() {
    let _ = done(&mut coracle([
        "create", "--rm", "--name", "full", "busybox",
    ]))
    .expect(0);
    for command in TELL {
        let own = coracle(command.iter().copied());
        let (code, words) = while_one_fails(own, true, To::Full);
        assert!(matches!(code, 1 | 125), "{command:?}: {code}");
        assert!(
            words.contains("No space left on device"),
            "{command:?}: {words:?}"
        );
    }
    let _ = done(&mut coracle(["rm", "full"])).expect(0);
}

#[test]
fn errors_that_cannot_be_told_keep_their_exit_code() {
    for to in [To::ClosedPipe, To::Full] {
        for (command, expected) in [
            (&["inspect", "nothing-of-this-name"][..], 1),
            (&["rm", "nothing-of-this-name"], 1),
            (&["run", "--no-such-flag"], 125),
            (&["run", "--pull", "never", "nothing-of-this-name"], 125),
        ] {
            let own = coracle(command.iter().copied());
            let (code, _) = while_one_fails(own, false, to);
            assert_eq!(code, expected, "{command:?} {to:?}");
        }
    }
}

#[test]
fn what_is_done_goes_on_when_nobody_reads() {
    for name in ["unread1", "unread2"] {
        let _ = done(&mut coracle(["create", "--name", name, "busybox"])).expect(0);
    }
    let own = coracle(["rm", "unread1", "unread2"]);
    let (code, words) = while_one_fails(own, true, To::ClosedPipe);
    assert_eq!((code, &*words), (141, ""));
    let left = done(&mut coracle(["ps", "-aq", "--filter", "name=unread"])).expect(0);
    assert_eq!(left.stdout, "");
}

#[test]
fn containers_output_that_cannot_be_written_is_an_error() {
    let own = coracle(["run", "--rm", "busybox", "echo", "lost"]);
    let (code, words) = while_one_fails(own, true, To::Full);
    assert_eq!(code, 125, "{words}");
    assert!(words.contains("No space left on device"), "{words}");
}
