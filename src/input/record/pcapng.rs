//! pcapng blocks (draft-ietf-opsawg-pcapng), as octets: section, interface, packet, statistics. Little-endian, nanoseconds.
//!
//! Only blocks that every reader knows: custom blocks would be numbered as frames by Wireshark. What only we read back stands in
//! comments, which others show as text.

use crate::event::Timestamp;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION: (u16, u16) = (1, 0);
/// The length of the section is not told: it grows.
const LENGTH_UNKNOWN: u64 = u64::MAX;
/// `if_tsresol`: 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Options (§3.5, §4.1, §4.2, §4.6).
mod option {
    pub const END: u16 = 0;
    pub const COMMENT: u16 = 1;
    pub const SHB_HARDWARE: u16 = 2;
    pub const SHB_OS: u16 = 3;
    pub const SHB_APPLICATION: u16 = 4;
    pub const IF_NAME: u16 = 2;
    pub const IF_RESOLUTION: u16 = 9;
    pub const IF_OS: u16 = 12;
    pub const ISB_START: u16 = 2;
    pub const ISB_END: u16 = 3;
    pub const ISB_RECEIVED: u16 = 4;
    pub const ISB_OS_DROPS: u16 = 7;
}

/// Longest option: its length has 16 bits.
const MAX_OPTION: usize = u16::MAX as usize;

/// The host that records.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Origin {
    pub hardware: String,
    pub os: String,
    pub application: String,
    pub comment: String,
}

/// Counters of an interface.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Statistics {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Frames in the file.
    pub received: u64,
    /// Frames (or messages) known to be lost.
    pub dropped: u64,
}

/// Appends a section header.
pub fn section(out: &mut Vec<u8>, origin: &Origin) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend(VERSION.0.to_le_bytes());
        out.extend(VERSION.1.to_le_bytes());
        out.extend(LENGTH_UNKNOWN.to_le_bytes());
        text(out, option::COMMENT, &origin.comment);
        text(out, option::SHB_HARDWARE, &origin.hardware);
        text(out, option::SHB_OS, &origin.os);
        text(out, option::SHB_APPLICATION, &origin.application);
        end(out);
    });
}

/// Appends an interface description.
pub fn interface(out: &mut Vec<u8>, link_type: u16, name: &str, os: &str, comment: &str) {
    block(out, INTERFACE, |out| {
        out.extend(link_type.to_le_bytes());
        out.extend([0; 2]);
        out.extend(0u32.to_le_bytes()); // no limit
        text(out, option::COMMENT, comment);
        text(out, option::IF_NAME, name);
        put(out, option::IF_RESOLUTION, &[NANOSECONDS]);
        text(out, option::IF_OS, os);
        end(out);
    });
}

/// Appends a packet.
pub fn packet(
    out: &mut Vec<u8>,
    interface: u32,
    at: Timestamp,
    parts: [&[u8]; 2],
    wire_len: u32,
    comment: &str,
) {
    block(out, PACKET, |out| {
        let captured = parts.iter().map(|part| part.len()).sum::<usize>();
        let captured = u32::try_from(captured).unwrap_or(u32::MAX);
        out.extend(interface.to_le_bytes());
        stamp(out, at);
        out.extend(captured.to_le_bytes());
        out.extend(wire_len.max(captured).to_le_bytes());
        for part in parts {
            out.extend(part);
        }
        pad(out);
        if !comment.is_empty() {
            text(out, option::COMMENT, comment);
            end(out);
        }
    });
}

/// Appends a statistics block that only carries a comment, or counters too.
pub fn statistics(
    out: &mut Vec<u8>,
    interface: u32,
    at: Timestamp,
    comment: &str,
    counters: Option<&Statistics>,
) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        stamp(out, at);
        text(out, option::COMMENT, comment);
        if let Some(counters) = counters {
            for (code, time) in [
                (option::ISB_START, counters.from),
                (option::ISB_END, counters.to),
            ] {
                let mut value = Vec::with_capacity(8);
                stamp(&mut value, time);
                put(out, code, &value);
            }
            put(out, option::ISB_RECEIVED, &counters.received.to_le_bytes());
            put(out, option::ISB_OS_DROPS, &counters.dropped.to_le_bytes());
        }
        end(out);
    });
}

/// Nanoseconds since 1970, the upper half first; what was before cannot be told.
fn stamp(out: &mut Vec<u8>, at: Timestamp) {
    let nanoseconds = at.0.max(0) as u64;
    out.extend(((nanoseconds >> 32) as u32).to_le_bytes());
    out.extend((nanoseconds as u32).to_le_bytes());
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let total = u32::try_from(out.len() - start + 4)
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    out.extend(total);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&total);
    }
}

fn text(out: &mut Vec<u8>, code: u16, value: &str) {
    if !value.is_empty() {
        // Longer than an option may be: cut between characters.
        let whole = (0..=value.len().min(MAX_OPTION))
            .rev()
            .find_map(|end| value.get(..end));
        put(out, code, whole.unwrap_or_default().as_bytes());
    }
}

fn put(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(value.iter().take(MAX_OPTION));
    pad(out);
}

fn end(out: &mut Vec<u8>) {
    out.extend(option::END.to_le_bytes());
    out.extend([0; 2]);
}

/// To a multiple of four: blocks and options begin aligned.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}
