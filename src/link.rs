//! How the program is linked.
#![expect(
    unsafe_code,
    reason = "a block of foreign items is the only place for the attribute"
)]

// The library that unwinds, as a part of the program: as one of the system's it would be the second that is looked
// for, read and linked at each start, which takes a tenth of an empty program's time.
#[link(name = "gcc_eh", kind = "static", modifiers = "+whole-archive,-bundle")]
unsafe extern "C" {}
