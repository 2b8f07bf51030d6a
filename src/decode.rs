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

use crate::event::frame::Frame;
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

/// What the layers below said about a UDP payload.
#[derive(Copy, Clone, Debug, Default)]
pub struct UdpContext {
    /// The frame that carried it (its last fragment, when it came in fragments).
    pub frame: Frame,
    pub src_port: u16,
    pub dst_port: u16,
    /// It was put together from IP fragments.
    pub fragmented: bool,
    /// Whether the checksum is right; `None` when that cannot be judged (absent, cut frame, unfinished offload).
    pub checksum: Option<bool>,
    /// The UDP length field disagrees with the IP payload.
    pub length_mismatch: bool,
    /// The capture's snap length cut the payload.
    pub truncated: bool,
}

/// What the layers below said about an ICMPv6 message.
#[derive(Copy, Clone, Debug, Default)]
pub struct NdContext {
    /// The frame that carried it.
    pub frame: Frame,
    /// It came in fragments (atomic ones included) or behind extension headers (RFC 6980, RFC 7113).
    pub evasive: bool,
    /// Whether the checksum is right; `None` when that cannot be judged (cut frame, unfinished offload).
    pub checksum: Option<bool>,
    /// The capture's snap length cut the message.
    pub truncated: bool,
}
