//! 802.11: data frames in the clear, with or without a radiotap header in front.

use super::{IEEE802_11, Inside, Start, be16, foreign, le16, le32, snap, with};

/// Bitmaps of present fields that are followed: each says with its highest bit that another comes; real headers have up to four.
const MAX_BITMAPS: usize = 16;

/// A radiotap header (radiotap.org): version 0, length, bitmaps of the fields that follow. Of those only the flags matter.
pub(super) fn radiotap(bytes: &[u8]) -> Option<Inside> {
    const ANOTHER: u32 = 1 << 31;
    const TSFT: u32 = 1;
    const FLAGS: u32 = 1 << 1;
    const PADDED: u8 = 0x20;
    const BAD_CHECKSUM: u8 = 0x40;
    if *bytes.first()? != 0 {
        return Some(foreign());
    }
    let length = usize::from(le16(bytes, 2)?);
    let present = le32(bytes, 4)?;
    let mut at = 8;
    let mut bitmap = present;
    for _ in 0..MAX_BITMAPS {
        if bitmap & ANOTHER == 0 {
            break;
        }
        bitmap = le32(bytes, at)?;
        at += 4;
    }
    if present & TSFT != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let flags = if present & FLAGS != 0 && at < length {
        *bytes.get(at)?
    } else {
        0
    };
    if flags & BAD_CHECKSUM != 0 || length < 8 {
        return Some(foreign());
    }
    if flags & PADDED == 0 {
        return Some(with(Start::Link(IEEE802_11, length)));
    }
    let rest = bytes.get(length..)?;
    let mut found = data(rest, 4)?;
    if let Start::Ether(_, at) = &mut found.start {
        *at += length;
    }
    Some(found)
}

/// A data frame (IEEE 802.11 §9.3.2) with LLC and SNAP in it. `align`: the header is padded to a multiple of this, 0 for none.
pub(super) fn data(bytes: &[u8], align: usize) -> Option<Inside> {
    const QOS: u8 = 0x80;
    const NO_DATA: u8 = 0x40;
    const TO_DS: u8 = 0x01;
    const FROM_DS: u8 = 0x02;
    const MORE_FRAGMENTS: u8 = 0x04;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    let &[control, flags] = bytes.first_chunk()?;
    // Version 0, type data, with data; in the clear and whole.
    let fragment = le16(bytes, 22).unwrap_or(0) & 0xf;
    if control & 0x0f != 0x08
        || control & NO_DATA != 0
        || flags & (PROTECTED | MORE_FRAGMENTS) != 0
        || fragment != 0
    {
        return Some(foreign());
    }
    let address = |at: usize| Some(*bytes.get(at..)?.first_chunk::<6>()?);
    let (first, second, third) = (address(4)?, address(10)?, address(16)?);
    let mut header = 24;
    let (dst, src) = match flags & (TO_DS | FROM_DS) {
        0 => (first, second),
        TO_DS => (third, second),
        FROM_DS => (first, third),
        _ => {
            header += 6;
            (third, address(24)?)
        }
    };
    if control & QOS != 0 {
        // An A-MSDU holds several frames, each with a header of its own.
        if be16(bytes, header)? & 0x8000 != 0 {
            return Some(foreign());
        }
        header += 2;
        if flags & ORDER != 0 {
            header += 4; // HT control
        }
    }
    if align > 0 {
        header = header.next_multiple_of(align);
    }
    Some(Inside {
        dst: Some(dst),
        src: Some(src),
        ..snap(bytes, header)?
    })
}
