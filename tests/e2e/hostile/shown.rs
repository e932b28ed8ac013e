//! What commands show of an image that is written for a terminal to obey.

use coracle_tests::{Image, coracle, done, obeyed};
use serde_json::json;

/// Controls of both kinds, in a text.
const ESCAPES: &str = "evil\u{1b}]0;title\u{7}\u{1b}[2J\r\u{9b}31m";

#[test]
fn nothing_that_an_image_says_is_obeyed_by_a_terminal() {
    let name = "hostile-shown";
    let config = json!({
        "User": ESCAPES,
        "WorkingDir": format!("/{ESCAPES}"),
        "Env": [format!("A={ESCAPES}"), format!("{ESCAPES}=b")],
        "Labels": {ESCAPES: ESCAPES, "label": ESCAPES},
        "Entrypoint": ["/attacker", ESCAPES],
        "Cmd": [ESCAPES],
        "Volumes": {format!("/{ESCAPES}"): {}},
        "ExposedPorts": {ESCAPES: {}},
        "StopSignal": "SIGTERM",
    });
    Image::new().load(name, &config);
    let _ = done(&mut coracle(["create", "--name", name, name])).expect(0);
    let templates = [
        "{{.Config.Entrypoint}} {{.Config.Env}} {{.Config.Cmd}}",
        "{{.Config.Labels}} {{.Config.User}} {{.Config.WorkingDir}}",
        "{{json .Config}}",
        "{{.}}",
    ];
    let mut shown: Vec<Vec<&str>> = vec![
        vec!["ps", "-a"],
        vec![
            "ps",
            "-a",
            "--no-trunc",
            "--format",
            "{{.Command}} {{.Labels}} {{.Image}}",
        ],
        vec!["ps", "-a", "--format", "json"],
        vec!["inspect", name],
        vec!["image", "inspect", name],
        vec!["image", "history", "--no-trunc", name],
        vec!["images"],
        vec!["events", "--since", "1h", "--until", "0s"],
        vec![
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--format",
            "{{json .}}",
        ],
    ];
    for template in templates {
        shown.push(vec!["inspect", "--format", template, name]);
        shown.push(vec!["image", "inspect", "--format", template, name]);
    }
    let mut wrong = Vec::new();
    let mut said = 0;
    for command in shown {
        let shown = done(&mut coracle(command.iter().copied()));
        let all = format!("{}{}", shown.stdout, shown.stderr).replace('\t', " ");
        said += usize::from(all.contains("evil"));
        if obeyed(&all) {
            wrong.push(format!("{command:?} shows {all:?}"));
        }
    }
    let _ = done(&mut coracle(["rm", "--force", name]));
    let _ = done(&mut coracle(["rmi", "--force", name]));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A command that shows nothing of it would hold for no reason.
    assert!(said > 5, "{said} commands showed the words");
}
