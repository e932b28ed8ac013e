//! The program `coracle-keeper`; what it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::keeper()
}
