//! Pulling from Debian's docker-registry on loopback, filled by skopeo and curl, with and without
//! TLS and passwords, and through a front that goes wrong in all ways.

mod faults;
pub(crate) mod front;
mod killed;
mod login;
mod mirrors;
mod pull;
pub(crate) mod server;
mod sharing;
mod store;
mod tls;
mod tokens;
mod verified;

use std::{fs, path::Path, path::PathBuf, process::Command};

use coracle_tests::{Done, coracle, done};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A user with a home, a store and settings of their own.
pub(super) struct User {
    home: TempDir,
}

impl User {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path("data/coracle")
    }

    /// Writes a file below the home.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn settings(&self, settings: &Value) {
        self.write(".config/coracle/registries.json", &settings.to_string());
    }

    /// `coracle` as this user.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = coracle(arguments.iter().copied());
        command
            .env("HOME", self.home.path())
            .env("XDG_DATA_HOME", self.path("data"));
        // Kernels need not be built for each user.
        if let Some(home) =
            std::env::var_os("HOME").filter(|_| std::env::var_os("XDG_CACHE_HOME").is_none())
        {
            command.env("XDG_CACHE_HOME", Path::new(&home).join(".cache"));
        }
        for variable in ["XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"] {
            command.env_remove(variable);
        }
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command
                .env_remove(variable)
                .env_remove(variable.to_lowercase());
        }
        command
    }

    pub(super) fn coracle(&self, arguments: &[&str]) -> Done {
        done(&mut self.command(arguments))
    }

    pub(super) fn inspect(&self, name: &str) -> Value {
        let text = self.coracle(&["inspect", name]).expect(0).stdout;
        let value: Value = serde_json::from_str(&text).unwrap();
        value[0].clone()
    }

    /// Files in the store below a folder.
    pub(super) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store().join(folder));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Bytes that do not compress, the same each time.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// A layer of one file.
pub(super) struct Layer {
    pub(super) tar: Vec<u8>,
    pub(super) blob: Vec<u8>,
    pub(super) media_type: &'static str,
}

pub(super) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A plain tar archive as a layer.
pub(super) fn layer(name: &str, content: &[u8]) -> Layer {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(name), content).unwrap();
    let output = Command::new("tar")
        .args(["--owner=0", "--group=0", "--mtime=@1", "-cf", "-", name])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    Layer {
        blob: output.stdout.clone(),
        tar: output.stdout,
        media_type: TAR,
    }
}

/// The same layer, compressed.
pub(super) fn gzip(mut layer: Layer) -> Layer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    fs::write(&path, &layer.tar).unwrap();
    let output = Command::new("gzip")
        .args(["-nc"])
        .arg(&path)
        .output()
        .unwrap();
    layer.blob = output.stdout;
    layer.media_type = GZIP;
    layer
}

/// An image as its registry has it.
pub(super) struct Image {
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    pub(super) layers: Vec<Layer>,
}

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub(super) fn image(architecture: &str, layers: Vec<Layer>) -> Image {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(&layer.tar)).collect();
    let config = json!({
        "os": "linux", "architecture": architecture,
        "config": { "Cmd": ["/sh"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let (digest, size) = (sha256(&layer.blob), layer.blob.len());
            json!({ "mediaType": layer.media_type, "digest": digest, "size": size })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": sha256(&config), "size": config.len() },
        "layers": descriptors,
    });
    Image {
        config,
        manifest: manifest.to_string().into_bytes(),
        layers,
    }
}

/// Runs a command that has to succeed.
pub(super) fn tool(directory: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
    output.stdout
}
