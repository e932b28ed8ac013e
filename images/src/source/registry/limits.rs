//! Bounds on what a registry may send and on how long it may take.

use std::time::Duration;

/// Attempts of one request that fails for a reason that may pass: a broken connection, 429, 5xx.
pub(super) const MAX_ATTEMPTS: u32 = 5;
/// Attempts of the same of a mirror: the next mirror, or the registry itself, is a better second one.
pub(super) const MIRROR_ATTEMPTS: u32 = 1;
/// Bytes that a mirror has to bring within the time that a silent server has ([`STALL`]), lest one that drips be
/// listened to for days when the registry itself is quick: 64 KiB a minute, less than any line that is in use.
pub(super) const MIRROR_PACE: u64 = 64 << 10;
/// Redirects followed for one request: registries use one, to where their blobs are.
pub(super) const MAX_REDIRECTS: u32 = 5;
/// Authentications for one request: a token that has run out is replaced once.
pub(super) const MAX_AUTHENTICATIONS: u32 = 2;
/// Time between two attempts, doubled each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest time between two attempts; also the most that `Retry-After` is heeded, so that a
/// registry cannot make a command wait for hours.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Bytes after which a download that breaks has as many attempts again: one that never gets
/// further ends.
pub(super) const PROGRESS: u64 = 1 << 20;
/// Bytes of all headers of a response.
pub(super) const MAX_HEADERS: usize = 64 << 10;
/// Bytes of a token server's answer; tokens have some KiB.
pub(super) const MAX_TOKEN: u64 = 256 << 10;
/// Bytes of an error's body that are looked at.
pub(super) const MAX_ERROR: u64 = 16 << 10;
/// Characters of what a registry says that are shown.
pub(super) const MAX_MESSAGE: usize = 300;
/// Bytes of a list of tags, and tags of a repository.
pub(super) const MAX_TAGS_PAGE: u64 = 4 << 20;
/// Most tags that `pull --all-tags` takes.
pub(super) const MAX_TAGS: usize = 10_000;
/// Bytes of a file of settings, credentials or certificates, and of a credential helper's answer.
pub(super) const MAX_FILE: u64 = 4 << 20;
/// Certificates and keys in one `certs.d` directory.
pub(super) const MAX_CERTIFICATE_FILES: usize = 100;

/// Until a connection, with TLS, is there.
pub(super) const CONNECT: Duration = Duration::from_secs(15);
/// Until the headers of a response are there: a proxy registry fetches the image first.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(60);
/// Without any byte, at whatever place of a response.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// For the whole of a manifest, configuration or token, so that nobody can drip them.
pub(super) const DOCUMENT: Duration = Duration::from_secs(120);
