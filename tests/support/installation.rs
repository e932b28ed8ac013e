//! Coracle installed anew: programs, store, cache and runtime directory of its own, so that what it
//! leaves behind can be told from what others do at the same time.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Done, done, given, program, sample};

/// The programs.
const PROGRAMS: [&str; 5] = [
    "coracle",
    "coracle-bench",
    "coracle-keeper",
    "coracle-vmm",
    "coracle-init",
];

/// An installation; it is gone when this is dropped, with its software host.
#[derive(Debug)]
pub struct Installation {
    directory: TempDir,
    user: Option<u32>,
}

impl Installation {
    /// Installs for a user, by number, or for the one that runs the suite; the kernels are those
    /// of the suite. The image `busybox` is loaded.
    ///
    /// # Panics
    /// When there is no space, or the suite may not act for another user.
    #[must_use]
    pub fn new(user: Option<u32>) -> Self {
        let home = given("CORACLE_TEST_HOME");
        let directory = tempfile::Builder::new().tempdir_in(home);
        let new = Self {
            directory: directory.expect("a temporary directory can be made"),
            user,
        };
        for name in ["bin", "data", "cache", "run"] {
            fs::create_dir(new.path(name)).expect("a directory can be made");
        }
        for name in PROGRAMS {
            let place = new.path("bin").join(name);
            fs::copy(program(name), place).expect("a program can be copied");
        }
        let archive = new.path("busybox.tar");
        fs::copy(sample("busybox"), &archive).expect("an image can be copied");
        new.take_kernels();
        new.give(new.directory.path());
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(new.path("run"), mode).expect("a mode can be set");
        let load = ["load", "--input", archive.to_str().expect("a plain path")];
        let _ = done(&mut new.coracle(&load)).expect(0);
        new
    }

    /// A directory of it: `bin`, `data`, `cache`, `run`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `coracle` with these arguments, standard input closed.
    #[must_use]
    pub fn coracle(&self, arguments: &[&str]) -> Command {
        self.program("coracle", arguments)
    }

    /// A program of the installation with these arguments, standard input closed.
    #[must_use]
    pub fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin").join(name));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .current_dir("/")
            .env("HOME", self.directory.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_RUNTIME_DIR", self.path("run"));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs `coracle` to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Done {
        done(&mut self.coracle(arguments))
    }

    /// Every file below a directory of it.
    #[must_use]
    pub fn files(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![self.path(name)];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    left.push(path);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    /// Processes whose program or arguments lie in this installation, by number.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, String)> {
        let own = self.directory.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && (program.starts_with(&own) || arguments.contains(&own))
            {
                found.push((pid, arguments));
            }
        }
        found
    }

    /// Copies the guest's kernel and the software host's, and nothing that is only being built.
    fn take_kernels(&self) {
        let own = self.path("cache").join("coracle");
        let kernel = done(&mut crate::coracle(["kernel", "path"])).expect(0);
        let kernel = Path::new(kernel.stdout.trim());
        let mut above = kernel.ancestors().skip(1);
        let (recipe, kernels) = (above.next(), above.next());
        copy(
            recipe.expect("a kernel lies in a cache"),
            &own.join("kernels"),
        );
        let suites = kernels.and_then(Path::parent);
        let machine = suites.expect("a kernel lies in a cache").join("machine");
        if machine.exists() {
            copy(&machine, &own);
        }
    }

    fn give(&self, path: &Path) {
        let Some(user) = self.user else { return };
        std::os::unix::fs::lchown(path, Some(user), Some(user)).expect("the suite runs as root");
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path)
                .expect("a directory can be read")
                .flatten()
            {
                self.give(&entry.path());
            }
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Nothing more can be done for one that does not stop.
        let _ = self.coracle(&["machine", "stop"]).status();
    }
}

/// Copies a directory, with all that is in it, into another.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    let mut command = Command::new("cp");
    let status = command.arg("-rL").arg(from).arg(to).status();
    assert!(status.expect("cp is everywhere").success());
}
