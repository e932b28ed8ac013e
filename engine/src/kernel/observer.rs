//! How a build that takes minutes shows that it lives.

/// What is told of a build.
pub trait Observer {
    /// A step begins.
    fn step(&mut self, text: &str);
    /// So many files of about so many are compiled.
    fn files(&mut self, done: u32, total: u32);
    /// Something that a person should know.
    fn notice(&mut self, text: &str);
    /// About a second passed.
    fn tick(&mut self);
    /// The build is over, in whatever way.
    fn clear(&mut self);
}

/// Nobody watches.
#[derive(Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn step(&mut self, _text: &str) {}
    fn files(&mut self, _done: u32, _total: u32) {}
    fn notice(&mut self, text: &str) {
        log::info!("{text}");
    }
    fn tick(&mut self) {}
    fn clear(&mut self) {}
}
