use super::{
    instructions::machine::{run, run_with},
    *,
};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;
const ALLOWED: u32 = 0x7fff_0000;
const EPERM_RESULT: u32 = 0x0005_0001;
const ENOSYS_RESULT: u32 = 0x0005_0026;
const ENOPROTOOPT_RESULT: u32 = 0x0005_005c;
const ENOTTY_RESULT: u32 = 0x0005_0019;

/// Docker's default capabilities.
const DEFAULT: u64 = 0xa804_25fb;

/// Those of a container whose files count for no limit.
fn rights(capabilities: u64) -> Rights {
    Rights {
        capabilities,
        is_limited: false,
    }
}

fn limited(capabilities: u64) -> Rights {
    Rights {
        capabilities,
        is_limited: true,
    }
}

fn result(capabilities: u64, architecture: u32, number: u32, first: u64) -> u32 {
    run(
        &program(rights(capabilities), Interfaces::All),
        architecture,
        number,
        first,
    )
    .0
}

fn number(name: &str, abi: Abi) -> u32 {
    let call = table::CALLS.iter().find(|call| call.name == name).unwrap();
    u32::from(call.numbers[abi as usize])
}

fn native(capabilities: u64, name: &str, first: u64) -> u32 {
    result(capabilities, X86_64, number(name, Abi::X86_64), first)
}

#[test]
fn numbers_are_those_of_the_c_library() {
    for (name, number_) in [
        ("read", libc::SYS_read),
        ("execve", libc::SYS_execve),
        ("clone3", libc::SYS_clone3),
        ("openat2", libc::SYS_openat2),
        ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
        ("bpf", libc::SYS_bpf),
    ] {
        assert_eq!(libc::c_long::from(number(name, Abi::X86_64)), number_);
    }
    assert_eq!(number("execve", Abi::I386), 11);
    assert_eq!(number("execve", Abi::X32), 520);
}

#[test]
fn table_has_no_name_and_no_number_twice() {
    for (index, call) in table::CALLS.iter().enumerate() {
        for other in &table::CALLS[..index] {
            assert!(call.name != other.name, "{}", call.name);
            for (one, two) in call.numbers.iter().zip(other.numbers) {
                assert!(*one != two || two == table::NO, "{}", call.name);
            }
        }
    }
}

#[test]
fn every_call_gets_its_rule_through_every_interface() {
    for capabilities in [0, DEFAULT, u64::MAX] {
        let program = program(rights(capabilities), Interfaces::All);
        for (abi, architecture, bit) in [
            (Abi::X86_64, X86_64, 0),
            (Abi::I386, I386, 0),
            (Abi::X32, X86_64, X32),
        ] {
            for call in table::CALLS {
                let number = call.numbers[abi as usize];
                let expected = match call.rule.outcome(rights(capabilities)) {
                    _ if number == table::NO => continue,
                    Outcome::Fail(errno) => 0x0005_0000 | u32::from(errno),
                    _ => ALLOWED,
                };
                let (result, _) = run(&program, architecture, u32::from(number) | bit, 0);
                assert_eq!(result, expected, "{} on {abi:?}", call.name);
            }
        }
    }
}

