//! Limits on what a client may send. Whoever reaches the socket owns every container anyway; the
//! limits keep a broken client from taking the memory or the threads that others need.

use std::time::Duration;

/// Bytes of a request line and its headers together, as Go's server has it: some clients repeat a
/// container's whole configuration in the query.
pub const MAX_HEAD: usize = 1 << 20;

/// Header lines of a request. Clients send about ten.
pub const MAX_HEADERS: usize = 100;

/// Bytes of a JSON body. The largest seen are container configurations of some KiB; a hundred
/// labels of the largest size that a shell passes stay below.
pub const MAX_JSON: usize = 16 << 20;

/// Bytes of a chunk's size line, extensions included: nobody sends extensions.
pub const MAX_CHUNK_LINE: usize = 256;

/// Bytes of the trailers after a chunked body. They are read and dropped.
pub const MAX_TRAILERS: usize = 8 << 10;

/// Bytes of a body that a handler left unread, that are read so that the connection can be used
/// again. Beyond, closing it is cheaper.
pub const MAX_DRAIN: usize = 256 << 10;

/// Connections at a time; each takes a thread. A test suite that waits for a hundred containers,
/// with their streams, is well below.
pub const MAX_CONNECTIONS: usize = 1024;

/// Time for a request's head to arrive, once its first byte has: a client that sends a byte a minute
/// would hold a thread for a day.
pub const HEAD_TIME: Duration = Duration::from_secs(60);

/// Time between two pieces of a request's body.
pub const BODY_TIME: Duration = Duration::from_secs(120);

/// Time that an idle connection is kept for another request. Longer than any client's own: a
/// server that closes first races with the client's next request.
pub const KEEP_ALIVE_TIME: Duration = Duration::from_secs(600);

/// Time that a client may take to read the next piece of an ordinary answer. Streams (logs, attach)
/// wait for as long as their client lives, as a pipe does.
pub const WRITE_TIME: Duration = Duration::from_secs(120);
