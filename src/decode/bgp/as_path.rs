//! AS_PATH and AS4_PATH: segments to flat words, and the merge of the two (RFC 6793 §4.2.3).

use super::Cursor;
use crate::event::bgp::{AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SEQUENCE, AS_SET, AsPath};

/// The number that stands for one that does not fit in two octets (RFC 6793 §9).
pub(crate) const AS_TRANS: u32 = 23_456;

/// Appends the segments to `path`. On `Err` the path is left as it was.
#[inline]
pub(crate) fn read(bytes: &[u8], as4: bool, path: &mut AsPath) -> Result<(), &'static str> {
    let before = path.0.len();
    let result = segments(bytes, as4, path);
    if result.is_err() {
        path.0.truncate(before);
    }
    result
}

#[inline]
fn segments(bytes: &[u8], as4: bool, path: &mut AsPath) -> Result<(), &'static str> {
    let mut cursor = Cursor(bytes);
    while let Some(&[kind, count]) = cursor.array() {
        if !(AS_SET..=AS_CONFED_SET).contains(&kind) {
            return Err("AS_PATH segment of unknown type");
        }
        if count == 0 {
            return Err("AS_PATH segment without AS numbers");
        }
        let size = if as4 { 4 } else { 2 };
        let numbers = cursor
            .take(usize::from(count) * size)
            .ok_or("AS_PATH segment exceeds the attribute")?;
        path.push_segment(kind, usize::from(count));
        if as4 {
            let (chunks, _) = numbers.as_chunks::<4>();
            path.0.extend(chunks.iter().map(|c| u32::from_be_bytes(*c)));
        } else {
            let (chunks, _) = numbers.as_chunks::<2>();
            path.0
                .extend(chunks.iter().map(|c| u32::from(u16::from_be_bytes(*c))));
        }
    }
    if cursor.is_empty() {
        Ok(())
    } else {
        Err("AS_PATH ends inside a segment header")
    }
}

/// Whether the octets are segments of this AS size and nothing else. Empty ones are both.
pub(crate) fn fits(bytes: &[u8], as4: bool) -> bool {
    let mut cursor = Cursor(bytes);
    while let Some(&[kind, count]) = cursor.array() {
        let octets = usize::from(count) * if as4 { 4 } else { 2 };
        if !(AS_SET..=AS_CONFED_SET).contains(&kind) || count == 0 || cursor.take(octets).is_none()
        {
            return false;
        }
    }
    cursor.is_empty()
}

/// Replaces the tail of `path` (read from a two-octet AS_PATH) by the AS4_PATH in `as4_path`: the leading numbers that AS4_PATH
/// lacks stay, the rest is AS4_PATH's. A longer or damaged AS4_PATH is ignored; its confederation segments are (RFC 6793 §6).
/// Nothing is allocated but room in `path`.
pub(crate) fn merge(path: &mut AsPath, as4_path: &[u8]) -> Result<(), &'static str> {
    if !fits(as4_path, true) {
        return Err("AS4_PATH is damaged");
    }
    let Some(keep) = path.hops().checked_sub(wire_hops(as4_path)) else {
        return Ok(());
    };
    cut(path, keep);
    let mut cursor = Cursor(as4_path);
    while let Some(&[kind, count]) = cursor.array() {
        let numbers = cursor
            .take(usize::from(count) * 4)
            .ok_or("AS4_PATH is damaged")?;
        if kind != AS_SET && kind != AS_SEQUENCE {
            continue;
        }
        // A sequence that was cut in two is joined again, so that the merged path equals one that was never split.
        match last_segment(path) {
            Some((at, AS_SEQUENCE, have))
                if kind == AS_SEQUENCE && have + usize::from(count) <= 255 =>
            {
                let words = have + usize::from(count);
                if let Some(head) = path.0.get_mut(at) {
                    *head = u32::from(AS_SEQUENCE) << 16 | words as u32;
                }
            }
            _ => path.push_segment(kind, usize::from(count)),
        }
        let (chunks, _) = numbers.as_chunks::<4>();
        path.0.extend(chunks.iter().map(|c| u32::from_be_bytes(*c)));
    }
    Ok(())
}

/// Hops of a four-octet path on the wire, confederation segments not counted.
fn wire_hops(bytes: &[u8]) -> usize {
    let mut cursor = Cursor(bytes);
    let mut hops = 0;
    while let Some(&[kind, count]) = cursor.array() {
        hops += match kind {
            AS_SEQUENCE => usize::from(count),
            AS_SET => 1,
            _ => 0,
        };
        if cursor.take(usize::from(count) * 4).is_none() {
            break;
        }
    }
    hops
}

/// Cuts the path behind its first `keep` hops; confederation segments before them, or right after the last, stay.
fn cut(path: &mut AsPath, mut keep: usize) {
    let mut at = 0;
    while let Some(head) = path.0.get(at).copied() {
        let (kind, count) = ((head >> 16) as u8, (head & 0xffff) as usize);
        match kind {
            AS_CONFED_SEQUENCE | AS_CONFED_SET => {}
            _ if keep == 0 => break,
            AS_SEQUENCE if count > keep => {
                if let Some(head) = path.0.get_mut(at) {
                    *head = u32::from(AS_SEQUENCE) << 16 | keep as u32;
                }
                at += 1 + keep;
                break;
            }
            AS_SEQUENCE => keep -= count,
            _ => keep -= 1,
        }
        at += 1 + count;
    }
    path.0.truncate(at);
}

/// Where the last segment begins, its type and its count.
fn last_segment(path: &AsPath) -> Option<(usize, u8, usize)> {
    let mut at = 0;
    let mut last = None;
    while let Some(head) = path.0.get(at).copied() {
        let count = (head & 0xffff) as usize;
        last = Some((at, (head >> 16) as u8, count));
        at += 1 + count;
    }
    last
}
