//! What a file is, by its content and never by its name.
//!
//! Captures have a magic number. MRT, BMP streams and rtmon files have none: they are recognised by a chain of plausible headers.

use super::bytes::{Order, be16, be32};

/// Octets looked at. More are read only while the first record is longer.
pub const PEEK: usize = 64 << 10;

/// Longest BMP message believed: a Peer Up with two OPENs of 65,535 octets (RFC 8654) and TLVs stays far below it.
pub const MAX_BMP: usize = 1 << 20;

/// Longest MRT record believed, see `bytes::MAX_RECORD`.
pub const MAX_MRT: usize = super::bytes::MAX_RECORD;

/// Headers that must follow each other where a stream may begin inside a message.
const CHAIN: usize = 3;

/// 1990-01-01: older than any MRT archive; younger stamps in a candidate make it one.
const EPOCH_MRT: u32 = 631_152_000;

/// nlmsghdr, then `struct timeval32 { sec, usec }` (iproute2, rtmon).
pub const NLMSG_TSTAMP: u16 = 15;

/// Length of that message, with its header.
pub const TSTAMP_LEN: u32 = 24;

/// Containers that can be read.
#[derive(Copy, Clone, Eq, PartialEq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    Pcap,
    Pcapng,
    Mrt,
    Bmp,
    Rtmon,
}

/// The container whose first octets are `head`; `whole` if the file ends there.
pub fn recognise(head: &[u8], whole: bool) -> Option<Container> {
    if super::pcap::Header::parse(head).is_some() {
        Some(Container::Pcap)
    } else if super::pcapng::is_section_header(head) {
        Some(Container::Pcapng)
    } else if is_rtmon(head) {
        Some(Container::Rtmon)
    } else if is_mrt(head, whole) {
        Some(Container::Mrt)
    } else if is_bmp_chain(head, whole, 1) || find_bmp(head, whole).is_some() {
        Some(Container::Bmp)
    } else {
        None
    }
}

/// A stamp message first, in the byte order of the host that wrote it.
fn is_rtmon(head: &[u8]) -> bool {
    [Order::Little, Order::Big].into_iter().any(|order| {
        order.u32(head, 0) == Some(TSTAMP_LEN) && order.u16(head, 4) == Some(NLMSG_TSTAMP)
    })
}

/// One MRT header (RFC 6396 §2): the record's length with it, if it is plausible.
pub fn mrt_length(data: &[u8], at: usize) -> Option<usize> {
    let stamp = be32(data, at)?;
    let (kind, subtype) = (be16(data, at + 4)?, be16(data, at + 6)?);
    let length = be32(data, at + 8)? as usize;
    // RFC 6396 §4 and its appendix of deprecated types (START to BGP4PLUS_01 are 0 to 10), RFC 8050.
    let known = match kind {
        0..=10 => subtype <= 7,
        11 | 48 | 49 | 32 | 33 => subtype <= 16,
        12 => subtype <= 4,
        13 => subtype <= 12,
        16 | 17 => subtype <= 11,
        _ => false,
    };
    (known && stamp >= EPOCH_MRT && length <= MAX_MRT).then_some(length + 12)
}

fn is_mrt(head: &[u8], whole: bool) -> bool {
    let (mut at, mut count, mut strong) = (0usize, 0, false);
    while let Some(length) = mrt_length(head, at) {
        // Types 0 to 10 are few bits of evidence: they need company.
        let is_strong = be16(head, at + 4).is_some_and(|kind| kind > 10);
        strong |= is_strong;
        count += if is_strong { 2 } else { 1 };
        at = at.saturating_add(length + mrt_excess(head, at, length));
    }
    // Damage further on is no reason to refuse a file, and a record may be longer than what was looked at. The old types alone
    // must make up the whole file or a longer chain.
    count > 3 || (count > 1 && strong) || (count > 0 && whole && at == head.len())
}

/// Octets that a TABLE_DUMP record has more than it says: collectors of 2000 did not count view and sequence number.
pub fn mrt_excess(data: &[u8], at: usize, length: usize) -> usize {
    let next = at.saturating_add(length);
    let is_table_dump = be16(data, at + 4) == Some(12);
    let displaced = is_table_dump
        && data.len() > next.saturating_add(16)
        && mrt_length(data, next).is_none()
        && mrt_length(data, next + 4).is_some();
    if displaced { 4 } else { 0 }
}

/// Whether `data` begins with a common header of BMP (RFC 7854 §4.1) with a length that its type allows.
pub fn is_bmp_header(data: &[u8]) -> bool {
    bmp_length(data, 0).is_some()
}

/// Length of the BMP message at `at`, if its common header is plausible.
pub fn bmp_length(data: &[u8], at: usize) -> Option<usize> {
    let header = data.get(at..)?.first_chunk::<6>()?;
    let [3, a, b, c, d, kind @ 0..=6] = *header else {
        return None;
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    // Initiation and Termination have TLVs only; all others a per-peer header of 42 octets.
    let least = if matches!(kind, 4 | 5) { 6 } else { 48 };
    (least..=MAX_BMP).contains(&length).then_some(length)
}

/// Whether headers chain from the first octet, at least `least` of them, to the end of what is at hand.
fn is_bmp_chain(data: &[u8], whole: bool, least: usize) -> bool {
    let mut at = 0usize;
    let mut count = 0;
    while let Some(length) = bmp_length(data, at) {
        count += 1;
        at = at.saturating_add(length);
    }
    let rest = data.len().saturating_sub(at);
    count >= least && (rest < 6 || count >= CHAIN || (whole && count > least))
}

/// Where the first whole BMP message begins in a stream that was cut anywhere.
pub fn find_bmp(data: &[u8], whole: bool) -> Option<usize> {
    (1..data.len()).find(|&at| {
        data.get(at) == Some(&3)
            && data
                .get(at..)
                .is_some_and(|rest| is_bmp_chain(rest, whole, CHAIN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mrt(kind: u16, subtype: u16, body: usize) -> Vec<u8> {
        let mut record = 1_300_000_000u32.to_be_bytes().to_vec();
        record.extend(kind.to_be_bytes());
        record.extend(subtype.to_be_bytes());
        record.extend((body as u32).to_be_bytes());
        record.resize(12 + body, 0);
        record
    }

    fn statistics() -> Vec<u8> {
        let mut message = vec![3, 0, 0, 0, 52, 1];
        message.resize(52, 0);
        message
    }

    #[test]
    fn formats_without_a_magic_number_are_recognised_by_their_headers() {
        assert_eq!(recognise(&mrt(16, 4, 60), true), Some(Container::Mrt));
        assert_eq!(
            recognise(&mrt(13, 1, 70_000)[..PEEK], false),
            Some(Container::Mrt)
        );
        assert_eq!(
            recognise(&mrt(5, 1, 20).repeat(4), true),
            Some(Container::Mrt)
        );
        assert_eq!(recognise(&[3, 0, 0, 0, 6, 4], true), Some(Container::Bmp));
        let cut = statistics().repeat(5);
        assert_eq!(recognise(&cut[17..], true), Some(Container::Bmp));
        assert_eq!(find_bmp(&cut[17..], true), Some(35));
    }

    #[test]
    fn text_zeros_and_noise_are_nothing() {
        assert_eq!(recognise(b"", true), None);
        assert_eq!(recognise(&[0; 4096], true), None);
        assert_eq!(recognise(&[3; 4096], true), None);
        assert_eq!(
            recognise("2024-01-01 interface up\n".repeat(99).as_bytes(), true),
            None
        );
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(PEEK)
        .collect();
        assert_eq!(recognise(&noise, false), None);
    }
}
