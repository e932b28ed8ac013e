//! The guest's first process; see the library for what it does.
//!
//! The program has a C `main`: Rust's own start-up would open `/dev/null` for descriptors that the
//! kernel left closed, and abort in a guest without a console, where `/dev` does not exist yet.
#![no_main]
#![expect(
    unsafe_code,
    reason = "the symbol `main` must be exported without mangling"
)]

use coracle_init::{boot, entry, namespace};

// SAFETY: no other symbol of the program is called `main`; the C library calls it once, with
// arguments that are not read.
#[unsafe(no_mangle)]
extern "C" fn main(_count: core::ffi::c_int, _arguments: *const *const core::ffi::c_char) -> ! {
    if let Some(arguments) = entry::Arguments::take(std::env::args_os()) {
        arguments.run()
    }
    // Init has no arguments; the kernel's words for it are none of ours.
    if !rustix::process::getpid().is_init()
        && let Some(arguments) = namespace::Arguments::take(std::env::args_os())
    {
        namespace::run(arguments)
    }
    boot::run()
}
