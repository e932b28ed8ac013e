//! Assembles programs of classic BPF that decide on system calls (`linux/filter.h`, `linux/seccomp.h`): what the filters
//! of the monitor and of containers have in common. What each allows is its own.
//!
//! The kernel runs a new filter once for every call number when a thread installs it, and after that for the calls whose
//! arguments matter. The usual builders emit one comparison for each call that is allowed, which costs a thread more
//! than a millisecond; here ranges of numbers with the same outcome are found by halving.
#![forbid(unsafe_code)]

pub use libc::sock_filter;

/// Offset of the call's number in `struct seccomp_data`.
pub const NUMBER: u32 = 0;
/// Offset of the interface that the call is made by, an `AUDIT_ARCH_…` of linux/audit.h.
pub const ARCHITECTURE: u32 = 4;
/// Offset of the lower half of the first argument; the upper half follows, and then the other five.
pub const FIRST_ARGUMENT: u32 = 16;
/// Bytes of an argument.
pub const ARGUMENT_SIZE: u32 = 8;

/// `SECCOMP_RET_ALLOW`: the call is made.
pub const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO`: the call fails with the error number in the lower half.
pub const ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_KILL_PROCESS`.
pub const KILL_PROCESS: u32 = 0x8000_0000;

/// Loads the word at an offset into the accumulator.
pub const LOAD: u16 = 0x20;
/// Keeps the bits of the accumulator that are set in the value.
pub const AND: u16 = 0x54;
/// Skips as many instructions.
pub const JUMP: u16 = 0x05;
/// Branches on whether the accumulator is the value.
pub const IF_EQUAL: u16 = 0x15;
/// Branches on whether the accumulator is at least the value.
pub const IF_AT_LEAST: u16 = 0x35;
/// Branches on whether the accumulator has any bit of the value.
pub const IF_SET: u16 = 0x45;
/// Ends with the value.
pub const RETURN: u16 = 0x06;

/// An instruction that does not branch.
#[must_use]
pub const fn step(code: u16, value: u32) -> sock_filter {
    branch(code, value, 0, 0)
}

/// An instruction that skips as many others where its condition holds, or does not.
#[must_use]
pub const fn branch(code: u16, value: u32, taken: u8, other: u8) -> sock_filter {
    sock_filter {
        code,
        jt: taken,
        jf: other,
        k: value,
    }
}

/// Goes to `otherwise` where the condition holds, else to `first`, which stand after the instruction in this order.
#[must_use]
pub fn choose(
    code: u16,
    value: u32,
    first: Vec<sock_filter>,
    otherwise: Vec<sock_filter>,
) -> Vec<sock_filter> {
    let mut program = Vec::with_capacity(first.len() + otherwise.len() + 2);
    match u8::try_from(first.len()) {
        Ok(distance) => program.push(branch(code, value, distance, 0)),
        Err(_) => {
            let distance = u32::try_from(first.len()).expect("programs have few instructions");
            program.push(branch(code, value, 0, 1));
            program.push(step(JUMP, distance));
        }
    }
    program.extend(first);
    program.extend(otherwise);
    program
}

/// Finds the range that the number in the accumulator lies in, and does what `leaf` makes of its outcome. Ranges begin
/// at their number, the first at 0, and are in order.
///
/// # Panics
/// When there is none: a program of nothing would go on with whatever stands behind it.
#[must_use]
pub fn search<T: Copy>(
    ranges: &[(u32, T)],
    leaf: &impl Fn(T) -> Vec<sock_filter>,
) -> Vec<sock_filter> {
    assert!(!ranges.is_empty(), "a search has ranges");
    let (below, above) = ranges.split_at(ranges.len() / 2);
    match (below, above) {
        ([_, ..], [(first, _), ..]) => choose(
            IF_AT_LEAST,
            *first,
            search(below, leaf),
            search(above, leaf),
        ),
        ([], [(_, outcome), ..]) => leaf(*outcome),
        _ => Vec::new(),
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod testing {
    //! Runs programs as the kernel would.
    use super::*;

    /// What a program returns, and after how many instructions, where `load` has the words of `struct seccomp_data` by
    /// their offsets.
    ///
    /// # Panics
    /// When an instruction is none of those above, or the program has no end.
    #[must_use]
    pub fn run(program: &[sock_filter], load: impl Fn(u32) -> u32) -> (u32, usize) {
        let (mut accumulator, mut at) = (0, 0);
        for count in 1.. {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let condition = match code {
                LOAD => {
                    accumulator = load(k);
                    continue;
                }
                AND => {
                    accumulator &= k;
                    continue;
                }
                JUMP => {
                    at += usize::try_from(k).expect("an offset fits");
                    continue;
                }
                RETURN => return (k, count),
                IF_EQUAL => accumulator == k,
                IF_AT_LEAST => accumulator >= k,
                IF_SET => accumulator & k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if condition { jt } else { jf });
        }
        unreachable!()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program that finds the number in the accumulator returns, and after how many instructions.
    fn run(program: &[sock_filter], number: u32) -> (u32, usize) {
        let whole = [&[step(LOAD, NUMBER)], program].concat();
        let (outcome, count) = testing::run(&whole, |_| number);
        (outcome, count - 1)
    }

    #[test]
    fn every_number_finds_its_range_however_many_there_are() {
        // With a thousand, a branch cannot reach over half of them.
        for count in [1, 2, 3, 40, 1000] {
            let ranges: Vec<(u32, u32)> = (0..count).map(|number| (number * 3, number)).collect();
            let program = search(&ranges, &|outcome| vec![step(RETURN, outcome)]);
            for number in 0..count * 3 + 5 {
                let (outcome, steps) = run(&program, number);
                assert_eq!(outcome, (number / 3).min(count - 1), "{number} of {count}");
                assert!(
                    steps <= 2 * (count.ilog2() as usize + 2),
                    "{steps} of {count}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "ranges")]
    fn no_range_is_no_search() {
        let _ = search(&[] as &[(u32, u32)], &|_| vec![step(RETURN, ALLOW)]);
    }
}
