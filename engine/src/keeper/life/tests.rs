//! Each row of a table is a life: what happens, and what follows from it.

mod asked;
mod end;

use std::time::Duration;

use contracts::guest::{ContainerSpec, Network, Stdio};

use super::*;
use crate::state::container::{Shown, Status};

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// A moment after `begun`, in seconds.
const fn after(seconds: u64) -> Step {
    Step::Passes(
        seconds,
        Output {
            held_back: false,
            missing: false,
        },
    )
}

/// Something in a row of a table.
#[derive(Debug, Clone)]
enum Step {
    Happens(Input),
    /// So many seconds pass.
    Passes(u64, Output),
}

impl From<Input> for Step {
    fn from(input: Input) -> Self {
        Self::Happens(input)
    }
}

/// A container with what a test looks at.
struct Scene {
    life: Life,
    state: State,
    now: Now,
}

fn config() -> Config {
    serde_json::from_str(CONTAINER).unwrap()
}

fn spec() -> Box<ContainerSpec> {
    Box::new(config().spec.for_guest(Network::None, Stdio::default()))
}

impl Scene {
    fn new(terms: Terms) -> Self {
        Self {
            life: Life::held(terms),
            state: State::new(Shown::default()),
            now: Now {
                instant: Instant::now(),
                wall: 1,
            },
        }
    }

    fn happens(&mut self, input: Input) -> Vec<String> {
        let effects = self.life.on(input, &mut self.state, self.now);
        effects.iter().map(words).collect()
    }

    fn step(&mut self, step: Step) -> Vec<String> {
        match step {
            Step::Happens(input) => self.happens(input),
            Step::Passes(seconds, output) => {
                self.now.instant += Duration::from_secs(seconds);
                self.now.wall += seconds * 1_000_000_000;
                self.happens(Input::Due(output))
            }
        }
    }

    /// Brings it to where it runs.
    fn run(&mut self) {
        for input in running() {
            self.happens(input);
        }
        assert_eq!(self.life.word(), "running");
    }
}

fn terms() -> Terms {
    Terms {
        own_machine: true,
        restart: Restart::No,
        stop_signal: 15,
        stop_timeout: 10,
        timeout: None,
        has_health: false,
    }
}

/// One of a named host's.
fn guest_of_many() -> Terms {
    Terms {
        own_machine: false,
        ..terms()
    }
}

fn always() -> Terms {
    Terms {
        restart: Restart::Always,
        ..terms()
    }
}

/// What brings a container to where it starts.
fn starting() -> [Input; 2] {
    [Input::Begin(spec()), Input::Ready]
}

/// What brings a container to where it runs.
fn running() -> Vec<Input> {
    let started = Input::Started { pid: 7 };
    starting().into_iter().chain([started]).collect()
}

fn exited(code: u8) -> Input {
    Input::Exited {
        code,
        oom: false,
        damaged: false,
    }
}

fn stop() -> Input {
    Input::Stop {
        signal: None,
        seconds: None,
        by: By::Stop,
    }
}

fn kill() -> Input {
    Input::Stop {
        signal: Some(9),
        seconds: None,
        by: By::Kill,
    }
}

fn settled() -> Input {
    Input::Settled {
        warnings: String::new(),
        hindered: None,
    }
}

