//! Processes killed at each of the steps that change the store: whatever is left, the same
//! command then succeeds, and nothing is lost or left over.

use coracle_tests::{Done, done, program};

use super::{User, gzip, image, layer, noise, server::Registry};

/// System calls that change the store, or end or begin a step of it.
const STEPS: [&str; 6] = ["rename", "fsync", "mkdir", "unlink", "unlinkat", "flock"];
/// More steps than any of the commands has.
const MOST_STEPS: usize = 200;

/// Runs a command that is killed at its step number `when` of one kind.
fn killed_at(user: &User, step: &str, when: usize, arguments: &[&str]) -> Done {
    let inject = format!("inject={step}:signal=KILL:when={when}");
    let own = user.command(arguments);
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={step}"))
        .args(["-e", &inject])
        .arg(program("coracle"))
        .args(arguments);
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    done(&mut command)
}

/// Runs `arguments` again and again, each time killed one step later, until they are not killed
/// any more; `after` looks at what each kill left, and restores the scene.
fn at_each_step(user: &User, arguments: &[&str], after: impl Fn(&str)) {
    let mut kills = 0;
    for step in STEPS {
        for when in 1..MOST_STEPS {
            let done = killed_at(user, step, when, arguments);
            let words = format!("{step} {when}: {}", done.stderr);
            assert!(matches!(done.code, 0 | 137), "{words}");
            after(&words);
            if done.code == 0 {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > STEPS.len(), "{kills} kills");
}

fn scene() -> (Registry, String, String) {
    let registry = Registry::start();
    let base = || gzip(layer("base", &noise(1, 100_000)));
    registry.push("kept", "latest", &image("amd64", vec![base()]));
    let layers = vec![base(), gzip(layer("own", &noise(2, 100_000)))];
    registry.push("boat", "latest", &image("amd64", layers));
    let names = (registry.name("kept"), registry.name("boat"));
    (registry, names.0, names.1)
}

/// What must hold at any time: what is listed is whole.
fn check(user: &User, words: &str) {
    let listed = user.coracle(&["images", "-q"]);
    assert_eq!(listed.code, 0, "{words}: {}", listed.stderr);
    let verified = user.coracle(&["image", "verify"]);
    assert_eq!(
        verified.code, 0,
        "{words}: {}{}",
        verified.stdout, verified.stderr
    );
}

fn nothing_is_left(user: &User, words: &str) {
    let _ = user.coracle(&["prune", "-a", "-f"]).expect(0);
    for folder in ["images", "layers", "blobs/sha256", "partial", "tmp"] {
        assert_eq!(
            user.files(folder),
            Vec::<String>::new(),
            "{folder} after {words}"
        );
    }
}

#[test]
fn pull_killed_at_each_step_is_continued() {
    let (_registry, kept, boat) = scene();
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &kept]).expect(0);
    at_each_step(&user, &["pull", "-q", &boat], |words| {
        check(&user, words);
        let pulled = user.coracle(&["pull", "-q", &boat]);
        assert_eq!(pulled.code, 0, "{words}: {}", pulled.stderr);
        check(&user, words);
        assert_eq!(user.files("partial"), Vec::<String>::new(), "{words}");
        let _ = user.coracle(&["rmi", &boat]).expect(0);
        assert_eq!(user.files("layers").len(), 1, "{words}");
    });
    nothing_is_left(&user, "all");
}

#[test]
fn removal_killed_at_each_step_keeps_what_others_need() {
    let (_registry, kept, boat) = scene();
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &kept]).expect(0);
    let _ = user.coracle(&["pull", "-q", &boat]).expect(0);
    at_each_step(&user, &["rmi", &boat], |words| {
        check(&user, words);
        let _ = user.coracle(&["inspect", &kept]).expect(0);
        let pulled = user.coracle(&["pull", "-q", &boat]);
        assert_eq!(pulled.code, 0, "{words}: {}", pulled.stderr);
    });
    nothing_is_left(&user, "all");
}

#[test]
fn prune_killed_at_each_step_keeps_what_is_listed_whole() {
    let (_registry, kept, boat) = scene();
    let user = User::new();
    let pull = || {
        for name in [&kept, &boat] {
            let _ = user.coracle(&["pull", "-q", name]).expect(0);
        }
    };
    pull();
    at_each_step(&user, &["prune", "-a", "-f"], |words| {
        check(&user, words);
        pull();
    });
    nothing_is_left(&user, "all");
}
