//! What a container's program is started with, from its image's configuration, for systems that are given
//! it in numbers.

use anyhow::{Result, bail};

use super::{Scene, texts};

/// A program that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// The program, and its arguments.
    pub(super) arguments: Vec<String>,
    /// Its environment, `NAME=VALUE` each; none where the image gives none.
    pub(super) environment: Vec<String>,
    /// Where it is started.
    pub(super) directory: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Process {
    /// This program, or the image's own.
    ///
    /// # Errors
    /// When the image wants a user by name.
    pub(super) fn new(scene: &Scene, program: &[String]) -> Result<Self> {
        let user = scene.config("User").as_str().unwrap_or_default();
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let number = |text: &str| match text {
            "" => Ok(0),
            text => text.parse::<u32>(),
        };
        let (Ok(uid), Ok(gid)) = (number(uid), number(gid)) else {
            bail!("the image's user {user:?} is a name, which nothing looks up here");
        };
        let directory = scene.config("WorkingDir").as_str().unwrap_or_default();
        let arguments = match program {
            [] => scene.program_of_image(),
            program => program.to_vec(),
        };
        Ok(Self {
            arguments,
            environment: texts(scene.config("Env")),
            directory: if directory.is_empty() { "/" } else { directory }.into(),
            uid,
            gid,
        })
    }
}
