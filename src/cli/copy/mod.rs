//! `coracle cp`.

mod attributes;
mod pack;
mod unpack;

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufReader, BufWriter, Write},
    net::Shutdown,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use coracle_protocol::{Tool, tar};

use super::tool;
use crate::destination;
use coracle_engine::state::{
    Directories,
    container::{Container, Containers},
};
use coracle_terminal::output::{self, Stream};

/// Copy files between a container and the local file system
#[derive(clap::Args)]
#[command(
    override_usage = "coracle cp [OPTIONS] CONTAINER:PATH PATH|-\n       coracle cp [OPTIONS] PATH|- \
                      CONTAINER:PATH"
)]
pub(super) struct Arguments {
    /// Source; - for a tar archive on standard input
    from: String,
    /// Destination; - for a tar archive on standard output
    to: String,
    /// Archive mode: copy all UID/GID information, and set-user-ID bits
    #[arg(short, long)]
    archive: bool,
    /// Always follow the symbolic link in FROM
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output (there is none)
    #[arg(short, long)]
    quiet: bool,
}

/// Bytes that are copied at a time.
const BUFFER: usize = 64 << 10;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    /// A file, or a symbolic link that leads nowhere.
    File,
    /// A device, a pipe or a socket.
    Other,
}

/// Where a copy goes: a directory that exists, and the name in it; without a name the contents go
/// into the directory itself.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    directory: PathBuf,
    name: Option<OsString>,
}

impl Target {
    /// A path that is to be made.
    fn of(path: &Path) -> Result<Self> {
        let name = path.file_name();
        let parent = path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        Ok(Self {
            directory: parent.unwrap_or(Path::new(".")).into(),
            name: Some(
                name.with_context(|| format!("{} names no file", path.display()))?
                    .into(),
            ),
        })
    }
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let containers = Containers::new(&Directories::from_environment()?);
    match (split(&arguments.from), split(&arguments.to)) {
        (Some((name, path)), None) => from(&containers.find(name)?, &path, arguments),
        (None, Some((name, path))) => to(&containers.find(name)?, &path, arguments),
        (Some(_), Some(_)) => bail!("copying between containers is not supported"),
        (None, None) => bail!("must specify at least one container source: CONTAINER:PATH"),
    }
}

/// `CONTAINER:PATH`; what begins with a slash or a dot is a path of this machine.
fn split(text: &str) -> Option<(&str, String)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    let (name, path) = text.split_once(':')?;
    if name.contains('/') {
        return None;
    }
    Some((name, format!("/{}", path.trim_start_matches('/'))))
}

/// Whether a path says that it is a directory's.
fn names_directory(path: &str) -> bool {
    path.ends_with('/')
        || path.ends_with("/.")
        || path.ends_with("/..")
        || matches!(path, "." | "..")
}

/// A path without `/.` at its end, and whether it had it: then the contents are meant.
fn contents(path: &str) -> (&str, bool) {
    if path == "." {
        return (path, true);
    }
    match path.strip_suffix("/.") {
        Some("") => ("/", true),
        Some(inner) => (inner, true),
        None => (path, false),
    }
}

/// Docker's rules for what a copy is called.
fn target(from: &str, is_directory: bool, to: &str, there: There) -> Result<Target> {
    let (from, only_contents) = contents(from);
    let name = Path::new(from).file_name().map(OsStr::to_owned);
    let to_path = Path::new(to);
    let into = |name: Option<OsString>| Target {
        directory: to_path.into(),
        name,
    };
    match (is_directory, there) {
        (true, There::Directory) if only_contents => Ok(into(None)),
        (_, There::Directory) => Ok(into(name)),
        (true, There::File) => bail!("cannot copy a directory to {to}, which is a file"),
        (_, There::Other) => bail!(
            "cannot copy to {to}: it must be a directory or a regular file, and is a device, pipe or \
             socket; - as the target is a tar archive on standard output"
        ),
        (false, There::Nothing) if names_directory(to) => {
            bail!("cannot copy to {to}: there is no such directory")
        }
        (false, There::File) if names_directory(to) => {
            bail!("cannot copy to {to}: it is not a directory")
        }
        (_, There::Nothing | There::File) => Target::of(to_path),
    }
}

