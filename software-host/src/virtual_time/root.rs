//! The root file system of a machine in virtual time, as an archive that its kernel unpacks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Read, Seek},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, Result, bail};

use super::{Job, inside};
use crate::kernel;
use coracle_platform::cpio::Archive;

/// Directories that are there, whatever is added.
const DIRECTORIES: [&str; 9] = [
    "bin", "dev", "etc", "out", "proc", "root", "run", "sys", "tmp",
];

/// Who the machine's only user is, for programs that ask.
const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n";

/// Gives a shell and the usual tools.
const BUSYBOX: &str = "busybox";

/// Where programs are looked for beside `PATH`.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The first bytes of a program that may be linked with libraries.
const ELF: &[u8] = b"\x7fELF";

/// A file or directory of this machine, and its place in the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Where its contents are.
    pub source: PathBuf,
    /// Below the root, without a slash in front.
    pub target: PathBuf,
}

impl FromStr for Addition {
    type Err = String;

    /// Takes `PATH[:TARGET]`; without a target, the path is the same in both.
    fn from_str(text: &str) -> Result<Self, String> {
        let (source, target) = text.split_once(':').unwrap_or((text, text));
        let mut inner = PathBuf::new();
        for component in Path::new(target).components() {
            match component {
                Component::Normal(part) => inner.push(part),
                Component::RootDir | Component::CurDir => {}
                _ => return Err(format!("{target:?} leads out of the machine's root")),
            }
        }
        if source.is_empty() || inner.as_os_str().is_empty() {
            return Err(format!("{text:?} is not PATH or PATH:TARGET"));
        }
        Ok(Self {
            source: source.into(),
            target: inner,
        })
    }
}

/// What a place of the root holds.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    Directory,
    Copy { of: PathBuf, permissions: u32 },
    Link(String),
    Text { text: Vec<u8>, permissions: u32 },
}

/// Writes the archive, and gives its file back.
///
/// # Errors
/// When a file cannot be read, or does not fit into the format.
pub(super) fn write(file: File, job: &Job, kernel: &Path) -> Result<File> {
    let nodes = nodes(job, kernel)?;
    let mut archive = Archive::new(BufWriter::new(file));
    for (path, node) in &nodes {
        let name = path
            .to_str()
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        match node {
            Node::Directory => archive.directory(name, 0o755)?,
            Node::Link(target) => archive.link(name, target)?,
            Node::Text { text, permissions } => archive.file(name, *permissions, text)?,
            Node::Copy { of, permissions } => {
                let content =
                    fs::read(of).with_context(|| format!("cannot read {}", of.display()))?;
                archive.file(name, *permissions, &content)?;
            }
        }
    }
    // The kernel opens it for the first process's standard streams before that runs.
    archive.character_device("dev/console", 0o600, 5, 1)?;
    let mut file = archive
        .finish()?
        .into_inner()
        .map_err(|error| error.into_error())?;
    file.rewind()?;
    Ok(file)
}

/// All that is in the root, parents before what is in them.
fn nodes(job: &Job, kernel: &Path) -> Result<BTreeMap<PathBuf, Node>> {
    let mut nodes = Nodes::default();
    for directory in DIRECTORIES {
        nodes.put(Path::new(directory), Node::Directory);
    }
    let text = |text: &[u8], permissions| Node::Text {
        text: text.to_vec(),
        permissions,
    };
    nodes.put(Path::new("etc/passwd"), text(USERS, 0o644));
    let orders = serde_json::to_vec(&job.command)?;
    nodes.put(Path::new(inside::ORDERS), text(&orders, 0o600));
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    nodes.program(&own, Path::new("init"))?;
    nodes.busybox()?;
    for addition in &job.additions {
        nodes.add(&addition.source, &addition.target)?;
    }
    let modules = kernel::MODULES.into_iter().chain(kernel::MEASURED_MODULES);
    for module in modules {
        let name = Path::new(module).file_name().unwrap_or_default();
        for path in kernel::files(kernel, name) {
            let target = Path::new(inside::MODULES).join(path.file_name().unwrap_or_default());
            nodes.add(&path, &target)?;
        }
    }
    Ok(nodes.all)
}

#[derive(Default)]
struct Nodes {
    all: BTreeMap<PathBuf, Node>,
}

impl Nodes {
    /// Puts something in its place, with the directories above it; what is there stays.
    fn put(&mut self, path: &Path, node: Node) {
        let above = path.ancestors().skip(1);
        for parent in above.filter(|parent| !parent.as_os_str().is_empty()) {
            self.all.entry(parent.to_owned()).or_insert(Node::Directory);
        }
        self.all.entry(path.to_owned()).or_insert(node);
    }

