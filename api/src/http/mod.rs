//! HTTP/1.1 as the Docker Engine API needs it: bodies with a length or in chunks, answers that begin
//! before they are complete, and connections that become raw streams. A thread for each connection.
//!
//! It knows nothing of containers.

mod body;
mod connection;
mod exchange;
mod head;
pub mod limits;
mod reply;
mod server;

pub use body::Body;
pub use connection::Connection;
pub use exchange::{Exchange, Hijacked, Streaming};
pub use head::{Framing, Head, Malformed, end_of_head};
pub use reply::Reply;
pub use server::{Server, has_hung_up, until_hangup};
