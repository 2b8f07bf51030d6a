//! Moves bytes: files and their containers, live sockets and captures, and the merge of all into one order.

pub mod bgp_listener;
pub mod bmp;
pub mod capture;
pub mod file;
pub mod live;
pub mod merge;
pub mod netlink;
pub mod paste;
pub mod record;
pub mod rtr;
pub mod station;
pub mod synthetic;
pub mod vrps;

use crate::event::loss::Gap;
use crate::event::{Locator, SourceId, SourceInfo, Timestamp};

/// What an input hands to `decode`, in the order of time.
#[derive(Debug)]
pub enum Item<'a> {
    /// A source is about to be used.
    Source(SourceInfo),
    /// Bytes as they came.
    Record(Record<'a>),
    /// Something was lost.
    Gap {
        at: Timestamp,
        source: SourceId,
        locator: Locator,
        gap: Gap,
    },
}

impl Item<'_> {
    /// Its time; a source has none.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Item::Source(_) => None,
            Item::Record(record) => Some(record.at),
            Item::Gap { at, .. } => Some(*at),
        }
    }
}

/// Bytes as they came, with time and origin.
#[derive(Copy, Clone, Debug)]
pub struct Record<'a> {
    pub at: Timestamp,
    pub source: SourceId,
    pub locator: Locator,
    pub format: Format,
    /// The bytes; for packets possibly cut by the snap length.
    pub bytes: &'a [u8],
    /// Length on the wire (packets), else the length of `bytes`.
    pub wire_len: u32,
}

/// What the bytes of a record are.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Format {
    /// A packet of this link type (`LINKTYPE_*`).
    Packet(u16),
    /// One or more whole netlink messages (rtmon, a socket).
    Netlink,
    /// One whole MRT record with its header.
    Mrt,
    /// The next octets of a BMP byte stream (any cut).
    BmpStream,
}
