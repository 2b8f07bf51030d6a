//! Drains: routes that their speaker marked with GRACEFUL_SHUTDOWN (RFC 8326) before its session went. What follows was announced.
//!
//! Only a change counts: routes that carry the community from their first announcement on are tagged, not drained. What a feed's first table
//! or a dump shows was announced before we looked, so there the mark counts: a drain was under way. Bounded: some slots for some RIBs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::bgp::{BgpMessage, GRACEFUL_SHUTDOWN, Update};
use crate::event::bmp::BmpMessage;
use crate::event::{EventKind, Timestamp};
use crate::state::rib::attributes::AttrId;
use crate::state::rib::table::Slot;
use crate::state::rib::{RibId, RouteChange};
use crate::state::sessions::SessionId;
use crate::state::{NetState, Observation};

/// What a finding says of itself then.
pub const DRAINED: &str = "drained with GRACEFUL_SHUTDOWN (RFC 8326) before";
/// A drain announces what happens within this: traffic has left after minutes (RFC 8326 §4.3 waits for convergence), and maintenance windows are
/// hours, of which the first belongs to the shutdown.
const ANNOUNCES: Duration = Duration::from_secs(3600);
/// RIBs under drain at once: a router's sessions, both families, in every copy.
const MAX_RIBS: usize = 1024;
/// Routes remembered of one RIB; a table of which so many are marked is under drain.
const MAX_SLOTS: usize = 65_536;

#[derive(Clone, Default)]
struct Drain {
    /// Marked routes. Never iterated.
    slots: hashbrown::HashSet<Slot, foldhash::fast::RandomState>,
    last: Timestamp,
}

/// RIBs whose sender drains itself.
#[derive(Clone, Default)]
pub(super) struct Drains {
    ribs: BTreeMap<RibId, Drain>,
}

/// Whether a set of attributes has the community.
pub(in crate::detect) fn is_marked(net: &NetState, attrs: AttrId) -> bool {
    net.rib
        .attributes(attrs)
        .is_some_and(|a| a.communities.contains(&GRACEFUL_SHUTDOWN))
}

impl Drains {
    /// Notes marks that come and go.
    pub fn observe(&mut self, seen: &Observation<'_>, net: &NetState) {
        let (Some(id), Some(update)) = (seen.changes.rib.rib, update_of(&seen.event.kind)) else {
            return;
        };
        let marked = update.attributes.communities.contains(&GRACEFUL_SHUTDOWN);
        if !marked && !self.ribs.contains_key(&id) {
            return;
        }
        if self.ribs.len() >= MAX_RIBS && !self.ribs.contains_key(&id) {
            return;
        }
        let begun = net
            .rib
            .get(id)
            .and_then(|rib| rib.transfer())
            .is_some_and(|transfer| transfer.why.replaces());
        let drain = self.ribs.entry(id).or_default();
        for delta in &seen.changes.rib.routes {
            match delta.change {
                // Withdrawn after it was marked: that is what the mark announced.
                RouteChange::Withdrawn | RouteChange::Spurious => {}
                _ if !marked => {
                    drain.slots.remove(&delta.slot);
                }
                RouteChange::Changed if is_marked(net, delta.old) => {}
                RouteChange::Changed => drain.mark(delta.slot, seen.event.at),
                RouteChange::New if begun && delta.transfer => {
                    drain.mark(delta.slot, seen.event.at);
                }
                _ => {}
            }
        }
        if drain.slots.is_empty() {
            self.ribs.remove(&id);
        }
    }

    /// Whether one end of this session drained most of what it announced, a while before `at`. Forgets that drain: a session that comes back
    /// and falls again was not drained for it.
    pub fn take(&mut self, session: SessionId, at: Timestamp, net: &NetState) -> bool {
        let of: Vec<RibId> = self
            .ribs
            .keys()
            .filter(|id| net.rib.get(**id).is_some_and(|rib| rib.session == session))
            .copied()
            .collect();
        let mut drained = false;
        for id in of {
            let (Some(drain), Some(rib)) = (self.ribs.remove(&id), net.rib.get(id)) else {
                continue;
            };
            // Another observer of this loss has the whole table still.
            drained |= drain.covers(rib.present) && at.since(drain.last) <= ANNOUNCES;
        }
        drained
    }

    /// A RIB was lost with so many routes.
    pub fn lost(&mut self, id: RibId, routes: u32) {
        if self
            .ribs
            .get(&id)
            .is_some_and(|drain| !drain.covers(routes))
        {
            self.ribs.remove(&id);
        }
    }
}

impl Drain {
    fn mark(&mut self, slot: Slot, at: Timestamp) {
        self.last = self.last.max(at);
        if self.slots.len() < MAX_SLOTS {
            self.slots.insert(slot);
        }
    }

    /// Whether it is about most of so many routes.
    fn covers(&self, routes: u32) -> bool {
        self.slots.len() >= MAX_SLOTS || self.slots.len() as u64 * 2 > u64::from(routes)
    }
}

fn update_of(kind: &EventKind) -> Option<&Update> {
    match kind {
        EventKind::Bgp(bgp) => match &bgp.message {
            BgpMessage::Update(update) => Some(update),
            _ => None,
        },
        EventKind::Bmp(bmp) => match &bmp.message {
            BmpMessage::RouteMonitoring(update) => Some(update),
            _ => None,
        },
        _ => None,
    }
}
