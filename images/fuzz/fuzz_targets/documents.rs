//! Manifests, indexes and configurations, as registries and archives give them.
#![no_main]

use images::digest::Digest;
use images::image::{ImageConfig, Index, Manifest, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let digest = Digest::of(bytes);
    let platform = Platform::of_this_machine();
    if let Ok(manifest) = Manifest::parse(&digest, bytes) {
        for layer in &manifest.layers {
            drop(layer.layer_kind());
        }
    }
    if let Ok(index) = Index::parse("index", bytes)
        && let Ok(chosen) = platform.select("index", &index.manifests)
    {
        assert!(index.manifests.contains(chosen));
        drop(chosen.document_kind());
    }
    if let Ok(config) = ImageConfig::parse("configuration", bytes) {
        drop(platform.check(&config));
        // What `inspect` shows and a record of the store keeps.
        serde_json::to_vec(&config.config).expect("a configuration has only string keys");
    }
});
