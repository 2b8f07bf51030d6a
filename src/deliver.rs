//! Alerts that arrive: notices go through an append-only spool to any number of sinks, each with its own thread, queue and cursor.
//!
//! ```text
//!  post(notice, to) ──bounded──▶ clerk ──spool: append, fsync──▶ queue of each sink ──▶ thread of each sink ──▶ receiver ──▶ cursor
//! ```
//!
//! At least once, keyed by (id, rev): what was handed over and is in the spool survives a kill, a restart and days of outage; a receiver may
//! see a notice twice, never under another key. An undelivered older revision gives way to a newer one, except the first and the last
//! word (opened, resolved). Whoever posts never waits: the channel is bounded, and what finds no room is counted and said. These rooms
//! know notices and receivers, and nothing of what notices are about.

pub mod backoff;
pub mod clerk;
pub mod http;
pub mod notice;
mod open;
pub mod plan;
pub mod queue;
pub mod secret;
pub mod shape;
pub mod sink;
pub mod spool;
pub mod template;
mod worker;

pub use clerk::{Delivery, Settings};
pub use notice::{Notice, Stage, Urgency};
pub use plan::Plan;
pub use worker::{Record, Status};
