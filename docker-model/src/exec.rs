//! Commands beside a container's own: `GET /exec/{id}/json`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

/// What is known of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The container's ID.
    pub container: String,
    /// Command and arguments.
    pub args: Vec<String>,
    /// `user[:group]`; empty for the container's.
    pub user: String,
    /// It has a terminal.
    pub tty: bool,
    /// Everything that root can do.
    pub privileged: bool,
    /// Which of its streams are open.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Keys that end an attachment, as bytes.
    pub detach_keys: Vec<u8>,
    /// It runs.
    pub running: bool,
    /// Its exit code once it ended.
    pub exit_code: Option<i32>,
    /// Its number; 0 before it runs.
    pub pid: u32,
}

/// Docker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
    /// It runs.
    pub running: bool,
    /// `null` until it ended.
    pub exit_code: Option<i32>,
    /// What runs.
    pub process_config: ProcessConfig,
    /// Standard input is open.
    pub open_stdin: bool,
    /// Standard error is open.
    pub open_stderr: bool,
    /// Standard output is open.
    pub open_stdout: bool,
    /// Unused by docker.
    pub can_remove: bool,
    /// The container's ID.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// In base64, as Go writes bytes.
    pub detach_keys: String,
    /// Its number; 0 before it runs.
    pub pid: u32,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessConfig {
    /// It has a terminal.
    pub tty: bool,
    /// The command.
    pub entrypoint: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Everything that root can do.
    pub privileged: bool,
    /// Left out for the container's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}

/// Docker's answer to `inspect` of a command.
#[must_use]
pub fn inspect(exec: &Exec) -> Inspect {
    let (entrypoint, arguments) = match exec.args.split_first() {
        Some((first, others)) => (first.clone(), others.to_vec()),
        None => (String::new(), Vec::new()),
    };
    Inspect {
        id: exec.id.clone(),
        running: exec.running,
        exit_code: exec.exit_code,
        process_config: ProcessConfig {
            tty: exec.tty,
            entrypoint,
            arguments,
            privileged: exec.privileged,
            user: exec.user.clone(),
        },
        open_stdin: exec.stdin,
        open_stderr: exec.stderr,
        open_stdout: exec.stdout,
        can_remove: false,
        container_id: exec.container.clone(),
        detach_keys: STANDARD.encode(&exec.detach_keys),
        pid: exec.pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> Exec {
        Exec {
            id: "e".repeat(64),
            container: "c".repeat(64),
            args: ["sh", "-c", "echo hi"].map(Into::into).into(),
            stdout: true,
            stderr: true,
            exit_code: Some(0),
            pid: 14757,
            ..Exec::default()
        }
    }

    #[test]
    fn answer_is_dockerds() {
        let text = serde_json::to_string(&inspect(&exec())).unwrap();
        let expected = format!(
            r#"{{"ID":"{}","Running":false,"ExitCode":0,"ProcessConfig":{{"tty":false,"entrypoint":"sh","arguments":["-c","echo hi"],"privileged":false}},"OpenStdin":false,"OpenStderr":true,"OpenStdout":true,"CanRemove":false,"ContainerID":"{}","DetachKeys":"","Pid":14757}}"#,
            "e".repeat(64),
            "c".repeat(64)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn command_that_has_not_ended_has_no_exit_code() {
        let running = Exec {
            running: true,
            exit_code: None,
            user: "nobody".into(),
            ..exec()
        };
        let value = serde_json::to_value(inspect(&running)).unwrap();
        assert_eq!(value["ExitCode"], serde_json::Value::Null);
        assert_eq!(value["ProcessConfig"]["user"], "nobody");
    }

    #[test]
    fn keys_are_in_base64() {
        // Ctrl-P Ctrl-Q, docker's own.
        let keys = Exec {
            detach_keys: vec![16, 17],
            ..exec()
        };
        assert_eq!(inspect(&keys).detach_keys, "EBE=");
    }
}
