//! Several processes, and some that die.

use std::{
    process::Stdio,
    sync::{Arc, Condvar, Mutex},
};

use coracle_tests::{signal, until, wait};
use rustix::process::Signal;

use super::{
    User,
    front::{Action, Front},
    gzip, image, layer, noise,
    server::Registry,
    sha256,
};

/// A door that is shut until someone opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Gate {
    /// Comes to the door and waits until it is open.
    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        drop(changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    /// Until someone stands at the door.
    fn await_someone(&self) {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        drop(changed.wait_while(state, |(count, _)| *count == 0).unwrap());
    }

    fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().1 = true;
        changed.notify_all();
    }
}

#[test]
fn two_pulls_of_one_layer_fetch_it_once() {
    let registry = Registry::start();
    let one = image("amd64", vec![gzip(layer("a", &noise(1, 100_000)))]);
    registry.push("boat", "latest", &one);
    let digest = sha256(&one.layers[0].blob);
    let gate = Gate::default();
    let (door, end) = (gate.clone(), digest.clone());
    let front = Front::start(&registry.address, move |request, _| {
        if request.path.ends_with(&end) {
            door.pass();
        }
        Action::Pass
    });
    let user = User::new();
    let name = front.name("boat");
    let first = user
        .command(&["pull", &name])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    gate.await_someone();
    let mut second = user
        .command(&["pull", &name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It says when it waits.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(second.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("Waiting for another pull")));
    gate.open();
    assert!(lines.any(|line| line.unwrap().contains("Already exists")));
    lines.for_each(drop);
    assert_eq!((wait(first), wait(second)), (0, 0));
    assert_eq!(front.blob(&digest).len(), 1);
    assert_eq!(user.files("partial"), Vec::<String>::new());
}

#[test]
fn killed_pull_is_continued() {
    let registry = Registry::start();
    let layers = vec![
        gzip(layer("a", &noise(1, 100_000))),
        gzip(layer("b", &noise(2, 2_000_000))),
    ];
    let image = image("amd64", layers);
    registry.push("boat", "latest", &image);
    let digests = [sha256(&image.layers[0].blob), sha256(&image.layers[1].blob)];
    let end = digests[1].clone();
    let front = Front::start(&registry.address, move |request, before| {
        if before == 0 && request.path.ends_with(&end) {
            Action::Stall(1_000_000)
        } else {
            Action::Pass
        }
    });
    let user = User::new();
    let name = front.name("boat");
    let mut child = user
        .command(&["pull", &name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("Pull complete")));
    // The other layer has come as far as it comes before it is silent.
    let partial = user
        .store()
        .join("partial")
        .join(digests[1].replace(':', "-"));
    while std::fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 1_000_000 {
        std::thread::yield_now();
    }
    signal(child.id(), Signal::KILL);
    assert_eq!(wait(child), 137);
    // Nothing that is not whole is seen.
    assert_eq!(user.coracle(&["images", "-q"]).expect(0).stdout, "");

    let _ = user.coracle(&["pull", &name]).expect(0);
    assert_eq!(front.blob(&digests[0]).len(), 1);
    let last = front.blob(&digests[1]).pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=1000000-"));
    for folder in ["partial", "tmp"] {
        assert_eq!(user.files(folder), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn removal_leaves_what_a_pull_has_already() {
    let registry = Registry::start();
    let layers = vec![
        gzip(layer("a", &noise(1, 100_000))),
        gzip(layer("b", &noise(2, 100_000))),
    ];
    let image = image("amd64", layers);
    registry.push("boat", "latest", &image);
    registry.push(
        "other",
        "latest",
        &super::image("amd64", vec![layer("c", b"c")]),
    );
    let end = sha256(&image.layers[1].blob);
    let gate = Gate::default();
    let door = gate.clone();
    let front = Front::start(&registry.address, move |request, _| {
        if request.path.ends_with(&end) {
            door.pass();
        }
        Action::Pass
    });
    let user = User::new();
    let other = registry.name("other");
    let _ = user.coracle(&["pull", &other]).expect(0);
    let mut child = user
        .command(&["pull", &front.name("boat")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("Pull complete")));
    gate.await_someone();
    // Beside that of the other image: what is complete is told a moment before it is in its place.
    until(|| match user.files("layers").len() {
        2 => Ok(()),
        number => Err(format!("{number} layers")),
    });
    let _ = user.coracle(&["rmi", &other]).expect(0);
    assert_eq!(user.files("layers").len(), 1);
    gate.open();
    lines.for_each(drop);
    assert_eq!(wait(child), 0);
    assert_eq!(front.blob(&sha256(&image.layers[0].blob)).len(), 1);
    assert_eq!(user.files("layers").len(), 2);
}

#[test]
fn pulls_removals_and_prunes_at_once_all_succeed() {
    /// Processes of each kind, and how often each does its work.
    const PROCESSES: usize = 3;
    const ROUNDS: usize = 8;
    let registry = Registry::start();
    let base = || gzip(layer("base", &noise(1, 50_000)));
    let mut names = Vec::new();
    for number in 0..PROCESSES {
        let own = gzip(layer("own", &[u8::try_from(number).unwrap(); 100]));
        registry.push(
            &format!("boat{number}"),
            "latest",
            &image("amd64", vec![base(), own]),
        );
        names.push(registry.name(&format!("boat{number}")));
    }
    let user = User::new();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let _ = user.coracle(&["pull", "-q", name]).expect(0);
                    let _ = user.coracle(&["inspect", name]).expect(0);
                    let _ = user.coracle(&["image", "verify", name]).expect(0);
                    let _ = user.coracle(&["rmi", name]).expect(0);
                }
            });
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let _ = user.coracle(&["prune", "-f"]).expect(0);
                    let _ = user.coracle(&["df"]).expect(0);
                }
            });
        }
    });
    let _ = user.coracle(&["prune", "-f"]).expect(0);
    for folder in ["layers", "partial", "tmp", "images", "blobs/sha256"] {
        assert_eq!(user.files(folder), Vec::<String>::new(), "{folder}");
    }
}
