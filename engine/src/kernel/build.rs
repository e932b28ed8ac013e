//! Runs `kernel-config/build.sh` and puts what it makes into the cache.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    KernelError,
    cache::{CONFIG, Cache, KERNEL, Lock, SOURCE, UNFINISHED},
    check,
    observer::Observer,
    pack,
};
use coracle_platform::sys::signal_with_parent;

/// How often the clock on the display moves while the build says nothing.
const TICK: Duration = Duration::from_secs(1);

/// What the script exits with when a signal ended it.
const EXIT_INTERRUPTED: i32 = 130;

/// Permissions of a kernel: nobody may write to it.
const READ_ONLY: u32 = 0o444;

/// A line of the script; its header says what each means.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Step(&'a str),
    Files { done: u32, total: u32 },
    Notice(&'a str),
    Error(&'a str),
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        match line.split_once(' ') {
            Some(("step", text)) => Self::Step(text),
            Some(("notice", text)) => Self::Notice(text),
            Some(("error", text)) => Self::Error(text),
            Some(("progress", counts)) => counts
                .split_once('/')
                .and_then(|(done, total)| {
                    Some(Self::Files {
                        done: done.parse().ok()?,
                        total: total.parse().ok()?,
                    })
                })
                .unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }
}

/// Builds into the cache; gives the kernel's file.
///
/// # Errors
/// As [`super::build()`].
pub(super) fn build(
    cache: &Cache,
    lock: &Lock,
    tarball: Option<&Path>,
    display: &mut dyn Observer,
) -> Result<PathBuf, KernelError> {
    let directory = cache.directory();
    cache
        .sweep(lock)
        .map_err(use_cache("remove an unfinished build from", directory))?;
    let scratch = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(directory)
        .map_err(use_cache("create a directory in", directory))?;
    let recipe = scratch.path().join("recipe");
    cache
        .recipe
        .write(&recipe)
        .map_err(use_cache("write", &recipe))?;

    let work = scratch.path().join("work");
    let result = run_script(&recipe.join("build.sh"), &work, tarball, display);
    display.clear();
    if let Err(reason) = result? {
        // Beside the kernels, as the directory goes with this process.
        let log = directory.join("failed-build.log");
        let kept = fs::rename(work.join("build.log"), &log).is_ok();
        return Err(KernelError::Build {
            reason,
            log: kept.then_some(log),
        });
    }
    let path = install(cache, &work)?;
    display.notice(&format!("the guest kernel is ready: {}", path.display()));
    Ok(path)
}

fn use_cache(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::UseCache {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Runs the script to its end. The inner error is the script's own reason.
fn run_script(
    script: &Path,
    work: &Path,
    tarball: Option<&Path>,
    display: &mut dyn Observer,
) -> Result<Result<(), String>, KernelError> {
    let errors_path = script.with_extension("errors");
    let errors = File::create(&errors_path).map_err(use_cache("create", &errors_path))?;
    let mut command = Command::new("bash");
    // The script ends its compilers and removes what it made, also when this process is killed.
    signal_with_parent(&mut command, Signal::TERM);
    let mut child = command
        .arg(script)
        .arg(work)
        .args(
            tarball
                .map(Path::as_os_str)
                .into_iter()
                .collect::<Vec<&OsStr>>(),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|source| KernelError::StartBuild { source })?;
    let reason = match child.stdout.take() {
        Some(output) => follow(output, display),
        None => None,
    };
    let status = child
        .wait()
        .map_err(|source| KernelError::StartBuild { source })?;
    if status.success() {
        return Ok(Ok(()));
    }
    if status.code() == Some(EXIT_INTERRUPTED) || status.signal().is_some() {
        display.clear();
        return Err(KernelError::Interrupted);
    }
    let errors = fs::read_to_string(&errors_path).unwrap_or_default();
    Ok(Err(reason.unwrap_or_else(|| unexplained(status, &errors))))
}

/// Shows what the script says; gives its last error.
fn follow(output: ChildStdout, display: &mut dyn Observer) -> Option<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut reason = None;
    loop {
        match lines.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => display.tick(),
            Err(RecvTimeoutError::Disconnected) => return reason,
            Ok(line) => match Line::parse(&line) {
                Line::Step(text) => display.step(text),
                Line::Files { done, total } => display.files(done, total),
                Line::Notice(text) => display.notice(text),
                Line::Error(text) => reason = Some(text.to_owned()),
                Line::Other => {}
            },
        }
    }
}

fn unexplained(status: ExitStatus, errors: &str) -> String {
    match errors.lines().next_back() {
        Some(line) => format!("build.sh ended with {status}: {line}"),
        None => format!("build.sh ended with {status}"),
    }
}

/// Moves what was built to its place; the kernel last, whose presence says that it is complete.
fn install(cache: &Cache, work: &Path) -> Result<PathBuf, KernelError> {
    let kernel = work.join(KERNEL);
    check(&kernel)?;
    let bytes = fs::read(&kernel).map_err(use_cache("read", &kernel))?;
    if let Some(packed) = pack::pack(&bytes) {
        fs::write(&kernel, packed).map_err(use_cache("write", &kernel))?;
        check(&kernel)?;
    }
    let source_path = work.join(SOURCE);
    let source = fs::read_to_string(&source_path).map_err(use_cache("read", &source_path))?;
    let hash = source.split_whitespace().nth(1).unwrap_or("unknown");
    let place = cache.place(hash);
    fs::create_dir_all(&place).map_err(use_cache("create", &place))?;
    // Guests share the memory of a file that nobody may write to.
    fs::set_permissions(&kernel, Permissions::from_mode(READ_ONLY))
        .map_err(use_cache("write", &kernel))?;
    for name in [CONFIG, SOURCE, KERNEL] {
        let target = place.join(name);
        fs::rename(work.join(name), &target).map_err(use_cache("write", &target))?;
    }
    Ok(place.join(KERNEL))
}

#[cfg(test)]
mod tests;
