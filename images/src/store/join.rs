//! Layers that mean something else on the layers below them than alone.
//!
//! A layer is made from its archive without knowing what is below, and shared by all images that have it. That is wrong
//! for a few: one that has `lib/x` and no entry for `lib` means `usr/lib/x` where a lower layer has a link `lib`, and a
//! hard link may be to a file of a lower layer. Such a layer is made once more from its archive, for all images that
//! have the same layers up to it; its place in the store is by the digest of these, the chain ID (image specification,
//! "Layer ChainID"). Others cost a look at their root, or at the directories that they do not describe. Nothing is left
//! to do when the image is run.
//!
//! The layer itself stays in the store beside that: from it the archive is made again when the image is saved.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::convert::{Made, create_new, seal};
use super::hold::Held;
use super::load::Ready;
use super::record::Noted;
use super::{Store, StoreError, beside, io_error};
use crate::digest::Digest;
use crate::layer::{self, Below, Compression, LayerError, Limits, MAX_LINKED_BYTES, Onto};
use crate::rebuild::Rebuilt;
use crate::source::spool::{decompressed, peek};

impl Store {
    /// Makes the layers of images that depend on what is below them, into `made`, and notes them; the result keeps
    /// those that are in the store already.
    pub(super) fn join(
        &self,
        origin: &str,
        images: &mut [Ready],
        made: &mut BTreeMap<Digest, Made>,
        scratch: &Path,
    ) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::new();
        for image in images {
            let diff_ids = &image.config.parsed.rootfs.diff_ids;
            let mut joined = Vec::with_capacity(diff_ids.len());
            let mut grown = 0;
            let mut chain: Option<Digest> = None;
            // Whoever removes layers meanwhile would take the archive from beside a file that is open already.
            let mut read = Vec::with_capacity(diff_ids.len());
            for (number, diff_id) in diff_ids.iter().enumerate() {
                if !made.contains_key(diff_id) {
                    let missing = || StoreError::Missing(self.layer_path(diff_id));
                    read.push(self.hold_layer(diff_id)?.ok_or_else(missing)?);
                }
                let above = match &chain {
                    None => diff_id.clone(),
                    Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
                };
                chain = Some(above.clone());
                let known = held_or_made(self, &above, made, number, &mut held)?;
                let needed = known
                    || match self.on_top(origin, diff_ids, &joined, made, scratch)? {
                        Some(new) => {
                            grown += growth(&new.path, &self.file_of(diff_id, made))?;
                            check_growth(origin, diff_id, grown)?;
                            made.insert(above.clone(), new);
                            true
                        }
                        None => false,
                    };
                joined.push(needed.then_some(above));
            }
            image.joined = joined;
        }
        Ok(held)
    }

    /// Makes the layer behind those that are joined already again on these; `None` when it is the same as without.
    fn on_top(
        &self,
        origin: &str,
        diff_ids: &[Digest],
        joined: &[Option<Digest>],
        made: &BTreeMap<Digest, Made>,
        scratch: &Path,
    ) -> Result<Option<Made>, StoreError> {
        let Some(diff_id) = diff_ids.get(joined.len()) else {
            return Ok(None);
        };
        let path = self.file_of(diff_id, made);
        let failed = || io_error("read", &path);
        let image = File::open(&path).map_err(failed())?;
        let copy = || image.try_clone().map_err(failed());
        // Nearly all end here.
        if !layer::may_depend(copy()?).map_err(failed())? {
            return Ok(None);
        }
        let open = |(plain, joined): (&Digest, &Option<Digest>)| {
            let path = self.file_of(joined.as_ref().unwrap_or(plain), made);
            File::open(&path).map_err(io_error("read", &path))
        };
        let files = diff_ids.iter().zip(joined).map(open);
        let below = Below::new(files.collect::<Result<Vec<_>, _>>()?).map_err(failed())?;
        if !layer::may_depend_on(copy()?, &below).map_err(failed())? {
            return Ok(None);
        }
        let new = scratch.join(format!("{}-joined.erofs", made.len()));
        let output = create_new(&new)?;
        layer::convert_onto(
            archive(&path, &image)?.ok_or_else(|| StoreError::NotSavable(diff_id.clone()))?,
            Compression::None,
            Some(diff_id),
            Onto::Layers(&below),
            &output,
            &Limits::default(),
            &mut |_| {},
        )
        .map_err(|source| StoreError::Layer {
            origin: origin.to_owned(),
            name: diff_id.to_string(),
            source: Box::new(source),
        })?;
        let noted = seal(&output, &new)?;
        let alone = std::fs::read_to_string(path.with_extension(beside::ROOT)).ok();
        if alone.and_then(|text| Noted::parse(&text)).as_ref() == Some(&noted) {
            std::fs::remove_file(&new).map_err(io_error("remove", &new))?;
            std::fs::remove_file(new.with_extension(beside::ROOT))
                .map_err(io_error("remove", &new))?;
            return Ok(None);
        }
        Ok(Some(Made {
            diff_id: diff_id.clone(),
            path: new,
        }))
    }

    /// A layer's file, wherever it is just now.
    fn file_of(&self, digest: &Digest, made: &BTreeMap<Digest, Made>) -> PathBuf {
        made.get(digest)
            .map_or_else(|| self.layer_path(digest), |made| made.path.clone())
    }
}