/// An effect in words.
fn words(effect: &Effect) -> String {
    match effect {
        Effect::Run(_) => "send the spec".into(),
        Effect::Send(Word::Signal(signal)) => format!("signal {signal}"),
        Effect::Send(Word::Interrupt { signal, again }) => match again {
            true => format!("interrupt {signal} again"),
            false => format!("interrupt {signal}"),
        },
        Effect::Resume => "resume".into(),
        Effect::Mark(step) => format!("mark {step}"),
        Effect::Note(action, None) => format!("note {action}"),
        Effect::Note(action, Some((_, value))) => format!("note {action} {value}"),
        Effect::Save => "save".into(),
        Effect::Probe(true) => "probe".into(),
        Effect::Probe(false) => "probe no more".into(),
        Effect::ReportStart => "tell the start".into(),
        Effect::EndInput => "end input".into(),
        Effect::Release => "let go of streams".into(),
        Effect::LateNews => "expect late news".into(),
        Effect::Silent { .. } => "no answer".into(),
        Effect::Unexpected => "unexpected".into(),
        Effect::Flood => "flood".into(),
        Effect::StartAgain => "start again".into(),
        Effect::Settle { .. } => "settle".into(),
        Effect::ReportEnd { failed, restarts } => {
            let what = match failed {
                Some((message, code)) => format!("tell failure {code}: {message}"),
                None => "tell the end".into(),
            };
            format!("{what}{}", if *restarts { ", it restarts" } else { "" })
        }
        Effect::LetGo => "let go".into(),
        Effect::Forget => "forget".into(),
    }
}

/// A name, what the container is, what happens, the effects of the last step, and the stage after it.
type Row<'a> = (&'a str, Terms, Vec<Step>, &'a [&'a str], &'a str);

fn play(rows: Vec<Row<'_>>) {
    for (name, terms, steps, wanted, stage) in rows {
        let mut scene = Scene::new(terms);
        let mut effects = Vec::new();
        for step in steps {
            effects = scene.step(step);
        }
        assert_eq!(effects, wanted, "{name}");
        assert_eq!(scene.life.word(), stage, "{name}");
    }
}

fn steps(
    first: impl IntoIterator<Item = Input>,
    rest: impl IntoIterator<Item = Step>,
) -> Vec<Step> {
    first.into_iter().map(Step::from).chain(rest).collect()
}

#[test]
fn container_lives_from_its_start_to_its_end() {
    let mut scene = Scene::new(terms());
    let rows: [(Input, &[&str], &str); 6] = [
        (Input::Begin(spec()), &[], "booting"),
        (Input::Ready, &["send the spec"], "starting"),
        (
            Input::Started { pid: 7 },
            &[
                "mark container's process executed",
                "save",
                "note start",
                "probe",
                "tell the start",
            ],
            "running",
        ),
        (
            exited(3),
            &["mark container's exit seen", "end input", "probe no more"],
            "draining",
        ),
        (Input::OutputRead, &["settle"], "drained"),
        (
            settled(),
            &["save", "note die 3", "let go", "tell the end", "forget"],
            "held",
        ),
    ];
    for (input, wanted, stage) in rows {
        assert_eq!(scene.happens(input), wanted);
        assert_eq!(scene.life.word(), stage);
    }
    assert_eq!(scene.state.status, Status::Exited);
    assert_eq!((scene.state.exit_code, scene.state.pid), (3, 0));
}

/// News that fits no stage is nobody's, and changes nothing.
#[test]
fn late_answers_are_found_out_in_each_stage() {
    let news = || {
        [
            Input::Started { pid: 8 },
            exited(0),
            Input::OutOfMemory,
            Input::Failed {
                code: 127,
                message: "late".into(),
            },
        ]
    };
    // What brings it to the stage, and which of the news belong there.
    let ended = || steps(running(), [exited(1).into()]);
    let rows: [(&str, Vec<Step>, [bool; 4]); 6] = [
        ("held", Vec::new(), [false; 4]),
        ("booting", steps([Input::Begin(spec())], []), [false; 4]),
        (
            "starting",
            steps(starting(), []),
            [true, false, false, true],
        ),
        ("running", steps(running(), []), [false, true, true, true]),
        ("draining", ended(), [false, false, true, false]),
        (
            "waiting",
            [ended(), steps([Input::OutputRead, settled()], [])].concat(),
            [false; 4],
        ),
    ];
    for (stage, steps, belongs) in rows {
        for (input, belongs) in news().into_iter().zip(belongs) {
            let mut scene = Scene::new(always());
            for step in steps.clone() {
                scene.step(step);
            }
            let before = scene.state.clone();
            let effects = scene.happens(input.clone());
            assert_eq!(effects != ["unexpected"], belongs, "{stage}: {input:?}");
            if !belongs {
                assert_eq!((scene.life.word(), &scene.state), (stage, &before));
            }
        }
    }
}

