//! Files between containers and this machine.
//!
//! They travel as tar archives. What comes from a container is hostile: it is unpacked below a directory that is held
//! open, and follows no link on the way (`unpack`).

mod attributes;
mod pack;
mod unpack;

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    net::Shutdown,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use contracts::guest::{Tool, tar};
use coracle_platform::destination;

use super::{
    Container,
    tool::{self, stream_is_missing},
};
use crate::{Error, ErrorKind, Kind, Result};

/// How files are copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Owners and set-user-ID bits are copied, too.
    pub archive: bool,
    /// Where the source is a symbolic link, what it leads to is copied.
    pub follow_link: bool,
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
        let Some(name) = name else {
            return invalid(format!("{} names no file", path.display()));
        };
        Ok(Self {
            directory: parent.unwrap_or(Path::new(".")).into(),
            name: Some(name.into()),
        })
    }
}

/// What the guest tells of a path in a container.
#[derive(Debug, Clone, Copy)]
struct Look {
    is_link: bool,
    there: There,
}

impl Container {
    /// Copies a file or directory of the container's to a path of this machine, by docker's rules for what the copy is
    /// called.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the container does not run, [`NotFound`](ErrorKind::NotFound) when
    /// there is nothing at the path, [`Invalid`](ErrorKind::Invalid) when it cannot be copied to that place.
    pub fn copy_out(&self, from: &str, to: &str, options: CopyOptions) -> Result<()> {
        let (pack, look) = self.pack(from, options)?;
        let follow = options.follow_link || names_directory(from);
        let is_directory = look.there == There::Directory && (follow || !look.is_link);
        let there = here(Path::new(to));
        let mut target = target(from, is_directory, to, there)?;
        if there != There::Directory {
            // What a link leads to is meant, as docker has it.
            target = Target::of(&destination::lead(Path::new(to))?)?;
        }
        let session = tool::begin(self, pack, false)?;
        let input = BufReader::with_capacity(BUFFER, &session.output);
        unpack::read(input, &target, options.archive)?;
        session.finish()
    }

    /// Writes a tar archive of a file or directory of the container's, whose names begin with that of the path. Nothing
    /// in the archive was checked.
    ///
    /// # Errors
    /// As [`copy_out`](Self::copy_out), or when the archive cannot be written.
    pub fn archive(&self, from: &str, options: CopyOptions, out: &mut dyn Write) -> Result<()> {
        let (pack, _) = self.pack(from, options)?;
        let mut session = tool::begin(self, pack, false)?;
        io::copy(&mut session.output, out).context("cannot write the archive")?;
        session.finish()
    }

    /// The request for an archive of a path, and what is at the path.
    fn pack(&self, from: &str, options: CopyOptions) -> Result<(Tool, Look)> {
        let (place, _) = contents(from);
        let place = plain(place);
        let look = self.look(place)?;
        let names_directory = names_directory(from);
        match look.there {
            There::Nothing if !look.is_link => {
                let words = format!("there is no {place} in container {}", self.name());
                return Err(Error::new(ErrorKind::NotFound, words));
            }
            There::Directory => {}
            _ if names_directory => return invalid(format!("{from} is not a directory")),
            _ => {}
        }
        let pack = Tool::Pack {
            path: place.into(),
            // What is a link stays one, unless its path says that it is a directory.
            follow: options.follow_link || names_directory,
        };
        Ok((pack, look))
    }

    /// Copies a file or directory of this machine to a path in the container, by docker's rules for what the copy is
    /// called.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the container does not run, [`NotFound`](ErrorKind::NotFound) when
    /// there is no such file, [`Invalid`](ErrorKind::Invalid) when it cannot be copied to that place.
    pub fn copy_in(&self, from: &str, to: &str, options: CopyOptions) -> Result<()> {
        let there = self.look(plain(to))?.there;
        let path = Path::new(from);
        let metadata = match options.follow_link {
            true => fs::metadata(path),
            false => fs::symlink_metadata(path),
        };
        let metadata = metadata
            .with_context(|| format!("cannot find {}", path.display()))
            .kind(ErrorKind::NotFound)?;
        check_source(path, &metadata)?;
        let named = source_name(from).with_context(|| format!("cannot find {from}"))?;
        let (place, _) = contents(from);
        let target = target(&named, metadata.is_dir(), to, there)?;
        self.send(&target.directory, there, |out| {
            let name = target.name.as_deref();
            pack::write(Path::new(place), &metadata, name, options.archive, out)?;
            out.write_all(&tar::END)
        })
    }

    /// Unpacks a tar archive, or part of one, into a directory of the container.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the container does not run, [`Invalid`](ErrorKind::Invalid) when there
    /// is no such directory.
    pub fn unarchive(&self, archive: &mut dyn Read, to: &str) -> Result<()> {
        let there = self.look(plain(to))?.there;
        if there != There::Directory {
            return invalid(format!("{to} is no directory of the container"));
        }
        self.send(Path::new(plain(to)), there, |out| {
            io::copy(archive, out).map(drop)
        })
    }

    fn look(&self, path: &str) -> Result<Look> {
        let word = tool::answer(self, Tool::Look { path: path.into() })?;
        Ok(Look::read(&word))
    }

    /// Has an archive unpacked in the container.
    fn send(
        &self,
        directory: &Path,
        there: There,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let tool = Tool::Unpack {
            path: directory.to_string_lossy().into_owned(),
            // What a link leads to is meant, as docker has it; a link in a directory is replaced.
            follow: there != There::Directory,
        };
        let mut session = tool::begin(self, tool, true)?;
        let Some(input) = session.input.take() else {
            return Err(stream_is_missing());
        };
        let mut out = BufWriter::with_capacity(BUFFER, &input);
        let written = write(&mut out).and_then(|()| out.flush());
        drop(out);
        let _ = input.shutdown(Shutdown::Write);
        // What the guest says about it explains more than a pipe that broke.
        session.finish()?;
        Ok(written.context("cannot send the files")?)
    }
}

impl Look {
    /// The guest's word for it.
    fn read(word: &str) -> Self {
        let word = word.trim();
        let (is_link, word) = match word.strip_prefix("link") {
            Some(rest) => (true, rest.trim()),
            None => (false, word),
        };
        let there = match word {
            "" => There::Nothing,
            "directory" => There::Directory,
            "file" => There::File,
            _ => There::Other,
        };
        Self { is_link, there }
    }
}

fn invalid<T>(words: String) -> Result<T> {
    Err(Error::new(ErrorKind::Invalid, words))
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
        (true, There::File) => invalid(format!("cannot copy a directory to {to}, which is a file")),
        (_, There::Other) => invalid(format!(
            "cannot copy to {to}: it must be a directory or a regular file, and is a device, pipe or \
             socket; - as the target is a tar archive on standard output"
        )),
        (false, There::Nothing) if names_directory(to) => {
            invalid(format!("cannot copy to {to}: there is no such directory"))
        }
        (false, There::File) if names_directory(to) => {
            invalid(format!("cannot copy to {to}: it is not a directory"))
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
        return invalid(format!(
            "cannot copy {}: it is a device or a socket",
            path.display()
        ));
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

/// A path of a container without slashes at its end.
fn plain(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        plain => plain,
    }
}

/// Unpacks what a guest sent, as [`Container::copy_out`] does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn unpack(
    archive: impl Read,
    directory: &Path,
    name: Option<&str>,
    keep_owners: bool,
) -> Result<()> {
    let target = Target {
        directory: directory.into(),
        name: name.map(Into::into),
    };
    Ok(unpack::read(archive, &target, keep_owners)?)
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
}
