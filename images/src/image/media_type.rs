//! The media types that are known, in OCI's and in docker's spelling.

/// Compression of a layer's tar archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Plain tar.
    Tar,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What a descriptor with one of the document media types points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// An image manifest.
    Manifest,
    /// An index, docker's "manifest list".
    Index,
}

/// A known media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// Manifest or index.
    Document(DocumentKind),
    /// Image configuration.
    Config,
    /// A layer.
    Layer(LayerKind),
}

/// Spelling and meaning (image specification, "OCI Image Media Types", with the docker types that
/// it calls compatible).
const KNOWN: &[(&str, MediaType)] = &[
    (
        "application/vnd.oci.image.index.v1+json",
        MediaType::Document(DocumentKind::Index),
    ),
    (
        "application/vnd.oci.image.manifest.v1+json",
        MediaType::Document(DocumentKind::Manifest),
    ),
    (
        "application/vnd.oci.image.config.v1+json",
        MediaType::Config,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar",
        MediaType::Layer(LayerKind::Tar),
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        MediaType::Layer(LayerKind::Gzip),
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        MediaType::Layer(LayerKind::Zstd),
    ),
    // Deprecated in the specification, still in archives: layers that must not be pushed on.
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        MediaType::Layer(LayerKind::Tar),
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        MediaType::Layer(LayerKind::Gzip),
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        MediaType::Layer(LayerKind::Zstd),
    ),
    (
        "application/vnd.docker.distribution.manifest.list.v2+json",
        MediaType::Document(DocumentKind::Index),
    ),
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        MediaType::Document(DocumentKind::Manifest),
    ),
    (
        "application/vnd.docker.container.image.v1+json",
        MediaType::Config,
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        MediaType::Layer(LayerKind::Tar),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        MediaType::Layer(LayerKind::Gzip),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        MediaType::Layer(LayerKind::Zstd),
    ),
];

impl MediaType {
    /// The meaning of a spelling; parameters after a `;` are not part of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.split(';').next().unwrap_or(text).trim();
        KNOWN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, media_type)| *media_type)
    }
}
