//! How the kernel is made: the files of `kernel-config/`, carried in the program so that an
//! installed one can build.

use std::{fs, io, path::Path};

/// A file of the recipe: its path below `kernel-config/`, and its contents.
type Entry = (&'static str, &'static str);

macro_rules! embed {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../kernel-config/", $path)))),*]
    };
}

const FILES: &[Entry] = embed![
    "build.sh",
    "source",
    "fragments/10-build.config",
    "fragments/20-machine.config",
    "fragments/30-devices.config",
    "fragments/40-filesystems.config",
    "fragments/50-programs.config",
    "fragments/60-isolation.config",
    "fragments/70-network.config",
    "fragments/80-hardening.config",
    "patches/10-patch-sites.patch",
    "patches/15-returns-in-place.patch",
    "patches/20-slab-order.patch",
    "patches/30-memory.patch",
    "patches/35-one-kind-of-slab.patch",
    "patches/40-parameters.patch",
    "patches/45-strings.patch",
    "patches/50-unheard-events.patch",
    "patches/55-sorted-jumps.patch",
    "patches/57-messages-once.patch",
    "patches/60-exits.patch",
    "patches/65-pages-of-the-archive.patch",
    "patches/70-packet-numbers.patch",
    "patches/75-balloon-later.patch",
    "patches/80-replayed-interrupts.patch",
    "patches/85-report-all-free.patch",
    "patches/90-memory-when-needed.patch",
    "patches/95-program-pack.patch",
    "patches/97-limits-of-projects.patch",
];

/// Hexadecimal digits of a hash that a cache entry's name has: 64 bits tell the recipes that one
/// user's cache ever sees apart, and nobody gains by making two collide in their own cache.
pub(super) const KEY_DIGITS: usize = 16;

/// A hash of a set of files (FNV-1a of 64 bits). Names and lengths are hashed too, so that no two sets
/// give the same stream of bytes.
const fn hash(files: &[Entry]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut file = 0;
    while file < files.len() {
        let (path, contents) = files[file];
        hash = hash_part(hash_part(hash, path.as_bytes()), contents.as_bytes());
        file += 1;
    }
    hash
}

const fn hash_part(mut hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x100_0000_01b3;
    hash = (hash ^ bytes.len() as u64).wrapping_mul(PRIME);
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(PRIME);
        index += 1;
    }
    hash
}

/// A set of files that a kernel is built from.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    files: &'static [Entry],
}

impl Recipe {
    /// The recipe in this program.
    pub(super) fn embedded() -> Self {
        Self { files: FILES }
    }

    /// Any other.
    #[cfg(test)]
    pub(super) fn of(files: &'static [Entry]) -> Self {
        Self { files }
    }

    /// Differs when any file does.
    pub(super) fn key(&self) -> String {
        // That of the embedded files is worked out once, when the program is compiled.
        const EMBEDDED: u64 = hash(FILES);
        let hash = if std::ptr::eq(self.files, FILES) {
            EMBEDDED
        } else {
            hash(self.files)
        };
        format!("{hash:0width$x}", width = KEY_DIGITS)
    }

    /// SHA-256 of the source tarballs that were checked, in the order of preference.
    pub(super) fn known_sources(&self) -> impl Iterator<Item = &'static str> {
        self.files
            .iter()
            .filter(|(path, _)| *path == "source")
            .flat_map(|(_, contents)| contents.lines())
            .filter_map(|line| line.strip_prefix("known ")?.split_whitespace().nth(1))
    }

    /// Writes the files below a directory.
    ///
    /// # Errors
    /// As `open(2)` and `write(2)`.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        for (path, contents) in self.files {
            let path = directory.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, contents)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-config");
        let mut on_disk = vec!["build.sh".to_owned(), "source".to_owned()];
        for folder in ["fragments", "patches"] {
            for entry in fs::read_dir(directory.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                // A table for people.
                if name != "README.md" {
                    on_disk.push(format!("{folder}/{name}"));
                }
            }
        }
        on_disk.sort();
        let mut embedded: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn every_option_has_its_reason_on_the_line_above() {
        for (path, contents) in FILES.iter().filter(|(path, _)| path.ends_with(".config")) {
            let mut above = "";
            for line in contents.lines() {
                if line.starts_with("CONFIG_") {
                    assert!(above.starts_with("# "), "{path}: no reason for {line}");
                    assert!(line.contains('='), "{path}: {line}");
                } else {
                    assert!(
                        line.is_empty() || line.starts_with("# "),
                        "{path}: {line:?}"
                    );
                }
                above = line;
            }
        }
    }

    #[test]
    fn key_changes_with_each_file() {
        let base = Recipe::of(&[("source", "a"), ("fragments/1.config", "CONFIG_A=y\n")]);
        let option = Recipe::of(&[("source", "a"), ("fragments/1.config", "CONFIG_B=y\n")]);
        let source = Recipe::of(&[("source", "b"), ("fragments/1.config", "CONFIG_A=y\n")]);
        let moved = Recipe::of(&[("source", "aCONFIG_A=y\n"), ("fragments/1.config", "")]);
        let keys = [&base, &option, &source, &moved].map(Recipe::key);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(key.len(), KEY_DIGITS);
            assert!(!keys[..index].contains(key));
        }
        assert_eq!(base.key(), base.clone().key());
    }

    #[test]
    fn checked_source_is_named_by_its_hash() {
        let hashes: Vec<_> = Recipe::embedded().known_sources().collect();
        assert!(!hashes.is_empty());
        assert!(hashes.iter().all(|hash| hash.len() == 64));
    }
}
