//! `coracle stop`, `kill`, `restart`, `wait`, `rm`, `rename`, `pause` and `unpause`.

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::Pid,
};
use vmm::control::Socket;

use super::{
    each,
    moment::Seconds,
    options::Signal,
    start::{self, keeper_of, not_running},
    together,
};
use coracle_engine::keeper::{
    self,
    wire::{Event, Request},
};
use coracle_engine::state::{
    Directories, NotFound,
    container::{Container, Containers},
    journal,
};
use coracle_terminal::report;

/// The signal that ends a process without asking it.
const SIGKILL: u8 = 9;

/// Stop one or more running containers
#[derive(clap::Args)]
pub(super) struct Stop {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Time to wait before killing the container; -1 to wait forever [default: the container's]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "DURATION",
        allow_negative_numbers = true
    )]
    time: Option<Seconds>,
    /// Signal to send to the container [default: the container's stop signal]
    #[arg(short, long)]
    signal: Option<Signal>,
}

/// Kill one or more running containers
#[derive(clap::Args)]
pub(super) struct Kill {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Signal to send to the container
    #[arg(short, long, default_value = "KILL")]
    signal: Signal,
}

/// Names of containers
#[derive(clap::Args)]
pub(super) struct Names {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Remove one or more containers
#[derive(clap::Args)]
pub(super) struct Remove {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes associated with the container (there are none)
    #[arg(short, long)]
    volumes: bool,
}

/// Rename a container
#[derive(clap::Args)]
pub(super) struct Rename {
    /// The container
    container: String,
    /// Its new name
    name: String,
}

impl Stop {
    fn seconds(&self) -> Option<u64> {
        self.time.map(|Seconds(time)| time)
    }
}

pub(super) fn stop(arguments: &Stop) -> Result<u8> {
    let containers = Containers::new(&Directories::from_environment()?);
    together(
        &arguments.containers,
        |name| {
            begin_stop(
                &containers.find(name)?,
                arguments.signal,
                arguments.seconds(),
            )
        },
        |name, stopping| {
            stopping.finish()?;
            outln!("{name}");
            Ok(())
        },
    )
}

/// A container that was asked to end.
pub(super) struct Ending {
    container: Container,
    /// Its keeper tells of the end here; without one it does not run.
    link: Option<Socket>,
}

impl Ending {
    /// Waits until it has.
    ///
    /// # Errors
    /// When its keeper refuses.
    pub(super) fn finish(self) -> Result<()> {
        let Some(link) = self.link else {
            return Ok(());
        };
        answer(&link)?;
        // Its keeper is gone with it, and a restart may follow at once.
        drop(self.container.keeper_lock());
        Ok(())
    }
}

/// Asks a container to stop, if it runs.
///
/// # Errors
/// When its keeper cannot be reached.
pub(super) fn begin_stop(
    container: &Container,
    signal: Option<Signal>,
    seconds: Option<u64>,
) -> Result<Ending> {
    let request = Request::Stop {
        container: container.config.id.clone(),
        signal: signal.map(|Signal(number)| number),
        seconds,
    };
    begin_end(container, &request)
}

/// Kills a container, if it runs.
///
/// # Errors
/// When its keeper cannot be reached.
fn begin_kill(container: &Container) -> Result<Ending> {
    let request = Request::Signal {
        container: container.config.id.clone(),
        signal: SIGKILL,
    };
    begin_end(container, &request)
}

fn begin_end(container: &Container, request: &Request) -> Result<Ending> {
    Ok(Ending {
        container: container.clone(),
        link: match container.state()?.status.is_live() {
            true => ask(container, request)?,
            false => None,
        },
    })
}

/// Asks a container's keeper for something; `None` when the keeper is gone.
///
/// # Errors
/// When it cannot be reached.
fn ask(container: &Container, request: &Request) -> Result<Option<Socket>> {
    let state = container.state()?;
    let link = keeper::connect(&state.socket, state.wire)?;
    Ok(link.filter(|link| link.send(request, None).is_ok()))
}

/// Waits until a keeper has done what it was asked for. A container that ends meanwhile is the answer, too.
///
/// # Errors
/// When the keeper refuses.
fn answer(link: &Socket) -> Result<Option<u8>> {
    loop {
        let received = link.receive::<Event>();
        match received.context("lost connection to the container's keeper")? {
            Some((Event::Exited(exit), _)) => return Ok(Some(exit.code)),
            Some((Event::Failed { code, .. }, _)) => return Ok(Some(code)),
            Some((Event::Refused { message, .. }, _)) => bail!(message),
            Some((Event::Done, _)) | None => return Ok(None),
            Some(_) => {}
        }
    }
}

pub(super) fn kill(arguments: &Kill) -> Result<u8> {
    let containers = Containers::new(&Directories::from_environment()?);
    let Signal(signal) = arguments.signal;
    let begin = |name: &String| {
        let container = containers.find(name)?;
        if signal == SIGKILL {
            // One that is just to start again, too.
            let name = &container.config.name;
            if !container.state()?.status.is_live() {
                bail!(not_running(name));
            }
            return begin_kill(&container);
        }
        // It says so when the container does not run.
        let (_, link) = keeper_of(&container)?;
        let request = Request::Signal {
            container: container.config.id.clone(),
            signal,
        };
        link.send(&request, None)?;
        answer(&link)?;
        let link = None;
        Ok(Ending { container, link })
    };
    // Whoever removes it next finds that it has ended.
    together(&arguments.containers, begin, |name, ending| {
        ending.finish()?;
        outln!("{name}");
        Ok(())
    })
}

pub(super) fn restart(arguments: &Stop) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    let all = arguments.containers.iter();
    let begun = all.map(|name| {
        begin_stop(
            &containers.find(name)?,
            arguments.signal,
            arguments.seconds(),
        )
    });
    let mut started: Vec<Option<Result<(Container, Socket)>>> = Vec::new();
    let mut ending = Vec::new();
    for (index, begun) in begun.enumerate() {
        started.push(None);
        match begun {
            Ok(one) => ending.push((index, one)),
            Err(error) => started[index] = Some(Err(error)),
        }
    }
    // Each starts as soon as it has stopped, whatever the others do.
    while !ending.is_empty() {
        let (index, one) = ending.swap_remove(next_ended(&ending)?);
        let container = one.container.clone();
        let link = one
            .finish()
            .and_then(|()| start::start(&container, &directories, None));
        started[index] = Some(link.map(|link| (container, link)));
    }
    let mut started = started.into_iter().flatten();
    each(&arguments.containers, |name| {
        let Some(started) = started.next() else {
            return Ok(());
        };
        let (container, link) = started?;
        match start::until_started(&link)? {
            Some(crate::attached::Ended::Failed { message, .. }) => bail!("{name}: {message}"),
            _ => outln!("{name}"),
        }
        journal::note(&directories.data, &container.config, "restart", &[]);
        Ok(())
    })
}

