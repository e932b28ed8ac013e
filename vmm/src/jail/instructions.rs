//! The monitor's programs of classic BPF: a call that is not listed ends the process.

use std::collections::BTreeMap;

use bpf::{
    ALLOW, ARCHITECTURE, ARGUMENT_SIZE, FIRST_ARGUMENT, IF_EQUAL, IF_SET, KILL_PROCESS, LOAD,
    NUMBER, RETURN, branch, search, sock_filter, step,
};

/// What happens to a system call. Arguments are told by index, and their lower halves are looked at:
/// those in question are `int` or flags that end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The process ends.
    Kill,
    /// The call is made.
    Allow,
    /// It is made when this argument has this value.
    Equal(u32, u32),
    /// It is made when this argument has one of these two values.
    Either(u32, [u32; 2]),
    /// It is made when this argument has none of these bits.
    Without(u32, u32),
}

/// Calls of this interface are looked at; others end the process.
const OUR_ARCHITECTURE: u32 = crate::arch::this::AUDIT;

/// The program for these calls; every other call, and every call of another interface, ends the
/// process.
pub(super) fn program(rules: &BTreeMap<i64, Outcome>) -> Vec<sock_filter> {
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, OUR_ARCHITECTURE, 1, 0),
        step(RETURN, KILL_PROCESS),
        step(LOAD, NUMBER),
    ];
    program.extend(search(&ranges(rules), &leaf));
    program
}

/// Ranges of call numbers with the same outcome, as (first number, outcome), in order from 0 to the
/// end of all numbers.
fn ranges(rules: &BTreeMap<i64, Outcome>) -> Vec<(u32, Outcome)> {
    let mut ranges = vec![(0, Outcome::Kill)];
    let mut push = |first, outcome| match ranges.last_mut() {
        Some((_, last)) if *last == outcome => {}
        Some(last) if last.0 == first => *last = (first, outcome),
        _ => ranges.push((first, outcome)),
    };
    for (call, outcome) in rules {
        let call = u32::try_from(*call).expect("numbers of system calls are small");
        push(call, *outcome);
        // The next call takes this back when it follows at once.
        push(call + 1, Outcome::Kill);
    }
    ranges
}

fn leaf(outcome: Outcome) -> Vec<sock_filter> {
    let kill = step(RETURN, KILL_PROCESS);
    let allow = step(RETURN, ALLOW);
    let argument = |index: u32| step(LOAD, FIRST_ARGUMENT + index * ARGUMENT_SIZE);
    match outcome {
        Outcome::Kill => vec![kill],
        Outcome::Allow => vec![allow],
        Outcome::Equal(index, value) => {
            vec![argument(index), branch(IF_EQUAL, value, 1, 0), kill, allow]
        }
        Outcome::Either(index, [one, other]) => {
            let (one, other) = (branch(IF_EQUAL, one, 2, 0), branch(IF_EQUAL, other, 1, 0));
            vec![argument(index), one, other, kill, allow]
        }
        Outcome::Without(index, bits) => {
            vec![argument(index), branch(IF_SET, bits, 0, 1), kill, allow]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program returns for a call, and after how many instructions.
    fn run(
        program: &[sock_filter],
        architecture: u32,
        number: u32,
        arguments: [u32; 3],
    ) -> (u32, usize) {
        bpf::testing::run(program, |offset| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            other => arguments[((other - FIRST_ARGUMENT) / ARGUMENT_SIZE) as usize],
        })
    }

    fn example() -> BTreeMap<i64, Outcome> {
        [
            (0, Outcome::Allow),
            (1, Outcome::Allow),
            (3, Outcome::Equal(1, 7)),
            (4, Outcome::Without(2, 4)),
            (5, Outcome::Either(0, [8, 9])),
            (200, Outcome::Allow),
        ]
        .into()
    }

    #[test]
    fn listed_calls_are_made_and_all_others_end_the_process() {
        let program = program(&example());
        for number in (0..600).chain([0x4000_0000, 0x4000_0001, 0xffff_ffff]) {
            let expected = match number {
                0 | 1 | 200 => ALLOW,
                _ => KILL_PROCESS,
            };
            let (result, _) = run(&program, OUR_ARCHITECTURE, number, [0, 0, 4]);
            assert_eq!(result, expected, "{number:#x}");
        }
    }

    #[test]
    fn arguments_decide_where_they_have_to() {
        let program = program(&example());
        let result = |number, arguments| run(&program, OUR_ARCHITECTURE, number, arguments).0;
        assert_eq!(result(3, [0, 7, 0]), ALLOW);
        let either = [7, 8, 9, 10].map(|value| result(5, [value, 0, 0]) == ALLOW);
        assert_eq!(either, [false, true, true, false]);
        assert_eq!(result(3, [7, 6, 7]), KILL_PROCESS);
        assert_eq!(result(4, [4, 4, 3]), ALLOW);
        assert_eq!(result(4, [0, 0, 5]), KILL_PROCESS);
    }

    #[test]
    fn other_interfaces_end_the_process() {
        // `AUDIT_ARCH_I386`.
        assert_eq!(
            run(&program(&example()), 0x4000_0003, 1, [0; 3]).0,
            KILL_PROCESS
        );
    }

    #[test]
    fn forty_calls_are_told_apart_in_a_dozen_steps() {
        let rules = (0..40).map(|number| (number * 3, Outcome::Allow)).collect();
        let program = program(&rules);
        let most = (0..150).map(|number| run(&program, OUR_ARCHITECTURE, number, [0; 3]).1);
        assert!(most.max().unwrap() <= 12);
    }
}
