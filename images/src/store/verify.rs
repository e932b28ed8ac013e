//! Verification of what is stored: from the manifest's digest down to every block of every layer.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::record::{Noted, Record};
use super::{Store, StoreError, beside, find, io_error};
use crate::digest::Digest;
use crate::image::{ImageConfig, Manifest};
use crate::verity;

/// What came of verifying an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The image.
    pub id: Option<Digest>,
    /// Bytes of layers that were read.
    pub bytes: u64,
    /// What is not as it was stored, in words.
    pub damage: Vec<String>,
    /// Layers whose root hash is not known, of an earlier version of the program.
    pub unknown: usize,
}

impl Store {
    /// Reads all of an image and compares it with its digests: manifest, configuration, and each
    /// layer with the root hash that was noted when it was made. What is damaged is taken out of
    /// the store, so that it cannot be run, and the next pull or load brings it again.
    ///
    /// # Errors
    /// Those of [`Self::resolve`], of reading, and of removing what is damaged.
    pub fn verify(&self, name: &str) -> Result<Verified, StoreError> {
        let (id, _) = find(&self.read_index()?, name)?;
        let record = Record::read(&self.record_path(&id))?;
        let mut verified = Verified {
            id: Some(id.clone()),
            ..Verified::default()
        };
        let config = self.verify_document("configuration", &id, &mut verified)?;
        let config = config.and_then(|bytes| ImageConfig::parse(&id.to_string(), &bytes).ok());
        let diff_ids: Vec<&Digest> = record.layers.iter().map(|layer| &layer.diff_id).collect();
        if let Some(config) = config
            && !config.rootfs.diff_ids.iter().eq(diff_ids)
        {
            let words =
                format!("the record of image {id} names other layers than its configuration");
            verified.damage.push(words);
        }
        if let Some(digest) = &record.manifest
            && let Some(bytes) = self.verify_document("manifest", digest, &mut verified)?
            && let Ok(manifest) = Manifest::parse(digest, &bytes)
            && (manifest.config.digest != id || manifest.layers.len() != record.layers.len())
        {
            let words = format!("manifest {digest} belongs to another image than {id}");
            verified.damage.push(words);
        }
        for layer in record.files() {
            self.verify_layer(&layer.diff_id, layer.noted(), &mut verified)?;
        }
        Ok(verified)
    }

    fn verify_document(
        &self,
        kind: &str,
        digest: &Digest,
        verified: &mut Verified,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                verified.damage.push(format!("{kind} {digest} is missing"));
                return Ok(None);
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        verified.damage.push(format!("{kind} {digest} is damaged"));
        let _guard = self.lock()?;
        remove(&path)?;
        Ok(None)
    }

    fn verify_layer(
        &self,
        diff_id: &Digest,
        noted: Option<Noted>,
        verified: &mut Verified,
    ) -> Result<(), StoreError> {
        let path = self.layer_path(diff_id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                verified.damage.push(format!("layer {diff_id} is missing"));
                return Ok(());
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let Some(noted) = noted else {
            verified.unknown += 1;
            return Ok(());
        };
        // A disk that cannot read a block has lost it, which is damage, too.
        let whole = verity::check(&file, &noted.root, noted.data);
        verified.bytes += file.metadata().map_or(0, |metadata| metadata.len());
        if whole.unwrap_or(false) {
            return Ok(());
        }
        verified.damage.push(format!("layer {diff_id} is damaged"));
        self.remove_layer(&path)
    }

    /// Takes a damaged layer out of the store. Containers that run have opened it and are not
    /// helped any more.
    fn remove_layer(&self, path: &Path) -> Result<(), StoreError> {
        let _guard = self.lock()?;
        remove(path)?;
        for extension in beside::ALL {
            remove(&path.with_extension(extension))?;
        }
        Ok(())
    }

    /// What was noted beside a layer; of a layer that an earlier version made it is made now.
    pub(super) fn noted_beside(&self, diff_id: &Digest) -> Option<Noted> {
        let path = self.layer_path(diff_id);
        let text = fs::read_to_string(path.with_extension(beside::ROOT)).ok();
        text.and_then(|text| Noted::parse(&text)).or_else(|| {
            let file = File::open(path).ok()?;
            let root = verity::tree(&file, file.metadata().ok()?.len()).ok()?.root;
            Some(Noted { root, data: None })
        })
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}
