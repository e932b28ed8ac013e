//! A pull as docker's clients follow it: a line of JSON for each step.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use coracle_engine::progress::{Progress, Report};
use docker_model::pull;
use images::store::{Event, short_id};
use serde_json::{Value, json};

/// Least time between two lines about the download of a layer.
const INTERVAL: Duration = Duration::from_millis(100);

/// Characters of a bar, as docker's.
const BAR: usize = 50;

/// Writes lines of JSON, as the engine reports the steps of a pull from several threads.
pub struct Lines<'a, S> {
    state: Mutex<State<S>>,
    /// Whether the client is there still.
    wanted: &'a (dyn Fn() -> bool + Sync),
}

struct State<S> {
    /// Takes a line. One that is not taken is nobody's loss: the pull goes on.
    sink: S,
    /// What is said once it is known that there is such an image.
    opening: Value,
    layers: Vec<Layer>,
    begun: bool,
    /// Layers that are here already; of an image that is not new, docker does not tell.
    present: Vec<usize>,
}

struct Layer {
    id: String,
    size: u64,
    told: Option<Instant>,
    downloaded: bool,
}

impl<'a, S: FnMut(&[u8]) + Send> Lines<'a, S> {
    /// Lines into a sink, for as long as they are wanted.
    pub fn new(sink: S, wanted: &'a (dyn Fn() -> bool + Sync)) -> Self {
        let state = State {
            sink,
            opening: Value::Null,
            begun: false,
            layers: Vec::new(),
            present: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            wanted,
        }
    }

    /// A line of its own.
    pub fn say(&self, line: &Value) {
        self.lock().say(line);
    }

    /// Whether anything has been said.
    pub fn has_begun(&self) -> bool {
        self.lock().begun
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: FnMut(&[u8])> State<S> {
    fn say(&mut self, line: &Value) {
        self.begun = true;
        // Docker's lines end as those of HTTP.
        (self.sink)(format!("{line}\r\n").as_bytes());
    }

    fn step(&mut self, layer: usize, status: &str) {
        if let Some(layer) = self.layers.get(layer) {
            let id = layer.id.clone();
            self.say(&json!({ "status": status, "progressDetail": {}, "id": id }));
        }
    }

    fn tell_present(&mut self) {
        for layer in std::mem::take(&mut self.present) {
            self.step(layer, "Already exists");
        }
    }

    fn read(&mut self, number: usize, bytes: u64) {
        let Some(layer) = self.layers.get_mut(number) else {
            return;
        };
        if layer.size > 0 && bytes >= layer.size {
            if !std::mem::replace(&mut layer.downloaded, true) {
                self.step(number, "Verifying Checksum");
                self.step(number, "Download complete");
            }
            return;
        }
        if layer.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        layer.told = Some(Instant::now());
        let (id, size) = (layer.id.clone(), layer.size);
        self.say(&json!({
            "status": "Downloading",
            "progressDetail": { "current": bytes, "total": size },
            "progress": bar(bytes, size),
            "id": id,
        }));
    }
}

impl<S: FnMut(&[u8]) + Send> Progress for Lines<'_, S> {
    fn report(&self, report: Report<'_>) {
        let mut state = self.lock();
        match report {
            Report::Pulling(name) => {
                state.opening = json!({ "status": pull::opening(name), "id": pull::tag(name) });
            }
            Report::Layers(event) => state.event(event),
            Report::Pulled {
                name,
                digest,
                newer,
            } => {
                for status in pull::closing(name, digest, newer) {
                    state.say(&json!({ "status": status }));
                }
            }
            Report::Step(_) | Report::Warning(_) | Report::Missing(_) | Report::LayersEnd => {}
        }
    }

    fn is_wanted(&self) -> bool {
        (self.wanted)()
    }
}

impl<S: FnMut(&[u8])> State<S> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Image { layers } => {
                let layers = layers.iter().map(|layer| {
                    let digest = layer.digest.as_ref().or(layer.diff_id.as_ref());
                    Layer {
                        id: digest.map_or_else(|| layer.name.clone(), short_id),
                        size: layer.size.unwrap_or(0),
                        told: None,
                        downloaded: false,
                    }
                });
                self.layers = layers.collect();
                let opening = self.opening.clone();
                self.say(&opening);
            }
            Event::LayerPresent { layer } => self.present.push(layer),
            Event::LayerWaiting { layer } => {
                self.tell_present();
                self.step(layer, "Waiting");
            }
            Event::LayerStart { layer, .. } => {
                self.tell_present();
                self.step(layer, "Pulling fs layer");
            }
            Event::LayerRead { layer, bytes } => self.read(layer, bytes),
            Event::LayerDone { layer, .. } => {
                let size = self.layers.get(layer).map_or(0, |layer| layer.size);
                // One that was read by another process was not read here.
                self.read(layer, size.max(1));
                self.step(layer, "Pull complete");
            }
            Event::Begin { .. } => {}
        }
    }
}

