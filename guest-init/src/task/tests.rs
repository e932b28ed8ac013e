use std::process::Command;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

#[test]
fn process_that_ends_before_it_has_entered_has_failed_although_its_child_holds_the_socket() {
    let kind = SocketType::SEQPACKET;
    let (report, childs) =
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    #[expect(clippy::zombie_processes, reason = "the task waits for it")]
    let leader = Command::new("true").spawn().unwrap();
    let pid = Pid::from_raw(leader.id().cast_signed()).unwrap();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let ours = Ours {
        pumps: [None, None, None],
        master: None,
    };
    let mut task = Task::entering("one".into(), (pid, pidfd), report, ours).unwrap();
    ended(&task.pidfd, WaitIdOptions::NOWAIT);
    let _ = task.event(Source::Process, false);
    let news = task.news(|| false);
    assert!(
        matches!(news, Some(GuestMessage::Failed { .. })),
        "{news:?}"
    );
    // So that the child sees that nobody lets it go on.
    let mut byte = [0];
    assert_eq!(rustix::io::read(&childs, &mut byte), Ok(0));
}

#[test]
fn signal_is_left_to_its_default_unless_it_is_caught_ignored_or_blocked() {
    let status = |blocked: &str, ignored: &str, caught: &str| {
        format!("Name:\tsh\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n")
    };
    assert!(is_left_to_default(&status("0", "4", "10000"), 2));
    assert!(!is_left_to_default(&status("2", "0", "0"), 2));
    assert!(!is_left_to_default(&status("0", "2", "0"), 2));
    assert!(!is_left_to_default(
        &status("0", "0", "0000000000000002"),
        2
    ));
}
