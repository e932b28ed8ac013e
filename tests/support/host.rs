//! Named hosts.

use crate::{Detached, Done, coracle, done, field_of, run};

/// A host; it is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
}

impl Host {
    /// Makes one with these flags.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn create(name: &'static str, flags: &[&str]) -> Self {
        let own = Self { name };
        let mut command = coracle(["host", "create"]);
        let made = done(command.args(flags).arg(name)).expect(0);
        assert_eq!(made.stdout, format!("{name}\n"));
        own
    }

    /// `coracle host COMMAND NAME`.
    #[must_use]
    pub fn does(&self, arguments: &[&str]) -> Done {
        let mut command = coracle(["host"]);
        done(command.args(arguments).arg(self.name))
    }

    /// `coracle run --host NAME …`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Done {
        run(["--host", self.name].iter().chain(arguments).copied())
    }

    /// A container in it that stays: flags, image and command.
    #[must_use]
    pub fn start(&self, name: &str, arguments: &[&str]) -> Detached {
        Detached::start(name, &[&["--host", self.name], arguments].concat())
    }

    /// One that does nothing until it is stopped.
    #[must_use]
    pub fn hold(&self, name: &str, flags: &[&str]) -> Detached {
        self.start(name, &[flags, &["busybox", "sleep", "1000"]].concat())
    }

    /// A field of `coracle host inspect`.
    #[must_use]
    pub fn field(&self, field: &str) -> String {
        field_of(field, |arguments| self.does(arguments))
    }

    /// The names of its containers.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("host={}", self.name);
        let format = ["ps", "-a", "--format", "{{.Names}}", "--filter", &filter];
        let list = done(&mut coracle(format)).expect(0).stdout;
        list.lines().map(str::to_owned).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.does(&["rm", "--force"]);
    }
}
