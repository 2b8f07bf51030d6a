//! From TCP octets in any cut to whole messages: BGP connections, BMP streams and RTR sessions.
//!
//! Owns where messages begin (also in mid-stream and after loss), what both ends negotiated, and nothing of what messages mean. A
//! message that lies whole in a segment is decoded where it is; only one that is cut is copied, into a buffer bounded by the longest
//! message. Loss becomes a [`Gap`](crate::event::loss::Gap), damage a [`Malformed`](crate::event::loss::Malformed).

mod bgp;
mod bmp;
mod rtr;
mod splitter;

pub use bgp::BgpConnection;
pub use bmp::{BmpStream, looks_like_bmp};
pub use rtr::{RtrStream, looks_like_rtr};

use super::Stamp;
use crate::event::loss::{Gap, GapKind};
use crate::event::{Event, EventKind, Timestamp, WireText};

/// The event that tells of octets missing from a stream since `from`.
fn tcp_gap(stamp: &Stamp, from: Option<Timestamp>, octets: Option<u64>, what: &str) -> Event {
    let detail = match octets {
        Some(octets) => format!("{octets} octets of {what} are missing from the capture"),
        None => format!("octets of {what} are missing from the capture"),
    };
    stamp.event(EventKind::Gap(Box::new(Gap {
        kind: GapKind::TcpLoss,
        from: from.unwrap_or(stamp.at),
        to: stamp.at,
        lost: octets,
        detail: WireText::from(detail.as_str()),
    })))
}

#[cfg(test)]
mod tests;
