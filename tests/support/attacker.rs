//! The attacker (`tests/hostile/`), in an image and in the place of a guest's init, and images made by hand.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{Detached, coracle, done, given, program};

/// The built program.
#[must_use]
pub fn attacker() -> PathBuf {
    given("CORACLE_TEST_SAMPLES").join("attacker")
}

/// Tells an attack that goes on in a container to end, and with it the container.
///
/// # Panics
/// When it cannot be told.
pub fn end_attack(container: &Detached) {
    let told = container.exec(&["/attacker", "over"]);
    // The container may be gone before the program that told it, which is killed then.
    let is_told = [0, 137].contains(&told.code) && told.stdout.is_empty();
    assert!(is_told, "{told:?}");
}

/// The image that holds it as `/attacker`, and nothing else that runs; loaded once.
pub fn attacker_image() -> &'static str {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| Image::new().load("attacker", &json!({})));
    "attacker"
}

/// An image that is made by hand: a root with the attacker, and a configuration.
#[derive(Debug)]
pub struct Image {
    directory: TempDir,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// A root with `/attacker`, `/tmp` and a user.
    ///
    /// # Panics
    /// When there is no space.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let own = Self { directory };
        for name in ["tmp", "etc"] {
            fs::create_dir_all(own.root().join(name)).expect("a directory can be made");
        }
        let open = Permissions::from_mode(0o1777);
        fs::set_permissions(own.root().join("tmp"), open).expect("a mode can be set");
        let passwd = "root:x:0:0:root:/:/none\n";
        fs::write(own.root().join("etc/passwd"), passwd).expect("there is space");
        let place = own.root().join("attacker");
        fs::copy(attacker(), place).expect("make e2e has built the attacker");
        own
    }

    /// The root, to put files into.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Runs a script in the root.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn with(self, script: &str) -> Self {
        let mut bash = Command::new("bash");
        let status = bash
            .args(["-euc", script])
            .current_dir(self.root())
            .status();
        assert!(status.expect("bash is everywhere").success(), "{script}");
        self
    }

    /// Loads it under a name, with fields of its configuration.
    ///
    /// # Panics
    /// When it is refused.
    pub fn load(&self, name: &str, config: &Value) {
        let layout = self.layout(config);
        let layout = layout.to_str().expect("a plain path");
        let _ = done(&mut coracle(["load", "-q", "-t", name, "-i", layout])).expect(0);
    }

    /// Writes an OCI image layout.
    fn layout(&self, config: &Value) -> PathBuf {
        let layout = self.directory.path().join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).expect("a directory can be made");
        let mut tar = Command::new("tar");
        let owner = ["--numeric-owner", "--owner=0", "--group=0", "-cf", "-", "."];
        let packed = tar.arg("-C").arg(self.root()).args(owner).output();
        let packed = packed.expect("tar is everywhere");
        assert!(packed.status.success(), "{packed:?}");
        let layer = blob(&layout, &packed.stdout);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let mut config = blob(&layout, config.to_string().as_bytes());
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let mut layer = layer;
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let mut manifest = blob(&layout, manifest.to_string().as_bytes());
        manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.join("index.json"), index.to_string()).expect("there is space");
        let version = "{\"imageLayoutVersion\":\"1.0.0\"}";
        fs::write(layout.join("oci-layout"), version).expect("there is space");
        layout
    }
}

/// Puts a blob into a layout; what describes it.
fn blob(layout: &Path, content: &[u8]) -> Value {
    let digest = Sha256::digest(content);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(layout.join("blobs/sha256").join(&digest), content).expect("there is space");
    json!({"digest": format!("sha256:{digest}"), "size": content.len()})
}

/// Coracle's programs with an init that attacks who started it; they use the suite's state.
#[derive(Debug)]
pub struct Rogue {
    directory: TempDir,
}

impl Rogue {
    /// With this attack of the attacker's `guest/`.
    ///
    /// # Panics
    /// When there is no space.
    #[must_use]
    pub fn new(attack: &str) -> Self {
        let home = given("CORACLE_TEST_HOME");
        let directory = tempfile::Builder::new().prefix("rogue").tempdir_in(home);
        let own = Self {
            directory: directory.expect("a temporary directory can be made"),
        };
        // By another process: a child that another test is just starting would have this one's descriptor for
        // writing, and the program could not be executed.
        let mut copy = Command::new("cp");
        copy.args(["coracle", "coracle-keeper", "coracle-vmm"].map(program));
        let copied = copy.arg(own.directory.path()).status();
        assert!(copied.expect("cp is everywhere").success());
        let init = own.path("coracle-init");
        fs::copy(attacker(), &init).expect("make e2e has built the attacker");
        let named = File::options().append(true).open(&init);
        let named = named.and_then(|mut file| write!(file, "\n#attack {attack}\n"));
        named.expect("there is space");
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `coracle` of it, standard input closed. What it makes again in the cache goes with it.
    #[must_use]
    pub fn coracle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("coracle"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("XDG_CACHE_HOME", self.path("cache"));
        command
    }
}

/// Checks lines `name: outcome` against a table of what is right, in which `|` parts what is equally so.
///
/// # Panics
/// When an outcome is another one, or a line is missing or has no place in the table.
pub fn outcomes(text: &str, right: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    let mut lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .collect();
    for (name, outcome) in right {
        let Some(index) = lines.iter().position(|(tried, _)| tried == name) else {
            wrong.push(format!("{name}: was not tried"));
            continue;
        };
        let (_, seen) = lines.remove(index);
        if !outcome.split('|').any(|one| one == seen.trim()) {
            wrong.push(format!("{name}: {seen}, and right is {outcome}"));
        }
    }
    wrong.extend(
        lines
            .iter()
            .map(|(name, seen)| format!("{name}: {seen}, which no table has")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a text has something that a terminal would obey: every control but the end of a line.
#[must_use]
pub fn obeyed(text: &str) -> bool {
    text.chars()
        .any(|letter| letter.is_control() && letter != '\n')
}

/// A file of zeros that takes no space, to read from.
///
/// # Errors
/// When there is none to be had.
pub fn zeros(length: u64) -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_len(length)?;
    Ok(file)
}
