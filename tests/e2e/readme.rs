//! What README.md shows is what happens: its console blocks are typed, in order, and what they show is compared.

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
};

use coracle_tests::{Done, Installation, PATIENCE, done, sample, wait};

/// A line that is typed, and the lines that are shown below it.
#[derive(Debug)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The console blocks of a text.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_console = false;
    for line in text.lines() {
        match line {
            "```console" => in_console = true,
            "```" => in_console = false,
            line if in_console => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: without_comment(command).into(),
                    shown: Vec::new(),
                }),
                (None, Some(step)) => step.shown.push(line.into()),
                (None, None) => panic!("{line:?} is shown below no command"),
            },
            _ => {}
        }
    }
    steps
}

/// A command without its remark, which two spaces or more set apart.
fn without_comment(command: &str) -> &str {
    command
        .split_once("  #")
        .map_or(command, |(command, _)| command)
        .trim_end()
}

/// What is not typed here, and why.
const NOT_TYPED: [(&str, &str); 12] = [
    ("make demo", "it makes what this suite needs to run"),
    ("make test", "it runs this suite"),
    (
        "coracle pull python",
        "it needs the network; registry:: pulls from a registry of its own",
    ),
    (
        "docker save",
        "it needs docker with an image; image_commands:: loads by a pipe",
    ),
    (
        "coracle api",
        "it needs docker's client; api:: runs it by Debian's and the newest one",
    ),
    ("export DOCKER_HOST=", "no server listens there"),
    ("docker run", "no server listens there"),
    ("coracle bench --json", "bench:: measures"),
    ("coracle bench -n", "bench:: measures"),
    ("coracle bench --virtual-time", "bench:: measures"),
    ("coracle bench compare", "bench:: compares"),
    ("coracle bench density", "bench:: measures"),
];

/// A line by what does not differ between two machines or moments: durations, identifiers, versions and sizes are
/// all alike, and small whole numbers are themselves.
fn stable(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let line = line
        .replace("Less than a second", "0 seconds")
        .replace("About a minute", "60 seconds")
        .replace("About an hour", "1 hours");
    for word in line.split_whitespace() {
        let unit = word.trim_end_matches('s');
        if ["second", "minute", "hour", "day", "week"].contains(&unit) {
            words.pop();
            words.push("time".into());
            continue;
        }
        let bare = word.trim_matches(['(', ')']);
        let is_count = bare.len() <= 3 && bare.bytes().all(|byte| byte.is_ascii_digit());
        let has_digits = word.contains(|letter: char| letter.is_ascii_digit());
        let is_itself = is_count || word.starts_with('"') || !has_digits;
        words.push(if is_itself { word } else { "value" }.into());
    }
    words
}

/// The session: an installation with the images that README.md names, and a directory to type in.
struct Session {
    own: Installation,
    directory: tempfile::TempDir,
}

impl Session {
    fn new() -> Self {
        let own = Installation::new(None);
        for image in ["debian", "python", "postgres"] {
            let archive = sample(image);
            let _ = own
                .run(&["load", "-q", "-i", archive.to_str().unwrap()])
                .expect(0);
        }
        Self {
            own,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Types a line; what asks for a terminal gets one, and is left when it has asked for input.
    fn types(&self, line: &str) -> Done {
        let mut path = self.own.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let wants_terminal = line.contains(" -it ");
        let mut command = if wants_terminal {
            // It is talked with, so that its patience is another program's matter.
            let mut command = Command::new("timeout");
            let patience = PATIENCE.as_secs().to_string();
            command.args(["--foreground", &patience, "script", "--quiet", "--return"]);
            command.args(["--command", line, "/dev/null"]);
            command
        } else {
            let mut command = Command::new("bash");
            command.args(["-e", "-c", line]);
            command.stdin(Stdio::null());
            command
        };
        let as_user = self.own.coracle(&[]);
        for (name, value) in as_user.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("PATH", path).current_dir(self.directory.path());
        if wants_terminal {
            converse(command)
        } else {
            done(&mut command)
        }
    }
}

/// Prompts, and what is typed there to leave.
const PROMPTS: [(&str, &str); 3] = [(">>> ", "exit()\n"), ("# ", "exit\n"), ("$ ", "exit\n")];

/// Runs a command that asks for input, and leaves it at its prompt.
fn converse(mut command: Command) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    let mut piece = [0; 4096];
    let mut left = false;
    loop {
        let length = output.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        let prompt = PROMPTS.iter().find(|(prompt, _)| shown.contains(prompt));
        if let Some((_, leave)) = prompt.filter(|_| !left) {
            input.write_all(leave.as_bytes()).unwrap();
            left = true;
        }
    }
    drop(input);
    Done {
        code: wait(child),
        stdout: shown,
        stderr: String::new(),
    }
}

#[test]
fn console_blocks_of_the_readme_do_what_they_show() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 40, "the console blocks are found");
    for (what, why) in NOT_TYPED {
        let used = steps.iter().any(|step| step.command.starts_with(what));
        assert!(used, "{what:?} is not in README.md any more ({why})");
    }
    let session = Session::new();
    for step in &steps {
        if NOT_TYPED
            .iter()
            .any(|(what, _)| step.command.starts_with(what))
        {
            continue;
        }
        let done = session.types(&step.command);
        assert_eq!(done.code, 0, "{step:?}: {done:?}");
        // In order, though there may be more than is shown.
        let mut lines = done.stdout.lines();
        for shown in &step.shown {
            let shown_words = stable(shown);
            assert!(
                lines.any(|line| stable(line) == shown_words),
                "{step:?}: {shown_words:?} is not in {:?}",
                done.stdout.lines().map(stable).collect::<Vec<_>>()
            );
        }
    }
    // What has a disk does not go with the session.
    let _ = session.own.run(&["rm", "-f", "db"]).expect(0);
}

#[test]
fn lines_are_compared_by_what_does_not_differ() {
    let shown = "blue  6b0e0f950e22  Up 12 seconds  21 (21 up)   2     4GiB  6.12.117-coracle";
    let same = "blue  112233445566  Up Less than a second  21 (21 up)  2  4GiB  6.12.9-coracle";
    let other = "blue  112233445566  Up 3 seconds  21 (20 up)  2  4GiB  6.12.9-coracle";
    assert_eq!(stable(shown), stable(same));
    assert_ne!(stable(shown), stable(other));
    assert_eq!(
        without_comment("coracle ps -f 'a # b'   # a remark"),
        "coracle ps -f 'a # b'"
    );
}
