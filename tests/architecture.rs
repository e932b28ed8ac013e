//! Which room may use which, and which licences may be linked: read from `cargo metadata`.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The arrows between our own crates; nothing else may be drawn.
const ARROWS: [(&str, &[&str]); 17] = [
    (
        "coracle",
        &[
            "coracle-api",
            "coracle-docker-model",
            "coracle-engine",
            "coracle-images",
            "coracle-platform",
            "coracle-contracts",
            "coracle-software-host",
            "coracle-terminal",
            "coracle-vmm",
        ],
    ),
    (
        "coracle-docker-model",
        &[
            "coracle-engine",
            "coracle-images",
            "coracle-platform",
            "coracle-contracts",
        ],
    ),
    (
        "coracle-api",
        &[
            "coracle-docker-model",
            "coracle-engine",
            "coracle-images",
            "coracle-platform",
            "coracle-contracts",
        ],
    ),
    ("coracle-bench", &["coracle-platform", "coracle-terminal"]),
    ("coracle-keeper", &["coracle-engine", "coracle-terminal"]),
    (
        "coracle-engine",
        &[
            "coracle-images",
            "coracle-packets",
            "coracle-platform",
            "coracle-contracts",
            "coracle-software-host",
            "coracle-vmm",
        ],
    ),
    (
        "coracle-software-host",
        &[
            "coracle-packets",
            "coracle-platform",
            "coracle-contracts",
            "coracle-terminal",
            "coracle-vmm",
        ],
    ),
    (
        "coracle-terminal",
        &["coracle-platform", "coracle-contracts"],
    ),
    ("coracle-platform", &[]),
    ("coracle-packets", &[]),
    ("coracle-bpf", &[]),
    (
        "coracle-vmm",
        &["coracle-bpf", "coracle-contracts", "coracle-packets"],
    ),
    ("coracle-init", &["coracle-bpf", "coracle-contracts"]),
    ("coracle-contracts", &[]),
    ("coracle-images", &["coracle-contracts", "coracle-platform"]),
    ("coracle-tests", &[]),
    // It takes the place of a guest's init, and speaks as one.
    ("coracle-hostile", &["coracle-contracts"]),
];

/// Libraries that only these rooms may name.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("kvm-ioctls", &["coracle-vmm"]),
    ("kvm-bindings", &["coracle-vmm"]),
    ("linux-loader", &["coracle-vmm"]),
    ("virtio-queue", &["coracle-vmm"]),
    ("clap", &["coracle", "coracle-bench"]),
    ("tar", &["coracle-images"]),
];

/// Licences that go with Apache-2.0 in one program.
const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // The licence of bzip2's own library, in the manner of BSD's.
    "bzip2-1.0.6",
];

/// Most packages that the programs may be built from: what a person can still audit.
const MAX_PACKAGES: usize = 160;

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names of the normal dependencies of each of our crates.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let ours = |package: &&Value| package["source"].is_null();
    let names = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        let normal = all.filter(|dependency| dependency["kind"].is_null());
        normal
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter().filter(ours);
    packages
        .map(|package| (package["name"].as_str().unwrap().to_owned(), names(package)))
        .collect()
}

#[test]
fn rooms_use_only_what_the_design_draws() {
    let dependencies = dependencies(&metadata());
    let rooms: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(rooms, ARROWS.iter().map(|(room, _)| *room).collect());
    for (room, allowed) in ARROWS {
        let used: Vec<&String> = dependencies[room]
            .iter()
            .filter(|name| rooms.contains(name.as_str()))
            .collect();
        let drawn = |name: &&String| allowed.contains(&name.as_str());
        assert!(
            used.iter().all(drawn),
            "{room} uses {used:?}, allowed are {allowed:?}"
        );
    }
}

#[test]
fn libraries_of_one_room_stay_in_it() {
    for (room, names) in dependencies(&metadata()) {
        for (library, rooms) in ONLY_IN {
            let allowed = !names.contains(library) || rooms.contains(&room.as_str());
            assert!(allowed, "{room} names {library}, which is for {rooms:?}");
        }
    }
}

#[test]
fn every_licence_is_allowed() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        // "/" is an old way to write OR; one side of an OR is enough, each side of an AND is needed.
        let text = licence.replace('/', " OR ").replace(['(', ')'], "");
        let allowed = text.split(" AND ").all(|part| {
            part.split(" OR ")
                .any(|licence| LICENCES.contains(&licence.trim()))
        });
        assert!(allowed, "{}: {licence}", package["name"]);
    }
}

#[test]
fn tree_of_dependencies_stays_small_enough_to_audit() {
    let count = metadata()["packages"].as_array().unwrap().len();
    assert!(count <= MAX_PACKAGES, "{count} packages");
}

/// Rust sources below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Every road to a terminal but the one that cleans what an image, a guest or a registry said.
const WAYS_AROUND: [&str; 9] = [
    "print!(",
    "println!(",
    "dbg!(",
    "io::stdout()",
    "io::stderr()",
    "stdio::stdout()",
    "stdio::stderr()",
    "/dev/tty\"",
    "/dev/std",
];

#[test]
fn words_reach_a_terminal_by_one_road() {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let rooms = [
        "src",
        "bench",
        // Its example is another program, and writes what it wants.
        "engine/src",
        "platform",
        "software-host",
        "terminal",
    ];
    let all = rooms.iter().flat_map(|room| sources(&top.join(room)));
    let road = top.join("terminal/src/output.rs");
    for path in all.filter(|path| *path != road) {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // Opened to read, it only tells whether there is a terminal.
            let is_harmless =
                line.trim_start().starts_with("//") || line.contains("File::open(\"/dev/tty\")");
            let found = WAYS_AROUND
                .iter()
                .find(|way| !is_harmless && line.contains(**way));
            assert!(
                found.is_none(),
                "{}:{}: {line}: terminal/src/output.rs writes, and nothing else",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn environment_is_for_fronts_to_read() {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for room in ["api/src", "contracts", "docker-model", "engine/src"] {
        for file in sources(&top.join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("env::var"), "{}", file.display());
        }
    }
}
