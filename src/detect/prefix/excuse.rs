//! Prefixes whose churn a session's loss explains: they fall with it, and other peers pass that on, now and when it returns.
//!
//! What a sound session carries as well was not caused by the broken one: whoever lost the routes tells others, so that their paths lead
//! through it; and what others tell *it* comes from elsewhere.

use std::time::Duration;

use hashbrown::HashMap;

use crate::event::{Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::transfer::Why;
use crate::state::rib::{Rib, RibEvent, RibId, RouteDelta};
use crate::state::sessions::SessionId;

use super::Scene;
use super::speaker::Speaker;

/// After a loss: two of FRR's default advertisement intervals of RFC 4271 (30 s) until the last peer has heard of it.
const AFTER_LOSS: Duration = Duration::from_secs(60);
/// After a return: everybody switches back within an advertisement interval.
const AFTER_RETURN: Duration = Duration::from_secs(30);
/// Prefixes remembered: several full sessions' worth of what matters here.
const MAX_EXCUSED: usize = 262_144;

/// Losses told apart at once; the churn of more sessions than that is all excused.
const MAX_LOSSES: usize = 256;

/// Who lost routes, and over which session.
#[derive(Copy, Clone)]
struct Loss {
    session: SessionId,
    loser: Speaker,
}

#[derive(Copy, Clone)]
struct Excuse {
    until: Timestamp,
    /// Index into the losses; several of them excuse everything.
    loss: Option<u16>,
}

/// Excused prefixes, and until when. Never iterated.
#[derive(Clone, Default)]
pub(super) struct Excuses {
    until: HashMap<Prefix, Excuse, foldhash::fast::RandomState>,
    losses: Vec<Loss>,
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
                self.excuse(lost, now + AFTER_LOSS, now, loss(*rib, net));
            }
            RibEvent::TransferDone { rib, transfer } if transfer.why == Why::SessionUp => {
                let Some(of) = net.rib.get(*rib) else { return };
                let back: Vec<Prefix> = of
                    .iter()
                    .filter(|(_, _, cold)| of.current(cold).is_some())
                    .map(|(_, nlri, _)| nlri.prefix)
                    .take(MAX_EXCUSED)
                    .collect();
                self.excuse(back, transfer.last + AFTER_RETURN, now, loss(*rib, net));
            }
            _ => {}
        }
    }

    fn excuse(
        &mut self,
        prefixes: Vec<Prefix>,
        until: Timestamp,
        now: Timestamp,
        by: Option<Loss>,
    ) {
        if now > self.last {
            self.until.clear();
            self.losses.clear();
        }
        self.last = self.last.max(until);
        let loss = by.and_then(|by| self.known(by));
        for prefix in prefixes {
            if self.until.len() >= MAX_EXCUSED && !self.until.contains_key(&prefix) {
                return;
            }
            let entry = self.until.entry(prefix).or_insert(Excuse { until, loss });
            if entry.loss != loss {
                entry.loss = None;
            }
            entry.until = entry.until.max(until);
        }
    }

    fn known(&mut self, by: Loss) -> Option<u16> {
        let same = |known: &Loss| known.session == by.session && known.loser.addr == by.loser.addr;
        let at = self.losses.iter().position(same);
        if at.is_none() && self.losses.len() < MAX_LOSSES {
            self.losses.push(by);
            return Some(self.losses.len() as u16 - 1);
        }
        at.map(|at| at as u16)
    }

    /// Until when this route's churn is (or was) excused, if ever.
    pub fn until(&self, scene: &Scene<'_>, delta: &RouteDelta) -> Option<Timestamp> {
        if self.until.is_empty() {
            return None;
        }
        let excuse = self.until.get(&scene.rib.prefix(delta.slot)?)?;
        let loss = excuse.loss.and_then(|at| self.losses.get(usize::from(at)));
        let carried = loss.is_none_or(|loss| loss.may_show(scene, delta));
        carried.then_some(excuse.until)
    }
}

fn loss(rib: RibId, net: &NetState) -> Option<Loss> {
    let of = net.rib.get(rib)?;
    let session = net.sessions.get(of.session)?;
    Some(Loss {
        session: of.session,
        loser: Speaker::of(&session.ends[1 - of.sender]),
    })
}

impl Loss {
    /// Whether a change on this session can be news of the loss.
    fn may_show(&self, scene: &Scene<'_>, delta: &RouteDelta) -> bool {
        if scene.rib.session == self.session {
            return true;
        }
        let Some(session) = scene.net.sessions.get(scene.rib.session) else {
            return true;
        };
        let (sender, receiver) = (
            Speaker::of(&session.ends[scene.rib.sender]),
            Speaker::of(&session.ends[1 - scene.rib.sender]),
        );
        // Nobody tells the loser of its own loss.
        if receiver.is(&self.loser) {
            return false;
        }
        // Within one AS its routers' loss leaves no trace in the path.
        if self.loser.asn == 0 || sender.asn == 0 || sender.asn == self.loser.asn {
            return true;
        }
        let attrs = if delta.old.is_some() {
            delta.old
        } else {
            delta.new
        };
        scene.net.rib.attributes(attrs).is_none_or(|attributes| {
            attributes
                .as_path
                .segments()
                .flat_map(|(_, numbers)| numbers.iter())
                .any(|asn| *asn == self.loser.asn)
        })
    }
}
