//! What a user's containers are told, write and log is nobody else's: files, sockets, and what lists of
//! processes show.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use coracle_tests::{Done, Installation, done, signal, until, wait};
use rustix::process::Signal;

/// A word that only the user knows.
const SECRET: &str = "s3cr3t-of-the-user";

/// Runs a command under a umask that keeps nobody out.
fn openly(installation: &Installation, arguments: &[&str]) -> Done {
    let plain = installation.coracle(arguments);
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdin(Stdio::null())
        .env("OUTSIDE_PASSWORD", SECRET);
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    done(&mut command)
}

/// What others may do something with, of all that lies below a directory.
fn open_to_others(path: &Path) -> Vec<String> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut found = Vec::new();
    if !metadata.is_symlink() && metadata.mode() & 0o077 != 0 {
        found.push(format!("{:o} {}", metadata.mode(), path.display()));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            found.extend(open_to_others(&entry.path()));
        }
    }
    found
}

/// The files of an installation that others may do something with, and its processes that show the secret.
fn leaks(installation: &Installation) -> Vec<String> {
    let mut found = Vec::new();
    for room in ["data", "run"] {
        found.extend(open_to_others(&installation.path(room).join("coracle")));
    }
    for (pid, words) in installation.processes() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        if words.contains(SECRET) || environment.contains(SECRET) {
            found.push(format!("process {pid} shows the secret: {words}"));
        }
    }
    found
}

#[test]
fn nothing_that_a_user_does_is_open_to_others() {
    let installation = Installation::new(None);
    let data = installation.path("data").join("coracle");
    // As an earlier release left it.

    fs::create_dir_all(data.join("containers/names")).unwrap();
    for path in [
        &data,
        &data.join("containers"),
        &data.join("containers/names"),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let does = |arguments: &[&str]| openly(&installation, arguments).expect(0).stdout;
    let password = format!("PASSWORD={SECRET}");
    let from_outside = ["-e", "OUTSIDE_PASSWORD"];
    does(&["host", "create", "shut", "--disk", "64m"]);
    let flags = ["run", "-d", "--name", "one", "-e", &password];
    let words = ["busybox", "sh", "-c", "echo said; sleep 1000", SECRET];
    does(&[&flags[..], &from_outside, &words].concat());
    let flags = [
        "run", "-d", "--name", "two", "-e", &password, "--host", "shut",
    ];
    does(&[&flags[..], &words].concat());
    does(&["exec", "-e", &password, "one", "true"]);
    does(&[
        "create",
        "--name",
        "disk",
        "--storage-opt",
        "size=64m",
        "busybox",
    ]);
    assert_eq!(leaks(&installation), Vec::<String>::new());

    let shown = |name: &str| {
        let processes = installation.processes();
        processes
            .iter()
            .any(|(_, words)| words.trim_end() == format!("coracle: keeper of {name}"))
    };
    assert!(
        shown("one") && shown("host shut"),
        "{:?}",
        installation.processes()
    );
    does(&["restart", "-t", "0", "one"]);
    assert!(shown("one"), "{:?}", installation.processes());
    assert_eq!(leaks(&installation), Vec::<String>::new());
    does(&["rm", "-f", "one", "two", "disk"]);
    does(&["host", "rm", "-f", "shut"]);
}

#[test]
fn command_that_stays_with_its_container_shows_no_arguments() {
    let installation = Installation::new(None);
    let password = format!("PASSWORD={SECRET}");
    let flags = ["run", "--rm", "--name", "front", "-e", &password, "busybox"];
    let script = "echo ready; sleep 1000";
    let mut child = installation
        .coracle(&[&flags[..], &["sh", "-c", script, SECRET]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(leaks(&installation), Vec::<String>::new());
    let own = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(own.starts_with(b"coracle run busybox\0"), "{own:?}");
    signal(child.id(), Signal::KILL);
    assert_eq!(wait(child), 137);
}

/// It is a program of its own, which is told what it holds by its socket alone.
#[test]
fn keeper_that_holds_a_container_shows_nothing_of_it() {
    let installation = Installation::new(None);
    let password = format!("PASSWORD={SECRET}");
    let create = ["create", "--name", "held", "-e", &password, "busybox"];
    let made = openly(&installation, &[&create[..], &["echo", SECRET]].concat());
    let id = made.expect(0).stdout.trim().to_owned();
    let mut client = installation
        .coracle(&["attach", "held"])
        .env("OUTSIDE_PASSWORD", SECRET)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let socket = installation.path("run").join("coracle/keepers");
    until(|| match socket.join(&id[..32]).exists() {
        true => Ok(()),
        false => Err("nobody holds it".into()),
    });
    let own = client.id();
    let others = leaks(&installation)
        .into_iter()
        // The command itself has the environment that it was given.
        .filter(|leak| !leak.contains(&format!("process {own} ")));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
    let processes = installation.processes();
    let shown = |(_, words): &(u32, String)| words.trim_end() == "coracle: keeper of held";
    assert_eq!(processes.iter().filter(|one| shown(one)).count(), 1);
    let _ = openly(&installation, &["start", "held"]).expect(0);
    let mut said = String::new();
    std::io::Read::read_to_string(client.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(said, format!("{SECRET}\n"));
    assert_eq!(wait(client), 0);
    let _ = openly(&installation, &["rm", "held"]).expect(0);
}
