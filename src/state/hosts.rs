//! Who uses which address with which MAC, as ARP and neighbor discovery tell it, for each link that is watched.
//!
//! A claim is any message that makes receivers write an address and a MAC into their caches. What receivers discard (a wrong hop limit,
//! say) and what claims nothing (probes) leaves no trace here. The table is bounded against senders who invent addresses: see [`bounds`].

pub mod bounds;
mod claim;
mod scans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::event::frame::{Frame, Mac};
use crate::event::{Event, EventKind, SourceId, Timestamp};

use super::who::machines::Machines;
use bounds::Tentative;
pub use claim::{Audience, Proof};
use claim::{Claim, Questions};
pub use scans::Scan;

/// MACs remembered of one address: two are a conflict or a move, four still tell an active pair from a scan that claims everything.
pub const MAX_MACS: usize = 4;
/// Other MACs may take a slot of an address once they were silent for so long: arpwatch's idea of a "reused old" address is six months, but
/// caches forget in minutes (Linux gc_stale_time 60 s, routers 4 h), and after 4 hours nobody still believes the old owner.
pub const FORGOTTEN: std::time::Duration = std::time::Duration::from_secs(4 * 3600);

/// A link that is watched: claims on one say nothing about the same address on another.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Scope {
    pub source: SourceId,
    /// Where one source holds many interfaces (cooked captures).
    pub ifindex: Option<u32>,
    pub vlans: [Option<u16>; 3],
}

impl Scope {
    /// The link on which a frame was seen.
    pub fn of(event: &Event, frame: &Frame) -> Scope {
        Scope {
            source: event.source,
            ifindex: frame.ifindex,
            vlans: frame.vlans,
        }
    }
}

/// A claim and what it changed.
#[derive(Clone, Debug)]
pub struct HostDelta {
    pub scope: Scope,
    pub addr: IpAddr,
    /// The MAC that the message puts into caches.
    pub mac: Mac,
    /// The frame's own link-layer source, where it differs from `mac`.
    pub other_sender: Option<Mac>,
    pub proof: Proof,
    pub audience: Audience,
    pub change: HostChange,
}

/// What a claim changed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum HostChange {
    /// Nobody claimed the address before.
    First,
    /// The MAC that claimed it last claims it again.
    Same,
    /// Another MAC claimed it last.
    Changed {
        /// The MAC before.
        from: Mac,
        /// When that one claimed it last.
        last: Timestamp,
        /// To whom.
        audience: Audience,
        /// `mac` is known from before: it takes the address back.
        back: bool,
    },
    /// Nothing that caches would take over: an advertisement without the override flag while another MAC is known (anycast, proxies).
    Ignored,
    /// Somebody checks whether `addr` is free (RFC 5227 probe, DAD) and claims nothing yet.
    Probed,
    /// The owner answers a probe of `by`: the address is in use, the prober must give way.
    Defended {
        /// Who wanted the address.
        by: Mac,
        /// When it asked.
        asked: Timestamp,
    },
}

/// One MAC's use of an address.
#[derive(Copy, Clone, Debug)]
pub struct Use {
    pub mac: Mac,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Claims of any kind.
    pub claims: u64,
    /// Answers to questions somebody asked.
    pub answers: u64,
    /// Announcements nobody asked for.
    pub announcements: u64,
    /// How often it asked who has the address that it claims: an owner knows, who poisons caches has to find out.
    pub asked: u64,
    last_audience: Audience,
}

/// An address and those who use it.
#[derive(Clone, Debug)]
pub struct Host {
    /// In the order in which they first claimed it.
    pub uses: SmallVec<[Use; 2]>,
    /// Index of the one who claimed it last.
    current: usize,
    /// Who answered last, whom, and when.
    answered: Option<(Audience, Mac, Timestamp)>,
}

impl Host {
    /// The MAC that claimed it last.
    pub fn current(&self) -> Option<&Use> {
        self.uses.get(self.current)
    }
}

/// The table.
#[derive(Clone, Default)]
pub struct Hosts {
    hosts: BTreeMap<(Scope, IpAddr), Host>,
    tentative: Tentative,
    questions: Questions,
    scans: scans::Scans,
    held: bounds::Held,
    /// Addresses that were not tracked because their sender invents too many.
    pub refused: u64,
}

impl Hosts {
    /// Applies an event of a link.
    pub fn apply(
        &mut self,
        event: &Event,
        scope: Scope,
        machines: &mut Machines,
        out: &mut Vec<HostDelta>,
    ) {
        let (claim, question) = match &event.kind {
            EventKind::Arp(arp) => claim::of_arp(arp),
            EventKind::Nd(nd) => claim::of_nd(nd),
            _ => return,
        };
        // Answers first: a message cannot answer its own question.
        if let Some(claim) = claim {
            self.claim(scope, claim, event.at, machines, out);
        }
        if let Some(question) = question {
            if question.is_probe() {
                out.push(HostDelta {
                    scope,
                    addr: question.addr,
                    mac: question.by,
                    other_sender: None,
                    proof: Proof::Question,
                    audience: Audience::Everybody,
                    change: HostChange::Probed,
                });
            }
            if !question.is_probe()
                && let Some(host) = self.hosts.get_mut(&(scope, question.addr))
                && let Some(user) = host.uses.iter_mut().find(|user| user.mac == question.by)
            {
                user.asked = user.asked.saturating_add(1);
            }
            self.scans
                .asked(scope, question.by, question.addr, event.at);
            self.questions.ask(scope, question, event.at);
        }
    }

