//! Bombs: a small input that asks for much.

use std::io::{self, Read};

use images::layer::{Compression, LayerError, Limits, MAX_ENTRIES, convert};

use crate::archive::{Entry, Tar};
use crate::image::{messages, refused, refused_within};

#[test]
fn more_entries_than_allowed_are_refused() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let files = (0..11).map(|number| Entry::file(format!("{number}"), ""));
    let text = refused_within(&Tar::of(files).bytes(), &limits);
    assert!(text.contains("more than 10: refused as a bomb"), "{text}");
    // Directories that are only implied count as well.
    let deep = Entry::file("a/b/c/d/e/f/g/h/i/j/k", "");
    let text = refused_within(&Tar::of([deep]).bytes(), &limits);
    assert!(text.contains("more than 10: refused as a bomb"), "{text}");
    // And so do entries that replace each other.
    let same = (0..11).map(|_| Entry::file("same", ""));
    let text = refused_within(&Tar::of(same).bytes(), &limits);
    assert!(text.contains("more than 10: refused as a bomb"), "{text}");
}

/// One entry after another without end, each with a name of its own.
struct Endless {
    number: u64,
    block: Vec<u8>,
    used: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            self.block = Tar::of([Entry::file(format!("{:x}", self.number), "")]).open_ended();
            (self.number, self.used) = (self.number + 1, 0);
        }
        let count = (&self.block[self.used..]).read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

#[test]
fn endless_entries_end_at_the_limit() {
    let output = tempfile::tempfile().unwrap();
    let endless = Endless {
        number: 0,
        block: Vec::new(),
        used: 0,
    };
    let limits = Limits {
        entries: MAX_ENTRIES / 100,
        ..Limits::default()
    };
    let error = convert(
        endless,
        Compression::None,
        None,
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(matches!(error, LayerError::Limit { limit, .. } if limit == MAX_ENTRIES / 100));
}

#[test]
fn endless_data_ends_at_the_limit() {
    let header = Tar::of([Entry::file("big", "").size(1 << 40)]).open_ended();
    let limits = Limits {
        tar_bytes: 1 << 20,
        ..Limits::default()
    };
    let output = tempfile::tempfile().unwrap();
    let input = header.chain(io::repeat(0));
    let error = convert(
        input,
        Compression::None,
        None,
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        messages(&error).contains("more than 1048576: refused as a bomb"),
        "{error}"
    );
}

#[test]
fn compressed_bomb_ends_at_the_limit() {
    let start = Tar::of([Entry::file("big", "").size(1 << 40)]).open_ended();
    let bomb = start.chain(io::repeat(0).take(8 << 20));
    let mut encoder = flate2::read::GzEncoder::new(bomb, flate2::Compression::fast());
    let limits = Limits {
        tar_bytes: 1 << 20,
        ..Limits::default()
    };
    let output = tempfile::tempfile().unwrap();
    let error = convert(
        &mut encoder,
        Compression::Gzip,
        None,
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            LayerError::Limit {
                limit: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn headers_without_bound_are_refused() {
    let large = Entry::new(b'x', "h").size(1 << 30);
    let text = refused(&Tar::of([large]).bytes());
    assert!(
        text.contains("bytes of extended headers for one entry"),
        "{text}"
    );
    let many = (0..40).map(|_| Entry::new(b'L', "l").data(vec![b'a'; 30_000]));
    let text = refused(&Tar::of(many).bytes());
    assert!(
        text.contains("bytes of extended headers for one entry"),
        "{text}"
    );
}

#[test]
fn global_headers_are_bounded_too() {
    let text = refused(&Tar::of([Entry::new(b'g', "g").size(1 << 40)]).bytes());
    assert!(text.contains("bytes of extended headers"), "{text}");
}

#[test]
fn nothing_but_long_names_is_refused() {
    let limits = Limits {
        name_bytes: 1 << 10,
        ..Limits::default()
    };
    let files = (10..21).map(|number| Entry::file(format!("{number}").repeat(49), ""));
    let text = refused_within(&Tar::of(files).bytes(), &limits);
    assert!(
        text.contains("more bytes of names, more than 1024"),
        "{text}"
    );
}
