//! Puts IP fragments together, for the rare DHCPv6 relay reply or DHCP message that exceeds a link's MTU, and for those who hide in
//! fragments. Bounded in slots, pieces, octets and packet time.
//!
//! Overlapping fragments discard their datagram, with all that is still to come of it (RFC 5722; IPv4 alike, since no honest
//! sender overlaps). Exact copies of a fragment are ignored (RFC 8200 §4.5 allows it): networks duplicate packets.

use std::net::IpAddr;
use std::time::Duration;

use super::frame::ip::{Fragment, protocol};
use super::frame::prefilter;
use crate::event::{SourceId, Timestamp, ports};

/// Datagrams in assembly. Honest ones are complete within microseconds; more than a few at once are a flood, and a flood may
/// cost 64 × 64 KiB and no more.
const SLOTS: usize = 64;
/// Longest datagram that IP can carry.
const MAX_DATAGRAM: u32 = 65_535;
/// Most fragments of one datagram: 64 KiB over the smallest IPv6 MTU make 53, over an IPv4 path of 576 octets 119.
const MAX_PIECES: usize = 128;
/// Age at which an unfinished datagram is forgotten, in packet time. Hosts wait 30 or 60 s for their own; a monitor wants the slot back.
const MAX_AGE: Duration = Duration::from_secs(5);

/// What makes fragments parts of one datagram. Sources are apart since each interface of a capture may hold its own copy.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Key {
    pub source: SourceId,
    pub ifindex: Option<u32>,
    pub vlans: [Option<u16>; 3],
    pub src: IpAddr,
    pub dst: IpAddr,
    pub id: u32,
    /// IPv4 only; in IPv6 the first fragment alone says it (RFC 8200 §4.5).
    pub protocol: Option<u8>,
}

/// What a fragment led to.
#[derive(Debug, Eq, PartialEq)]
pub enum Outcome {
    /// More are needed.
    Waiting,
    /// All of it: protocol of the payload, and the payload.
    Complete(u8, Vec<u8>),
    /// No decoder wants it, or its datagram was discarded before.
    Ignored,
    /// It breaks the rules; its datagram is discarded.
    Discarded(&'static str),
}

#[derive(Clone, Debug)]
struct Slot {
    key: Key,
    since: Timestamp,
    /// `false`: discarded or unwanted; kept so that the rest is recognised.
    alive: bool,
    protocol: u8,
    /// Known from the last fragment.
    total: Option<u32>,
    /// Sorted by offset, never overlapping.
    pieces: Vec<(u32, Vec<u8>)>,
}

/// The assembly.
#[derive(Clone, Debug, Default)]
pub struct Defrag {
    slots: Vec<Slot>,
    /// Unfinished datagrams that had to make room.
    pub evicted: u64,
}

impl Defrag {
    pub fn new() -> Defrag {
        Defrag::default()
    }

    /// Takes one fragment, whose payload must be whole.
    pub fn fragment(&mut self, key: Key, fragment: &Fragment<'_>, at: Timestamp) -> Outcome {
        self.slots
            .retain(|slot| at.since(slot.since) < MAX_AGE && slot.since.since(at) < MAX_AGE);
        let index = match self.slots.iter().position(|slot| slot.key == key) {
            Some(index) => index,
            None => self.open(key, at),
        };
        let Some(slot) = self.slots.get_mut(index) else {
            return Outcome::Ignored;
        };
        if !slot.alive {
            return Outcome::Ignored;
        }
        match slot.take(fragment) {
            Ok(false) => Outcome::Waiting,
            Ok(true) => {
                let slot = self.slots.swap_remove(index);
                Outcome::Complete(
                    slot.protocol,
                    slot.pieces
                        .into_iter()
                        .flat_map(|(_, bytes)| bytes)
                        .collect(),
                )
            }
            Err(why) => {
                slot.alive = false;
                slot.pieces = Vec::new();
                why.map_or(Outcome::Ignored, Outcome::Discarded)
            }
        }
    }

    /// A slot for a new datagram; when all are taken, a dead one goes, else the oldest.
    fn open(&mut self, key: Key, at: Timestamp) -> usize {
        if self.slots.len() >= SLOTS {
            let victim = self
                .slots
                .iter()
                .enumerate()
                .min_by_key(|(_, slot)| (slot.alive, slot.since))
                .map_or(0, |(index, _)| index);
            if self.slots.swap_remove(victim).alive {
                self.evicted += 1;
            }
        }
        self.slots.push(Slot {
            key,
            since: at,
            alive: true,
            protocol: key.protocol.unwrap_or(0),
            total: None,
            pieces: Vec::new(),
        });
        self.slots.len() - 1
    }
}

impl Slot {
    /// `Ok(true)` when the datagram is complete; `Err(None)` when no decoder wants it.
    fn take(&mut self, fragment: &Fragment<'_>) -> Result<bool, Option<&'static str>> {
        let (start, len) = (fragment.offset, fragment.payload.len() as u64);
        let end = u64::from(start) + len;
        if end > u64::from(MAX_DATAGRAM) {
            return Err(Some("a fragment ends beyond 65,535 octets"));
        }
        let end = end as u32; // fits: checked above
        if len == 0 || (fragment.more && len % 8 != 0) {
            return Err(Some("a fragment's length is not a multiple of 8"));
        }
        if start == 0 {
            self.protocol = fragment.protocol;
            if !wanted(fragment) {
                return Err(None);
            }
        }
        if !fragment.more {
            match self.total {
                Some(total) if total != end => return Err(Some("two last fragments disagree")),
                _ => self.total = Some(end),
            }
        }
        let at = self.pieces.partition_point(|(offset, _)| *offset < start);
        if let Some((offset, bytes)) = self.pieces.get(at) {
            if *offset == start && bytes == fragment.payload {
                return Ok(false); // a copy
            }
            if *offset < end {
                return Err(Some("fragments overlap"));
            }
        }
        if let Some((offset, bytes)) = at.checked_sub(1).and_then(|before| self.pieces.get(before))
            && u64::from(*offset) + bytes.len() as u64 > u64::from(start)
        {
            return Err(Some("fragments overlap"));
        }
        if self.pieces.len() >= MAX_PIECES {
            return Err(Some("too many fragments"));
        }
        self.pieces.insert(at, (start, fragment.payload.to_vec()));
        let Some(total) = self.total else {
            return Ok(false);
        };
        if self.pieces.last().is_some_and(|(offset, bytes)| {
            u64::from(*offset) + bytes.len() as u64 > u64::from(total)
        }) {
            return Err(Some("a fragment lies behind the last one"));
        }
        let held: usize = self.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        Ok(held as u64 == u64::from(total)) // no overlaps: equal sums mean no holes
    }
}

/// Whether the datagram that begins so may interest a decoder. Extension headers behind the fragment header pass.
fn wanted(first: &Fragment<'_>) -> bool {
    let port = |at| super::frame::be16(first.payload, at).unwrap_or(0);
    match first.protocol {
        protocol::UDP => ports::is_udp_for_us(port(0), port(2)),
        protocol::TCP => true,
        protocol::ICMPV6 => first
            .payload
            .first()
            .is_some_and(|kind| prefilter::ND_TYPES.contains(kind)),
        protocol::DESTINATION_OPTIONS | protocol::ROUTING | protocol::AUTHENTICATION => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
