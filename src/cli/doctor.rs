//! `coracle doctor`.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use serde_json::json;
use vmm::probe::Probe;

use coracle_engine::kernel;
use coracle_engine::state::Directories;
use coracle_platform::programs;
use coracle_terminal::output;

/// Check whether this machine can run containers, and how to fix what is wrong
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing; exit with 0 if containers run here at full speed, 1 otherwise
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Containers run, with a drawback.
    Warning,
    /// No container runs until this is mended.
    Bad,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "problem",
        }
    }
}

/// What was looked at, what was seen, and what to do about it.
struct Finding {
    subject: &'static str,
    state: State,
    seen: String,
    mend: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, seen: impl Into<String>) -> Self {
        Self {
            subject,
            state: State::Good,
            seen: seen.into(),
            mend: None,
        }
    }

    fn warning(subject: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            subject,
            state: State::Warning,
            seen: seen.into(),
            mend: Some(mend.into()),
        }
    }

    fn bad(subject: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            subject,
            state: State::Bad,
            seen: seen.into(),
            mend: Some(mend.into()),
        }
    }
}

/// Looks at everything; 1 when no container can run, with `--quiet` also when they run slowly.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let probe = vmm::probe::run();
    if arguments.quiet {
        return Ok(u8::from(!matches!(probe, Probe::Usable)));
    }
    let mut findings = vec![processor(), virtualisation(&probe)];
    if !matches!(probe, Probe::Usable) {
        findings.push(software_host(&directories));
    }
    findings.push(programs());
    findings.push(jail());
    findings.push(guest_kernel(&directories));
    findings.push(space(&directories.data));
    findings.push(huge_pages());
    findings.extend(nested());
    findings.extend(executable_pages(&probe));
    if arguments.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "subject": finding.subject,
                    "state": finding.state.word(),
                    "seen": finding.seen,
                    "mend": finding.mend,
                })
            })
            .collect();
        output::json_pretty(&list)?;
    } else {
        print(&findings);
    }
    let bad = findings.iter().any(|finding| finding.state == State::Bad);
    Ok(u8::from(bad))
}

fn print(findings: &[Finding]) {
    let width = findings
        .iter()
        .map(|finding| finding.subject.len())
        .max()
        .unwrap_or(0);
    for Finding {
        subject,
        state,
        seen,
        mend,
    } in findings
    {
        outln!("{:<8} {subject:<width$}  {seen}", state.word());
        if let Some(mend) = mend {
            outln!("{:<8} {:<width$}  -> {mend}", "", "");
        }
    }
}

fn processor() -> Finding {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let name = name.unwrap_or("unknown processor");
    match (has("vmx"), has("svm")) {
        (true, _) => Finding::good("processor", format!("{name}, with VT-x")),
        (_, true) => Finding::good("processor", format!("{name}, with AMD-V")),
        _ => Finding::warning(
            "processor",
            format!("{name}, without VT-x or AMD-V"),
            "enable virtualisation in the firmware; in a virtual machine, enable nested \
             virtualisation",
        ),
    }
}

fn virtualisation(probe: &Probe) -> Finding {
    let mend = match probe {
        Probe::Usable => return Finding::good("kvm", "runs a guest kernel's instructions"),
        Probe::NoDevice => {
            "load the module (modprobe kvm_intel or kvm_amd); in a container, pass /dev/kvm in"
        }
        Probe::NoPermission => {
            "add yourself to the device's group (sudo usermod -aG kvm $USER) and log in again"
        }
        _ => "use a machine with hardware virtualisation for full speed",
    };
    Finding::warning("kvm", probe.to_string(), mend)
}

fn software_host(directories: &Directories) -> Finding {
    let slow = "containers run in a software host, about 20 times slower";
    match coracle_software_host::check(directories) {
        Ok(()) => Finding::good("software host", slow),
        Err(error) => Finding::bad(
            "software host",
            format!("required because KVM is not usable, but not ready: {error:#}"),
            "install what is missing, or use a machine with KVM",
        ),
    }
}

