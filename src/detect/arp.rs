//! Whose address is it? Conflicts, moves and spoofing, from what ARP and neighbor discovery claim.
//!
//! What is judged is always a contradiction before the same audience: one change with an announcement is a move (an ElasticIP, a
//! fail-over), a change back another one, and only an address that keeps alternating, or that two hosts answer for, is a conflict.
//! `contest` holds the evidence of one address, `wording` the sentences.

mod contest;
mod probes;
#[cfg(test)]
mod tests;
mod unanswered;
mod wording;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::link::kernel::quoted;
use super::{Board, Detector, Finding, FindingKey, Kind, Settings, Touch};
use crate::event::frame::Mac;
use crate::event::netlink::Action;
use crate::event::{Classes, Event, EventKind, Locator, Timestamp};
use crate::state::hosts::{HostChange, HostDelta, Proof, Scope};
use crate::state::{NetState, Observation};
use contest::{Contest, Verdict};
use probes::Probes;

/// Changes of MAC that count as one story: arpwatch's flip-flops come within minutes; neighbor caches live about as long (Linux: 30–60 s
/// reachable, routers 5 min to 4 h).
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// A condition is over when it was quiet for twice its window.
const QUIET: Duration = Duration::from_secs(2 * 5 * 60);
/// A move is told when it stood this long: keepalived repeats its announcements after 5 s (`garp_master_delay`), and a rival answers the next
/// question, which neighbor caches ask at least every few seconds while they probe (RFC 4861 §10: 5 s delay, then 1 s).
const SETTLED: Duration = Duration::from_secs(5);
/// An own address that went, and is announced by another host within this time, moved there: the longest ElasticIP hand-over measured
/// with a graceful withdraw in between took 3 s, orchestration takes tens of seconds.
const HAND_OVER: Duration = Duration::from_secs(60);
/// An address whose owner was silent for longer is taken over by reuse (a lease that ran out), which is nobody's news.
const STALE_OWNER: Duration = Duration::from_secs(10 * 60);
/// Addresses with a contest at once; a sender who contests more is one finding anyway.
const MAX_CONTESTS: usize = 1024;
/// Own addresses that went and are waited for.
const MAX_DEPARTED: usize = 256;
/// Addresses named in one finding (the rest is counted by the incident's evidence).
const MAX_NAMED: usize = 16;

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Claims::default()));
    detectors.push(Box::new(unanswered::Unanswered::new(settings)));
}

/// Whom a finding is about: all addresses that one intruder takes are one finding, and so are all that two hosts share (both families).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Party {
    Intruder(Mac),
    Pair(Mac, Mac),
}

/// An open finding about a party.
#[derive(Copy, Clone, Debug)]
struct Open {
    key: FindingKey,
    /// The address that the finding counts.
    addr: IpAddr,
    /// The link on which it was seen first: the same frames on another one are no new occurrences.
    scope: Scope,
}

/// An address that the analysed host gave up.
#[derive(Copy, Clone, Debug)]
struct Departed {
    addr: IpAddr,
    at: Timestamp,
    locator: Locator,
}

type Key = (Scope, IpAddr);

/// The detector of claims to addresses.
#[derive(Clone, Default)]
struct Claims {
    contests: BTreeMap<Key, Contest>,
    open: BTreeMap<Party, Open>,
    deadlines: BTreeSet<(Timestamp, Key)>,
    departed: VecDeque<Departed>,
    probes: Probes,
}

