//! Values that only flags of 'run' and 'create' take.

use clap::ValueEnum;

use coracle_engine::state::container::Restart;

/// `--log-driver`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogDriver {
    Local,
    None,
}

/// `--restart`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RestartPolicy(pub(super) Restart);

impl std::str::FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "invalid restart policy {text:?}: use no, on-failure[:MAX-RETRIES], always, or unless-stopped"
            )
        };
        Ok(Self(match text.split_once(':') {
            None => match text {
                "no" => Restart::No,
                "on-failure" => Restart::OnFailure(0),
                "always" => Restart::Always,
                "unless-stopped" => Restart::UnlessStopped,
                _ => return Err(wrong()),
            },
            Some(("on-failure", most)) => Restart::OnFailure(most.parse().map_err(|_| wrong())?),
            Some(_) => return Err(wrong()),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Namespace {
    Host,
    Private,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SecurityOption {
    NoNewPrivileges,
    SeccompUnconfined,
}

impl std::str::FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                Ok(Self::NoNewPrivileges)
            }
            "seccomp=unconfined" | "seccomp:unconfined" => Ok(Self::SeccompUnconfined),
            _ => Err(format!(
                "invalid security option {text:?}: use no-new-privileges or seccomp=unconfined"
            )),
        }
    }
}
