//! Classic pcap: microseconds and nanoseconds, both byte orders, Kuznetzov's modified format, and the oldest versions.
//!
//! An own walker instead of a crate's: the record's bytes must stay in our window while the merge lends them out, and a corrupt
//! length must neither loop nor allocate.

use super::bytes::{Bytes, Order};
use super::packets::{Frame, Walked};
use crate::event::Timestamp;

/// Largest packet that Wireshark and libpcap believe (`WTAP_MAX_PACKET_SIZE_STANDARD`): frame counts shall agree with theirs.
pub const MAX_PACKET: u32 = 262_144;

/// Length of the file header.
pub const HEADER: usize = 24;

/// What the file header says.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Header {
    order: Order,
    nanoseconds: bool,
    /// Octets of a record header.
    record: usize,
    /// Captured and original length are the other way round: always before version 2.3, sometimes in it (libpcap, `sf-pcap.c`).
    swapped: Swapped,
    pub link_type: u16,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Swapped {
    No,
    Maybe,
    Yes,
}

impl Header {
    /// Of the first octets of a file. A file that ends inside its header is none.
    pub fn parse(head: &[u8]) -> Option<Header> {
        let (order, magic) = match Order::Little.u32(head, 0)? {
            magic @ (0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34) => (Order::Little, magic),
            other => (Order::Big, other.swap_bytes()),
        };
        let (nanoseconds, record) = match magic {
            0xa1b2_c3d4 => (false, 16),
            0xa1b2_3c4d => (true, 16),
            // Interface index, protocol, packet type and padding follow the lengths.
            0xa1b2_cd34 => (false, 24),
            _ => return None,
        };
        let swapped = match (order.u16(head, 4)?, order.u16(head, 6)?) {
            (0..=1, _) | (2, 0..=2) => Swapped::Yes,
            (2, 3) => Swapped::Maybe,
            _ => Swapped::No,
        };
        // The upper bits tell of a frame check sequence.
        let link_type = order.u32(head, 20)? as u16;
        Some(Header {
            order,
            nanoseconds,
            record,
            swapped,
            link_type,
        })
    }

    /// The next record.
    pub fn walk(&self, bytes: &mut Bytes) -> Walked {
        if !bytes.want(self.record) {
            return Walked::end_of(bytes, "a record header");
        }
        let data = bytes.data();
        let field = |at| self.order.u32(data, at).unwrap_or_default();
        let (seconds, fraction) = (field(0), field(4));
        let (mut captured, mut original) = (field(8), field(12));
        let swap = match self.swapped {
            Swapped::No => false,
            Swapped::Maybe => captured > original,
            Swapped::Yes => true,
        };
        if swap {
            std::mem::swap(&mut captured, &mut original);
        }
        if captured > MAX_PACKET {
            return Walked::Damaged(format!("a packet claims {captured} octets"));
        }
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let length = captured as usize;
        if !bytes.want(self.record + length) {
            return Walked::end_of(bytes, "a packet");
        }
        Walked::Frame(Frame {
            source: Some(0),
            link_type: self.link_type,
            raw: Some(Timestamp::from_parts(
                i64::from(seconds),
                i64::from(fraction) * unit,
            )),
            start: self.record,
            length,
            wire_len: original,
            block: self.record + length,
            lost: 0,
        })
    }
}