fn programs() -> Finding {
    for name in ["coracle-keeper", "coracle-vmm", "coracle-init"] {
        if let Err(error) = programs::find(name) {
            return Finding::bad(
                "programs",
                format!("{error:#}"),
                "run 'make build' or install again",
            );
        }
    }
    Finding::good(
        "programs",
        "found coracle-keeper, coracle-vmm and coracle-init",
    )
}

/// What of the monitor's jail this system allows, found out by closing one. In a software host, which has a kernel
/// of its own, monitors may have more.
fn jail() -> Finding {
    const SUBJECT: &str = "jail";
    let tried = programs::find("coracle-vmm").and_then(|program| {
        let output = Command::new(program).arg("--jail").output()?;
        let text = |bytes: &[u8]| coracle_engine::clean(String::from_utf8_lossy(bytes).trim());
        Ok((
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        ))
    });
    match tried {
        Ok((Some(0), walls, _)) => Finding::good(SUBJECT, walls),
        Ok((Some(1), walls, _)) => Finding::warning(
            SUBJECT,
            format!("monitors of microVMs only have: {walls}"),
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or \
             kernel.apparmor_restrict_unprivileged_userns=0); in a container, give it CAP_SYS_ADMIN. \
             CORACLE_REQUIRE_JAIL=1 refuses to run without",
        ),
        Ok((_, _, words)) => Finding::bad(SUBJECT, words, "please report this"),
        Err(error) => Finding::bad(
            SUBJECT,
            format!("{error:#}"),
            "run 'make build' or install again",
        ),
    }
}

fn guest_kernel(directories: &Directories) -> Finding {
    match kernel::path(&directories.cache) {
        Some(path) => Finding::good("guest kernel", path.display().to_string()),
        None => Finding::warning(
            "guest kernel",
            "not built yet; the first run builds it (some minutes)",
            "coracle kernel build",
        ),
    }
}

/// Bytes below which the store is nearly full: a small image and its layers.
const LITTLE_SPACE: u64 = 1 << 30;

fn space(data: &Path) -> Finding {
    let existing = data
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let Ok(status) = rustix::fs::statvfs(existing) else {
        return Finding::warning(
            "disk",
            format!("cannot look at {}", existing.display()),
            "check that the directory can be read",
        );
    };
    let free = status.f_bavail * status.f_frsize;
    let seen = format!(
        "{} free for images at {}",
        super::table::size(free),
        data.display()
    );
    if free < LITTLE_SPACE {
        Finding::warning(
            "disk",
            seen,
            "remove images (coracle rmi), or set XDG_DATA_HOME",
        )
    } else {
        Finding::good("disk", seen)
    }
}

/// The chosen word of a setting such as `always [madvise] never`.
fn chosen(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let word = text.split_whitespace().find(|word| word.starts_with('['))?;
    Some(word.trim_matches(['[', ']']).to_owned())
}

fn huge_pages() -> Finding {
    match chosen("/sys/kernel/mm/transparent_hugepage/enabled").as_deref() {
        Some("never") | None => Finding::warning(
            "huge pages",
            "transparent huge pages are off: guests run slightly slower",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(word) => Finding::good("huge pages", format!("transparent huge pages: {word}")),
    }
}

/// Whether guests could themselves run guests; said only where the module tells.
fn nested() -> Option<Finding> {
    let paths = [
        "/sys/module/kvm_intel/parameters/nested",
        "/sys/module/kvm_amd/parameters/nested",
    ];
    let value = paths
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())?;
    let on = ["Y", "1"].contains(&value.trim());
    Some(Finding::good(
        "nested",
        if on {
            "on: a guest may run guests"
        } else {
            "off"
        },
    ))
}

/// Linux 6.1 and later start a thread for each machine because of this, which takes time.
fn executable_pages(probe: &Probe) -> Option<Finding> {
    let value = fs::read_to_string("/sys/module/kvm/parameters/nx_huge_pages").ok()?;
    if !matches!(probe, Probe::Usable) || value.trim() != "Y" {
        return None;
    }
    Some(Finding::warning(
        "kvm speed",
        "kvm.nx_huge_pages is on: each start is some milliseconds slower",
        "boot with kvm.nx_huge_pages=never, only if this CPU is not affected by iTLB multihit",
    ))
}
