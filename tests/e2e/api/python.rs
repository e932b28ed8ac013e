//! docker-py, which asks in other ways than docker's command: versions first, lists as filters, booleans in
//! words, and streams without an upgrade.

use std::{fs, process::Command};

use coracle_tests::done;

use super::Api;

const SCRIPT: &str = include_str!("docker_py.py");

#[test]
fn docker_py_does_its_everyday_work() {
    let api = Api::start();
    // Debian's package is for Debian's interpreter.
    let has_library = |python: &str| {
        let mut command = Command::new(python);
        done(command.args(["-c", "import docker"])).code == 0
    };
    let interpreters = ["/usr/bin/python3", "python3"];
    let found: Vec<&str> = interpreters
        .into_iter()
        .filter(|python| has_library(python))
        .collect();
    assert!(
        !found.is_empty(),
        "there is no docker-py: run 'tools/packages test'"
    );
    let script = api.directory.path().join("script.py");
    fs::write(&script, SCRIPT).unwrap();
    for python in found {
        let mut command = Command::new(python);
        let done = done(command.arg(&script).env("DOCKER_HOST", api.host()));
        assert_eq!(done.expect(0).stdout, "all is well\n", "{python}");
    }
}