/// A bar of so many bytes of all, as docker draws it.
fn bar(bytes: u64, all: u64) -> String {
    let filled = BAR as u64 * bytes / all.max(1);
    let filled = usize::try_from(filled).unwrap_or(BAR).min(BAR);
    let bar = format!("{}>", "=".repeat(filled));
    format!(
        "[{bar:<width$}] {:>8}/{}",
        size(bytes),
        size(all),
        width = BAR + 1
    )
}

/// A number of bytes with four digits and a unit, as docker writes it.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].iter();
    let mut unit = units.next();
    while value >= 1000.0
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = Some(next);
    }
    let unit = unit.unwrap_or(&"");
    let decimals = match value {
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use images::source::SourceLayer;

    use super::*;

    fn layers() -> Vec<SourceLayer> {
        ["1", "2"]
            .map(|digit| {
                let digest = format!("sha256:{}", digit.repeat(64)).parse().unwrap();
                SourceLayer {
                    digest: Some(digest),
                    size: Some(2_000_000),
                    ..layer()
                }
            })
            .to_vec()
    }

    fn layer() -> SourceLayer {
        SourceLayer {
            name: "layer".into(),
            diff_id: None,
            digest: None,
            kind: None,
            size: None,
        }
    }

    fn told(events: &[Event<'_>]) -> String {
        let mut text = Vec::new();
        {
            let sink = |line: &[u8]| text.extend_from_slice(line);
            let lines = Lines::new(sink, &|| true);
            lines.report(Report::Pulling(&"a:1".parse().unwrap()));
            for event in events {
                lines.report(Report::Layers(event.clone()));
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn steps_are_told_as_docker_tells_them() {
        let layers = layers();
        let layers: Vec<&SourceLayer> = layers.iter().collect();
        let digest = format!("sha256:{}", "3".repeat(64)).parse().unwrap();
        let text = told(&[
            Event::Image { layers: &layers },
            Event::LayerPresent { layer: 0 },
            Event::LayerStart {
                layer: 1,
                diff_id: None,
                bytes: 2_000_000,
            },
            Event::LayerRead {
                layer: 1,
                bytes: 1_000_000,
            },
            Event::LayerRead {
                layer: 1,
                bytes: 2_000_000,
            },
            Event::LayerDone {
                layer: 1,
                diff_id: &digest,
                size: 5,
            },
        ]);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        let expected = [
            r#"{"status":"Pulling from library/a","id":"1"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"111111111111"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"222222222222"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":1000000,"total":2000000},"progress":"[=========================>                         ]      1MB/2MB","id":"222222222222"}"#,
            r#"{"status":"Verifying Checksum","progressDetail":{},"id":"222222222222"}"#,
            r#"{"status":"Download complete","progressDetail":{},"id":"222222222222"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"222222222222"}"#,
        ];
        let parse = |line: &&str| serde_json::from_str::<Value>(line).unwrap();
        assert_eq!(
            lines.iter().map(parse).collect::<Vec<_>>(),
            expected.iter().map(parse).collect::<Vec<_>>()
        );
    }

    #[test]
    fn of_an_image_that_is_not_new_only_the_beginning_is_told() {
        let layers = layers();
        let layers: Vec<&SourceLayer> = layers.iter().collect();
        let text = told(&[
            Event::Image { layers: &layers },
            Event::LayerPresent { layer: 0 },
            Event::LayerPresent { layer: 1 },
        ]);
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn sizes_have_four_digits() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(999), "999B");
        assert_eq!(size(1_234_567), "1.235MB");
        assert_eq!(size(32_770_000), "32.77MB");
        assert_eq!(size(152_300_000_000), "152.3GB");
    }
}
