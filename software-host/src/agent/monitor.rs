//! A monitor in the machine: a child of the agent, its control socket relayed.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use contracts::monitor::{FromMonitor, Plan, Report, StopReason, ToMonitor};
use packets::Socket;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    super::{
        mux::Channel,
        relay::{self, Exchange, MAX_MESSAGE, Messages},
        sys,
    },
    copies::Copies,
};
use coracle_platform::process::{Process, last_words as words_of};
use coracle_platform::sys::ending;

/// Runs a monitor whose plan is the channel's first message, until it has ended.
pub(super) fn run(exchange: &Arc<Exchange>, copies: &Copies, channel: Channel, program: &str) {
    let Channel {
        mut sender,
        receiver,
    } = channel;
    let mut messages = Messages::new(receiver);
    let plan = match messages.next(MAX_MESSAGE) {
        Ok(Some((plan, 0))) => plan,
        // Its owner has gone away already, or makes no sense.
        _ => return,
    };
    match start(program, &plan, substitutes(copies, program, &plan)) {
        Ok((child, words, control)) => {
            let child = Arc::new(Mutex::new(child));
            let watched = Arc::clone(&child);
            let last_words = |last: &[u8]| {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                last_words(last, &mut child, words)
            };
            // Its owner is gone, and so it ends; one that is stuck is made to.
            let left = move || {
                let mut child = watched.lock().unwrap_or_else(PoisonError::into_inner);
                // Whoever reads its last words is told how it ended.
                let _ = child.end(ending::PATIENCE);
            };
            let control = Arc::new(control);
            exchange.relay(&control, sender, messages, layer, last_words, left);
        }
        Err(error) => {
            let told = failure(format!("{error:#}"));
            if relay::send(&mut sender, 0, &told).is_ok() {
                sender.finish();
            }
        }
    }
}

/// Copies of what the monitor reads whole. A plan that makes no sense names nothing, and the monitor will say so.
fn substitutes(copies: &Copies, program: &str, plan: &[u8]) -> Vec<sys::Substitute> {
    let plan = serde_json::from_slice::<Plan>(plan).ok();
    let (kernel, initramfs) = plan.map(|plan| (plan.kernel, plan.initramfs)).unzip();
    [Some(program.into()), kernel, initramfs.flatten()]
        .into_iter()
        .flatten()
        .filter_map(|path| copies.of(&path))
        .collect()
}

fn start(
    program: &str,
    plan: &[u8],
    substitutes: Vec<sys::Substitute>,
) -> Result<(Process, File, Socket)> {
    let (control, theirs) = Socket::pair().context("cannot make a socket")?;
    let theirs = OwnedFd::from(theirs);
    let plan = OwnedFd::from(memory_file("plan", plan).context("cannot keep the plan")?);
    let words = memory_file("words", &[]).context("cannot make a file in memory")?;
    let mut command = Command::new(program);
    command
        .args([
            "--control-fd",
            &sys::number(&theirs),
            "--plan-fd",
            &sys::number(&plan),
        ])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words.try_clone().context("cannot duplicate a file")?);
    sys::inherit(&mut command, vec![theirs, plan]);
    sys::substitute(&mut command, substitutes);
    let child = Process::spawn(&mut command)
        .with_context(|| format!("cannot start {program} in the software host"))?;
    Ok((child, words, control))
}

/// The file of a packet that puts one on a disk: its owner is outside, and cannot open it here.
/// Without it the monitor refuses the packet.
fn layer(packet: &[u8]) -> Option<OwnedFd> {
    match serde_json::from_slice(packet) {
        Ok(ToMonitor::Insert { path, .. }) => File::open(path).ok().map(OwnedFd::from),
        _ => None,
    }
}

fn memory_file(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// A report in place of one that the monitor did not give; `None` when it did.
fn last_words(last: &[u8], child: &mut Process, mut words: File) -> Option<Vec<u8>> {
    // Its control socket is closed, so it ends; that it does is not for its guest to decide.
    let status = match child.end(ending::PATIENCE) {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    if let Ok(FromMonitor::Stopped(_)) = serde_json::from_slice(last) {
        return None;
    }
    let text = words_of(&mut words);
    Some(failure(format!(
        "the monitor ended without a report ({status}) {text}"
    )))
}

fn failure(words: String) -> Vec<u8> {
    let report = Report {
        reason: StopReason::Failed(words),
        console: String::new(),
        timeline: Vec::new(),
        failures: Vec::new(),
    };
    serde_json::to_vec(&FromMonitor::Stopped(report)).expect("a report is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitor_that_dies_without_a_report_gets_one_with_its_words() {
        let (mut child, words, control) =
            start("/bin/sh", b"{}", Vec::new()).expect("a shell refuses these options, with words");
        assert!(control.receive_bytes().unwrap().is_none());

        let packet = last_words(b"", &mut child, words).unwrap();
        let FromMonitor::Stopped(report) = serde_json::from_slice(&packet).unwrap() else {
            panic!("not a report")
        };
        let StopReason::Failed(text) = report.reason else {
            panic!("{:?}", report.reason)
        };
        assert!(
            text.contains("exit status: 2") && text.contains("option"),
            "{text}"
        );
    }

    #[test]
    fn monitor_that_reports_has_the_last_word() {
        let (mut child, words, control) = start("/bin/true", b"{}", Vec::new()).unwrap();
        assert!(control.receive_bytes().unwrap().is_none());
        let report = failure("it is over".into());
        assert_eq!(last_words(&report, &mut child, words), None);
    }
}
