//! The walls hold, shown in child processes that run into them.

use std::{
    env,
    fs::File,
    io::Write,
    net::Ipv4Addr,
    os::{
        fd::AsRawFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
};

use rustix::{
    process::{DumpableBehavior, Resource, WaitOptions, dumpable_behavior, getrlimit, waitpid},
    thread::{CapabilitySet, capabilities, no_new_privs},
};

use super::*;

/// Runs one test of this program again, in a process of its own, with a variable that makes it do
/// what must end it.
fn signal_of(test: &str) -> Option<i32> {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("jail::tests::{test}"), "--nocapture"])
        .env("CORACLE_JAIL_TEST", "1")
        .output()
        .unwrap();
    output.status.signal()
}

fn inside() -> bool {
    env::var_os("CORACLE_JAIL_TEST").is_some()
}

#[test]
fn opening_a_file_ends_the_process() {
    if inside() {
        sys::forbid_new_privileges().unwrap();
        filter(Kind::Main).apply();
        let _ = File::open("/etc/passwd");
        return;
    }
    assert_eq!(
        signal_of("opening_a_file_ends_the_process"),
        Some(libc::SIGSYS)
    );
}

#[test]
fn processor_thread_cannot_receive_messages() {
    if inside() {
        sys::forbid_new_privileges().unwrap();
        let (socket, _other) = packets::Socket::pair().unwrap();
        filter(Kind::Vcpu).apply();
        let _ = socket.receive::<contracts::monitor::ToMonitor>();
        return;
    }
    assert_eq!(
        signal_of("processor_thread_cannot_receive_messages"),
        Some(libc::SIGSYS)
    );
}

#[test]
fn executable_memory_ends_the_process() {
    if inside() {
        sys::forbid_new_privileges().unwrap();
        filter(Kind::Disk).apply();
        vmm_executable_mapping();
        return;
    }
    assert_eq!(
        signal_of("executable_memory_ends_the_process"),
        Some(libc::SIGSYS)
    );
}

#[expect(unsafe_code, reason = "asks for memory that must not be given")]
fn vmm_executable_mapping() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing.
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Code(i32),
    Signal(i32),
}

/// Does work in a child that has one thread, as the jail asks for, and tells how the child ended:
/// with code 0 when the work came to its end.
#[expect(unsafe_code, reason = "makes a child without a program of its own")]
fn child(work: impl FnOnce()) -> End {
    // SAFETY: this process has no other thread at work (see `signal_of`) that could hold a lock.
    let process = unsafe { libc::fork() };
    if process == 0 {
        let code = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(code) };
    }
    let process = rustix::process::Pid::from_raw(process).unwrap();
    let (_, status) = waitpid(Some(process), WaitOptions::empty())
        .unwrap()
        .unwrap();
    match status.exit_status() {
        Some(code) => End::Code(code),
        None => End::Signal(status.terminating_signal().unwrap()),
    }
}

/// Runs one test of this program again, alone in its process.
fn assert_passes_alone(test: &str) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("jail::tests::{test}"), "--nocapture"])
        .env("CORACLE_JAIL_TEST", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn after_the_jail_closed_there_is_nothing_to_see_and_nothing_may_be_done() {
    if !inside() {
        return assert_passes_alone(
            "after_the_jail_closed_there_is_nothing_to_see_and_nothing_may_be_done",
        );
    }
    // Where namespaces are not possible, the rest has to hold all the same.
    let possible = child(|| {
        sys::isolate().unwrap();
        sys::own_mounts().unwrap();
    }) == End::Code(0);
    let end = child(|| {
        let walls = enter(Separation::default(), None, false).unwrap();
        assert_eq!(walls.namespaces, possible);
        assert!(possible || walls.landlock.is_none() || File::open("/").is_err());
        assert_eq!(walls.user.is_some(), walls.by_root);
        let user = rustix::process::geteuid().as_raw();
        assert!(user != 0 && (possible || walls.user.is_none_or(|own| own == user)));
        // It is empty, or cannot be read either.
        let entries = || std::fs::read_dir("/").map_or(0, Iterator::count);
        assert!(!possible || entries() == 0);
        assert!(!possible || File::open("/../../etc/passwd").is_err());
        assert!(!possible || File::create("/file").is_err());
        let sets = capabilities(None).unwrap();
        assert_eq!(sets.effective, CapabilitySet::empty());
        assert_eq!(sets.permitted, CapabilitySet::empty());
        assert_eq!(sets.inheritable, CapabilitySet::empty());
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert!(no_new_privs().unwrap());
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap();
        assert!(descriptors <= MAX_DESCRIPTORS);
        assert!(File::create("/proc/1/root/file").is_err());
    });
    assert_eq!(end, End::Code(0));
}

#[test]
fn separated_process_is_the_first_of_its_namespaces_and_not_root() {
    if !inside() {
        return assert_passes_alone(
            "separated_process_is_the_first_of_its_namespaces_and_not_root",
        );
    }
    let possible = child(|| sys::isolate().unwrap()) == End::Code(0);
    let end = child(|| {
        let by_root = rustix::process::geteuid().is_root();
        let separation = separate(Parent::Anyone, None);
        let walls = enter(separation, None, possible).unwrap();
        assert_eq!(walls.processes, possible);
        assert_eq!(std::process::id() == 1, possible);
        assert_eq!((walls.by_root, walls.complete()), (by_root, possible));
        let user = rustix::process::geteuid().as_raw();
        assert!(user != 0 && (!by_root || walls.user == Some(user)));
        let groups = rustix::process::getgroups().unwrap();
        assert!(!by_root || groups.is_empty());
    });
    assert_eq!(end, End::Code(0));
}

#[test]
fn end_of_a_separated_process_is_that_of_the_one_that_was_started() {
    if !inside() {
        return assert_passes_alone(
            "end_of_a_separated_process_is_that_of_the_one_that_was_started",
        );
    }
    for (end, code) in [
        ((|| std::process::exit(7)) as fn(), 7),
        (
            || {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::TERM,
                );
            },
            143,
        ),
    ] {
        let ended = child(|| {
            let _ = separate(Parent::Anyone, None);
            end();
        });
        assert_eq!(ended, End::Code(code));
    }
}

