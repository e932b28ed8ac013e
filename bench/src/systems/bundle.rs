//! An OCI bundle of an image in Coracle's store: its layers mounted as they are, joined by overlayfs.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};
use serde_json::{Value, json};

use super::{Scene, process::Process, texts};
use crate::command;
use crate::warn;

/// A bundle; what is mounted for it is unmounted when it is dropped.
pub(super) struct Bundle {
    directory: PathBuf,
    /// The runtime's own configuration.
    spec: Value,
    mounted: Vec<PathBuf>,
}

impl Bundle {
    /// Mounts the image for a bundle that has a configuration already.
    ///
    /// # Errors
    /// When the kernel cannot mount EROFS or overlayfs.
    pub(super) fn new(scene: &Scene, directory: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(directory.join("config.json"))
            .context("the runtime has written no config.json")?;
        let mut own = Self {
            directory,
            spec: serde_json::from_str(&text)?,
            mounted: Vec::new(),
        };
        let mut lower = Vec::new();
        for (number, path) in scene.layers().iter().enumerate() {
            let place = own.make(&format!("layer-{number}"))?;
            mount_layer(path, &place)?;
            own.mounted.push(place.clone());
            lower.push(place.display().to_string());
        }
        lower.reverse();
        let (upper, work) = (own.make("upper")?, own.make("work")?);
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            upper.display(),
            work.display()
        );
        let root = own.make("rootfs")?;
        let options = CString::new(options)?;
        mount(
            "overlay",
            &root,
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .context("cannot join the image's layers by overlayfs")?;
        own.mounted.push(root);
        Ok(own)
    }

    fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The bundle's directory.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Writes the configuration for a program.
    ///
    /// # Errors
    /// When the image wants a user by name.
    pub(super) fn write(&self, scene: &Scene, program: &[String]) -> Result<()> {
        let mut given = Process::new(scene, program)?;
        let mut spec = self.spec.clone();
        let process = spec
            .get_mut("process")
            .context("config.json has no process")?;
        if given.environment.is_empty() {
            given.environment = texts(process.get("env").unwrap_or(&Value::Null));
        }
        for (name, value) in [
            ("terminal", json!(false)),
            ("args", json!(given.arguments)),
            ("env", json!(given.environment)),
            ("cwd", json!(given.directory)),
            ("user", json!({"uid": given.uid, "gid": given.gid})),
        ] {
            if let Some(process) = process.as_object_mut() {
                process.insert(name.into(), value);
            }
        }
        spec["root"] = json!({"path": "rootfs", "readonly": false});
        let path = self.directory.join("config.json");
        fs::write(&path, serde_json::to_vec(&spec)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for place in self.mounted.iter().rev() {
            // What still uses it lets go of it later.
            if let Err(error) = unmount(place, UnmountFlags::DETACH) {
                warn(&anyhow!("cannot unmount {}: {error}", place.display()));
            }
        }
    }
}

/// Mounts a layer's file; by a loop device where the kernel cannot mount files (before Linux 6.12).
fn mount_layer(file: &Path, place: &Path) -> Result<()> {
    match mount(file, place, "erofs", MountFlags::RDONLY, None) {
        Ok(()) => Ok(()),
        Err(Errno::NOTBLK) => {
            let mut loops = Command::new("mount");
            loops
                .args(["-t", "erofs", "-o", "ro,loop"])
                .arg(file)
                .arg(place);
            command::output(&mut loops).map(drop)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot mount layer {} as EROFS", file.display()))
        }
    }
}
