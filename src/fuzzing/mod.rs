//! What hostile bytes are fed to: each function takes a fuzzer's input, makes of it what a guest could send, and
//! panics where a promise is broken. The targets of `fuzz/` are these functions and those of other rooms; the unit
//! tests feed them with noise.

mod unpack;

pub use unpack::unpack;
