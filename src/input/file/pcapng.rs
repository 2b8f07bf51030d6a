//! pcapng: sections, interfaces with their own link type, resolution and offset, and the statistics that tell of drops.
//!
//! An own walker for the reason given in `pcap`. Section lengths are not believed: sections are found by walking blocks.

use super::bytes::{Bytes, MAX_RECORD, Order};
use super::packets::{Frame, Walked};
use super::pcap::MAX_PACKET;
use crate::event::Timestamp;
use crate::input::record::note;

/// Interfaces of one section that are kept. Real captures have tens; packets of more are counted and not decoded.
const MAX_INTERFACES: usize = 4096;

/// Interfaces of all sections of one file, for the same reason.
const MAX_SOURCES: u32 = 1 << 16;

/// Options read of one block: the standard defines about a dozen for each type.
const MAX_OPTIONS: usize = 64;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// One interface description.
struct Interface {
    /// Index among the sources of the file.
    source: u32,
    link_type: u16,
    snap_len: u32,
    resolution: Resolution,
    /// Seconds to add (`if_tsoffset`).
    offset: i64,
    /// Drop counter of the statistics before.
    dropped: u64,
    /// Their time.
    counted_at: Option<Timestamp>,
}

/// `if_tsresol`: what one unit of a stamp is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Resolution {
    /// 10^-n with n ≤ 9: nanoseconds in a unit.
    Times(u64),
    /// 10^-n with n > 9: units in a nanosecond.
    Parts(u64),
    /// 2^-n seconds.
    Binary(u8),
}

impl Resolution {
    fn of(octet: u8) -> Resolution {
        match octet {
            0..=9 => Resolution::Times(10u64.pow(9 - u32::from(octet))),
            10..=28 => Resolution::Parts(10u64.pow(u32::from(octet) - 9)),
            29..=127 => Resolution::Parts(u64::MAX),
            _ => Resolution::Binary(octet & 0x7f),
        }
    }

    fn nanoseconds(self, units: u64) -> i64 {
        let nanoseconds = match self {
            Resolution::Times(factor) => units.saturating_mul(factor),
            Resolution::Parts(parts) => units / parts,
            Resolution::Binary(shift) => {
                // 64 + 30 bits: no overflow.
                let exact = (u128::from(units) * 1_000_000_000)
                    .checked_shr(u32::from(shift))
                    .unwrap_or(0);
                u64::try_from(exact).unwrap_or(u64::MAX)
            }
        };
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    }
}

/// The walker's state: the current section. The default stands before the first one.
#[derive(Default)]
pub struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
    /// Sources of all sections so far.
    sources: u32,
    pub sections: u32,
    /// The current section is a recording of ours: its frames are in the order in which the live engine took them, and its comments
    /// say what that engine was told besides.
    pub is_recording: bool,
}

/// Whether a section header is there: its type and a byte-order magic.
pub fn is_section_header(head: &[u8]) -> bool {
    head.starts_with(&SECTION.to_be_bytes()) && byte_order(head).is_some()
}

/// The host that made a recording of ours, as its first section says: the head of the file is enough.
pub fn recorded_on(head: &[u8]) -> Option<String> {
    let order = byte_order(head).filter(|_| is_section_header(head))?;
    let total = order.u32(head, 4)? as usize;
    let body = head.get(8 + 16..total.checked_sub(4)?)?;
    let text = |wanted: u16| {
        let mut all = options(order, body).filter(move |(code, _)| *code == wanted);
        all.find_map(|(_, text)| str::from_utf8(text).ok())
    };
    text(4).filter(|application| application.starts_with(note::APPLICATION))?;
    note::parse_host(text(1)?).map(str::to_owned)
}

fn byte_order(block: &[u8]) -> Option<Order> {
    match Order::Big.u32(block, 8)? {
        0x1a2b_3c4d => Some(Order::Big),
        0x4d3c_2b1a => Some(Order::Little),
        _ => None,
    }
}