    /// Adds what is at a path of this machine, with all below it. Links below it stay links.
    fn add(&mut self, source: &Path, target: &Path) -> Result<()> {
        let named = || format!("cannot read {}", source.display());
        let metadata = fs::metadata(source).with_context(named)?;
        if metadata.is_file() {
            return self.program(source, target);
        }
        if !metadata.is_dir() {
            bail!("{} is neither a file nor a directory", source.display());
        }
        self.put(target, Node::Directory);
        for entry in fs::read_dir(source).with_context(named)? {
            let entry = entry.with_context(named)?;
            let (path, place) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type().with_context(named)?;
            if kind.is_dir() {
                self.add(&path, &place)?;
            } else if kind.is_symlink() {
                let link = fs::read_link(&path).with_context(named)?;
                let link = link.to_str().with_context(|| {
                    format!("{} leads to a name that is not UTF-8", path.display())
                })?;
                self.put(&place, Node::Link(link.to_owned()));
            } else if kind.is_file() {
                self.file(&path, &place)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, target: &Path) -> Result<()> {
        let metadata =
            fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
        let node = Node::Copy {
            of: source.to_owned(),
            permissions: metadata.permissions().mode() & 0o7777,
        };
        self.put(target, node);
        Ok(())
    }

    /// Adds a file and, if it is a program, the libraries that it is linked with.
    fn program(&mut self, source: &Path, target: &Path) -> Result<()> {
        self.file(source, target)?;
        if !is_program(source)? {
            return Ok(());
        }
        // It fails for a static program, which has none.
        let output = Command::new("ldd")
            .arg(source)
            .stdin(Stdio::null())
            .output()
            .context("cannot run ldd, which names a program's libraries")?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            let inner = library.strip_prefix("/").unwrap_or(library);
            self.file(library, inner)?;
        }
        Ok(())
    }

    /// Adds busybox, under the names of all that it can be.
    fn busybox(&mut self) -> Result<()> {
        let path = find(BUSYBOX).context("there is no busybox; install busybox-static")?;
        self.program(&path, Path::new("bin/busybox"))?;
        let list = Command::new(&path)
            .arg("--list")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", path.display()))?;
        for applet in String::from_utf8_lossy(&list.stdout).lines() {
            if applet != BUSYBOX {
                self.put(&Path::new("bin").join(applet), Node::Link(BUSYBOX.into()));
            }
        }
        Ok(())
    }
}

fn is_program(path: &Path) -> Result<bool> {
    let named = || format!("cannot read {}", path.display());
    let mut start = Vec::new();
    let file = File::open(path).with_context(named)?;
    let executable = file.metadata().with_context(named)?.permissions().mode() & 0o111 != 0;
    file.take(ELF.len() as u64)
        .read_to_end(&mut start)
        .with_context(named)?;
    Ok(executable && start == ELF)
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/libc.so.6 (0x…)`, `/lib64/ld-linux.so.2 (0x…)`.
fn libraries(words: &str) -> impl Iterator<Item = &Path> {
    let words = words
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    words.map(|word| Path::new(word.trim_end_matches(':')))
}

/// Where a program of this machine is.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = SYSTEM_DIRECTORIES.map(PathBuf::from);
    let mut directories = std::env::split_paths(&path).chain(more);
    directories.find_map(|directory| {
        let path = directory.join(name);
        path.is_file().then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(additions: &[&str]) -> Job {
        Job {
            additions: additions.iter().map(|text| text.parse().unwrap()).collect(),
            output: None,
            memory_mib: 256,
            series: None,
            command: vec!["echo".into(), "a b".into()],
        }
    }

    #[test]
    fn addition_has_the_same_path_inside_unless_told_otherwise() {
        let addition = |text: &str| text.parse::<Addition>().unwrap();
        assert_eq!(addition("/a/b").target, Path::new("a/b"));
        assert_eq!(addition("x:/y/./z").target, Path::new("y/z"));
        for wrong in ["", ":", "a:", ":b", "a:../b", "a:/"] {
            assert!(wrong.parse::<Addition>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn libraries_are_the_absolute_paths_that_ldd_names() {
        let words = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<_> = libraries(words).collect();
        let wanted = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, wanted.map(Path::new));
        assert_eq!(libraries("\tnot a dynamic executable\n").count(), 0);
    }

    #[test]
    fn root_has_what_was_added_with_libraries_and_parents() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("file"), "content").unwrap();
        std::os::unix::fs::symlink("file", inner.join("link")).unwrap();
        let kernel = directory.path().join("kernel");
        fs::create_dir(&kernel).unwrap();
        fs::write(kernel.join("kvm.ko"), "module").unwrap();
        let text = format!("{}:bench/data", inner.display());
        let nodes = nodes(&job(&[&text]), &kernel).unwrap();

        let at = |path: &str| nodes.get(Path::new(path));
        assert_eq!(at("bench"), Some(&Node::Directory));
        assert!(matches!(at("bench/data/file"), Some(Node::Copy { .. })));
        assert_eq!(at("bench/data/link"), Some(&Node::Link("file".into())));
        assert_eq!(at("bin/sh"), Some(&Node::Link("busybox".into())));
        assert!(matches!(at("modules/kvm.ko"), Some(Node::Copy { .. })));
        assert!(matches!(at(inside::ORDERS), Some(Node::Text { .. })));
        // This test is a dynamic program, and stands in for the machine's first process.
        let loader = |path: &&PathBuf| path.to_string_lossy().contains("ld-linux");
        assert!(nodes.keys().any(|path| loader(&path)), "{nodes:?}");
    }

    #[test]
    fn kernel_would_find_every_file_in_the_archive() {
        let file = tempfile::tempfile().unwrap();
        let mut file = write(file, &job(&[]), Path::new("/nowhere")).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for name in [
            "bin/busybox\0",
            "init\0",
            "etc/passwd\0",
            r#"["echo","a b"]"#,
        ] {
            assert!(text.contains(name), "{name}");
        }
    }

    #[test]
    fn missing_file_is_named() {
        let error = nodes(&job(&["/no/such/file"]), Path::new("/")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/file"), "{error:#}");
    }
}
