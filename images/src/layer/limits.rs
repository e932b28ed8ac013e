//! What a layer may ask for. A layer comes from a stranger: each bound stops one kind of bomb.

/// Most entries of a layer, directories that are only implied by names included: more than twice
/// the largest layers that are in use, and a tree of about 100 MiB in memory (stops archives of
/// millions of empty files).
pub const MAX_ENTRIES: u64 = 1_000_000;

/// Most entries that [`Limits`] can allow: what the tree's numbers can tell apart.
pub(super) const MAX_NODES: u64 = 1 << 30;

/// Most bytes of all names of a layer, which are kept in memory to the end: for a million entries
/// twice what names have on average (stops archives of nothing but long names).
pub const MAX_NAME_BYTES: usize = 32 << 20;

/// Most uncompressed bytes of a layer: room for the largest machine-learning images (stops
/// decompression bombs).
pub const MAX_TAR_BYTES: u64 = 64 << 30;

/// Bytes that any compressed stream may become: what costs little. Pages of zeros take no space on the disk.
pub const FREE_GROWTH: u64 = 4 << 30;

/// How many times as many bytes as are compressed may come beyond [`FREE_GROWTH`]. Programs, texts and logs shrink to a
/// tenth, or a thirtieth where they repeat themselves; zeros, and nothing else that is worth a layer, to a thousandth
/// (stops layers of 20 MB that take 20 GB of time and disk).
pub const MAX_GROWTH: u64 = 100;

/// Most bytes of all files with holes, as a program sees them (stops files of terabytes of holes:
/// a few bytes in each of their chunks would make the image as large).
pub const MAX_SPARSE_BYTES: u64 = 64 << 30;

/// Most runs of data in one file with holes: 16 MiB of map.
pub const MAX_SPARSE_RUNS: usize = 1 << 20;

/// Longest path in bytes (Linux' `PATH_MAX`, without its terminator).
pub const MAX_PATH: usize = 4095;

/// Longest name of a file in bytes (Linux' `NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// Most symbolic links on the way to one entry: what containerd and umoci follow.
pub const MAX_LINKS: u32 = 255;

/// Most steps along names and links for all entries of a layer, of which each counts as often as there are lower layers to
/// look at: many more than an honest layer needs, of which only links and what lies below links take any, such as 60,000
/// of 10 components upon 12 layers (stops a million entries at the end of long chains).
pub const MAX_LINK_STEPS: u64 = 8 << 20;

/// Most steps of the look whether a layer depends on those below: one for each name in it, and for a directory one more for
/// each lower layer in which it is looked up. What waits meanwhile is bounded with it (stops a million directories upon a
/// hundred layers; a million files in 100,000 directories upon ten are looked at).
pub const MAX_LOOK_STEPS: u64 = 2 << 20;

/// Most bytes of files of lower layers that a layer has hard links to, each of which is copied (stops layers of nothing
/// but links to large files, one upon the other).
pub const MAX_LINKED_BYTES: u64 = 16 << 30;

/// Most bytes of one extended header: what Go's `archive/tar`, so docker, takes.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Most bytes of names and values of the extended attributes of one file: Linux' limit for one
/// value.
pub const MAX_XATTR_BYTES: usize = 64 << 10;

/// Most bytes of extended attributes of all directories, which are kept in memory to the end.
pub const MAX_DIRECTORY_XATTR_BYTES: u64 = 16 << 20;

/// Largest window of a zstd stream as a power of two, 128 MiB: what `zstd` itself takes without
/// being told to (stops streams that ask for gigabytes of memory).
pub const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Most memory of an xz decoder in KiB, 96 MiB: what `xz -9` needs, with its dictionary of 64 MiB (stops streams that ask
/// for gigabytes of memory).
pub const MAX_XZ_MEMORY: u32 = 96 << 10;

/// Bounds for one layer. The default is what the constants of this module say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most entries, implied directories included.
    pub entries: u64,
    /// Most bytes of names, of [`MAX_NAME_BYTES`] at most.
    pub name_bytes: usize,
    /// Most uncompressed bytes.
    pub tar_bytes: u64,
    /// Most bytes of all files with holes.
    pub sparse_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: MAX_ENTRIES,
            name_bytes: MAX_NAME_BYTES,
            tar_bytes: MAX_TAR_BYTES,
            sparse_bytes: MAX_SPARSE_BYTES,
        }
    }
}