/// Waits until one of some containers has ended; gives its place in the list.
///
/// # Errors
/// As `poll(2)`.
fn next_ended(ending: &[(usize, Ending)]) -> Result<usize> {
    let links: Vec<&Socket> = ending
        .iter()
        .filter_map(|(_, one)| one.link.as_ref())
        .collect();
    if links.len() < ending.len() {
        let ended = ending.iter().position(|(_, one)| one.link.is_none());
        return Ok(ended.unwrap_or(0));
    }
    let descriptors = links.iter().map(|link| PollFd::new(*link, PollFlags::IN));
    let mut descriptors: Vec<PollFd<'_>> = descriptors.collect();
    retry_on_intr(|| poll(&mut descriptors, None)).context("cannot wait for the containers")?;
    let mut ready = descriptors.iter();
    Ok(ready
        .position(|descriptor| !descriptor.revents().is_empty())
        .unwrap_or(0))
}

pub(super) fn wait(arguments: &Names) -> Result<u8> {
    let containers = Containers::new(&Directories::from_environment()?);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        outln!("{}", wait_one(&container)?);
        Ok(())
    })
}

/// Waits until a container does not run; its exit code.
fn wait_one(container: &Container) -> Result<i32> {
    let state = container.state()?;
    if state.status.is_live() {
        let request = Request::Wait {
            container: container.config.id.clone(),
            until: keeper::wire::Until::NotRunning,
        };
        let link = ask(container, &request);
        if let Ok(Some(code)) = link.and_then(|link| link.map_or(Ok(None), |link| answer(&link))) {
            return Ok(code.into());
        }
        // It ended just now, in whatever way; its keeper has the last word.
        drop(container.keeper_lock());
    }
    Ok(container.state()?.exit_code)
}