#[test]
fn guest_that_does_not_answer_is_given_up() {
    let now = Instant::now();
    let soon = || Step::from(Input::Expected(now));
    let closed = || Step::from(Input::ChannelClosed(now));
    let limited = Terms {
        timeout: Some(60),
        ..terms()
    };
    let given_up = || Step::from(Input::GivenUp("no answer".into()));
    play(vec![
        (
            "booting",
            terms(),
            steps([Input::Begin(spec())], [soon(), after(1)]),
            &["no answer"],
            "booting",
        ),
        (
            "starting",
            terms(),
            steps(
                [Input::Begin(spec())],
                [soon(), Input::Ready.into(), after(1)],
            ),
            &["no answer"],
            "starting",
        ),
        (
            "running and closed",
            terms(),
            steps(running(), [closed(), after(1)]),
            &["no answer"],
            "running",
        ),
        (
            "running for a time and closed",
            limited,
            steps(running(), [closed(), after(1)]),
            &["no answer"],
            "running",
        ),
        (
            "of many, the others go on",
            guest_of_many(),
            steps(starting(), [given_up()]),
            &[
                "signal 9",
                "expect late news",
                "end input",
                "let go of streams",
                "probe no more",
            ],
            "draining",
        ),
        (
            "the machine is lost",
            terms(),
            steps(running(), [Input::Lost("lost".into()).into()]),
            &["end input", "let go of streams", "probe no more"],
            "draining",
        ),
        (
            "after its end",
            terms(),
            steps(
                running(),
                [exited(0).into(), Input::Lost("lost".into()).into()],
            ),
            &["let go of streams"],
            "draining",
        ),
    ]);
}

#[test]
fn container_that_may_run_for_a_time_is_killed_after_it_and_it_is_known_why() {
    let mut scene = Scene::new(Terms {
        timeout: Some(60),
        ..terms()
    });
    scene.run();
    assert!(!scene.life.has_timed_out());
    assert_eq!(scene.step(after(60)), ["note kill 9", "signal 9"]);
    assert!(scene.life.has_timed_out());
    scene.happens(exited(137));
    scene.happens(Input::OutputRead);
    scene.happens(settled());
    assert!(scene.life.has_timed_out());
    scene.happens(Input::Begin(spec()));
    assert!(!scene.life.has_timed_out());
}

#[test]
fn lack_of_memory_is_written_once_told_each_time_and_bounded() {
    let mut scene = Scene::new(terms());
    scene.run();
    assert_eq!(scene.happens(Input::OutOfMemory), ["save", "note oom"]);
    assert_eq!(scene.happens(Input::OutOfMemory), ["note oom"]);
    // It was told, and is not told again with its end.
    let end = Input::Exited {
        code: 137,
        oom: true,
        damaged: false,
    };
    scene.happens(end);
    let flood = (0..100).any(|_| scene.happens(Input::OutOfMemory) == ["flood"]);
    assert!(flood);
    scene.happens(Input::OutputRead);
    let effects = scene.happens(settled());
    assert!(!effects.contains(&"note oom".to_owned()) && scene.state.oom);
}

/// A start that cannot be taken over leaves it as it was.
#[test]
fn start_is_taken_back() {
    let begun = [Input::Begin(spec()), Input::TakeBack];
    play(vec![("", terms(), steps(begun, []), &[], "held")]);
}

/// Nothing is waited for where nothing is due, and nothing is due twice.
#[test]
fn what_was_due_is_over() {
    let mut scene = Scene::new(terms());
    assert_eq!(scene.life.next(), None);
    scene.happens(Input::Begin(spec()));
    scene.happens(Input::Expected(scene.now.instant));
    assert_eq!(scene.step(after(0)), ["no answer"]);
    assert_eq!(scene.step(after(0)), Vec::<String>::new());
    assert_eq!(scene.life.next(), None);
}
