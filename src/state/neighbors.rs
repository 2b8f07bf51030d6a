//! The kernel's neighbor table (ARP and ND caches) as it notifies it.
//!
//! Multicast entries and bridge forwarding entries are left out. A delta is made when an entry's link-layer address or its
//! reachability changes; `by` tells an operator's flush (FAILED with a pid) from a neighbor that does not answer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::links::Links;
use crate::event::frame::Mac;
use crate::event::netlink::{Action, Dumped, NUD_FAILED, NUD_INCOMPLETE, NUD_REACHABLE};
use crate::event::{Event, EventKind, Locator, Timestamp};

/// Entries tracked at once: the kernel's own gc_thresh3 is 1,024 by default and 131,072 on the largest nodes seen.
pub const MAX_NEIGHBORS: usize = 131_072;

/// What the kernel thinks of a neighbor.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct NeighborState {
    /// `NUD_*`.
    pub nud: u16,
    /// Link-layer address, where one is known.
    pub mac: Option<Mac>,
}

impl NeighborState {
    /// It did not answer.
    pub fn failed(&self) -> bool {
        self.nud & NUD_FAILED != 0
    }

    /// It is being asked for the first time.
    pub fn incomplete(&self) -> bool {
        self.nud & NUD_INCOMPLETE != 0
    }

    /// As `ip neigh` calls it.
    pub fn word(&self) -> &'static str {
        match self.nud {
            0x01 => "incomplete",
            0x02 => "reachable",
            0x04 => "stale",
            0x08 => "delay",
            0x10 => "probe",
            0x20 => "failed",
            0x40 => "noarp",
            0x80 => "permanent",
            _ => "none",
        }
    }

    /// It answered lately.
    pub fn reachable(&self) -> bool {
        self.nud & NUD_REACHABLE != 0
    }
}

/// A change of a neighbor.
#[derive(Clone, Debug)]
pub struct NeighborDelta {
    pub at: Timestamp,
    pub locator: Locator,
    pub ifindex: u32,
    pub addr: IpAddr,
    /// `None`: it was not there.
    pub before: Option<NeighborState>,
    /// `None`: it was deleted.
    pub after: Option<NeighborState>,
    /// `nlmsg_pid`: 0 is the kernel.
    pub by: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    state: NeighborState,
    generation: u32,
}

/// The table.
#[derive(Clone, Default)]
pub struct Neighbors {
    entries: BTreeMap<(u32, IpAddr), Entry>,
    generation: u32,
    dump: Option<u32>,
    /// Entries that were not taken because the table was full.
    pub refused: u64,
}

impl Neighbors {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event, _links: &Links, out: &mut Vec<NeighborDelta>) {
        match &event.kind {
            EventKind::Neighbor(seen) => {
                let Some(addr) = seen.addr.filter(|addr| !addr.is_multicast()) else {
                    return;
                };
                if seen.meta.dump && self.dump != Some(seen.meta.seq) {
                    self.dump = Some(seen.meta.seq);
                    self.generation = self.generation.wrapping_add(1);
                }
                let key = (seen.ifindex, addr);
                let before = self.entries.get(&key).map(|entry| entry.state);
                let after = (seen.action == Action::New).then_some(NeighborState {
                    nud: seen.state,
                    mac: seen.mac,
                });
                match after {
                    None => {
                        self.entries.remove(&key);
                    }
                    Some(state) => {
                        if before.is_none() && self.entries.len() >= MAX_NEIGHBORS {
                            self.refused += 1;
                            return;
                        }
                        let generation = self.generation;
                        self.entries.insert(key, Entry { state, generation });
                    }
                }
                if before != after && !(seen.meta.dump && before.is_none()) {
                    out.push(NeighborDelta {
                        at: event.at,
                        locator: event.locator,
                        ifindex: seen.ifindex,
                        addr,
                        before,
                        after,
                        by: seen.meta.pid,
                    });
                }
            }
            // The cache forgets by itself: what a later dump lacks is dropped without a word.
            EventKind::DumpDone(done) if done.what == Dumped::Neighbors => {
                if self.dump.take() != Some(done.seq) {
                    if done.family != Some(0) {
                        return;
                    }
                    // An empty list.
                    self.generation = self.generation.wrapping_add(1);
                }
                let generation = self.generation;
                self.entries
                    .retain(|_, entry| entry.generation == generation);
            }
            _ => {}
        }
    }

    /// The entry of `addr` on an interface.
    pub fn get(&self, ifindex: u32, addr: IpAddr) -> Option<NeighborState> {
        self.entries.get(&(ifindex, addr)).map(|entry| entry.state)
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, IpAddr, NeighborState)> {
        self.entries
            .iter()
            .map(|((ifindex, addr), entry)| (*ifindex, *addr, entry.state))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No entry is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Earliest deadline: none.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines: none.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<NeighborDelta>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::routes::testing::{self, neighbor_event};

    #[test]
    fn a_flush_is_told_from_a_silent_neighbor_and_repetitions_are_no_change() {
        let mut table = Neighbors::default();
        let mut apply = |event| {
            let mut out = Vec::new();
            let event = testing::event(0, EventKind::Neighbor(Box::new(event)));
            table.apply(&event, &Links::default(), &mut out);
            out
        };
        let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(
            apply(neighbor_event(3, "192.0.2.1", NUD_REACHABLE, mac, 0)).len(),
            1
        );
        assert!(apply(neighbor_event(3, "192.0.2.1", NUD_REACHABLE, mac, 0)).is_empty());
        let failed = apply(neighbor_event(3, "192.0.2.1", NUD_FAILED, None, 99));
        assert!(failed[0].after.unwrap().failed());
        assert_eq!(failed[0].by, 99);
        assert!(apply(neighbor_event(3, "ff02::16", 0x40, mac, 0)).is_empty());
    }
}