#[test]
fn calls_that_the_profile_does_not_name_are_refused() {
    // keyctl, add_key, kexec_load, swapon, userfaultfd, io_uring_setup, pivot_root, pidfd_getfd
    for number in [250, 248, 246, 167, 323, 425, 155, 438] {
        assert_eq!(result(u64::MAX, X86_64, number, 0), EPERM_RESULT);
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    for number in [548, 1000, X32 - 1] {
        assert_eq!(result(u64::MAX, X86_64, number | X32, 0), ENOSYS_RESULT);
    }
    for number in [467, 1000, X32 - 1] {
        assert_eq!(result(u64::MAX, X86_64, number, 0), ENOSYS_RESULT);
        assert_eq!(result(u64::MAX, I386, number, 0), ENOSYS_RESULT);
    }
    assert_eq!(result(u64::MAX, X86_64, u32::MAX, 0), ENOSYS_RESULT);
}

#[test]
fn capability_allows_what_depends_on_it() {
    assert_eq!(native(DEFAULT, "chroot", 0), ALLOWED);
    assert_eq!(native(0, "chroot", 0), EPERM_RESULT);
    assert_eq!(native(DEFAULT, "mount", 0), EPERM_RESULT);
    assert_eq!(native(1 << 21, "mount", 0), ALLOWED);
    assert_eq!(native(1 << 39, "bpf", 0), ALLOWED);
    assert_eq!(native(1 << 34, "syslog", 0), ALLOWED);
    assert_eq!(native(1 << 34, "bpf", 0), EPERM_RESULT);
}

#[test]
fn clone_makes_threads_and_no_namespaces() {
    let thread = 0x003d_0f00;
    assert_eq!(native(DEFAULT, "clone", thread), ALLOWED);
    assert_eq!(native(DEFAULT, "clone", 17), ALLOWED);
    for namespace in [0x0002_0000, 0x1000_0000, 0x4000_0000] {
        assert_eq!(native(DEFAULT, "clone", namespace | 17), EPERM_RESULT);
    }
    assert_eq!(native(DEFAULT, "clone3", 0), ENOSYS_RESULT);
    assert_eq!(native(1 << 21, "clone3", 0), ALLOWED);
    assert_eq!(native(1 << 21, "clone", 0x1000_0000), ALLOWED);
}

#[test]
fn socket_of_the_host_is_refused_whatever_the_upper_half_says() {
    for family in [1, 2, 10, 16, 37, 39, 41] {
        assert_eq!(native(DEFAULT, "socket", family), ALLOWED);
    }
    for family in [38, 40] {
        assert_eq!(native(u64::MAX, "socket", family), EPERM_RESULT);
        assert_eq!(native(u64::MAX, "socket", 1 << 32 | family), EPERM_RESULT);
        for (architecture, call) in [(I386, 359), (X86_64, X32 | 41)] {
            assert_eq!(result(u64::MAX, architecture, call, family), EPERM_RESULT);
        }
    }
}

#[test]
fn call_for_all_of_sockets_makes_none() {
    let socketcall = number("socketcall", Abi::I386);
    assert_eq!(result(u64::MAX, I386, socketcall, 1), EPERM_RESULT);
    assert_eq!(
        result(u64::MAX, I386, socketcall, 1 << 32 | 1),
        EPERM_RESULT
    );
    // SYS_CONNECT, and the last one.
    for other in [3, 20] {
        assert_eq!(result(u64::MAX, I386, socketcall, other), ALLOWED);
    }
}

#[test]
fn nobody_gets_a_descriptor_for_the_process_at_the_other_end_of_a_socket() {
    let filters = |interfaces| {
        [
            program(rights(0), interfaces),
            program(limited(u64::MAX), interfaces),
            unconfined(rights(u64::MAX), interfaces),
            unconfined(limited(u64::MAX), interfaces),
        ]
    };
    let native = filters(Interfaces::Native);
    let all = filters(Interfaces::All);
    let check = |program: &[sock_filter], architecture, get, set| {
        let decide = |call, level, option| {
            let arguments = [3, level, option];
            run_with(program, architecture, call, arguments).0
        };
        for high in [0, 1 << 32, u64::MAX << 32] {
            assert_eq!(decide(get, high | 1, high | 77), ENOPROTOOPT_RESULT);
            assert_eq!(decide(set, high | 1, high | 76), ENOPROTOOPT_RESULT);
        }
        // Others of all sockets, and the same numbers at the levels of TCP and IP.
        for (level, option) in [(1, 3), (1, 17), (1, 78), (6, 77), (6, 76), (0, 77)] {
            assert_eq!(decide(get, level, option), ALLOWED, "{level} {option}");
            assert_eq!(decide(set, level, option), ALLOWED, "{level} {option}");
        }
        assert_eq!(decide(get, 1, 76), ALLOWED);
        assert_eq!(decide(set, 1, 77), ALLOWED);
    };
    for program in native.iter().chain(&all) {
        check(program, X86_64, 55, 54);
        assert_eq!(run(program, X86_64, 438, 3).0, EPERM_RESULT);
    }
    for program in &all {
        check(program, I386, 365, 366);
        check(program, X86_64, X32 | 542, X32 | 541);
        for (architecture, number) in [(I386, 438), (X86_64, X32 | 438)] {
            assert_eq!(run(program, architecture, number, 3).0, EPERM_RESULT);
        }
        // Its other arguments lie in memory.
        for option in [14, 15, 1 << 32 | 15] {
            assert_eq!(run(program, I386, 102, option).0, ENOPROTOOPT_RESULT);
        }
    }
}

#[test]
fn files_stay_in_the_project_for_whose_limit_they_count() {
    // FS_IOC_SETFLAGS of 64 and of 32 bits, FS_IOC_FSSETXATTR.
    let refused = [0x4008_6602, 0x4004_6602, 0x401c_5820];
    // Their readers, TCGETS, FIONBIO, and numbers beside them.
    let allowed = [
        0x8008_6601,
        0x801c_581f,
        0x5401,
        0x5421,
        0x4008_6603,
        0x401c_5821,
    ];
    let filters =
        |rights, interfaces| [program(rights, interfaces), unconfined(rights, interfaces)];
    let calls = [
        (Interfaces::Native, X86_64, 16),
        (Interfaces::All, X86_64, 16),
        (Interfaces::All, I386, 54),
        (Interfaces::All, X86_64, X32 | 514),
    ];
    for (interfaces, architecture, ioctl) in calls {
        for capabilities in [0, DEFAULT, u64::MAX] {
            for filter in &filters(limited(capabilities), interfaces) {
                let decide = |request| {
                    let arguments = [3, request, 0];
                    run_with(filter, architecture, ioctl, arguments).0
                };
                for request in refused.into_iter().flat_map(|low| [low, low | 1 << 32]) {
                    assert_eq!(decide(request), ENOTTY_RESULT, "{request:#x}");
                }
                for request in allowed {
                    assert_eq!(decide(request), ALLOWED, "{request:#x}");
                }
                // file_setattr
                let number = 469 | ioctl & X32;
                assert_ne!(run(filter, architecture, number, 3).0, ALLOWED);
            }
            for filter in &filters(rights(capabilities), interfaces) {
                for request in refused.into_iter().chain(allowed) {
                    let arguments = [3, request, 0];
                    let decided = run_with(filter, architecture, ioctl, arguments).0;
                    assert_eq!(decided, ALLOWED, "{request:#x}");
                }
            }
        }
    }
}

#[test]
fn nobody_takes_away_the_limit_for_which_files_count() {
    // quotactl and quotactl_fd by each interface.
    let calls = [
        (Interfaces::Native, X86_64, [179, 443]),
        (Interfaces::All, X86_64, [179, 443]),
        (Interfaces::All, I386, [131, 443]),
        (Interfaces::All, X86_64, [X32 | 179, X32 | 443]),
    ];
    for (interfaces, architecture, numbers) in calls {
        for number in numbers {
            let decide = |filter: &[sock_filter]| run(filter, architecture, number, 0).0;
            for capabilities in [0, DEFAULT, 1 << SYS_ADMIN, u64::MAX] {
                let limited = limited(capabilities);
                assert_eq!(decide(&program(limited, interfaces)), EPERM_RESULT);
                assert_eq!(decide(&unconfined(limited, interfaces)), EPERM_RESULT);
                // Others have the profile's rule, or none.
                let others = rights(capabilities);
                let expected = match capabilities >> SYS_ADMIN & 1 {
                    0 => EPERM_RESULT,
                    _ => ALLOWED,
                };
                assert_eq!(decide(&program(others, interfaces)), expected);
                assert_eq!(decide(&unconfined(others, interfaces)), ALLOWED);
            }
            // The numbers beside them are others'.
            let limited = unconfined(limited(u64::MAX), interfaces);
            for beside in [number - 1, number + 1] {
                assert_eq!(run(&limited, architecture, beside, 0).0, ALLOWED);
            }
        }
    }
}

#[test]
fn unconfined_container_may_do_all_but_reach_the_host() {
    for interfaces in [Interfaces::Native, Interfaces::All] {
        let program = unconfined(rights(u64::MAX), interfaces);
        let decide = |architecture, number, first| run(&program, architecture, number, first).0;
        for number in (0..600).filter(|number| ![41, 425, 438].contains(number)) {
            assert_eq!(decide(X86_64, number, 40), ALLOWED, "{number}");
        }
        assert_eq!(decide(X86_64, 41, 2), ALLOWED);
        assert_eq!(decide(X86_64, 41, 38), ALLOWED);
        assert_eq!(decide(X86_64, 41, 40), EPERM_RESULT);
        assert_eq!(decide(X86_64, 41, 1 << 32 | 40), EPERM_RESULT);
        assert_eq!(decide(X86_64, 425, 0), EPERM_RESULT);
    }
    let program = unconfined(rights(u64::MAX), Interfaces::All);
    let decide = |architecture, number, first| run(&program, architecture, number, first).0;
    assert_eq!(decide(I386, 359, 40), EPERM_RESULT);
    assert_eq!(decide(I386, 102, 1), EPERM_RESULT);
    assert_eq!(decide(I386, 102, 3), ALLOWED);
    assert_eq!(decide(I386, 425, 0), EPERM_RESULT);
    assert_eq!(decide(I386, 41, 40), ALLOWED);
    assert_eq!(decide(X86_64, X32 | 41, 40), EPERM_RESULT);
    assert_eq!(decide(X86_64, X32 | 425, 0), EPERM_RESULT);
    assert_eq!(decide(X86_64, X32 | 1, 0), ALLOWED);
    assert_eq!(decide(0xc000_00b7, 0, 0), 0x8000_0000);
}

#[test]
fn only_plain_personalities_are_allowed() {
    for personality in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        assert_eq!(native(DEFAULT, "personality", personality), ALLOWED);
    }
    // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, and a plain one with bits above.
    for personality in [0x4_0000, 0x40_0000, 1 << 32] {
        assert_eq!(native(DEFAULT, "personality", personality), EPERM_RESULT);
    }
}

