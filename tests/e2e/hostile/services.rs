//! A guest that lies to `cp`, `top`, `stats`, `diff` and `exec`.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    process::Command,
};

use coracle_tests::{Done, Rogue, attacker_image, done, obeyed};
use tempfile::TempDir;

use super::without_machine;

/// A container of such a guest; it is removed when this is dropped.
struct Lying {
    rogue: Rogue,
    name: &'static str,
}

impl Lying {
    fn start(name: &'static str) -> Self {
        let own = Self {
            rogue: Rogue::new("services"),
            name,
        };
        let flags = ["run", "-d", "--name", name, "--isolation", "namespace"];
        let program = [attacker_image(), "/attacker", "idle"];
        let _ = own.does(&[&flags[..], &program].concat()).expect(0);
        own
    }

    fn does(&self, arguments: &[&str]) -> Done {
        done(&mut self.rogue.coracle(arguments))
    }

    /// Copies an archive of the attacker's to a place, by a process that may have no more than 256 MiB.
    fn copy(&self, archive: &str, to: &Path) -> Done {
        let copy = self.rogue.coracle(&["cp"]);
        let mut shell = Command::new("bash");
        shell.args(["-c", "ulimit -v 262144; exec \"$@\"", "bash"]);
        shell.arg(copy.get_program()).arg("cp");
        shell.arg(format!("{}:/{archive}", self.name)).arg(to);
        done(&mut shell)
    }
}

impl Drop for Lying {
    fn drop(&mut self) {
        let _ = self.does(&["rm", "--force", self.name]);
    }
}

/// A target, and beside it what no archive may touch.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let own = Self { directory };
        for name in ["target", "victim"] {
            fs::create_dir(own.path(name)).unwrap();
        }
        fs::write(own.path("victim/there"), "as it was").unwrap();
        own
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Whether what is beside the target is as it was.
    fn is_whole(&self) -> bool {
        let beside = fs::read_dir(self.path("victim")).unwrap().count();
        let text = fs::read_to_string(self.path("victim/there")).unwrap();
        let all = fs::read_dir(self.directory.path()).unwrap().count();
        (beside, text.as_str(), all) == (1, "as it was", 2)
    }
}

/// Archives, and the code of who copies them.
const ARCHIVES: [(&str, i32); 14] = [
    ("plain", 0),
    ("upwards", 1),
    // It is one of the target's own directory.
    ("absolute", 0),
    ("through-a-link", 1),
    ("through-the-root", 1),
    ("directory-for-a-link", 1),
    ("over-a-link", 0),
    ("hard-link-upwards", 1),
    ("hard-link-through-a-link", 1),
    ("devices", 0),
    ("set-user", 0),
    ("escapes", 0),
    ("short", 1),
    ("giant-extension", 1),
];

#[test]
fn archive_of_a_guest_leads_nowhere_and_its_names_are_not_obeyed() {
    if !without_machine() {
        return;
    }
    let guest = Lying::start("hostile-archives");
    let mut wrong = Vec::new();
    for (archive, code) in ARCHIVES {
        let scene = Scene::new();
        let done = guest.copy(archive, &scene.path("target"));
        if done.code != code || !scene.is_whole() || obeyed(&done.stderr) {
            wrong.push(format!("{archive}: {done:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let scene = Scene::new();
    let _ = guest.copy("set-user", &scene.path("target")).expect(0);
    let _ = guest.copy("devices", &scene.path("target")).expect(0);
    let below = |name: &str| fs::symlink_metadata(scene.path("target").join(name));
    let mode = below("set-user/file").unwrap().permissions().mode();
    assert_eq!(mode & 0o7000, 0, "{mode:o}");
    assert!(below("devices/c").is_err() && below("devices/b").is_err());
    assert!(below("devices/p").unwrap().file_type().is_fifo());
}

#[test]
fn archive_without_end_or_bottom_takes_bounded_memory() {
    if !without_machine() {
        return;
    }
    let guest = Lying::start("hostile-bombs");
    for archive in ["many", "deep"] {
        let scene = Scene::new();
        let done = guest.copy(archive, &scene.path("target"));
        // Copied or refused, and never without a word.
        assert!(done.code <= 1, "{archive}: {done:?}");
        assert!(scene.is_whole(), "{archive}");
    }
}

#[test]
fn lies_about_processes_files_and_ends_are_shown_and_not_obeyed() {
    if !without_machine() {
        return;
    }
    let guest = Lying::start("hostile-lies");
    for (arguments, code, word) in [
        (&["top", "hostile-lies"][..], 0, "good"),
        (&["diff", "hostile-lies"], 0, "good"),
        (&["stats", "--no-stream", "hostile-lies"], 0, "hostile-lies"),
        (&["exec", "hostile-lies", "good"], 5, "good"),
        (&["exec", "hostile-lies", "escapes"], 127, "evil"),
    ] {
        let done = guest.does(arguments);
        let all = format!("{}{}", done.stdout, done.stderr).replace('\t', " ");
        assert!(!obeyed(&all), "{arguments:?}: {done:?}");
        assert!(all.contains(word), "{arguments:?}: {done:?}");
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
    }
}

#[test]
fn ends_that_cannot_be_are_never_a_success_nor_waited_for_without_end() {
    if !without_machine() {
        return;
    }
    for program in ["unstarted", "twice", "another"] {
        let guest = Lying::start("hostile-ends");
        let done = guest.does(&["exec", "hostile-ends", program]);
        assert_ne!(done.code, 0, "{program}: {done:?}");
    }
    // Nor is one whose streams never come, and they are not waited for without end.
    let guest = Lying::start("hostile-ends");
    let bare = guest.does(&["exec", "hostile-ends", "bare"]).expect(125);
    assert!(bare.stderr.contains("its output is lost"), "{bare:?}");
}