pub(super) fn remove(arguments: &Remove) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    if arguments.force {
        let all = arguments.containers.iter();
        kill_all(all.filter_map(|name| containers.find(name).ok()));
    }
    each(&arguments.containers, |name| {
        let container = match containers.find(name) {
            Err(error) if arguments.force && error.is::<NotFound>() => return passed_over(&error),
            found => found?,
        };
        remove_one(&containers, &container, arguments.force, &directories)?;
        outln!("{name}");
        Ok(())
    })
}

/// Kills those that run of some containers, all at once, and waits until they have ended. What cannot be killed is
/// told when it is removed.
pub(super) fn kill_all(containers: impl IntoIterator<Item = Container>) {
    let begun = containers.into_iter().map(|one| begin_kill(&one));
    let begun: Vec<Result<Ending>> = begun.collect();
    for ending in begun.into_iter().flatten() {
        let _ = ending.finish();
    }
}

/// As docker's `--force`: what is not there is no error, but not passed over in silence.
pub(super) fn passed_over(error: &anyhow::Error) -> Result<()> {
    report::warn(&format!("{error:#}"));
    Ok(())
}

/// Removes a container, with `force` even one that runs, or that is gone meanwhile.
///
/// # Errors
/// When it runs, or cannot be removed.
pub(super) fn remove_one(
    containers: &Containers,
    container: &Container,
    force: bool,
    directories: &Directories,
) -> Result<()> {
    match remove_now(containers, container, force, directories) {
        // Its keeper was as quick.
        Err(_) if force && !container.directory().exists() => Ok(()),
        done => done,
    }
}

fn remove_now(
    containers: &Containers,
    container: &Container,
    force: bool,
    directories: &Directories,
) -> Result<()> {
    let _edit = container.edit()?;
    let state = container.state()?;
    if state.status.is_live() {
        if !force {
            let name = &container.config.name;
            bail!(
                "cannot remove container {name}: it is {}; stop it first ('coracle stop {name}'), or \
                 use --force",
                state.status.word()
            );
        }
        // A keeper that is gone already is what is wanted.
        let _ = begin_kill(container).and_then(Ending::finish);
    } else {
        keeper::client::release(container, directories)?;
    }
    if !container.directory().is_dir() {
        // Its keeper removed it, as it was told when it was made.
        return Ok(());
    }
    let lock = container.keeper_lock()?;
    containers.remove(container, &lock)?;
    journal::note(&directories.data, &container.config, "destroy", &[]);
    Ok(())
}

pub(super) fn rename(arguments: &Rename) -> Result<()> {
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    let mut container = containers.find(&arguments.container)?;
    containers.rename(&mut container, &arguments.name)?;
    journal::note(&directories.data, &container.config, "rename", &[]);
    if container.state()?.status.is_live() {
        let id = container.config.id.clone();
        // One that has just ended is known to nobody.
        let _ = ask(&container, &Request::Rename { container: id });
    }
    Ok(())
}

/// Pauses containers, or lets them go on.
pub(super) fn pause(arguments: &Names, paused: bool) -> Result<u8> {
    let containers = Containers::new(&Directories::from_environment()?);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        let _ = keeper_of(&container)?;
        let request = Request::Pause {
            container: container.config.id.clone(),
            paused,
        };
        if let Some(link) = ask(&container, &request)? {
            answer(&link)?;
        }
        outln!("{name}");
        Ok(())
    })
}

/// Asks a keeper to end, as the system does. Its lock is held, so the number is still its own.
///
/// # Errors
/// As `kill(2)`.
pub(super) fn terminate(keeper: u32) -> Result<()> {
    let keeper = i32::try_from(keeper).ok().and_then(Pid::from_raw);
    let keeper = keeper.context("there is no keeper")?;
    Ok(rustix::process::kill_process(
        keeper,
        rustix::process::Signal::TERM,
    )?)
}

/// Has all containers stop; not as a person would, so that they start again with the system. Gives those that
/// run.
///
/// # Errors
/// When they cannot be listed.
pub(super) fn begin_stop_all(containers: &Containers) -> Result<Vec<Container>> {
    let mut stopping = Vec::new();
    for container in containers.list()? {
        let Ok(state) = container.state() else {
            continue;
        };
        // Those of a named host end with it.
        if state.status.is_live() && container.config.host.is_none() {
            // One that is gone already is what is wanted.
            let _ = terminate(state.keeper);
            stopping.push(container);
        }
    }
    Ok(stopping)
}
