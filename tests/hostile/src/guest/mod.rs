//! A guest whose init is hostile: it speaks to the keeper as an init does, up to where it breaks the contract.
//!
//! It runs in the place of `coracle-init`, in a microVM as its first process, or without one (`--isolation
//! namespace`), where a start takes a hundredth of the time; the keeper reads both in the same way. The name of
//! the attack stands at the end of the program's own file.

mod archives;
mod contract;
mod door;
mod link;
mod services;
mod streams;

use std::{fs, thread};

use crate::sys;

/// What stands before the name of the attack at the end of the file, and after it.
const BEGIN: &[u8] = b"\n#attack ";
const END: &[u8] = b"\n";

/// Longest name that is looked for.
const ROOM: usize = 128;

/// The attack that is written at the end of the program, if it is started as an init.
pub(crate) fn attack() -> Option<String> {
    let words: Vec<String> = std::env::args().collect();
    let own = if words.get(1).is_some_and(|word| word == "namespace") {
        "/proc/self/exe"
    } else if std::process::id() == 1 {
        "/init"
    } else {
        return None;
    };
    let program = fs::read(own).ok()?;
    let end = program.get(program.len().checked_sub(ROOM)?..)?;
    let from = end.windows(BEGIN.len()).rposition(|part| part == BEGIN)?;
    let name = end.get(from + BEGIN.len()..)?.strip_suffix(END)?;
    String::from_utf8(name.to_vec()).ok()
}

/// Does what the attack is, and stays until it is ended.
pub(crate) fn run(attack: &str) -> ! {
    let link = link::Link::new();
    if attack != "stop-ignored" {
        link.end_with_owner();
    }
    let known = door::run(attack, &link)
        || contract::run(attack, &link)
        || streams::run(attack, &link)
        || services::run(attack, &link);
    if !known {
        eprintln!("attacker: no attack `{attack}`");
        sys::exit(2);
    }
    loop {
        thread::park();
    }
}
