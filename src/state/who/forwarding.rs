//! Through which port of a bridge a machine is reached: the bridge's own forwarding entries (`RTM_NEWNEIGH` of family AF_BRIDGE), and their
//! moves.
//!
//! A bridge learns a frame's source at the port it came in by and tells when that changes. One move is a machine that moved (a live
//! migration, a fail-over); moves back and forth are one address at two places, or a loop.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::frame::Mac;
use crate::event::netlink::{Action, NUD_NOARP, NUD_PERMANENT, NeighborEvent};
use crate::event::{Event, Locator, Timestamp};

/// `AF_BRIDGE`.
const AF_BRIDGE: u8 = 7;
/// Entries kept: what a large hypervisor's bridge knows; the oldest give way. 65 k of some 100 octets.
const MAX_ENTRIES: usize = 16_384;
/// Moves remembered of an entry.
const MAX_MOVES: usize = 16;
/// Moves within this time are one story: M of RFC 7432 §15.1.
pub const WINDOW: Duration = Duration::from_secs(180);

/// A change of port.
#[derive(Copy, Clone, Debug)]
pub struct Move {
    pub at: Timestamp,
    pub locator: Locator,
    /// Interface indexes.
    pub from: u32,
    pub to: u32,
}

/// A forwarding entry.
#[derive(Clone, Default, Debug)]
pub struct Entry {
    /// Interface index of the port.
    pub port: u32,
    /// The latest moves within [`WINDOW`].
    pub moves: VecDeque<Move>,
}

/// A forwarding entry that moved.
#[derive(Copy, Clone, Debug)]
pub struct PortDelta {
    pub bridge: u32,
    pub mac: Mac,
    pub moved: Move,
}

/// The entries by bridge.
#[derive(Clone, Default, Debug)]
pub struct Forwarding {
    entries: BTreeMap<(Mac, u32), Entry>,
    order: VecDeque<(Mac, u32)>,
}

impl Forwarding {
    /// Takes a neighbor notification of a bridge; `bridge` is the port's master.
    pub(in crate::state) fn apply(
        &mut self,
        event: &Event,
        seen: &NeighborEvent,
        bridge: Option<u32>,
        out: &mut Vec<PortDelta>,
    ) {
        let (AF_BRIDGE, Some(mac), Some(bridge)) = (seen.family, seen.mac, bridge) else {
            return;
        };
        // The bridge's and its ports' own addresses are permanent and no machines.
        let local = seen.state & (NUD_PERMANENT | NUD_NOARP) != 0;
        if local || mac.is_group() || seen.action == Action::Del {
            return; // an entry that ages out says nothing about where the machine is
        }
        let key = (mac, bridge);
        let Some(entry) = self.entries.get_mut(&key) else {
            if self.order.len() >= MAX_ENTRIES
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key);
            let entry = Entry {
                port: seen.ifindex,
                moves: VecDeque::new(),
            };
            self.entries.insert(key, entry);
            return;
        };
        let from = std::mem::replace(&mut entry.port, seen.ifindex);
        if from == seen.ifindex {
            return;
        }
        while entry.moves.len() >= MAX_MOVES
            || entry
                .moves
                .front()
                .is_some_and(|old| event.at.since(old.at) > WINDOW)
        {
            entry.moves.pop_front();
        }
        let moved = Move {
            at: event.at,
            locator: event.locator,
            from,
            to: seen.ifindex,
        };
        entry.moves.push_back(moved);
        out.push(PortDelta { bridge, mac, moved });
    }

    /// The entry of a machine on a bridge.
    pub fn entry(&self, bridge: u32, mac: Mac) -> Option<&Entry> {
        self.entries.get(&(mac, bridge))
    }

    /// The ports that a machine is reached through now, one for each bridge that knows it.
    pub fn ports(&self, mac: Mac) -> impl Iterator<Item = u32> {
        let all = self.entries.range((mac, 0)..=(mac, u32::MAX));
        all.map(|(_, entry)| entry.port)
    }
}
