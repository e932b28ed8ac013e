//! Conversion of an archive, and what three readers that share nothing with the writer say about
//! the image: `fsck.erofs`, the library erofs-rs, and the kernel where it knows EROFS.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::OnceLock;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;
use images::digest::Digest;
use images::layer::{Compression, Converted, LayerError, Limits, convert};
use tempfile::TempDir;

use crate::archive::Tar;

/// Everything about a file but its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Type and permissions.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) links: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A file's data or a link's target.
    pub(crate) content: Vec<u8>,
}

/// An image by path, the root as an empty one.
pub(crate) struct Image {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
    pub(crate) converted: Converted,
    pub(crate) bytes: Vec<u8>,
}

impl Image {
    #[track_caller]
    pub(crate) fn get(&self, path: impl AsRef<[u8]>) -> &Node {
        let path = path.as_ref();
        let name = String::from_utf8_lossy(path);
        self.nodes
            .get(path)
            .unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub(crate) fn names(&self) -> Vec<&[u8]> {
        self.nodes.keys().map(Vec::as_slice).collect()
    }
}

/// Converts an archive that must be good, and reads the image in all ways that there are.
#[track_caller]
pub(crate) fn image(tar: &Tar) -> Image {
    image_of(&tar.bytes())
}

#[track_caller]
pub(crate) fn image_of(tar: &[u8]) -> Image {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("layer.erofs");
    let converted = convert_to(&path, tar).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(converted.diff_id, Digest::of(tar));
    assert_eq!(converted.tar_bytes, tar.len() as u64);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(converted.image_bytes, bytes.len() as u64);
    check_with_fsck(&path);
    let nodes = read_with_library(&bytes);
    if let Some(mount) = Mount::of(&path) {
        assert_eq!(
            read_directory(mount.path()),
            nodes,
            "the kernel reads it otherwise"
        );
    }
    Image {
        nodes,
        converted,
        bytes,
    }
}

/// The error's messages for an archive that must be refused; what it leaves is no image.
#[track_caller]
pub(crate) fn refused(tar: &[u8]) -> String {
    refused_within(tar, &Limits::default())
}

#[track_caller]
pub(crate) fn refused_within(tar: &[u8], limits: &Limits) -> String {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("layer.erofs");
    let output = create(&path);
    let error =
        convert(tar, Compression::None, None, &output, limits, &mut |_| {}).expect_err("a refusal");
    let first: Vec<u8> = fs::read(&path).unwrap().into_iter().take(4096).collect();
    assert!(first.iter().all(|byte| *byte == 0), "there is a superblock");
    messages(&error)
}

fn convert_to(path: &Path, tar: &[u8]) -> Result<Converted, LayerError> {
    let limits = Limits::default();
    convert(
        tar,
        Compression::None,
        None,
        &create(path),
        &limits,
        &mut |_| {},
    )
}

pub(crate) fn create(path: &Path) -> File {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

/// An error and its causes.
pub(crate) fn messages(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Runs the checker of Debian's erofs-utils, which also reads all data.
#[track_caller]
fn check_with_fsck(path: &Path) {
    // It goes into itself for each directory within a directory.
    let output = Command::new("prlimit")
        .args(["--stack=268435456", "fsck.erofs", "--extract"])
        .arg(path)
        .output()
        .expect("prlimit runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "fsck.erofs (apt-get install erofs-utils): {said}"
    );
}

pub(crate) fn read_with_library(bytes: &[u8]) -> BTreeMap<Vec<u8>, Node> {
    let image = EroFS::new(SliceImage::new(bytes)).unwrap();
    let root = image.super_block().root_inode_id();
    let mut nodes = BTreeMap::new();
    nodes.insert(Vec::new(), node(&image, image.get_inode(root).unwrap()));
    for entry in image.walk_dir("/").unwrap() {
        let entry = entry.unwrap();
        let path = entry.dir_entry.path();
        let path = path.as_bytes().strip_prefix(b"/").unwrap().to_vec();
        let advised = entry.dir_entry.file_type() as u8;
        assert_eq!(advised, entry_type(&entry.inode), "{path:?}");
        let known = nodes.insert(path, node(&image, entry.inode));
        assert_eq!(known, None, "a name is there twice");
    }
    nodes
}

/// Type of an inode as a directory has it (Linux, `include/linux/fs_types.h`).
fn entry_type(inode: &Inode) -> u8 {
    match inode.file_type().as_raw_mode() >> 12 {
        0o10 => 1,
        0o04 => 2,
        0o02 => 3,
        0o06 => 4,
        0o01 => 5,
        0o12 => 7,
        other => panic!("file type {other:o}"),
    }
}

fn node(image: &EroFS<SliceImage<'_>>, inode: Inode) -> Node {
    use std::os::unix::fs::PermissionsExt;
    let mut content = Vec::new();
    if inode.is_file() {
        let mut file = image.open_inode_file(inode).unwrap();
        file.read_to_end(&mut content).unwrap();
    } else if inode.is_symlink() {
        content = image.read_link_inode(inode).unwrap().into_vec();
    }
    Node {
        mode: inode.file_type().as_raw_mode() | inode.permissions().mode(),
        owner: (inode.uid(), inode.gid()),
        mtime: inode.modified_unix(),
        links: u64::from(inode.nlink()),
        inode: inode.id(),
        size: inode.data_size(),
        device: inode.device().unwrap_or_default(),
        xattrs: image.xattrs_inode(inode).unwrap(),
        content,
    }
}

/// What the kernel says of a directory, a mounted image or another one. Goes from directory to
/// directory, because a whole path may be longer than the kernel takes.
pub(crate) fn read_directory(root: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut nodes = BTreeMap::new();
    let top = Rc::new(File::open(root).unwrap());
    let mut waiting = vec![(top, OsString::from("."), Vec::new())];
    while let Some((parent, name, path)) = waiting.pop() {
        let place = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
        let place = place.join(name);
        if fs::symlink_metadata(&place).unwrap().is_dir() {
            let directory = Rc::new(File::open(&place).unwrap());
            for entry in fs::read_dir(&place).unwrap() {
                let name = entry.unwrap().file_name();
                let mut path = path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name.as_bytes());
                waiting.push((Rc::clone(&directory), name, path));
            }
        }
        nodes.insert(path, mounted_node(&place));
    }
    nodes
}

fn mounted_node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        fs::read(path).unwrap()
    } else if kind.is_symlink() {
        fs::read_link(path)
            .unwrap()
            .into_os_string()
            .as_bytes()
            .to_vec()
    } else {
        Vec::new()
    };
    let device = metadata.rdev();
    let special = kind.is_char_device() || kind.is_block_device();
    Node {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        mtime: (
            metadata.mtime(),
            u32::try_from(metadata.mtime_nsec()).unwrap(),
        ),
        links: metadata.nlink(),
        inode: metadata.ino(),
        size: metadata.size(),
        device: if special {
            (rustix::fs::major(device), rustix::fs::minor(device))
        } else {
            (0, 0)
        },
        xattrs: xattrs(path),
        content,
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    const LARGE: usize = 64 << 10;
    let mut names = vec![0; LARGE];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; LARGE];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]);
            value.truncate(length.unwrap());
            (name.to_vec(), value)
        })
        .collect()
}

/// An image that the kernel has mounted.
pub(crate) struct Mount(TempDir);

impl Mount {
    /// `None`, and a line about it, where this kernel or this user cannot mount EROFS.
    pub(crate) fn of(image: &Path) -> Option<Self> {
        static USABLE: OnceLock<bool> = OnceLock::new();
        let usable = *USABLE.get_or_init(|| {
            let known = fs::read_to_string("/proc/filesystems").unwrap();
            let known = known.lines().any(|line| line.ends_with("\terofs"));
            let usable = known && rustix::process::geteuid().is_root();
            if !usable {
                eprintln!("skipped: no mount of EROFS by this kernel and user");
            }
            usable
        });
        if !usable {
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "erofs", "-o", "ro,loop"])
            .args([image, place.path()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mount: {said}");
        Some(Self(place))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot unmount"
        );
    }
}
