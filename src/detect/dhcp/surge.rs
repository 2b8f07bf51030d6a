//! Clients that are new to a scope, lately: what starvation, an empty pool and a boot storm are told apart by.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::watch::Watched;
use crate::detect::Touch;
use crate::event::frame::Mac;
use crate::event::{Event, Locator, Timestamp};
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::leases::{LeaseDelta, Seen};
use crate::state::{NetState, Observation};

/// How far back newcomers count (knowledge D6).
pub const WINDOW: Duration = Duration::from_secs(60);
/// A server that has an address offers it within milliseconds, Kea's conflict checks (ping) within half a second.
pub const NO_OFFER: Duration = Duration::from_secs(1);
/// A server that has addresses offers one to somebody within this time: dnsmasq handles one DISCOVER after the other and waits 3 s for a
/// ping each. One that offers nobody anything for longer has none left. Below the 4 s behind which silence is an outage, so that an
/// empty pool is not taken for one.
const EMPTY_AFTER: Duration = Duration::from_millis(3500);
/// How soon an undecided crowd is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Newcomers kept of one scope; a flood of more is as clear as this many.
const MAX_NEWCOMERS: usize = 512;

/// Clients that let an offer lapse before that is a flood: four times the crowd that an empty pool needs as a witness, and more than lose
/// interest at once for an honest reason (a VLAN that moves away, a relay whose way back is broken).
const FLOOD: usize = 64;

/// An answer's client is looked for among this many newest: more than can wait for one server's answer at once.
const NEAR_END: usize = 64;

/// A client that spoke for the first time.
#[derive(Clone)]
pub struct Newcomer {
    pub at: Timestamp,
    pub locator: Locator,
    pub client: ClientId,
    pub mac: Option<Mac>,
    /// Link-layer source, where it is not a relay's.
    pub sender: Option<Mac>,
    /// Port of the relay (option 82 circuit) as a hash, where there is one.
    pub circuit: Option<u64>,
    pub fingerprint: u64,
    pub v6: bool,
    pub named: bool,
    pub boots: bool,
    pub offered: bool,
    pub granted: bool,
    /// The detector that keeps this list has counted it in a finding.
    pub told: bool,
}

/// Newcomers of one scope, oldest first.
#[derive(Clone, Default)]
pub struct Surge {
    pub newcomers: VecDeque<Newcomer>,
    granted: usize,
    /// The last offer to one of them.
    offer: Timestamp,
    /// A look at it is due then (one at a time: a look walks all newcomers).
    pub due: Option<Timestamp>,
    /// Where they were seen.
    pub interface: Option<Touch>,
}

/// Newcomers of all scopes.
#[derive(Clone)]
pub struct Surges {
    pub scopes: Watched<ScopeId, Surge>,
}

impl Default for Surges {
    fn default() -> Surges {
        Surges {
            scopes: Watched::new(WINDOW),
        }
    }
}

impl Surges {
    /// Takes a message in; returns the scope's newcomers and whether this message is one's first.
    pub fn observe(
        &mut self,
        seen: &Observation<'_>,
        heard: &Seen,
        net: &NetState,
    ) -> Option<(&mut Surge, bool)> {
        let surge = self.scopes.at(heard.scope, seen.event.at)?;
        let mut new = false;
        for delta in &seen.changes.leases {
            match delta {
                LeaseDelta::ClientSeen { client, .. } if heard.message.verb == Verb::Discover => {
                    surge.add(seen.event, heard, client, net);
                    surge.interface = super::interface(seen.event, net);
                    new = true;
                }
                LeaseDelta::Offered { client, .. } => surge.mark(client, false, seen.event.at),
                LeaseDelta::Granted { client, .. } => surge.mark(client, true, seen.event.at),
                _ => {}
            }
        }
        Some((surge, new))
    }
}

impl Surge {
    fn add(&mut self, event: &Event, heard: &Seen, client: &ClientId, net: &NetState) {
        self.forget(event.at);
        if self.newcomers.len() == MAX_NEWCOMERS {
            self.pop();
        }
        let m = &heard.message;
        let circuit = net
            .leases
            .clients
            .get(heard.scope, client)
            .and_then(|client| client.circuit_id.as_ref())
            .map(crate::detect::finding::content_hash);
        self.newcomers.push_back(Newcomer {
            at: event.at,
            locator: event.locator,
            client: client.clone(),
            mac: m.client_mac,
            sender: m.frame.eth_src.filter(|_| m.is_direct()),
            circuit,
            fingerprint: m.fingerprint,
            v6: m.v6,
            named: m.named,
            boots: m.boots,
            offered: false,
            granted: false,
            told: false,
        });
    }

