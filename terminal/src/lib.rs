//! The only road to the user's terminal: what is written is cleaned of what a terminal would obey
//! ([`output`]), messages have one form ([`report`]), and raw mode ends with the value that began it ([`raw`]).
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
pub mod output;
pub mod raw;
pub mod report;
