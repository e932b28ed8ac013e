//! What two programs of Coracle say to each other, one module for each pair.
//!
//! | module | who | encoding | version |
//! | --- | --- | --- | --- |
//! | [`guest`] | a keeper and the init of its guest | frames of postcard on a stream | [`guest::VERSION`], told in the first message |
//! | [`monitor`] | a monitor and its owner | a plan and packets of JSON | none: a keeper executes the monitor that is installed, and after an upgrade both may not know each other |
//! | [`keeper`] | commands and a keeper | packets of JSON | [`keeper::VERSION`], in the record and in the first packet |
//!
//! Everything here is pure: types, their limits and checks, and encodings. What is read from whom, and how, is the
//! business of whoever has the descriptor.
#![forbid(unsafe_code)]

pub mod guest;
pub mod keeper;
pub mod monitor;