#[test]
fn other_architecture_kills() {
    assert_eq!(result(u64::MAX, 0xc000_00b7, 0, 0), 0x8000_0000);
}

#[test]
fn filter_is_short_and_decides_in_few_steps() {
    let program = program(rights(DEFAULT), Interfaces::All);
    assert!(program.len() < 800, "{} instructions", program.len());
    let most = (0..500)
        .map(|number| run(&program, X86_64, number, 0).1)
        .max();
    assert!(most.unwrap() < 24, "{most:?} steps");
}

#[test]
fn native_filter_decides_as_the_full_one_and_ends_other_interfaces() {
    const KILL_PROCESS: u32 = 0x8000_0000;
    for capabilities in [0, DEFAULT, u64::MAX] {
        let (native, all) = (
            program(rights(capabilities), Interfaces::Native),
            program(rights(capabilities), Interfaces::All),
        );
        for number in 0..600 {
            for first in [0, 0x8, 40, 0x2_0000, 0x0200_0000] {
                assert_eq!(
                    run(&native, X86_64, number, first).0,
                    run(&all, X86_64, number, first).0,
                    "{number} {first:#x}"
                );
            }
        }
        assert_eq!(run(&native, I386, 11, 0).0, KILL_PROCESS);
        assert_eq!(run(&native, X86_64, X32 | 520, 0).0, ENOSYS_RESULT);
        assert!(native.len() < all.len() / 2);
    }
}
