//! What people ask for, and clients that vanish.

use super::*;
use crate::keeper::phase::KILL_TIMEOUT;

#[test]
fn stop_and_kill_race_with_each_stage_and_with_each_other() {
    let nothing: &[&str] = &[];
    let forced: &[&str] = &[
        "expect late news",
        "end input",
        "probe no more",
        "let go of streams",
    ];
    let killed: &[&str] = &["note kill 9", "signal 9"];
    let begun = || [Input::Begin(spec())];
    play(vec![
        (
            "what does not run has nothing to stop",
            terms(),
            steps([], [stop().into()]),
            nothing,
            "held",
        ),
        (
            "what boots ends at once",
            terms(),
            steps(begun(), [stop().into()]),
            forced,
            "draining",
        ),
        (
            "what starts is told when it runs",
            terms(),
            steps(starting(), [stop().into()]),
            nothing,
            "starting",
        ),
        (
            "it hears of it before its start is told",
            terms(),
            steps(
                starting(),
                [stop().into(), Input::Started { pid: 7 }.into()],
            ),
            &[
                "mark container's process executed",
                "save",
                "note start",
                "probe",
                "signal 15",
                "tell the start",
            ],
            "running",
        ),
        (
            "a start that never comes ends with the grace time",
            terms(),
            steps(starting(), [stop().into(), after(10)]),
            forced,
            "draining",
        ),
        (
            "among others it is killed in the guest first",
            guest_of_many(),
            steps(starting(), [stop().into(), after(10)]),
            &["signal 9", "let go of streams"],
            "starting",
        ),
        (
            "and then given up",
            guest_of_many(),
            steps(starting(), [stop().into(), after(10), after(10)]),
            forced,
            "draining",
        ),
        (
            "the grace time of a stop before the start counts on",
            terms(),
            steps(
                starting(),
                [stop().into(), Input::Started { pid: 7 }.into(), after(10)],
            ),
            killed,
            "running",
        ),
        (
            "what runs gets its signal",
            terms(),
            steps(running(), [stop().into()]),
            &["note kill 15", "signal 15"],
            "running",
        ),
        (
            "and no other in its grace time",
            terms(),
            steps(running(), [stop().into(), after(9)]),
            nothing,
            "running",
        ),
        (
            "and is killed after it",
            terms(),
            steps(running(), [stop().into(), after(10)]),
            killed,
            "running",
        ),
        (
            "what does not end then ends by force",
            terms(),
            steps(
                running(),
                [stop().into(), after(10), after(KILL_TIMEOUT.as_secs())],
            ),
            forced,
            "draining",
        ),
        (
            "a second stop does not make the time longer",
            terms(),
            steps(
                running(),
                [stop().into(), after(9), stop().into(), after(1)],
            ),
            killed,
            "running",
        ),
        (
            "a kill in the grace time is said at once, and once more when that is over",
            terms(),
            steps(running(), [stop().into(), kill().into(), after(10)]),
            killed,
            "running",
        ),
        (
            "what has ended is only let go of",
            terms(),
            steps(running(), [exited(0).into(), stop().into()]),
            &["let go of streams"],
            "draining",
        ),
        (
            "an end that comes after the stop is an end",
            terms(),
            steps(running(), [stop().into(), exited(0).into()]),
            &["mark container's exit seen", "end input", "probe no more"],
            "draining",
        ),
    ]);
}

#[test]
fn paused_container_goes_on_to_hear_that_it_is_to_stop() {
    let mut scene = Scene::new(terms());
    scene.run();
    scene.state.status = Status::Paused;
    let effects = scene.happens(stop());
    assert_eq!(effects, ["note kill 15", "signal 15", "resume"]);
}

#[test]
fn clients_that_vanish_end_what_they_own_in_each_stage() {
    let forced: &[&str] = &[
        "expect late news",
        "end input",
        "probe no more",
        "let go of streams",
    ];
    let gone = || Step::from(Input::OwnerGone);
    let in_guest: &[&str] = &["signal 9", "let go of streams"];
    let late = || steps(running(), [exited(0).into(), gone()]);
    play(vec![
        ("held", terms(), steps([], [gone()]), &[], "held"),
        (
            "booting",
            terms(),
            steps([Input::Begin(spec())], [gone()]),
            forced,
            "draining",
        ),
        (
            "starting",
            terms(),
            steps(starting(), [gone()]),
            forced,
            "draining",
        ),
        (
            "running",
            terms(),
            steps(running(), [gone()]),
            forced,
            "draining",
        ),
        (
            "draining",
            terms(),
            late(),
            &["let go of streams"],
            "draining",
        ),
        // Among others the guest goes on, and ends it.
        (
            "of many, booting",
            guest_of_many(),
            steps([Input::Begin(spec())], [gone()]),
            forced,
            "draining",
        ),
        (
            "of many, starting",
            guest_of_many(),
            steps(starting(), [gone()]),
            in_guest,
            "starting",
        ),
        (
            "of many, running",
            guest_of_many(),
            steps(running(), [gone()]),
            in_guest,
            "running",
        ),
        (
            "of many, whose start is told later",
            guest_of_many(),
            steps(
                starting(),
                [gone(), Input::Started { pid: 7 }.into(), after(10)],
            ),
            forced,
            "draining",
        ),
    ]);
}

#[test]
fn interrupt_reaches_what_runs_and_ends_what_does_not() {
    let interrupt = |signal| Step::from(Input::Interrupt(signal));
    let forced: &[&str] = &[
        "expect late news",
        "end input",
        "probe no more",
        "let go of streams",
    ];
    play(vec![
        (
            "running",
            terms(),
            steps(running(), [interrupt(2)]),
            &["interrupt 2"],
            "running",
        ),
        (
            "once more after its grace time",
            terms(),
            steps(running(), [interrupt(2), interrupt(1), after(10)]),
            &["interrupt 2 again"],
            "running",
        ),
        (
            "others are not looked after",
            terms(),
            steps(running(), [interrupt(10), after(10)]),
            &[],
            "running",
        ),
        (
            "starting",
            terms(),
            steps(starting(), [interrupt(2)]),
            &[],
            "starting",
        ),
        (
            "booting",
            terms(),
            steps([Input::Begin(spec())], [interrupt(2)]),
            forced,
            "draining",
        ),
        (
            "booting, by another",
            terms(),
            steps([Input::Begin(spec())], [interrupt(10)]),
            &[],
            "booting",
        ),
    ]);
}