/// A path of this machine that ends in the name of what it leads to, unless its contents are meant: `..` has a name all the
/// same.
fn source_name(path: &str) -> io::Result<String> {
    let (_, only_contents) = contents(path);
    if only_contents || Path::new(path).file_name().is_some() {
        return Ok(path.to_owned());
    }
    Ok(fs::canonicalize(path)?.to_string_lossy().into_owned())
}

/// Devices and sockets below a directory stay where they are; as what is to be copied, they leave nothing to copy.
fn check_source(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let kind = metadata.file_type();
    if kind.is_block_device() || kind.is_char_device() || kind.is_socket() {
        bail!("cannot copy {}: it is a device or a socket", path.display());
    }
    Ok(())
}

fn here(path: &Path) -> There {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => There::Directory,
        Ok(metadata) if metadata.is_file() => There::File,
        Ok(_) => There::Other,
        Err(_) => There::Nothing,
    }
}

fn inside(container: &Container, path: &str) -> Result<There> {
    let word = tool::answer(container, Tool::Look { path: path.into() })?;
    let word = word.trim();
    Ok(match word.strip_prefix("link ").unwrap_or(word).trim() {
        "" | "link" => There::Nothing,
        "directory" => There::Directory,
        "file" => There::File,
        _ => There::Other,
    })
}

/// A path of a container without slashes at its end.
fn plain(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        plain => plain,
    }
}

fn from(container: &Container, path: &str, arguments: &Arguments) -> Result<()> {
    let (place, _) = contents(path);
    let place = plain(place);
    let word = tool::answer(container, Tool::Look { path: place.into() })?;
    let is_link = word.starts_with("link");
    let is_directory = word.trim().ends_with("directory");
    let names_directory = names_directory(path);
    match word.trim() {
        "" => bail!("there is no {place} in container {}", container.config.name),
        _ if names_directory && !is_directory => bail!("{path} is not a directory"),
        _ => {}
    }
    // What is a link stays one, unless its path says that it is a directory.
    let follow = arguments.follow_link || names_directory;
    let pack = Tool::Pack {
        path: place.into(),
        follow,
    };
    if arguments.to == "-" {
        let mut session = tool::begin(container, pack, false)?;
        io::copy(&mut session.output, &mut output::raw(Stream::Output))
            .context("cannot write the archive")?;
        return session.finish();
    }
    let is_directory = is_directory && (follow || !is_link);
    let to = Path::new(&arguments.to);
    let there = here(to);
    let mut target = target(path, is_directory, &arguments.to, there)?;
    if there != There::Directory {
        // What a link leads to is meant, as docker has it.
        target = Target::of(&destination::lead(to)?)?;
    }
    let session = tool::begin(container, pack, false)?;
    let input = BufReader::with_capacity(BUFFER, &session.output);
    unpack::read(input, &target, arguments.archive)?;
    session.finish()
}

fn to(container: &Container, path: &str, arguments: &Arguments) -> Result<()> {
    let there = inside(container, plain(path))?;
    let into = |directory: &Path| Tool::Unpack {
        path: directory.to_string_lossy().into_owned(),
        // What a link leads to is meant, as docker has it; a link in a directory is replaced.
        follow: there != There::Directory,
    };
    if arguments.from == "-" {
        if there != There::Directory {
            bail!("{path} is no directory of the container");
        }
        return send(container, into(Path::new(plain(path))), |out| {
            io::copy(&mut io::stdin().lock(), out).map(drop)
        });
    }
    let from = Path::new(&arguments.from);
    let metadata = match arguments.follow_link {
        true => fs::metadata(from),
        false => fs::symlink_metadata(from),
    };
    let metadata = metadata.with_context(|| format!("cannot find {}", from.display()))?;
    check_source(from, &metadata)?;
    let named = source_name(&arguments.from)?;
    let (place, _) = contents(&arguments.from);
    let target = target(&named, metadata.is_dir(), path, there)?;
    send(container, into(&target.directory), |out| {
        let name = target.name.as_deref();
        pack::write(Path::new(place), &metadata, name, arguments.archive, out)?;
        out.write_all(&tar::END)
    })
}

