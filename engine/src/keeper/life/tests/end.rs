//! Ends, and what starts again after them.

use super::*;
use crate::keeper::execs::NO_OUTPUT;

/// A policy that wants it, and what keeps it from starting again.
#[test]
fn container_starts_again_unless_somebody_wanted_its_end() {
    let ended = |step: Option<Step>| {
        let rest = [exited(1), Input::OutputRead, settled()].map(Step::from);
        steps(running(), step.into_iter().chain(rest))
    };
    let again: &[&str] = &["save", "note die 1", "tell the end, it restarts"];
    let over: &[&str] = &["save", "note die 1", "let go", "tell the end", "forget"];
    let stopped: &[&str] = &[
        "save",
        "note die 1",
        "note stop",
        "let go",
        "tell the end",
        "forget",
    ];
    let to_end = Input::Stop {
        signal: None,
        seconds: None,
        by: By::Keeper,
    };
    play(vec![
        ("without a policy", terms(), ended(None), over, "held"),
        ("always", always(), ended(None), again, "waiting"),
        (
            "stopped",
            always(),
            ended(Some(stop().into())),
            stopped,
            "held",
        ),
        ("killed", always(), ended(Some(kill().into())), over, "held"),
        (
            "killed by a signal",
            always(),
            ended(Some(Input::Signal(9).into())),
            over,
            "held",
        ),
        (
            "another signal",
            always(),
            ended(Some(Input::Signal(10).into())),
            again,
            "waiting",
        ),
        (
            "interrupted",
            always(),
            ended(Some(Input::Interrupt(2).into())),
            over,
            "held",
        ),
        (
            "its keeper was told to end",
            always(),
            ended(Some(to_end.into())),
            over,
            "held",
        ),
        (
            "its host ends",
            always(),
            ended(Some(Input::HostEnds.into())),
            over,
            "held",
        ),
        (
            "not again yet",
            always(),
            [ended(None), vec![after(0)]].concat(),
            &[],
            "waiting",
        ),
        (
            "again",
            always(),
            [ended(None), vec![after(1)]].concat(),
            &["start again"],
            "waiting",
        ),
        (
            "stopped in its pause",
            always(),
            [ended(None), vec![stop().into(), after(0)]].concat(),
            &["save", "note stop", "let go", "tell the end", "forget"],
            "waiting",
        ),
        (
            "its host ends in its pause",
            always(),
            [ended(None), vec![Input::HostEnds.into(), after(0)]].concat(),
            &["save", "let go", "tell the end", "forget"],
            "waiting",
        ),
        (
            "a machine that was stopped meanwhile",
            always(),
            [
                ended(None),
                vec![after(1), Input::Hindered("stopped").into()],
            ]
            .concat(),
            &["save", "let go", "tell the end", "forget"],
            "waiting",
        ),
    ]);
}

#[test]
fn what_could_never_be_started_does_not_start_again_and_says_why() {
    let failed = Input::Failed {
        code: 127,
        message: "no such program".into(),
    };
    let mut scene = Scene::new(always());
    for input in starting().into_iter().chain([failed, Input::OutputRead]) {
        scene.happens(input);
    }
    let words = "tell failure 127: cannot start the container: no such program";
    assert_eq!(
        scene.happens(settled()),
        ["save", "note die 127", "let go", words, "forget"]
    );
    assert_eq!(scene.state.status, Status::Created);
}

#[test]
fn nothing_ends_well_whose_streams_were_lost() {
    let missing = |seconds| {
        let output = Output {
            held_back: false,
            missing: true,
        };
        Step::Passes(seconds, output)
    };
    let slow = Step::Passes(
        10,
        Output {
            held_back: true,
            missing: false,
        },
    );
    let end = || [Input::OutputRead, settled()].map(Step::from);
    let lost = format!("tell failure 125: {NO_OUTPUT}");
    let not_taken = "tell failure 125: the container was ended: not taken";
    let failed = Input::Failed {
        code: 125,
        message: "not taken".into(),
    };
    play(vec![
        (
            "its output is waited for",
            terms(),
            steps(running(), [exited(0).into(), missing(9)]),
            &[],
            "draining",
        ),
        (
            "and then it has failed",
            terms(),
            steps(
                running(),
                [exited(0).into(), missing(10)].into_iter().chain(end()),
            ),
            &["save", "note die 125", "let go", &lost, "forget"],
            "held",
        ),
        (
            "one that reads slowly gets it all",
            terms(),
            steps(running(), [exited(0).into(), slow.clone(), slow]),
            &[],
            "draining",
        ),
        (
            "its guest says that it could not connect them",
            terms(),
            steps(running(), [failed.into()].into_iter().chain(end())),
            &["save", "note die 125", "let go", not_taken, "forget"],
            "held",
        ),
    ]);
}