impl PcapNg {
    /// The next block.
    pub fn walk(&mut self, bytes: &mut Bytes) -> Walked {
        if !bytes.want(12) {
            return Walked::end_of(bytes, "a block header");
        }
        let head = bytes.data();
        let is_section = head.starts_with(&SECTION.to_be_bytes());
        if is_section {
            match byte_order(head) {
                Some(order) => self.order = order,
                None => return Walked::Damaged("a section without byte-order magic".into()),
            }
        }
        let kind = self.order.u32(head, 0).unwrap_or_default();
        let total = self.order.u32(head, 4).unwrap_or_default() as usize;
        if !(12..=MAX_RECORD).contains(&total) || !total.is_multiple_of(4) {
            return Walked::Damaged(format!("a block claims {total} octets"));
        }
        if !bytes.want(total) {
            return Walked::end_of(bytes, "a block");
        }
        let block = bytes.data().get(..total).unwrap_or_default();
        if self.order.u32(block, total - 4) != Some(total as u32) {
            return Walked::Damaged("a block's two lengths differ".into());
        }
        let body = block.get(8..total - 4).unwrap_or_default();
        if is_section {
            self.interfaces.clear();
            self.sections = self.sections.saturating_add(1);
            // Byte-order magic, version, length of the section.
            let application = options(self.order, body.get(16..).unwrap_or_default())
                .find(|(code, _)| *code == 4)
                .map(|(_, text)| text);
            self.is_recording =
                application.is_some_and(|text| text.starts_with(note::APPLICATION.as_bytes()));
            return Walked::Skip { block: total };
        }
        match kind {
            INTERFACE => self.interface(body, total),
            ENHANCED_PACKET => self.enhanced(body, total),
            OBSOLETE_PACKET => self.obsolete(body, total),
            SIMPLE_PACKET => self.simple(body, total),
            STATISTICS => self.statistics(body, total),
            // Custom blocks (both kinds), systemd journal entries and sysdig events: frames to Wireshark 4, nothing to us.
            0xbad | 0x4000_0bad | 9 | 0x204 | 0x208 | 0x216 | 0x221 => {
                Walked::Foreign { block: total }
            }
            _ => Walked::Skip { block: total },
        }
    }

    fn interface(&mut self, body: &[u8], block: usize) -> Walked {
        let (Some(link_type), Some(snap_len)) = (self.order.u16(body, 0), self.order.u32(body, 4))
        else {
            return Walked::Damaged("an interface description is too short".into());
        };
        if self.interfaces.len() >= MAX_INTERFACES || self.sources >= MAX_SOURCES {
            return Walked::Skip { block };
        }
        let (mut name, mut resolution, mut offset, mut kind) = (None, Resolution::of(6), 0, None);
        for (code, value) in options(self.order, body.get(8..).unwrap_or_default()) {
            match (code, value) {
                (1, text) if self.is_recording => {
                    kind = str::from_utf8(text).ok().and_then(note::parse_source);
                }
                (2, text) => name = Some(String::from_utf8_lossy(text).into_owned()),
                (9, [octet, ..]) => resolution = Resolution::of(*octet),
                (14, value) => offset = self.order.u64(value, 0).unwrap_or_default() as i64,
                _ => {}
            }
        }
        if let Some(kind) = kind {
            name = note::parse_interface(kind, name);
        }
        let source = self.sources;
        self.sources += 1;
        self.interfaces.push(Interface {
            source,
            link_type,
            snap_len,
            resolution,
            offset,
            dropped: 0,
            counted_at: None,
        });
        Walked::Interface {
            block,
            link_type,
            name,
            kind,
        }
    }

    fn stamp(&self, interface: &Interface, body: &[u8], at: usize) -> Option<Timestamp> {
        let (high, low) = (self.order.u32(body, at)?, self.order.u32(body, at + 4)?);
        let units = u64::from(high) << 32 | u64::from(low);
        Some(Timestamp::from_parts(
            interface.offset,
            interface.resolution.nanoseconds(units),
        ))
    }

    fn enhanced(&mut self, body: &[u8], block: usize) -> Walked {
        let (Some(index), Some(captured), Some(wire_len)) = (
            self.order.u32(body, 0),
            self.order.u32(body, 12),
            self.order.u32(body, 16),
        ) else {
            return Walked::Damaged("a packet block is too short".into());
        };
        let length = captured as usize;
        if captured > MAX_PACKET || length > body.len().saturating_sub(20) {
            return Walked::Damaged(format!("a packet claims {captured} octets"));
        }
        let Some(interface) = self.interfaces.get(index as usize) else {
            return Walked::Foreign { block };
        };
        let options_at = 20 + length.next_multiple_of(4);
        let mut lost = 0;
        if body.len() > options_at + 4 {
            for (code, value) in options(self.order, body.get(options_at..).unwrap_or_default()) {
                if code == 4 {
                    lost = self.order.u64(value, 0).unwrap_or_default(); // epb_dropcount
                }
            }
        }
        Walked::Frame(Frame {
            source: Some(interface.source),
            link_type: interface.link_type,
            raw: self.stamp(interface, body, 4),
            start: 8 + 20,
            length,
            wire_len,
            block,
            lost,
        })
    }

