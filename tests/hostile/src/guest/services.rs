//! A guest that answers what it is asked for beside its container, each time as the question itself says.

use std::{io::Write, os::unix::net::UnixStream, thread};

use contracts::guest::{ExitStatus, FailureKind, GuestMessage, HostMessage, Task, Tool, frame};

use super::{
    archives,
    contract::ESCAPES,
    link::{Control, Link, exited, started},
};

const DONE: ExitStatus = ExitStatus::Code(0);

pub(super) fn run(attack: &str, link: &Link) -> bool {
    if attack != "services" {
        return false;
    }
    let (mut control, spec, streams) = link.begun();
    loop {
        match control.hear() {
            HostMessage::Exec {
                id, task, stdio, ..
            } => {
                let mut open = || link.streams(stdio);
                match &*task {
                    Task::Program(process) => {
                        let name = process.args.first().map_or("", String::as_str);
                        program(name, &id, &spec.id, &mut control, &mut open);
                    }
                    Task::Tool(tool) => service(tool, &id, &mut control, open()),
                }
            }
            HostMessage::Signal { id, .. } if id == spec.id => {
                drop(streams);
                control.say(&exited(&spec.id, ExitStatus::Signal(9)));
                break;
            }
            _ => {}
        }
    }
    true
}

/// What is said of a program that `exec` asked for.
fn program(
    name: &str,
    id: &str,
    container: &str,
    control: &mut Control,
    open: &mut dyn FnMut() -> Vec<UnixStream>,
) {
    match name {
        "good" => {
            let mut streams = open();
            control.say(&started(id));
            if let Some(output) = streams.first_mut() {
                let _ = output.write_all(b"good\n");
            }
            drop(streams);
            control.say(&exited(id, ExitStatus::Code(5)));
        }
        // Its streams never come.
        "bare" => {
            control.say(&started(id));
            control.say(&exited(id, DONE));
        }
        "unstarted" => {
            drop(open());
            control.say(&exited(id, DONE));
        }
        "escapes" => control.say(&GuestMessage::Failed {
            id: id.into(),
            kind: FailureKind::NotFound,
            message: ESCAPES.into(),
        }),
        "twice" => {
            drop(open());
            let twice = frame::encode(&started(id)).unwrap_or_default().repeat(2);
            control.write(&twice);
        }
        // The end of the container in the place of its own.
        "another" => {
            drop(open());
            control.say(&started(id));
            control.say(&exited(container, ExitStatus::Code(1)));
        }
        _ => {}
    }
}

/// The answer of a service.
fn service(tool: &Tool, id: &str, control: &mut Control, mut streams: Vec<UnixStream>) {
    control.say(&started(id));
    let errors = streams.pop();
    if let Some(mut output) = streams.pop() {
        let tool = tool.clone();
        // Whoever asked may read slowly.
        let writer = thread::spawn(move || {
            let _ = answer(&tool, &mut output);
        });
        let _ = writer.join();
    }
    drop(errors);
    control.say(&exited(id, DONE));
}

fn answer(tool: &Tool, output: &mut UnixStream) -> std::io::Result<()> {
    match tool {
        Tool::Pack { path, .. } => {
            let name = path.rsplit('/').next().unwrap_or_default();
            archives::write(name, output)
        }
        Tool::Look { .. } => output.write_all(b"directory\n"),
        Tool::Processes => {
            // A line in order, one with words for a terminal, one with numbers beyond all.
            let lines = format!(
                "1\t0\t0\tS\t1\t1\t1\tgood\n2\t0\t0\tS\t1\t1\t1\t{ESCAPES}\n{0}\t{0}\t{0}\tS\t{0}\t{0}\t{0}\tbig\n\n\t\t\n",
                u64::MAX
            );
            output.write_all(lines.as_bytes())
        }
        Tool::Statistics => {
            let big = u64::MAX;
            let text = format!(
                "==> memory.current <==\n{big}\n==> cpu.stat <==\nusage_usec {big}\n==> memory.stat <==\n\
                 inactive_file {big}\n==> pids.current <==\n-1\n==> {ESCAPES} <==\n{ESCAPES}\n"
            );
            output.write_all(text.as_bytes())
        }
        Tool::Changes => output.write_all(format!("A /good\nC /{ESCAPES}\nX\n\n").as_bytes()),
        _ => Ok(()),
    }
}