impl Detector for Claims {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn wants(&self) -> Classes {
        Classes::ARP.and(Classes::ND).and(Classes::ADDRESS)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if let EventKind::Address(address) = &seen.event.kind {
            if address.action == Action::Del && !address.meta.dump {
                self.depart(address.addr, seen.event);
            } else if address.action == Action::New {
                self.departed.retain(|gone| gone.addr != address.addr);
            }
            return;
        }
        for delta in &seen.changes.hosts {
            match delta.change {
                HostChange::Probed | HostChange::Ignored => {}
                HostChange::Defended { by, .. } => {
                    self.probes.defended(seen.event, delta, by, net, board);
                }
                _ => self.claimed(seen.event, delta, net, board),
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let contests = self.deadlines.first().map(|(at, _)| *at);
        [contests, self.probes.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.probes.expire(now, board);
        while let Some((at, key)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.due(now, key, net, board);
        }
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        // A change that had no time to settle was still seen.
        let waiting: Vec<Key> = self.contests.keys().copied().collect();
        for key in waiting {
            self.conclude_move(key, true, net, board);
        }
    }
}

impl Claims {
    fn depart(&mut self, addr: IpAddr, event: &Event) {
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed {
            addr,
            at: event.at,
            locator: event.locator,
        });
    }

    /// A claim of an address.
    fn claimed(&mut self, event: &Event, delta: &HostDelta, net: &NetState, board: &mut Board) {
        let key = (delta.scope, delta.addr);
        if let HostChange::Changed {
            from,
            last,
            audience,
            ..
        } = delta.change
            && !self.contests.contains_key(&key)
        {
            // A virtual router's own MAC may ask questions in the virtual address's name (keepalived without a VMAC interface).
            let router_itself = from.is_virtual_router() || delta.mac.is_virtual_router();
            let harmless = router_itself && delta.proof == Proof::Question;
            // What masters of a virtual router claim is told by their advertisements.
            let virtual_address = net.is_virtual(delta.scope, delta.addr, &[from, delta.mac]);
            let harmless = harmless || virtual_address;
            if harmless || event.at.since(last) > STALE_OWNER || !self.room() {
                return;
            }
            self.contests.insert(key, Contest::new(from, audience));
        }
        let Some(contest) = self.contests.get_mut(&key) else {
            if delta.proof == Proof::Announcement {
                self.arrived(event, delta, net, board);
            }
            return;
        };
        if let Verdict::Conflict(party) = contest.verdict
            && !self.open.contains_key(&party)
        {
            contest.verdict = Verdict::Open; // it ended on the link that told it, and goes on here
        }
        let flipped = contest.claim(event, delta);
        let conflict = contest.is_conflict(delta, net);
        match contest.verdict {
            Verdict::Conflict(party) => {
                self.continues(party, event, delta, flipped, net, board);
            }
            Verdict::Open | Verdict::Moved(_) if conflict => {
                if let Verdict::Moved(finding) = contest.verdict {
                    board.retract(finding); // it did not stay where it moved to
                }
                self.raise_conflict(key, net, board);
            }
            Verdict::Moved(finding) if flipped => {
                let sentence = wording::moved_again(delta);
                board.update(finding, |f| {
                    f.again(event);
                    f.explain = sentence;
                });
            }
            Verdict::Moved(finding) if event.at.since(contest.last_flip) <= SETTLED => {
                board.update(finding, |f| f.support(event));
            }
            Verdict::Open | Verdict::Moved(_) => {}
        }
        if flipped {
            self.schedule(key);
        }
    }

    /// Room for another contest; makes some by dropping the one that has been without a change for longest and has no verdict.
    fn room(&mut self) -> bool {
        if self.contests.len() < MAX_CONTESTS {
            return true;
        }
        let idle = self
            .contests
            .iter()
            .filter(|(_, contest)| matches!(contest.verdict, Verdict::Open))
            .min_by_key(|(_, contest)| contest.last_flip)
            .map(|(key, _)| *key);
        match idle {
            Some(key) => self.contests.remove(&key).is_some(),
            None => false,
        }
    }

    /// Sets the next deadline of a contest: when a move has settled, when a conflict has been quiet for long enough.
    fn schedule(&mut self, key: Key) {
        let Some(contest) = self.contests.get_mut(&key) else {
            return;
        };
        let wait = match contest.verdict {
            Verdict::Open => SETTLED,
            Verdict::Moved(_) => WINDOW,
            Verdict::Conflict(_) => QUIET,
        };
        let due = contest.last_flip + wait;
        if let Some(before) = contest.due.replace(due) {
            self.deadlines.remove(&(before, key));
        }
        self.deadlines.insert((due, key));
    }

    /// A contest's deadline is there.
    fn due(&mut self, now: Timestamp, key: Key, net: &NetState, board: &mut Board) {
        let Some(contest) = self.contests.get_mut(&key) else {
            return;
        };
        contest.due = None;
        match contest.verdict {
            Verdict::Open => {
                self.conclude_move(key, false, net, board);
                let settled = self
                    .contests
                    .get(&key)
                    .is_some_and(|contest| matches!(contest.verdict, Verdict::Moved(_)));
                if settled {
                    self.schedule(key);
                } else {
                    self.contests.remove(&key);
                }
            }
            Verdict::Moved(finding) => {
                board.update(finding, |f| {
                    f.ended.get_or_insert(now);
                });
                self.contests.remove(&key);
            }
            Verdict::Conflict(party) => {
                let mine = self
                    .open
                    .get(&party)
                    .filter(|open| (open.scope, open.addr) == key);
                if let Some(open) = mine.copied() {
                    board.update(open.key, |f| {
                        f.recovered(now);
                        f.broken.subject = false;
                        f.ended = Some(now);
                    });
                    self.open.remove(&party);
                }
                self.contests.remove(&key);
            }
        }
    }

    /// Tells a move if that is what it was: changes, but no contest.
    fn conclude_move(&mut self, key: Key, truncated: bool, net: &NetState, board: &mut Board) {
        let Some(contest) = self.contests.get_mut(&key) else {
            return;
        };
        if !matches!(contest.verdict, Verdict::Open) || contest.flips() == 0 {
            return;
        }
        // Whoever had it before and still speaks for it has not given it up: a bond with a MAC for each client, or a contest to come.
        let still_used = net.hosts.get(key.0, key.1).is_some_and(|host| {
            let latest = contest.latest().map(|flip| flip.to);
            host.uses
                .iter()
                .any(|user| Some(user.mac) != latest && user.last > contest.last_flip)
        });
        if still_used {
            return;
        }
        let Some(finding) = wording::moved(key.1, contest, truncated, net) else {
            return;
        };
        let finding = on_link(finding, key.0, net);
        contest.verdict = Verdict::Moved(board.raise(finding));
    }

    /// An announcement of an address that this host had until a moment ago.
    fn arrived(&mut self, event: &Event, delta: &HostDelta, net: &NetState, board: &mut Board) {
        while let Some(gone) = self.departed.front() {
            if event.at.since(gone.at) <= HAND_OVER {
                break;
            }
            self.departed.pop_front();
        }
        let Some(at) = self
            .departed
            .iter()
            .position(|gone| gone.addr == delta.addr)
        else {
            return;
        };
        // Our own late announcements are no arrival elsewhere.
        let Some(gone) = self.departed.remove(at).filter(|gone| gone.at <= event.at) else {
            return;
        };
        let finding = wording::handed_over(delta, gone.at, gone.locator, event, net);
        board.raise(on_link(finding, delta.scope, net));
    }

    fn raise_conflict(&mut self, key: Key, net: &NetState, board: &mut Board) {
        let (scope, addr) = key;
        let (Some(contest), Some(host)) = (self.contests.get_mut(&key), net.hosts.get(scope, addr))
        else {
            return;
        };
        let (party, finding) = wording::conflict(scope, addr, contest, host, net);
        contest.verdict = Verdict::Conflict(party);
        if let Some(open) = self.open.get(&party).copied() {
            let locators = contest.frames.clone();
            board.update(open.key, |f| join(f, addr, &finding, &locators));
            return;
        }
        let key = board.raise(on_link(finding, scope, net));
        super::neighbor::conflict_begins_with_flip(addr, board);
        self.open.insert(party, Open { key, addr, scope });
    }

    /// A claim in a conflict that is already told.
    fn continues(
        &mut self,
        party: Party,
        event: &Event,
        delta: &HostDelta,
        flipped: bool,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(open) = self.open.get(&party).copied() else {
            return;
        };
        if (open.scope, open.addr) == (delta.scope, delta.addr) {
            let one = match party {
                Party::Pair(a, b) => net.one_machine(delta.scope, a, b).map(|_| (a, b)),
                Party::Intruder(_) => None,
            };
            board.update(open.key, |f| {
                if let Some((a, b)) = one
                    && f.kind == Kind::AddressConflict
                {
                    wording::one_machine(f, delta.scope, (a, b), net); // known only now
                }
                if flipped {
                    f.again(event);
                    wording::recount(f);
                } else {
                    f.support(event);
                }
            });
        } else if open.addr != delta.addr {
            board.update(open.key, |f| f.support(event));
        }
    }
}

/// Another address of the same party.
fn join(finding: &mut Finding, addr: IpAddr, other: &Finding, frames: &[(Timestamp, Locator)]) {
    if finding.subjects.len() < MAX_NAMED {
        for subject in &other.subjects {
            finding.also(subject.clone());
        }
        finding.touch(Touch::Address(addr));
        for touch in &other.touches {
            finding.touch(touch.clone());
        }
    }
    for (at, locator) in frames.iter().filter(|(at, _)| *at >= finding.first) {
        finding.last = finding.last.max(*at);
        finding.evidence.add(*locator);
    }
}

/// Adds the interfaces on which it was seen.
fn on_link(mut finding: Finding, scope: Scope, net: &NetState) -> Finding {
    for name in net.names_of(scope) {
        finding.touch(Touch::Interface(name));
    }
    finding
}

/// The commands that find a machine: its port on this host's own bridges where they know it.
fn where_is(mac: Mac, net: &NetState) -> String {
    let mut ports = net.who.forwarding.ports(mac);
    match ports.next() {
        Some(port) => format!(
            "bridge fdb show dev {}   (the port behind which {mac} is)",
            quoted(&net.links.name(port))
        ),
        None => format!("bridge fdb show | grep {mac}   (the port it is on)"),
    }
}
