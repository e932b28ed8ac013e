//! The same measurements in virtual time: this program with all that it needs in a machine whose clock counts
//! instructions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::arguments::{Density as DensityArguments, Ladder};
use crate::command;
use crate::compare;
use crate::report::Report;
use crate::systems::Scene;

/// Programs of an installation, which are there under the same names.
const PROGRAMS: [&str; 5] = [
    "coracle",
    "coracle-keeper",
    "coracle-vmm",
    "coracle-init",
    "coracle-bench",
];

/// Programs that are measured beside them, where they are installed and are enough by themselves.
const PEERS: [&str; 3] = ["runc", "crun", "firecracker"];

/// Names of files in the machine.
const ARCHIVE: &str = "bench/image.tar";
const CACHE: &str = "bench/cache";
const RESULT: &str = "result.json";

/// The environment of a measurement in the machine.
const ENVIRONMENT: [&str; 3] = [
    "XDG_DATA_HOME=/bench/data",
    "XDG_CACHE_HOME=/bench/cache",
    "XDG_RUNTIME_DIR=/run",
];

/// MiB of the machine's memory, and for each container that is up at a time.
const MEMORY: u64 = 2048;
const MEMORY_OF_CONTAINER: u64 = 64;

/// Measures the ladder.
///
/// # Errors
/// When something that the machine needs is missing, or the measurement fails in it.
pub(crate) fn measure(arguments: &Ladder) -> Result<Report> {
    let (image, program) = arguments.subject.image_and_command();
    let scene = Scene::new(&image)?;
    let (starts, warmup) = (arguments.starts.to_string(), arguments.warmup.to_string());
    let mut words = vec!["-n", &starts, "--warmup", &warmup];
    let systems = arguments.subject.systems.join(",");
    if !systems.is_empty() {
        words.extend(["--systems", &systems]);
    }
    if arguments.only_times {
        words.push("--only-times");
    }
    let load = format!("/{ARCHIVE}");
    words.extend(["--load", &load, "--json", "/out/result.json", &image]);
    words.extend(program.iter().map(String::as_str));
    let output = run(&scene, MEMORY, &words)?;
    let mut report = compare::read(&output.join(RESULT))?;
    report
        .environment
        .insert("clock".into(), "virtual: 2 ns for each instruction".into());
    Ok(report)
}

/// Measures density; returns what `density --json` wrote.
///
/// # Errors
/// Those of [`measure`].
pub(crate) fn density(arguments: &DensityArguments) -> Result<Vec<u8>> {
    let scene = Scene::new(&arguments.image)?;
    let (number, idle) = (arguments.number.to_string(), arguments.idle.to_string());
    let load = format!("/{ARCHIVE}");
    let words = [
        "density",
        "-n",
        &number,
        "--idle",
        &idle,
        "--system",
        &arguments.system,
        "--load",
        &load,
        "--json",
        "/out/result.json",
        &arguments.image,
    ];
    let memory = MEMORY + MEMORY_OF_CONTAINER * u64::from(arguments.number);
    let output = run(&scene, memory, &words)?;
    fs::read(output.join(RESULT)).context("the machine has left no result")
}

/// Runs this program with these arguments in the machine; gives the directory of what it left.
fn run(scene: &Scene, memory: u64, words: &[&str]) -> Result<PathBuf> {
    let directory = scene.directory.path();
    let archive = directory.join("image.tar");
    let mut save = scene.coracle(&["save", "--output"]);
    command::output(save.arg(&archive).arg(&scene.image))?;
    let kernel = command::output(&mut scene.coracle(&["kernel", "path"]))
        .context("the guest kernel is not built; run: coracle kernel build")?;
    let output = directory.join("out");
    let mut machine =
        scene.coracle(&["machine", "virtual-time", "--memory", &format!("{memory}m")]);
    machine.arg("--output").arg(&output);
    let mut add = |source: &Path, target: &str| {
        machine
            .arg("--file")
            .arg(format!("{}:{target}", source.display()));
    };
    for name in PROGRAMS {
        add(&of_installation(scene, name)?, &format!("usr/bin/{name}"));
    }
    for name in PEERS {
        if let Some(path) = command::find(name) {
            add(&path, &format!("usr/bin/{name}"));
        }
    }
    add(&archive, ARCHIVE);
    let kernel = Path::new(kernel.trim());
    add(kernel, &format!("{CACHE}/{}", below_cache(kernel)?));
    machine
        .args(["--", "env"])
        .args(ENVIRONMENT)
        .arg("coracle-bench")
        .args(words);
    let ended = machine
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let ended = ended.context("cannot run coracle")?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stdout);
        bail!("the measurement failed in virtual time: {}", words.trim());
    }
    Ok(output)
}

/// Where a kernel is below the cache's directory: it is looked for in the same place.
fn below_cache(kernel: &Path) -> Result<String> {
    let mut parts = kernel.ancestors().skip(1);
    let root = parts.find(|path| path.file_name().is_some_and(|name| name == "coracle"));
    let inner = root.and_then(|root| kernel.strip_prefix(root.parent()?).ok());
    let inner = inner.and_then(Path::to_str);
    inner
        .map(str::to_owned)
        .with_context(|| format!("{} is not in a cache", kernel.display()))
}

fn of_installation(scene: &Scene, name: &str) -> Result<PathBuf> {
    let beside = scene.coracle.with_file_name(name);
    let prefix = scene.coracle.ancestors().nth(2);
    let libexec = prefix.map(|prefix| prefix.join("libexec/coracle").join(name));
    let mut places = [Some(beside), libexec].into_iter().flatten();
    places
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed beside {}", scene.coracle.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_keeps_its_place_below_the_cache() {
        let path = Path::new("/home/coracle/.cache/coracle/kernels/ab/vmlinux");
        assert_eq!(below_cache(path).unwrap(), "coracle/kernels/ab/vmlinux");
        assert!(below_cache(Path::new("/boot/vmlinux")).is_err());
    }
}