    /// Who uses an address on a link.
    pub fn get(&self, scope: Scope, addr: IpAddr) -> Option<&Host> {
        self.hosts.get(&(scope, addr))
    }

    /// Somebody who asked for very many addresses shortly before `at`, on whatever link.
    pub fn scan_before(&self, at: Timestamp, within: std::time::Duration) -> Option<Scan> {
        self.scans.around(at, within)
    }

    /// Addresses tracked.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Nothing tracked.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Addresses on a link that `mac` claimed last.
    pub fn addresses_of(&self, scope: Scope, mac: Mac) -> usize {
        self.held.count(scope, mac)
    }

    /// Earliest deadline: this table has none, its users compute theirs.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<HostDelta>) {}

    fn claim(
        &mut self,
        scope: Scope,
        mut claim: Claim,
        at: Timestamp,
        machines: &mut Machines,
        out: &mut Vec<HostDelta>,
    ) {
        let question = self.questions.answered(scope, &claim, at);
        if claim.proof == Proof::Answer && question.is_none() {
            claim.proof = Proof::Announcement;
        }
        let key = (scope, claim.addr);
        if !self.hosts.contains_key(&key) {
            match self.tentative.admit(key, claim.sender(), self.hosts.len()) {
                bounds::Admission::Granted => {}
                bounds::Admission::InsteadOf(other) => {
                    let gone = self.hosts.remove(&other);
                    let held = gone.as_ref().and_then(Host::current).map(|user| user.mac);
                    self.held.moved(other.0, held, None);
                }
                bounds::Admission::Refused => {
                    self.refused = self.refused.saturating_add(1);
                    return;
                }
            }
        }
        let host = self.hosts.entry(key).or_insert_with(|| Host {
            uses: SmallVec::new(),
            current: 0,
            answered: None,
        });
        let before = host.current().map(|user| user.mac);
        let change = host.claimed(&claim, at);
        let now = host.current().map(|user| user.mac);
        if claim.proof == Proof::Answer {
            let answer = (claim.audience, claim.mac, at);
            if let Some((to, mac, when)) = host.answered.replace(answer)
                && to == claim.audience
            {
                machines.answered(scope, (mac, when), (claim.mac, at), claim.addr);
            }
        }
        if host
            .current()
            .is_some_and(|user| at.since(user.first) >= bounds::CONFIRMED_AFTER)
        {
            self.tentative.confirm(&key);
        }
        self.held.moved(scope, before, now);
        let mut push = |change| {
            out.push(HostDelta {
                scope,
                addr: claim.addr,
                mac: claim.mac,
                other_sender: claim.other_sender,
                proof: claim.proof,
                audience: claim.audience,
                change,
            });
        };
        push(change);
        if let Some(question) =
            question.filter(|q| q.question.is_probe() && q.question.by != claim.mac)
        {
            push(HostChange::Defended {
                by: question.question.by,
                asked: question.at,
            });
        }
    }
}

impl Host {
    fn claimed(&mut self, claim: &Claim, at: Timestamp) -> HostChange {
        let previous = self.current().copied();
        let known = self.uses.iter().position(|user| user.mac == claim.mac);
        let different = previous.is_some_and(|user| user.mac != claim.mac);
        if different && !claim.overrides {
            return HostChange::Ignored;
        }
        let index = match known {
            Some(index) => index,
            None => self.slot(claim.mac, at),
        };
        if let Some(user) = self.uses.get_mut(index) {
            user.last = at;
            user.claims = user.claims.saturating_add(1);
            match claim.proof {
                Proof::Answer => user.answers = user.answers.saturating_add(1),
                Proof::Announcement => user.announcements = user.announcements.saturating_add(1),
                Proof::Question => {}
            }
            user.last_audience = claim.audience;
        }
        self.current = index;
        match previous {
            None => HostChange::First,
            Some(user) if user.mac == claim.mac => HostChange::Same,
            Some(user) => HostChange::Changed {
                from: user.mac,
                last: user.last,
                audience: user.last_audience,
                back: known.is_some(),
            },
        }
    }

    /// A slot for a new MAC: a free one, or that of whoever was silent for longest (never the first owner's unless it is forgotten).
    fn slot(&mut self, mac: Mac, at: Timestamp) -> usize {
        let fresh = Use {
            mac,
            first: at,
            last: at,
            claims: 0,
            answers: 0,
            announcements: 0,
            asked: 0,
            last_audience: Audience::Everybody,
        };
        if self.uses.len() < MAX_MACS {
            self.uses.push(fresh);
            return self.uses.len() - 1;
        }
        let oldest = |uses: &[Use]| {
            let candidates = uses.iter().enumerate();
            candidates
                .filter(|(index, user)| *index > 0 || at.since(user.last) > FORGOTTEN)
                .min_by_key(|(_, user)| user.last)
                .map(|(index, _)| index)
        };
        let index = oldest(&self.uses).unwrap_or(self.uses.len() - 1);
        if let Some(slot) = self.uses.get_mut(index) {
            *slot = fresh;
        }
        index
    }
}
