//! The program `coracle-keeper`; what it does is in the engine. What it says goes to standard error: a log of its
//! container, or the terminal of the command whose container it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_terminal::report::listen();
    coracle_engine::keeper::main()
}
