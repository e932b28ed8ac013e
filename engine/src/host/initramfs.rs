//! The guest's initial RAM file system: our init, and nothing else.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::state;
use coracle_platform::cpio;
use coracle_platform::programs;

/// Changes whenever the same init would make another file.
const FORM: u32 = 2;

/// Makes the file from `coracle-init`, unless it was made before; the monitor maps it as it is.
///
/// # Errors
/// When `coracle-init` is missing or the cache cannot be written.
pub(crate) fn ensure(cache: &Path) -> Result<PathBuf> {
    let init = programs::own("coracle-init")?;
    let metadata =
        fs::metadata(&init).with_context(|| format!("cannot look at {}", init.display()))?;
    // What identifies a file's content without reading it on each start.
    let identity = format!(
        "{} {FORM} {} {} {} {}.{}",
        env!("CARGO_PKG_VERSION"),
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let digest = Sha256::digest(identity.as_bytes());
    let name: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = cache.join("initramfs");
    let path = directory.join(format!("{name}.cpio"));
    if path.exists() {
        return Ok(path);
    }
    state::create_directory(&directory)?;
    let program = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
    let mut archive = cpio::Archive::new(Vec::new());
    archive.directory("dev", 0o755)?;
    // The kernel opens it for init's standard streams before init runs.
    archive.character_device("dev/console", 0o600, 5, 1)?;
    archive.file_of_pages("init", 0o755, &program)?;
    let bytes = archive.finish()?;
    let written = tempfile::NamedTempFile::new_in(&directory).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.persist(&path)?;
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
