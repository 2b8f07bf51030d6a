//! The control socket of a running service: one JSON object a line each way, over a unix socket that its group may use.
//!
//! A request names what to `do`; its answer is one line, except after `subscribe`, whose alerts follow as they become known. Clients are
//! few, their lines short, and who does not read is cut off: the engine never waits for a client.

pub mod bridge;
pub mod client;
pub mod protocol;
pub mod server;

/// Where a service listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/flapscope/flapscope.sock";
