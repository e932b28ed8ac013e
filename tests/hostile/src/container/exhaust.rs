//! Takes all there is of something, and keeps it.

use std::{
    fs,
    io::{Read, Write},
};

use crate::{
    attempt::name_of,
    sys::{self, call, text},
};

/// What a small program may need.
const NEEDED: [&str; 13] = [
    "descriptors",
    "pipes",
    "sockets",
    "terminals",
    "watches",
    "marks",
    "events",
    "queues",
    "segments",
    "semaphores",
    "timers",
    "asynchronous",
    "files",
];

/// What each kind is taken of at the most, and each of those that are nothing but descriptors: together more than
/// a small guest had for all of its containers by its kernel's own measure.
const MOST: u64 = 2500;
const MOST_DESCRIPTORS: u64 = 8000;
const DESCRIPTORS: [&str; 4] = ["descriptors", "pipes", "sockets", "events"];

/// `attacker exhaust KIND…`: a process for each kind says how far it came and why no further, and holds what it
/// has until it is killed.
pub(super) fn run(kinds: &[String]) {
    let limit = [1_u64 << 20; 2];
    // As many descriptors as it may have.
    let _ = call(libc::SYS_setrlimit, [7, limit.as_ptr() as u64, 0, 0, 0, 0]);
    for kind in kinds {
        let Ok((mut taken, mut taking)) = std::io::pipe() else {
            println!("{kind}: no pipe to wait by");
            continue;
        };
        let _ = sys::fork(move || {
            println!("{kind}: {}", take_all(kind));
            let _ = taking.write(&[0]);
            wait()
        });
        // A byte when the child has all it gets; the end, when it was killed for it.
        let _ = taken.read(&mut [0]);
    }
    println!("ready");
    wait();
}

/// Holds what it has, until it is killed.
fn wait() -> i32 {
    loop {
        let _ = call(libc::SYS_pause, [0; 6]);
    }
}

/// Takes until it is refused, or has enough.
fn take_all(kind: &str) -> String {
    let most = if DESCRIPTORS.contains(&kind) {
        MOST_DESCRIPTORS
    } else {
        MOST
    };
    for held in 0..most {
        if let Err(number) = take(kind, held) {
            return format!("{held}, then {}", name_of(number));
        }
    }
    format!("{most} and no end")
}

fn take(kind: &str, number: u64) -> Result<(), i32> {
    match kind {
        "descriptors" => open("/dev/null"),
        "pipes" => {
            let room = [0_i32; 2];
            call(libc::SYS_pipe2, [room.as_ptr() as u64, 0, 0, 0, 0, 0]).map(drop)
        }
        "sockets" => call(libc::SYS_socket, [1, 1, 0, 0, 0, 0]).map(drop),
        "terminals" => open("/dev/ptmx"),
        "watches" => call(libc::SYS_inotify_init1, [0; 6]).map(drop),
        "marks" => mark(),
        "events" => call(libc::SYS_epoll_create1, [0; 6]).map(drop),
        "queues" => queue(number),
        "segments" => call(libc::SYS_shmget, [0, 4096, 0o1600, 0, 0, 0]).map(drop),
        "semaphores" => call(libc::SYS_semget, [0, 1, 0o1600, 0, 0, 0]).map(drop),
        "timers" => {
            let room = [0_u64; 2];
            call(
                libc::SYS_timer_create,
                [0, 0, room.as_ptr() as u64, 0, 0, 0],
            )
            .map(drop)
        }
        "asynchronous" => {
            let room = [0_u64; 1];
            call(libc::SYS_io_setup, [64, room.as_ptr() as u64, 0, 0, 0, 0]).map(drop)
        }
        "files" => fs::write(format!("/dev/shm/{number}"), "")
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
        "processes" => sys::fork(|| {
            loop {
                let _ = call(libc::SYS_pause, [0; 6]);
            }
        })
        .map(drop),
        "keys" => {
            let (kind, name) = (text("user"), text(&format!("key {number}")));
            let name = name.as_ptr() as u64;
            let ring = (-3_i64).cast_unsigned();
            let add = [kind.as_ptr() as u64, name, name, 4, ring, 0];
            call(libc::SYS_add_key, add).map(drop)
        }
        "groups" => fs::create_dir(format!("/sys/fs/cgroup/{number}"))
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
        _ => Err(libc::EINVAL),
    }
}

/// Watches a directory by a new queue of events.
fn mark() -> Result<(), i32> {
    let queue = call(libc::SYS_inotify_init1, [0; 6])?;
    let path = text("/tmp");
    let add = [queue, path.as_ptr() as u64, 0x100, 0, 0, 0];
    call(libc::SYS_inotify_add_watch, add).map(drop)
}

fn open(path: &str) -> Result<(), i32> {
    let path = text(path);
    let flags = (libc::O_RDWR | libc::O_NOCTTY).cast_unsigned().into();
    call(libc::SYS_open, [path.as_ptr() as u64, flags, 0, 0, 0, 0]).map(drop)
}

/// A POSIX message queue, as large as one may be without asking.
fn queue(number: u64) -> Result<(), i32> {
    let name = text(&format!("queue-{number}"));
    let flags = (libc::O_RDWR | libc::O_CREAT).cast_unsigned().into();
    call(
        libc::SYS_mq_open,
        [name.as_ptr() as u64, flags, 0o600, 0, 0, 0],
    )
    .map(drop)
}

/// What a small program needs of a kernel; says whether it got it.
pub(super) fn small() {
    let mut missing = Vec::new();
    for kind in NEEDED {
        if let Err(number) = take(kind, 0) {
            missing.push(format!("{kind}: {}", name_of(number)));
        }
    }
    if missing.is_empty() {
        println!("all there");
    } else {
        println!("missing: {}", missing.join(", "));
    }
}