    /// The Packet Block of the first drafts.
    fn obsolete(&mut self, body: &[u8], block: usize) -> Walked {
        let (Some(index), Some(drops), Some(captured), Some(wire_len)) = (
            self.order.u16(body, 0),
            self.order.u16(body, 2),
            self.order.u32(body, 12),
            self.order.u32(body, 16),
        ) else {
            return Walked::Damaged("a packet block is too short".into());
        };
        let length = captured as usize;
        if captured > MAX_PACKET || length > body.len().saturating_sub(20) {
            return Walked::Damaged(format!("a packet claims {captured} octets"));
        }
        let Some(interface) = self.interfaces.get(usize::from(index)) else {
            return Walked::Foreign { block };
        };
        Walked::Frame(Frame {
            source: Some(interface.source),
            link_type: interface.link_type,
            raw: self.stamp(interface, body, 4),
            start: 8 + 20,
            length,
            wire_len,
            block,
            // All ones: not known.
            lost: if drops == u16::MAX {
                0
            } else {
                u64::from(drops)
            },
        })
    }

    /// The Simple Packet Block has no stamp: its time is that of the frame before.
    fn simple(&mut self, body: &[u8], block: usize) -> Walked {
        let Some(wire_len) = self.order.u32(body, 0) else {
            return Walked::Damaged("a packet block is too short".into());
        };
        let Some(interface) = self.interfaces.first() else {
            return Walked::Foreign { block };
        };
        let limit = match interface.snap_len {
            0 => wire_len,
            snap_len => wire_len.min(snap_len),
        };
        let length = (limit as usize).min(body.len().saturating_sub(4));
        Walked::Frame(Frame {
            source: Some(interface.source),
            link_type: interface.link_type,
            raw: None,
            start: 8 + 4,
            length,
            wire_len,
            block,
            lost: 0,
        })
    }

    /// Counters since the start of the capture; what grew since the statistics before was lost in between.
    fn statistics(&mut self, body: &[u8], block: usize) -> Walked {
        let order = self.order;
        let Some(index) = order.u32(body, 0) else {
            return Walked::Damaged("a statistics block is too short".into());
        };
        let at = self
            .interfaces
            .get(index as usize)
            .and_then(|interface| self.stamp(interface, body, 4));
        let (Some(interface), Some(at)) = (self.interfaces.get_mut(index as usize), at) else {
            return Walked::Skip { block };
        };
        if self.is_recording {
            // Its losses stand in comments, each where it was noticed; the counters say the same again.
            let mut comments = options(order, body.get(12..).unwrap_or_default())
                .filter(|(code, _)| *code == 1)
                .filter_map(|(_, text)| str::from_utf8(text).ok());
            let source = interface.source;
            return match comments.next() {
                Some(note::WATCHED) => Walked::Watched { block, at },
                Some(text) => match note::parse_gap(text) {
                    Some(gap) => Walked::Lost {
                        block,
                        source,
                        at,
                        gap: Box::new(gap),
                    },
                    None => Walked::Skip { block },
                },
                None => Walked::Skip { block },
            };
        }
        let mut dropped = 0u64;
        for (code, value) in options(order, body.get(12..).unwrap_or_default()) {
            // isb_ifdrop and isb_osdrop.
            if matches!(code, 5 | 7) {
                dropped = dropped.saturating_add(order.u64(value, 0).unwrap_or_default());
            }
        }
        let lost = dropped.saturating_sub(interface.dropped);
        let from = interface.counted_at;
        interface.dropped = dropped;
        interface.counted_at = Some(at);
        if lost == 0 {
            return Walked::Skip { block };
        }
        Walked::Drops {
            block,
            source: interface.source,
            from,
            at,
            lost,
        }
    }
}

/// The options of a block up to its end or the end mark.
fn options(order: Order, mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (code, length) = (order.u16(rest, 0)?, usize::from(order.u16(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        rest = rest
            .get(4 + length.next_multiple_of(4)..)
            .unwrap_or_default();
        (code != 0).then_some((code, value))
    })
    .take(MAX_OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_become_nanoseconds_without_overflow() {
        assert_eq!(Resolution::of(6).nanoseconds(1_500_000), 1_500_000_000);
        assert_eq!(Resolution::of(9).nanoseconds(7), 7);
        assert_eq!(Resolution::of(12).nanoseconds(7_999), 7);
        assert_eq!(Resolution::of(0).nanoseconds(3), 3_000_000_000);
        assert_eq!(Resolution::of(0x80 | 9).nanoseconds(256), 500_000_000);
        for octet in 0..=255 {
            for units in [0, 1, u64::MAX] {
                Resolution::of(octet).nanoseconds(units);
            }
        }
    }
}
