//! Kernels that were built: `CACHE/kernels/RECIPE-SOURCE/` with `vmlinux`, `config` and `source`,
//! where RECIPE and SOURCE are the first digits of the hashes of what went in.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    KernelError, check,
    recipe::{KEY_DIGITS, Recipe},
};

/// Name of the kernel in its directory.
pub(super) const KERNEL: &str = "vmlinux";
/// The same for its configuration.
pub(super) const CONFIG: &str = "config";
/// The same for the version and hash of its source.
pub(super) const SOURCE: &str = "source";
/// How directories begin in which a kernel is being built.
pub(super) const UNFINISHED: &str = ".build-";

/// A kernel in the cache.
#[derive(Debug)]
pub struct Cached {
    /// Its file.
    pub path: PathBuf,
    /// Its release, as `uname -r` says it.
    pub version: String,
    /// Its size in bytes.
    pub size: u64,
    /// The package version of its source.
    pub source: String,
    /// When it was built.
    pub built: Option<SystemTime>,
    /// Whether guests boot it.
    pub current: bool,
}

/// The kernels' part of the cache.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    /// What a kernel has to be built from to be of use.
    pub(super) recipe: Recipe,
}

/// Held by the one process that builds.
pub(super) struct Lock {
    _file: File,
}

impl Cache {
    /// The kernels in a cache directory; touches nothing.
    pub(super) fn new(cache: &Path, recipe: Recipe) -> Self {
        Self {
            directory: cache.join("kernels"),
            recipe,
        }
    }

    /// Where the kernels are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a kernel belongs that was built from the source with this hash.
    pub(super) fn place(&self, source_hash: &str) -> PathBuf {
        let digits = source_hash.get(..KEY_DIGITS).unwrap_or(source_hash);
        self.directory
            .join(format!("{}-{digits}", self.recipe.key()))
    }

    /// The kernel that was built from this recipe: one from a checked source first, else the
    /// newest.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let checked = self
            .recipe
            .known_sources()
            .map(|hash| self.place(hash).join(KERNEL))
            .find(|path| path.is_file());
        checked.or_else(|| {
            let prefix = format!("{}-", self.recipe.key());
            let entries = fs::read_dir(&self.directory).ok()?;
            entries
                .filter_map(Result::ok)
                .filter(|entry| {
                    entry
                        .file_name()
                        .as_encoded_bytes()
                        .starts_with(prefix.as_bytes())
                })
                .map(|entry| entry.path().join(KERNEL))
                .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
                .max()
                .map(|(_, path)| path)
        })
    }

    /// Waits until no other process builds. `say` hears why, should it take time.
    ///
    /// # Errors
    /// When the cache cannot be made or locked.
    pub(super) fn lock(&self, mut say: impl FnMut(&str)) -> Result<Lock, KernelError> {
        fs::create_dir_all(&self.directory).map_err(|source| KernelError::UseCache {
            action: "create",
            path: self.directory.clone(),
            source,
        })?;
        let path = self.directory.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let lock = file.and_then(|file| {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    say("another coracle is building the guest kernel; waiting for it");
                    file.lock()?;
                }
            }
            Ok(Lock { _file: file })
        });
        lock.map_err(|source| KernelError::UseCache {
            action: "lock",
            path,
            source,
        })
    }

    /// Removes what killed builds have left. The lock proves that none is running.
    pub(super) fn sweep(&self, _held: &Lock) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(UNFINISHED.as_bytes())
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// All kernels, the one in use first, then the newest.
    ///
    /// # Errors
    /// When the directory exists and cannot be read.
    pub(super) fn list(&self) -> Result<Vec<Cached>, KernelError> {
        let current = self.find();
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                let path = self.directory.clone();
                return Err(KernelError::UseCache {
                    action: "read",
                    path,
                    source,
                });
            }
            Ok(entries) => entries,
        };
        let mut kernels: Vec<_> = entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| {
                let path = entry.path().join(KERNEL);
                let info = check(&path).ok()?;
                let built = fs::metadata(&path)
                    .and_then(|metadata| metadata.modified())
                    .ok();
                let source = fs::read_to_string(entry.path().join(SOURCE)).unwrap_or_default();
                let source = source
                    .split_whitespace()
                    .next()
                    .unwrap_or("unknown")
                    .to_owned();
                let current = current.as_ref() == Some(&path);
                Some(Cached {
                    path,
                    version: info.version,
                    size: info.size,
                    source,
                    built,
                    current,
                })
            })
            .collect();
        kernels.sort_by_key(|kernel| {
            (
                !kernel.current,
                std::cmp::Reverse(kernel.built),
                kernel.path.clone(),
            )
        });
        Ok(kernels)
    }
}
