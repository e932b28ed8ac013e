//! Containers' programs of classic BPF: what each outcome is in instructions, and how interfaces are told apart.

use bpf::{
    ALLOW, AND, ARCHITECTURE, ARGUMENT_SIZE, ERRNO, FIRST_ARGUMENT, IF_AT_LEAST, IF_EQUAL, IF_SET,
    KILL_PROCESS, LOAD, NUMBER, RETURN, branch, choose, sock_filter, step,
};

use super::Outcome;

// Arguments are 64 bits; their lower halves are looked at, which is what the kernel takes for the calls in question.
const FIRST_ARGUMENT_HIGH: u32 = FIRST_ARGUMENT + 4;
const SECOND_ARGUMENT: u32 = FIRST_ARGUMENT + ARGUMENT_SIZE;
const THIRD_ARGUMENT: u32 = SECOND_ARGUMENT + ARGUMENT_SIZE;

// `AUDIT_ARCH_…` of linux/audit.h.
const ARCH_X86_64: u32 = 0xc000_003e;
const ARCH_I386: u32 = 0x4000_0003;

/// Set in the numbers of x32 calls, which else share the 64-bit architecture.
const X32_BIT: u32 = 0x4000_0000;

/// `PER_LINUX`, `PER_LINUX32`, `UNAME26` with either, and the query for the present one.
const PLAIN_PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];

/// `AF_ALG` and `AF_VSOCK`.
const ALG: u32 = 38;
const VSOCK: u32 = 40;

/// `SYS_SOCKET`, `SYS_SETSOCKOPT` and `SYS_GETSOCKOPT` of linux/net.h.
const NEW_SOCKET: u32 = 1;
const SET_OPTION: u32 = 14;
const GET_OPTION: u32 = 15;

/// `SOL_SOCKET`: the level of options that all sockets have.
const ALL_SOCKETS: u32 = 1;

/// `FS_IOC_SETFLAGS`, by programs of 64 and of 32 bits, and `FS_IOC_FSSETXATTR` of linux/fs.h: by the first, what a
/// directory gets does not inherit its project any more, and by the last a file changes it.
const SET_FLAGS: u32 = 0x4008_6602;
const SET_FLAGS_32: u32 = 0x4004_6602;
const SET_ATTRIBUTES: u32 = 0x401c_5820;

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NAMESPACES: u32 = 0x7e02_0000;

const fn fail(errno: u16) -> sock_filter {
    step(RETURN, ERRNO | errno as u32)
}

/// Finds the range that the number in the accumulator lies in.
pub(super) fn search(ranges: &[(u32, Outcome)]) -> Vec<sock_filter> {
    bpf::search(ranges, &leaf)
}

fn leaf(outcome: Outcome) -> Vec<sock_filter> {
    let allow = step(RETURN, ALLOW);
    let refuse = fail(super::EPERM);
    match outcome {
        Outcome::Allow => vec![allow],
        Outcome::Fail(errno) => vec![fail(errno)],
        Outcome::NotVsock => vec![
            step(LOAD, FIRST_ARGUMENT),
            branch(IF_EQUAL, VSOCK, 0, 1),
            refuse,
            allow,
        ],
        Outcome::PlainFamily => vec![
            step(LOAD, FIRST_ARGUMENT),
            branch(IF_EQUAL, VSOCK, 1, 0),
            branch(IF_EQUAL, ALG, 0, 1),
            refuse,
            allow,
        ],
        Outcome::PlainSocketCall => vec![
            step(LOAD, FIRST_ARGUMENT),
            branch(IF_EQUAL, NEW_SOCKET, 0, 1),
            refuse,
            branch(IF_EQUAL, SET_OPTION, 1, 0),
            branch(IF_EQUAL, GET_OPTION, 0, 1),
            fail(super::ENOPROTOOPT),
            allow,
        ],
        Outcome::NotOption(option) => vec![
            step(LOAD, SECOND_ARGUMENT),
            branch(IF_EQUAL, ALL_SOCKETS, 0, 3),
            step(LOAD, THIRD_ARGUMENT),
            branch(IF_EQUAL, option.into(), 0, 1),
            fail(super::ENOPROTOOPT),
            allow,
        ],
        Outcome::NoFileAttributes => vec![
            step(LOAD, SECOND_ARGUMENT),
            branch(IF_EQUAL, SET_FLAGS, 2, 0),
            branch(IF_EQUAL, SET_FLAGS_32, 1, 0),
            branch(IF_EQUAL, SET_ATTRIBUTES, 0, 1),
            fail(super::ENOTTY),
            allow,
        ],
        Outcome::NoNamespace => vec![
            step(LOAD, FIRST_ARGUMENT),
            branch(IF_SET, NAMESPACES, 0, 1),
            refuse,
            allow,
        ],
        Outcome::PlainPersonality => {
            let mut program = vec![
                step(LOAD, FIRST_ARGUMENT_HIGH),
                branch(IF_EQUAL, 0, 1, 0),
                refuse,
                step(LOAD, FIRST_ARGUMENT),
            ];
            for personality in PLAIN_PERSONALITIES {
                program.push(branch(IF_EQUAL, personality, 0, 1));
                program.push(allow);
            }
            program.push(refuse);
            program
        }
    }
}

/// Searches with the call's number, where it comes by the native interface.
pub(super) fn native_only(mut search: Vec<sock_filter>) -> Vec<sock_filter> {
    search.insert(0, step(LOAD, NUMBER));
    let kill = vec![step(RETURN, KILL_PROCESS)];
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    program.extend(choose(IF_EQUAL, ARCH_X86_64, kill, search));
    program
}

/// Looks at the architecture and then searches with the call's number.
pub(super) fn dispatch(
    x86_64: Vec<sock_filter>,
    i386: Vec<sock_filter>,
    x32: Vec<sock_filter>,
) -> Vec<sock_filter> {
    let with_number = |mut search: Vec<sock_filter>| {
        search.insert(0, step(LOAD, NUMBER));
        search
    };
    let mut x32_search = vec![step(AND, !X32_BIT)];
    x32_search.extend(x32);
    let native = with_number(choose(IF_AT_LEAST, X32_BIT, x86_64, x32_search));
    let kill = vec![step(RETURN, KILL_PROCESS)];
    let compatible = choose(IF_EQUAL, ARCH_I386, kill, with_number(i386));
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    program.extend(choose(IF_EQUAL, ARCH_X86_64, compatible, native));
    program
}

#[cfg(test)]
pub(super) mod machine {
    //! Runs a filter as the kernel would.

    use super::*;

    /// What a filter returns for a call with this first argument, and how many instructions it took.
    pub(crate) fn run(
        program: &[sock_filter],
        architecture: u32,
        number: u32,
        first: u64,
    ) -> (u32, usize) {
        run_with(program, architecture, number, [first, 0, 0])
    }

    /// The same with the first three arguments.
    pub(crate) fn run_with(
        program: &[sock_filter],
        architecture: u32,
        number: u32,
        [first, second, third]: [u64; 3],
    ) -> (u32, usize) {
        let low = |argument: u64| u32::try_from(argument & 0xffff_ffff).unwrap();
        bpf::testing::run(program, |offset| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            FIRST_ARGUMENT => low(first),
            FIRST_ARGUMENT_HIGH => u32::try_from(first >> 32).unwrap(),
            SECOND_ARGUMENT => low(second),
            THIRD_ARGUMENT => low(third),
            other => panic!("load from {other}"),
        })
    }
}