/// Has an archive unpacked in a container.
fn send(
    container: &Container,
    tool: Tool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut session = tool::begin(container, tool, true)?;
    let Some(input) = session.input.take() else {
        bail!("guest protocol error: a stream is missing");
    };
    let mut out = BufWriter::with_capacity(BUFFER, &input);
    let written = write(&mut out).and_then(|()| out.flush());
    drop(out);
    let _ = input.shutdown(Shutdown::Write);
    // What the guest says about it explains more than a pipe that broke.
    session.finish()?;
    written.context("cannot send the files")
}

/// Unpacks what a guest sent, as [`from`] does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn unpack(
    archive: impl io::Read,
    directory: &Path,
    name: Option<&str>,
    keep_owners: bool,
) -> Result<()> {
    let target = Target {
        directory: directory.into(),
        name: name.map(Into::into),
    };
    unpack::read(archive, &target, keep_owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(from: &str, is_directory: bool, to: &str, there: There) -> (String, Option<String>) {
        let target = target(from, is_directory, to, there).unwrap();
        let name = target.name.map(|name| name.into_string().unwrap());
        (target.directory.to_str().unwrap().into(), name)
    }

    #[test]
    fn copies_are_called_as_docker_calls_them() {
        use There::{Directory, File, Nothing, Other};
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(goes("/a/f", false, "x", Nothing), (".".into(), name("x")));
        assert_eq!(goes("/a/f", false, "d/x", File), ("d".into(), name("x")));
        assert_eq!(goes("/a/f", false, "d", Directory), ("d".into(), name("f")));
        assert_eq!(goes("/a", true, "d/x", Nothing), ("d".into(), name("x")));
        assert_eq!(goes("/a", true, "d", Directory), ("d".into(), name("a")));
        assert_eq!(goes("/a/.", true, "d", Directory), ("d".into(), None));
        assert!(target("/a", true, "x", File).is_err());
        assert_eq!(goes("/a", true, "d/", Nothing), (".".into(), name("d")));
        assert_eq!(goes("/a/.", true, "d", Nothing), (".".into(), name("d")));
        for to in ["x/", "x/."] {
            assert!(target("/a/f", false, to, Nothing).is_err());
            assert!(target("/a/f", false, to, File).is_err());
        }
        assert!(target("/a/f", false, "x", Other).is_err());
    }

    #[test]
    fn contents_are_meant_by_a_dot_at_the_end() {
        for (path, place) in [
            (".", "."),
            ("./.", "."),
            ("../.", ".."),
            ("a/.", "a"),
            ("/.", "/"),
        ] {
            assert_eq!(contents(path), (place, true));
            assert_eq!(source_name(path).unwrap(), path);
        }
        for path in ["a", "a/", "/a/b"] {
            assert_eq!(contents(path), (path, false));
            assert_eq!(source_name(path).unwrap(), path);
        }
        assert!(source_name("..").unwrap().starts_with('/'));
    }

    #[test]
    fn devices_and_sockets_are_not_copied_by_name() {
        use std::os::unix::net::UnixListener;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let check = |path: &Path| check_source(path, &fs::symlink_metadata(path).unwrap());
        assert!(check(Path::new("/dev/null")).is_err());
        assert!(check(&socket).is_err());
        assert!(check(directory.path()).is_ok());
    }

    #[test]
    fn containers_and_paths_are_told_apart() {
        assert_eq!(split("web:a/b"), Some(("web", "/a/b".into())));
        assert_eq!(split("web:/"), Some(("web", "/".into())));
        assert_eq!(split("./web:x"), None);
        assert_eq!(split("/web:x"), None);
        assert_eq!(split("-"), None);
    }
}