/// By how much a layer is longer than the same alone, which is what links brought into it.
fn growth(joined: &Path, alone: &Path) -> Result<u64, StoreError> {
    let length = |path: &Path| {
        let metadata = std::fs::metadata(path).map_err(io_error("read", path))?;
        Ok::<_, StoreError>(metadata.len())
    };
    Ok(length(joined)?.saturating_sub(length(alone)?))
}

/// One layer may have so many links to lower files, and all layers of an image together.
fn check_growth(origin: &str, diff_id: &Digest, grown: u64) -> Result<(), StoreError> {
    if grown <= MAX_LINKED_BYTES {
        return Ok(());
    }
    let what =
        "together with the layers below it, more bytes of lower files that they have links to";
    Err(StoreError::Layer {
        origin: origin.to_owned(),
        name: diff_id.to_string(),
        source: Box::new(LayerError::Limit {
            what: what.to_owned(),
            limit: MAX_LINKED_BYTES,
        }),
    })
}

/// Whether a layer on those below was made before: by an earlier image, or by this load.
fn held_or_made(
    store: &Store,
    chain: &Digest,
    made: &BTreeMap<Digest, Made>,
    number: usize,
    held: &mut Vec<Held>,
) -> Result<bool, StoreError> {
    // The lowest layer's chain ID is its diff ID.
    if number == 0 {
        return Ok(false);
    }
    if made.contains_key(chain) {
        return Ok(true);
    }
    let found = store.hold_layer(chain)?;
    let known = found.is_some();
    held.extend(found);
    Ok(known)
}

/// The archive of a layer, from what lies beside its file.
fn archive<'a>(path: &Path, image: &'a File) -> Result<Option<Box<dyn Read + 'a>>, StoreError> {
    let recipe = path.with_extension(beside::RECIPE);
    if let Ok(file) = File::open(&recipe) {
        let rebuilt = Rebuilt::new(file, image).map_err(io_error("read", &recipe))?;
        return Ok(Some(Box::new(rebuilt)));
    }
    let blob = path.with_extension(beside::BLOB);
    let Ok(file) = File::open(&blob) else {
        return Ok(None);
    };
    let (compression, input) = peek(file).map_err(io_error("read", &blob))?;
    let input = decompressed(input, compression).map_err(io_error("read", &blob))?;
    Ok(Some(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_links_bring_into_the_layers_of_an_image_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let of_length = |name: &str, length| {
            let path = directory.path().join(name);
            File::create(&path).unwrap().set_len(length).unwrap();
            path
        };
        let (small, large) = (of_length("small", 5), of_length("large", 12));
        assert_eq!(growth(&large, &small).unwrap(), 7);
        assert_eq!(growth(&small, &large).unwrap(), 0);
        let digest = Digest::of(b"x");
        assert!(check_growth("x", &digest, MAX_LINKED_BYTES).is_ok());
        assert!(check_growth("x", &digest, MAX_LINKED_BYTES + 1).is_err());
    }
}
