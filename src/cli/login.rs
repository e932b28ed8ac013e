//! `coracle login` and `coracle logout`.

use std::io::{self, BufRead, IsTerminal, Read};

use anyhow::{Context, Result, bail};
use images::{
    reference::DEFAULT_DOMAIN,
    source::registry::{Credential, Settings, check_login, forget, keep, own_credentials},
};
use rustix::termios::{self, LocalModes, OptionalActions};

use coracle_terminal::output::{self, Stream};
use coracle_terminal::report;

/// Log in to a registry; credentials are stored where docker stores them
#[derive(clap::Args)]
pub(super) struct Login {
    /// Host name and port [default: docker.io]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; visible to other users of this machine, prefer --password-stdin
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Require HTTPS and verify certificates when contacting the registry
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

/// Log out from a registry
#[derive(clap::Args)]
pub(super) struct Logout {
    /// Host name and port [default: docker.io]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// Longest password in bytes; identity tokens have some KiB.
const MAX_PASSWORD: u64 = 64 << 10;

pub(super) fn login(arguments: &Login) -> Result<()> {
    let domain = domain(arguments.server.as_deref())?;
    let file = own_credentials()
        .context("neither DOCKER_CONFIG nor HOME says where credentials are kept")?;
    if arguments.password.is_some() {
        report::warn("using --password via the command line is insecure; use --password-stdin");
    }
    let user = match &arguments.username {
        Some(user) => user.clone(),
        None => ask("Username: ", true)?,
    };
    let password = match &arguments.password {
        Some(password) => password.clone(),
        None if arguments.password_stdin => read_password()?,
        None => ask("Password: ", false)?,
    };
    if user.is_empty() || password.is_empty() {
        bail!("user name and password must not be empty");
    }
    if user.contains(':') {
        bail!("the user name {user:?} has a colon, which ends a name here");
    }
    let credential = Credential::Password {
        user: user.clone(),
        password: password.clone(),
    };
    let settings = Settings::from_environment(arguments.tls_verify)?;
    check_login(&domain, settings, Some(credential))?;
    if keep(&file, &domain, &user, &password)? {
        report::warn(&format!(
            "the password is kept unencrypted in {}; a credential helper (\"credsStore\" in it) keeps \
             it better",
            file.display()
        ));
    }
    outln!("Login Succeeded");
    Ok(())
}

pub(super) fn logout(arguments: &Logout) -> Result<()> {
    let domain = domain(arguments.server.as_deref())?;
    let file = own_credentials()
        .context("neither DOCKER_CONFIG nor HOME says where credentials are kept")?;
    if forget(&file, &domain)? {
        outln!("Removing login credentials for {domain}");
    } else {
        outln!("Not logged in to {domain}");
    }
    Ok(())
}

/// The registry that an argument means, which may be an address as in docker's documentation.
fn domain(server: Option<&str>) -> Result<String> {
    let Some(server) = server.filter(|server| !server.is_empty()) else {
        return Ok(DEFAULT_DOMAIN.to_owned());
    };
    let rest = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"));
    let host = rest.unwrap_or(server).split('/').next().unwrap_or_default();
    match host {
        "" => bail!("{server:?} names no registry; give HOST or HOST:PORT"),
        "index.docker.io" | "registry-1.docker.io" => Ok(DEFAULT_DOMAIN.to_owned()),
        host if host.contains(['@', ' ']) => bail!("{server:?} is not HOST or HOST:PORT"),
        host => Ok(host.to_owned()),
    }
}

fn read_password() -> Result<String> {
    let mut text = String::new();
    io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks at the terminal, where what is typed is shown or not.
fn ask(question: &str, shown: bool) -> Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "cannot prompt: standard input is not a terminal; use --username and --password-stdin"
        );
    }
    output::write(Stream::Error, question);
    output::flush(Stream::Error);
    let before = termios::tcgetattr(&stdin).context("cannot read the terminal's settings")?;
    if !shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&stdin, OptionalActions::Flush, &silent)
            .context("cannot turn off the terminal's echo")?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if !shown {
        termios::tcsetattr(&stdin, OptionalActions::Flush, &before)
            .context("cannot restore the terminal")?;
        output::write(Stream::Error, "\n");
    }
    read.context("cannot read from the terminal")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
