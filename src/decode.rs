//! Bytes to events: pure, total, without clock or I/O.

pub mod arp;
pub mod bfd;
pub mod bgp;
pub mod bmp;
pub mod checksum;
pub mod defrag;
pub mod dhcp4;
pub mod dhcp6;
pub mod frame;
pub mod framing;
pub mod mrt;
pub mod nd;
pub mod netlink;
pub mod tcp;

use crate::event::{Event, EventKind, Locator, SourceId, Timestamp};

/// When and where the bytes at hand were seen: becomes the head of each event decoded from them.
#[derive(Copy, Clone, Debug)]
pub struct Stamp {
    pub at: Timestamp,
    pub source: SourceId,
    pub locator: Locator,
}

impl Stamp {
    /// An event of this time and place.
    pub fn event(&self, kind: EventKind) -> Event {
        Event {
            at: self.at,
            origin_at: None,
            source: self.source,
            locator: self.locator,
            kind,
        }
    }
}

/// Where decoders put their events. By reference: hot decoders reuse one event and its buffers.
pub type Emit<'a> = &'a mut dyn FnMut(&Event);
