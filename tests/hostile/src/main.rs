//! The attacker: a static program that the end-to-end tests put into a container, or in the place of a guest's
//! init, to try what must not work. It prints a line for each thing that it tried, `name: outcome`; the tests
//! compare the outcomes with what is right.
//!
//! As a container's program its first argument names the attack (`container/`). As a guest's init it finds the
//! name of the attack at the end of its own file, where the test has written it (`guest/`).

#![no_main]

mod attempt;
mod container;
mod guest;
mod sys;

/// Exit code of a call that names no attack.
const NO_ATTACK: i32 = 2;

/// A C `main`, as that of `coracle-init` and for the same reason: Rust's own start-up needs a `/dev`, which a
/// guest has not yet when it starts its init.
#[expect(
    unsafe_code,
    reason = "the symbol `main` must be exported without mangling"
)]
// SAFETY: no other symbol of the program is called `main`; the C library calls it once, with arguments that are
// not read.
#[unsafe(no_mangle)]
extern "C" fn main(_count: core::ffi::c_int, _arguments: *const *const core::ffi::c_char) -> ! {
    sys::ignore_broken_pipes();
    if let Some(attack) = guest::attack() {
        guest::run(&attack);
    }
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    if container::run(&name, &rest) {
        sys::exit(0)
    }
    eprintln!("attacker: no attack `{name}`");
    sys::exit(NO_ATTACK)
}
