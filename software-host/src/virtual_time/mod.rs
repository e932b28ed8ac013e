//! Virtual time: a command in a machine whose clock counts instructions, 2 ns for each, so that the same
//! work takes the same time on every run, however busy this machine is.
//!
//! The machine has one processor without fast string moves, of which the emulation would count every byte.
//! Its root file system is in its memory as a whole (`root`), so that nothing that is timed waits for
//! this machine. Its first process is this same program ([`inside`]).

pub mod inside;
mod root;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

pub use root::Addition;

use super::{QEMU, kernel, qemu, requirements, sys};
use coracle_platform::Directories;

/// Least memory in MiB: a kernel, and a root of some programs.
pub const MIN_MEMORY_MIB: u64 = 256;

/// Lines of a console that are shown when the machine has stopped too early.
const CONSOLE_LINES: usize = 40;

/// Bytes of a console that are kept for that.
const MAX_CONSOLE: u64 = 64 << 10;

/// What is to be done in virtual time.
#[derive(Debug)]
pub struct Job {
    /// Files for the machine beside its own, programs with the libraries that they are linked with.
    pub additions: Vec<Addition>,
    /// Directory that takes what the command leaves in `/out`.
    pub output: Option<PathBuf>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The series of the machine's kernel, such as `6.1`; ours where it is not said.
    pub series: Option<String>,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// Does it: the command's output is this process's, and its exit code is given. Nothing of it stays
/// but what `output` takes, however this process ends.
///
/// # Errors
/// When something is not installed, a file cannot be read, or the machine stops before its command.
pub fn run(directories: &Directories, job: &Job) -> Result<u8> {
    let series = job.series.as_deref();
    requirements::check_virtual_time(&directories.cache, series)?;
    let kernel = kernel::ensure(&directories.cache, series)?;
    let archive = unnamed()?;
    let archive = root::write(archive, job, &kernel).context("cannot pack the root file system")?;
    let (mut console, result) = (unnamed()?, unnamed()?);
    let ended = machine(job, &kernel, &archive, &console, &result)?;
    let Some((code, output)) = read_result(result)? else {
        let words = last_lines(&mut console)?;
        bail!("the machine stopped before the command ended ({ended}); its console:\n{words}");
    };
    if let Some(directory) = &job.output {
        unpack(output, directory)
            .with_context(|| format!("cannot unpack into {}", directory.display()))?;
    }
    Ok(code)
}

/// A file without a name, which is gone with the last process that has it open.
fn unnamed() -> Result<File> {
    tempfile::tempfile().context("cannot make a temporary file")
}

/// Runs the machine to its end; tells how its process ended.
fn machine(
    job: &Job,
    kernel: &std::path::Path,
    archive: &File,
    console: &File,
    result: &File,
) -> Result<String> {
    let own = |file: &File| file.try_clone().map(OwnedFd::from);
    let files = [own(archive)?, own(console)?, own(result)?];
    let numbers = files.each_ref().map(sys::number);
    let [root, console, result] = &numbers;
    let arguments = qemu::in_virtual_time(&qemu::InVirtualTime {
        memory_mib: job.memory_mib,
        kernel: &kernel.join(kernel::IMAGE),
        root,
        console,
        result,
        argument: inside::COMMAND,
    });
    let mut words = unnamed()?;
    let mut command = Command::new(QEMU);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(words.try_clone()?);
    coracle_platform::sys::signal_with_parent(&mut command, Signal::KILL);
    sys::inherit(&mut command, files.into());
    let status = command
        .status()
        .with_context(|| format!("cannot run {QEMU}"))?;
    if let Some(signal) = status.signal() {
        // Ctrl-C reaches it as it does this process.
        bail!("{QEMU} was ended by signal {signal}");
    }
    let mut text = String::new();
    words.rewind()?;
    words.take(MAX_CONSOLE).read_to_string(&mut text)?;
    Ok(format!("{status} {}", text.trim()).trim().to_owned())
}

/// The command's exit code, and the archive of its output; `None` when it did not come to its end.
fn read_result(mut result: File) -> Result<Option<(u8, BufReader<File>)>> {
    result.rewind()?;
    let mut result = BufReader::new(result);
    let mut line = String::new();
    result
        .read_line(&mut line)
        .context("cannot read the result")?;
    Ok(line.trim().parse().ok().map(|code| (code, result)))
}

fn unpack(mut archive: BufReader<File>, directory: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut tar = Command::new("tar")
        // The machine's clock is not this one's.
        .args(["--extract", "--no-same-owner", "--warning=no-timestamp"])
        .arg("--directory")
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let mut input = tar.stdin.take().context("tar has no input")?;
    std::io::copy(&mut archive, &mut input)?;
    input.flush()?;
    drop(input);
    let status = tar.wait()?;
    if !status.success() {
        bail!("tar failed: {status}");
    }
    Ok(())
}

fn last_lines(console: &mut File) -> Result<String> {
    let length = console.metadata()?.len();
    console.seek(std::io::SeekFrom::Start(length.saturating_sub(MAX_CONSOLE)))?;
    let mut bytes = Vec::new();
    console.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(CONSOLE_LINES);
    Ok(lines.get(first..).unwrap_or_default().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str) -> File {
        let mut file = unnamed().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn result_is_a_code_and_an_archive() {
        let (code, mut archive) = read_result(result("7\narchive")).unwrap().unwrap();
        let mut rest = String::new();
        archive.read_to_string(&mut rest).unwrap();
        assert_eq!((code, rest.as_str()), (7, "archive"));
    }

    #[test]
    fn machine_that_stopped_early_has_no_result() {
        for text in ["", "\n", "300\n", "words\n"] {
            assert!(read_result(result(text)).unwrap().is_none(), "{text:?}");
        }
    }

    #[test]
    fn only_the_end_of_a_console_is_shown() {
        let lines: Vec<String> = (0..100).map(|line| format!("{line}\r")).collect();
        let text = last_lines(&mut result(&lines.join("\n"))).unwrap();
        assert_eq!(text.lines().next(), Some("60"));
        assert_eq!(text.lines().last(), Some("99"));
    }
}
