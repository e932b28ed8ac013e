//! What a person sees of the build of a guest kernel.

use std::time::{Duration, Instant};

use coracle_engine::kernel::Observer;
use coracle_terminal::output::{self, Screen, Stream};

/// Between two lines where nobody watches: enough to see in a log that it goes on.
const LOG_INTERVAL: Duration = Duration::from_secs(20);

/// A line for a person.
fn say(text: &str) {
    output::message("coracle", &text);
}

/// The state of a build, on standard error: one line that changes on a terminal, else a line now
/// and then.
pub(crate) struct Display {
    terminal: bool,
    begun: Instant,
    last_line: Instant,
    step: String,
    files: Option<(u32, u32)>,
}

impl Display {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            terminal: output::is_terminal(Stream::Error),
            begun: now,
            last_line: now,
            step: String::new(),
            files: None,
        }
    }

    fn show(&mut self, new_step: bool) {
        if self.terminal {
            let mut screen = Screen::default();
            screen.empty_line().text("coracle: ").text(self.line());
            screen.show(Stream::Error);
        } else if new_step || self.last_line.elapsed() >= LOG_INTERVAL {
            self.last_line = Instant::now();
            say(&self.line());
        }
    }

    fn line(&self) -> String {
        line(&self.step, self.files, self.begun.elapsed())
    }
}

impl Observer for Display {
    /// A step begins.
    fn step(&mut self, text: &str) {
        self.step = text.to_owned();
        self.files = None;
        self.show(true);
    }

    /// So many files of about so many are compiled.
    fn files(&mut self, done: u32, total: u32) {
        self.files = Some((done, total));
        self.show(false);
    }

    /// A line that stays.
    fn notice(&mut self, text: &str) {
        self.clear();
        say(text);
    }

    /// Time passed.
    fn tick(&mut self) {
        self.show(false);
    }

    /// Leaves the cursor on an empty line.
    fn clear(&mut self) {
        if self.terminal {
            Screen::default().empty_line().show(Stream::Error);
        }
    }
}

fn line(step: &str, files: Option<(u32, u32)>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let files = files.map(|(done, total)| match done < total {
        true => format!(", file {done} of about {total}"),
        // How many there are depends on the source; more are not counted.
        false => format!(", more than {total} files"),
    });
    format!(
        "building the guest kernel (once): {step}{} ({minutes}:{seconds:02})",
        files.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_step_files_and_time() {
        let text = line("compiling", Some((12, 900)), Duration::from_secs(75));
        assert!(
            text.ends_with(": compiling, file 12 of about 900 (1:15)"),
            "{text}"
        );
        let text = line("compiling", Some((900, 900)), Duration::from_secs(300));
        assert!(
            text.ends_with(": compiling, more than 900 files (5:00)"),
            "{text}"
        );
        let text = line("configuring", None, Duration::from_secs(5));
        assert!(text.ends_with(": configuring (0:05)"), "{text}");
    }
}
