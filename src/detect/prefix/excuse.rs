//! Prefixes whose churn a session's loss explains: they fall with it, and other peers pass that on, now and when it returns.

use std::time::Duration;

use hashbrown::HashMap;

use crate::event::{Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::transfer::Why;
use crate::state::rib::{Rib, RibEvent, RouteDelta};

use super::Scene;

/// After a loss: two of FRR's default advertisement intervals of RFC 4271 (30 s) until the last peer has heard of it.
const AFTER_LOSS: Duration = Duration::from_secs(60);
/// After a return: everybody switches back within an advertisement interval.
const AFTER_RETURN: Duration = Duration::from_secs(30);
/// Prefixes remembered: several full sessions' worth of what matters here.
const MAX_EXCUSED: usize = 262_144;

/// Excused prefixes, and until when. Never iterated.
#[derive(Clone, Default)]
pub(super) struct Excuses {
    until: HashMap<Prefix, Timestamp, foldhash::fast::RandomState>,
    /// Nothing is excused beyond this.
    last: Timestamp,
}

impl Excuses {
    pub fn rib_event(&mut self, event: &RibEvent, now: Timestamp, net: &NetState) {
        // What we lose of sight, or see again, moves nothing.
        let of_ours = |rib| {
            let session = net.rib.get(rib).map(|rib: &Rib| rib.session);
            session
                .and_then(|session| net.sessions.get(session))
                .is_some_and(|session| session.feed.is_some())
        };
        match event {
            RibEvent::Lost { rib, .. } | RibEvent::TransferDone { rib, .. } if of_ours(*rib) => {}
            RibEvent::Lost {
                rib, since_epoch, ..
            } => {
                let lost: Vec<Prefix> =
                    net.rib.lost(*rib, *since_epoch).take(MAX_EXCUSED).collect();
                self.excuse(lost, now + AFTER_LOSS, now);
            }
            RibEvent::TransferDone { rib, transfer } if transfer.why == Why::SessionUp => {
                let Some(of) = net.rib.get(*rib) else { return };
                let back: Vec<Prefix> = of
                    .iter()
                    .filter(|(_, _, cold)| of.current(cold).is_some())
                    .map(|(_, nlri, _)| nlri.prefix)
                    .take(MAX_EXCUSED)
                    .collect();
                self.excuse(back, transfer.last + AFTER_RETURN, now);
            }
            _ => {}
        }
    }

    fn excuse(&mut self, prefixes: Vec<Prefix>, until: Timestamp, now: Timestamp) {
        if now > self.last {
            self.until.clear();
        }
        self.last = self.last.max(until);
        for prefix in prefixes {
            if self.until.len() >= MAX_EXCUSED && !self.until.contains_key(&prefix) {
                return;
            }
            let entry = self.until.entry(prefix).or_insert(until);
            *entry = (*entry).max(until);
        }
    }

    /// Until when this route's churn is (or was) excused, if ever.
    pub fn until(&self, scene: &Scene<'_>, delta: &RouteDelta) -> Option<Timestamp> {
        if self.until.is_empty() {
            return None;
        }
        self.until.get(&scene.rib.prefix(delta.slot)?).copied()
    }
}
