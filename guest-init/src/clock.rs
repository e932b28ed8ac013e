//! The guest's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds by which the clock may differ from the host's: a message takes less, and programs are
/// better off with a clock that does not jump.
const TOLERANCE: u64 = SECOND / 4;

/// The guest's `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Sets the guest's `CLOCK_REALTIME` to what the host says, in nanoseconds, unless it is as good as
/// that already.
pub fn set(wall: u64) {
    let own = nanoseconds(clock_gettime(ClockId::Realtime));
    let parts = (i64::try_from(wall / SECOND), i64::try_from(wall % SECOND));
    if let (true, (Ok(tv_sec), Ok(tv_nsec))) = (own.abs_diff(wall) > TOLERANCE, parts) {
        // A kernel that refuses keeps the clock that it has.
        let _ = clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec });
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    match (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(rest)) => seconds.saturating_mul(SECOND).saturating_add(rest),
        _ => 0,
    }
}