    fn mark(&mut self, client: &ClientId, granted: bool, at: Timestamp) {
        // Answers follow at once: the newcomer is near the end.
        if let Some(newcomer) = self
            .newcomers
            .iter_mut()
            .rev()
            .take(NEAR_END)
            .find(|n| n.client == *client)
        {
            newcomer.offered = true;
            self.offer = self.offer.max(at);
            if granted && !newcomer.granted {
                newcomer.granted = true;
                self.granted += 1;
            }
        }
    }

    fn pop(&mut self) {
        if self.newcomers.pop_front().is_some_and(|n| n.granted) {
            self.granted = self.granted.saturating_sub(1);
        }
    }

    /// Asks for a look at it when the newest newcomer has waited long enough; returns the time unless one is due already.
    pub fn look_later(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.due.is_some() {
            return None;
        }
        let at = now + NO_OFFER;
        self.due = Some(at);
        Some(at)
    }

    /// The same at a look that could not decide.
    pub fn look_again(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.due.is_some() || !self.undecided(now) {
            return None;
        }
        let at = now + LOOK_AGAIN;
        self.due = Some(at);
        Some(at)
    }

    /// Forgets what is too old.
    pub fn forget(&mut self, now: Timestamp) {
        while self
            .newcomers
            .front()
            .is_some_and(|newcomer| now.since(newcomer.at) > WINDOW)
        {
            self.pop();
        }
    }

    /// Whether another look is due, because somebody has not waited long enough yet.
    fn undecided(&self, now: Timestamp) -> bool {
        self.newcomers
            .back()
            .is_some_and(|n| !n.offered && now.since(n.at.max(self.offer)) < EMPTY_AFTER)
    }

    /// The newest newcomers that were offered nothing, back to the last one who was; only those who waited long enough, and nobody
    /// until the server had its time.
    pub fn left_out(&self, now: Timestamp) -> impl Iterator<Item = &Newcomer> {
        let served = self
            .newcomers
            .iter()
            .rposition(|newcomer| newcomer.offered)
            .map_or(0, |at| at + 1);
        let patient = self
            .newcomers
            .get(served)
            .is_some_and(|first| now.since(first.at.max(self.offer)) >= EMPTY_AFTER);
        self.newcomers
            .iter()
            .skip(served)
            .take(if patient { usize::MAX } else { 0 })
            .filter(move |newcomer| now.since(newcomer.at) >= NO_OFFER)
    }

    /// Whether these newcomers (by position) were offered addresses and took none: real clients ask for what they are offered within
    /// milliseconds. Only those who had the time count, and one in ten may be real.
    pub fn spurned(&self, positions: &[usize], now: Timestamp) -> bool {
        let patient = positions
            .iter()
            .filter_map(|at| self.newcomers.get(*at))
            .filter(|newcomer| newcomer.offered && now.since(newcomer.at) >= NO_OFFER);
        let (mut offered, mut granted) = (0usize, 0usize);
        for newcomer in patient {
            offered += 1;
            granted += usize::from(newcomer.granted);
        }
        offered >= FLOOD && granted * 10 <= offered
    }

    /// How many were served.
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// The newcomers (by position) that one tool seems to have invented: no two of one vendor, all asking exactly alike, none with a name. Real crowds
    /// share vendors (a rack), or differ in what they ask for (visitors), or say who they are.
    pub fn invented(&self) -> Vec<usize> {
        let mut alike: BTreeMap<u64, usize> = BTreeMap::new();
        for newcomer in &self.newcomers {
            *alike.entry(newcomer.fingerprint).or_default() += 1;
        }
        let Some((fingerprint, _)) = alike.into_iter().max_by_key(|(print, n)| (*n, *print)) else {
            return Vec::new();
        };
        let suspects: Vec<(usize, &Newcomer)> = self
            .newcomers
            .iter()
            .enumerate()
            .filter(|(_, n)| n.fingerprint == fingerprint && !n.named && !n.boots)
            .collect();
        let vendors: BTreeSet<[u8; 3]> = suspects
            .iter()
            .filter_map(|(_, n)| n.mac)
            .map(|Mac([a, b, c, ..])| [a, b, c])
            .collect();
        // Nine of ten, so that a few bystanders do not hide it; vendors of random addresses collide rarely (birthday: 70 in 2^16).
        if suspects.len() * 10 < self.newcomers.len() * 9 || vendors.len() * 10 < suspects.len() * 9
        {
            return Vec::new();
        }
        suspects.into_iter().map(|(at, _)| at).collect()
    }
}
