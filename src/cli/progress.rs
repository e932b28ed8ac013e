//! A line for each layer of a pull, as docker prints them: drawn again and again on a terminal,
//! one for each step elsewhere.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use images::{
    digest::Digest,
    store::{Event, Progress, short_id},
};

use super::table::size;
use coracle_terminal::output::{self, Screen, Stream};

/// Least time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of a bar.
const BAR: usize = 50;
/// More layers than a terminal has lines would scroll: then there is no drawing.
const MOST_LINES: u16 = 24;

/// The lines.
pub(super) struct Lines {
    stream: Stream,
    drawn: bool,
    state: Mutex<State>,
}

struct State {
    layers: Vec<Layer>,
    /// Lines on the screen.
    shown: usize,
    last: Instant,
}

struct Layer {
    id: String,
    size: u64,
    read: u64,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Queued,
    Waiting,
    Downloading,
    Verifying,
    Complete,
    Present,
}

impl Lines {
    /// On standard output for `pull`, whose result it is, and on standard error for `run`, whose standard output
    /// is the container's.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            drawn: output::is_terminal(stream),
            state: Mutex::new(State {
                layers: Vec::new(),
                shown: 0,
                last: Instant::now(),
            }),
        }
    }

    /// A line that stays.
    pub(super) fn say(&self, text: &str) {
        output::write_line(self.stream, text);
    }

    /// Draws for the last time.
    pub(super) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_drawn(&state) {
            self.draw(&mut state);
        }
    }

    fn is_drawn(&self, state: &State) -> bool {
        self.drawn && state.layers.len() < usize::from(lines_of_terminal())
    }

    fn draw(&self, state: &mut State) {
        let mut screen = Screen::default();
        screen.up(state.shown);
        for layer in &state.layers {
            let line = format_args!("{}: {}", layer.id, layer.line()).to_string();
            screen.empty_line().text(line).end_line();
        }
        state.shown = state.layers.len();
        state.last = Instant::now();
        screen.show(self.stream);
    }

    /// Notes a step, and shows it.
    fn step(&self, state: &mut State, number: usize, step: Step) {
        let Some(layer) = state.layers.get_mut(number) else {
            return;
        };
        if layer.step == step {
            return;
        }
        layer.step = step;
        let text = match step {
            // Bars belong on a terminal.
            Step::Queued | Step::Downloading => None,
            _ => Some(format!("{}: {}", layer.id, layer.line())),
        };
        if self.is_drawn(state) {
            self.draw(state);
        } else if let Some(text) = text {
            self.say(&text);
        }
    }
}

impl Layer {
    fn line(&self) -> String {
        match self.step {
            Step::Queued => "Pulling fs layer".to_owned(),
            Step::Waiting => "Waiting for another pull".to_owned(),
            Step::Downloading => format!("Downloading  {}", self.bar()),
            Step::Verifying => "Verifying Checksum".to_owned(),
            Step::Complete => "Pull complete".to_owned(),
            Step::Present => "Already exists".to_owned(),
        }
    }

    fn bar(&self) -> String {
        let filled = u64::try_from(BAR).unwrap_or(0) * self.read / self.size.max(1);
        let filled = usize::try_from(filled).unwrap_or(BAR).min(BAR);
        let bar = format!("{}>", "=".repeat(filled));
        format!(
            "[{bar:<width$}]  {}/{}",
            size(self.read),
            size(self.size),
            width = BAR + 1
        )
    }
}

fn lines_of_terminal() -> u16 {
    rustix::termios::tcgetwinsize(output::descriptor(Stream::Error))
        .map(|size| size.ws_row)
        .ok()
        .filter(|rows| *rows > 0)
        .unwrap_or(MOST_LINES)
}

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match event {
            Event::Image { layers } => {
                for layer in layers {
                    let id = layer.digest.as_ref().or(layer.diff_id.as_ref());
                    state.layers.push(Layer {
                        id: id.map_or_else(|| layer.name.clone(), short),
                        size: layer.size.unwrap_or(0),
                        read: 0,
                        step: Step::Queued,
                    });
                }
                if self.is_drawn(state) {
                    self.draw(state);
                }
            }
            Event::LayerPresent { layer } => self.step(state, layer, Step::Present),
            Event::LayerWaiting { layer } => self.step(state, layer, Step::Waiting),
            Event::LayerStart { layer, .. } => {
                if let Some(queued) = state.layers.get(layer)
                    && !self.is_drawn(state)
                {
                    self.say(&format!("{}: {}", queued.id, queued.line()));
                }
                self.step(state, layer, Step::Downloading);
            }
            Event::LayerRead { layer, bytes } => {
                let Some(read) = state.layers.get_mut(layer) else {
                    return;
                };
                read.read = bytes;
                if read.read == read.size {
                    self.step(state, layer, Step::Verifying);
                } else if state.last.elapsed() >= REDRAW && self.is_drawn(state) {
                    self.draw(state);
                }
            }
            Event::LayerDone { layer, .. } => self.step(state, layer, Step::Complete),
            Event::Begin { .. } => {}
        }
    }
}

fn short(digest: &Digest) -> String {
    short_id(digest)
}
