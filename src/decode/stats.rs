//! What the decoder did and could not do, as numbers for the report; and the bound on events about malformed bytes, which a
//! hostile sender makes at line rate.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::loss::Protocol;
use crate::event::{Classes, Event, EventKind, Timestamp};

/// Events about malformed bytes that pass for each protocol in each [`MALFORMED_WINDOW`]: more than a reader or a detector
/// needs to call it a flood. All are counted.
const MALFORMED_PER_WINDOW: u32 = 100;
const MALFORMED_WINDOW: Duration = Duration::from_secs(1);
/// Different unknown types that are counted one by one; what comes after is counted together.
const MAX_TYPES: usize = 64;
/// Number of event classes.
const CLASSES: usize = Classes::ALL.0.count_ones() as usize;

/// Counts of numbered types, bounded.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct TypeCounts {
    pub by_type: BTreeMap<u16, u64>,
    /// Of types that came after the table was full.
    pub others: u64,
}

impl TypeCounts {
    pub fn add(&mut self, kind: u16) {
        if let Some(count) = self.by_type.get_mut(&kind) {
            *count += 1;
        } else if self.by_type.len() < MAX_TYPES {
            self.by_type.insert(kind, 1);
        } else {
            self.others += 1;
        }
    }
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Allowance {
    since: Timestamp,
    passed: u32,
}

/// What became of packets.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct PacketCounters {
    /// Records that are packets.
    pub packets: u64,
    /// Packets that no decoder is for: other protocols, other ports.
    pub unwanted: u64,
    /// Packets shorter than they were on the wire.
    pub cut: u64,
    /// Packets that end inside the headers that lead to a message, not counting cut ones.
    pub short: u64,
    /// Packets of link types that are not understood.
    pub unknown_link_types: TypeCounts,
    /// Frames with a network layer that is not IP or ARP.
    pub unknown_ethertypes: TypeCounts,
    /// IP fragments that might hold something for us.
    pub fragments: u64,
    /// Datagrams put together.
    pub reassembled: u64,
    /// Unfinished datagrams that had to make room for others.
    pub fragments_evicted: u64,
    /// TCP segments of BGP and BMP connections.
    pub tcp_segments: u64,
    /// Open TCP connections that had to make room for others.
    pub tcp_evicted: u64,
}

/// What became of events.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct EventCounters {
    /// Malformed messages by protocol, all of them.
    pub malformed: BTreeMap<Protocol, u64>,
    /// Those of them that were not passed on as events.
    pub malformed_withheld: u64,
    by_class: [u64; CLASSES],
    allowances: BTreeMap<Protocol, Allowance>,
}

/// Counters of one decoder.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct DecodeStats {
    /// Records of any format.
    pub records: u64,
    pub packets: PacketCounters,
    pub events: EventCounters,
}

impl EventCounters {
    /// Events of the classes that were decoded, malformed ones that were withheld not included.
    pub fn of(&self, classes: Classes) -> u64 {
        self.by_class
            .iter()
            .enumerate()
            .filter(|(bit, _)| classes.0 >> bit & 1 == 1)
            .map(|(_, count)| count)
            .sum()
    }

    /// Counts an event; whether it may be passed on.
    pub(super) fn admit(&mut self, event: &Event) -> bool {
        if let EventKind::Malformed(malformed) = &event.kind
            && !self.admit_malformed(malformed.protocol, event.at)
        {
            return false;
        }
        let bit = event.kind.class().0.trailing_zeros() as usize;
        if let Some(count) = self.by_class.get_mut(bit) {
            *count += 1;
        }
        true
    }

    fn admit_malformed(&mut self, protocol: Protocol, at: Timestamp) -> bool {
        *self.malformed.entry(protocol).or_default() += 1;
        let allowance = self.allowances.entry(protocol).or_insert(Allowance {
            since: at,
            passed: 0,
        });
        // Either way: after a clock step back the window must not last until the old time returns.
        if at.since(allowance.since) >= MALFORMED_WINDOW
            || allowance.since.since(at) >= MALFORMED_WINDOW
        {
            *allowance = Allowance {
                since: at,
                passed: 0,
            };
        }
        if allowance.passed >= MALFORMED_PER_WINDOW {
            self.malformed_withheld += 1;
            return false;
        }
        allowance.passed += 1;
        true
    }
}
