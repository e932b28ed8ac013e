//! What init and the owner's commands do in or near a container, attacked from inside of it.

use std::{fs, path::Path};

use coracle_tests::{Detached, Done, Host, attacker_image, coracle, done, end_attack};
use tempfile::TempDir;

use super::without_machine;

/// How often `exec` enters a container that waits for it.
const EXECS: usize = 12;

/// How often files are copied that are exchanged meanwhile; each time there are 200 of them.
const COPIES: usize = 4;

/// Ends an attack that goes on, and gives all that it has said.
fn end(attacker: &Detached) -> String {
    end_attack(attacker);
    let _ = attacker.does(&["wait"]).expect(0);
    attacker.does(&["logs"]).expect(0).stdout
}

/// Runs programs in a container that looks into whatever appears in it, and expects it to find nothing.
fn nothing_is_seen_of(attacker: &Detached) {
    attacker.until_ready();
    for number in 0..EXECS {
        let flags: &[&str] = match number % 4 {
            1 => &["--tty"],
            2 => &["--interactive"],
            3 => &["--user", "1000", "--workdir", "/tmp"],
            _ => &[],
        };
        let program = [&attacker.name, "/attacker", "linger"];
        let _ = done(coracle(["exec"]).args(flags).args(program)).expect(0);
    }
    let text = end(attacker);
    assert!(text.ends_with("holes: 0\n"), "{text}");
    let looked = text
        .lines()
        .find_map(|line| line.strip_prefix("looked at: "));
    assert!(looked.unwrap().parse::<usize>().unwrap() >= EXECS, "{text}");
}

const TRACER: [&str; 4] = ["--cap-add", "SYS_PTRACE", "--log-driver", "local"];

#[test]
fn what_exec_puts_into_a_container_is_confined_before_it_is_seen() {
    let host = Host::create("hostile-exec", &[]);
    let secret = ["-e", "NEIGHBOURS_SECRET=tiger"];
    let _neighbour = host.hold("hostile-exec-neighbour", &secret);
    let watch = [attacker_image(), "/attacker", "watch"];
    let attacker = host.start("hostile-exec-one", &[&TRACER[..], &watch].concat());
    nothing_is_seen_of(&attacker);
}

#[test]
fn nor_is_anything_of_this_machine_seen_where_there_is_no_other() {
    if !without_machine() {
        return;
    }
    let watch = [attacker_image(), "/attacker", "watch"];
    let flags = [&TRACER[..], &["--isolation", "namespace"], &watch].concat();
    // A tracer of root's may be too much where the kernel is the machine's: then it is refused in words.
    let name = "hostile-exec-namespace";
    let started = done(coracle(["run", "-d", "--name", name]).args(&flags));
    if started.code == 125 && started.stderr.contains("SYS_PTRACE") {
        return;
    }
    let _ = started.expect(0);
    nothing_is_seen_of(&Detached { name: name.into() });
}

/// Letters of all files below a directory.
fn letters(path: &Path, found: &mut Vec<u8>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            letters(&entry.path(), found);
        } else if kind.is_file() {
            let mut content = fs::read(entry.path()).unwrap();
            content.dedup();
            found.append(&mut content);
        }
    }
    found.sort_unstable();
    found.dedup();
}

/// `coracle cp` with these arguments; that what it copies goes away meanwhile is no fault of its own.
fn copy(from: &str, to: &str) -> Done {
    let copied = done(&mut coracle(["cp", from, to]));
    assert!(copied.code <= 1, "{copied:?}");
    copied
}

#[test]
fn files_that_are_exchanged_while_they_are_copied_give_nothing_else_away() {
    let host = Host::create("hostile-copies", &[]);
    let image = attacker_image();
    for kind in ["block", "character", "fifo", "link", "directory"] {
        let exchange = [image, "/attacker", "exchange", kind];
        let attacker = host.start(&format!("hostile-copies-{kind}"), &exchange);
        attacker.until_ready();
        let from = format!("{}:/x", attacker.name);
        let mut found = Vec::new();
        for _ in 0..COPIES {
            let target = TempDir::new().unwrap();
            let _ = copy(&from, target.path().join("x").to_str().unwrap());
            letters(target.path(), &mut found);
        }
        let _ = end(&attacker);
        // The plain files' own letter, and nothing of a disk, the kernel's log, or behind a link.
        assert_eq!(
            String::from_utf8_lossy(&found),
            "A",
            "exchanged for a {kind}"
        );
    }
}