#[test]
fn incomplete_jail_is_refused_where_all_of_it_is_required() {
    if !inside() {
        return assert_passes_alone("incomplete_jail_is_refused_where_all_of_it_is_required");
    }
    let end = child(|| {
        let words = enter(Separation::default(), None, true)
            .unwrap_err()
            .to_string();
        assert!(
            words.contains("a PID namespace") && words.contains("CORACLE_REQUIRE_JAIL"),
            "{words}"
        );
    });
    assert_eq!(end, End::Code(0));
}

#[test]
fn no_file_grows_beyond_the_largest_disk() {
    if !inside() {
        return assert_passes_alone("no_file_grows_beyond_the_largest_disk");
    }
    let mut disk = tempfile::tempfile().unwrap();
    let end = child(|| {
        enter(Separation::default(), Some(1 << 20), false).unwrap();
        disk.write_all(&vec![1; 1 << 20]).unwrap();
        let _ = disk.write_all(b"more");
    });
    assert_eq!(end, End::Signal(libc::SIGXFSZ));
    assert_eq!(disk.metadata().unwrap().len(), 1 << 20);
}

#[test]
fn calls_that_no_thread_makes_end_the_process() {
    if !inside() {
        return assert_passes_alone("calls_that_no_thread_makes_end_the_process");
    }
    let forbidden: [(&str, fn()); 9] = [
        ("open", || drop(File::open("/"))),
        ("fork", || {
            let _ = child(|| {});
        }),
        ("thread", || drop(std::thread::spawn(|| {}))),
        ("execve", || drop(Command::new("/bin/true").exec())),
        ("network", || {
            drop(std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        }),
        ("connect", || {
            drop(std::os::unix::net::UnixStream::connect("/socket"));
        }),
        ("kill", || {
            let _ = rustix::process::test_kill_process(rustix::process::getpid());
        }),
        ("chdir", || {
            let _ = rustix::process::chdir("/");
        }),
        ("prctl", || drop(sys::forbid_dumping())),
    ];
    for kind in [Kind::Vcpu, Kind::Disk, Kind::Main] {
        for (name, call) in forbidden {
            let end = child(|| {
                enter(Separation::default(), None, false).unwrap();
                filter(kind).apply();
                call();
            });
            assert_eq!(end, End::Signal(libc::SIGSYS), "{kind:?} {name}");
        }
    }
}

#[test]
fn each_kind_of_thread_may_close_free_and_end() {
    if !inside() {
        return assert_passes_alone("each_kind_of_thread_may_close_free_and_end");
    }
    for kind in [Kind::Vcpu, Kind::Disk, Kind::Main] {
        let file = tempfile::tempfile().unwrap();
        let end = child(move || {
            enter(Separation::default(), None, false).unwrap();
            filter(kind).apply();
            drop(file);
            drop(vec![0_u8; 1 << 20]);
        });
        assert_eq!(end, End::Code(0), "{kind:?}");
    }
}

#[test]
#[expect(unsafe_code, reason = "closes descriptors of a child that ends")]
fn only_the_standard_streams_and_what_was_passed_stay_open() {
    if !inside() {
        return assert_passes_alone("only_the_standard_streams_and_what_was_passed_stay_open");
    }
    let files: Vec<File> = (0..6).map(|_| tempfile::tempfile().unwrap()).collect();
    let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let open = |number: &i32| {
        // SAFETY: asks about a number; it touches nothing.
        unsafe { libc::fcntl(*number, libc::F_GETFD) >= 0 }
    };
    for keep in [vec![], vec![numbers[3]], vec![numbers[4], numbers[1], 1]] {
        let end = child(|| {
            // SAFETY: the child uses none of them and ends without dropping them.
            unsafe { close_others(&keep) }.unwrap();
            assert!([0, 1, 2].iter().all(open));
            for number in &numbers {
                assert_eq!(open(number), keep.contains(number), "{number}");
            }
            assert!(!(3..1000).any(|number| open(&number) && !keep.contains(&number)));
        });
        assert_eq!(end, End::Code(0), "{keep:?}");
    }
}
