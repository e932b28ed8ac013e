//! What trying KVM out gave, kept until the machine boots again.

use std::{fs, io::Write, path::Path};

use vmm::probe::{self, Probe};

/// Whether this machine's KVM runs guests. A good answer is remembered for this boot, by the
/// boot's identifier and the device; a bad one is tried again, since a person may have mended it.
pub fn probe(cache: &Path) -> Probe {
    let Some(key) = key() else {
        return probe::run();
    };
    let path = cache.join("kvm-usable");
    if fs::read_to_string(&path).is_ok_and(|known| known == key) && may_open() {
        return Probe::Usable;
    }
    let result = probe::run();
    if matches!(result, Probe::Usable) {
        // Only speed is lost when it cannot be remembered.
        let _ = remember(cache, &path, &key);
    }
    result
}

fn remember(cache: &Path, path: &Path, key: &str) -> std::io::Result<()> {
    fs::create_dir_all(cache)?;
    let mut file = tempfile::NamedTempFile::new_in(cache)?;
    file.write_all(key.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn may_open() -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// This boot of this machine, and its device.
fn key() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let device = fs::metadata("/dev/kvm").ok()?;
    Some(format!(
        "{} {} {}",
        boot.trim(),
        device.rdev(),
        device.ino()
    ))
}
