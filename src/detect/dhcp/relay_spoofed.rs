//! `dhcp.relay-spoofed`: a relayed request from something that is no relay.
//!
//! A relay's source address need not be its giaddr, and a router on the link may well relay for a network behind it, so neither is a
//! sign. What gives a forger away is that nobody stands behind it: of one invented client after another not one ever takes an offer,
//! although a real client does so within a second, and not one asks again, although a real one that got nothing does so within seconds. A crowd that shares no vendor, asks
//! exactly alike and tells no name is no real network behind a relay, and need not be waited for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, heard, interface};
use crate::detect::{
    Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};
use crate::event::frame::Mac;
use crate::event::{Classes, Locator, Timestamp};
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Different clients that left their offer alone (one may have chosen another server, which a relay also tells its servers).
const ENOUGH: usize = 8;
/// Clients behind one relay, seen for the first time and one tool's invention by their looks (as in `dhcp.starvation`).
const CROWD: usize = 16;
/// How long a client collects offers before it takes one: dhclient waits 1 s, others less.
const TAKES: Duration = Duration::from_secs(2);
/// … and by when nearly all have taken one.
const TAKES_SOON: Duration = Duration::from_millis(1200);
/// By when a real client that has not got an address asks again: after 4 s, give or take one (RFC 2131 §4.1), dhclient after 10 s, give or
/// take a half (`initial-interval`), and a second for a slow relay.
const ASKS_AGAIN: Duration = Duration::from_secs(16);
/// Silent for this long: over.
const QUIET: Duration = Duration::from_secs(120);
/// Clients watched of one relay.
const MAX_CLIENTS: usize = 256;

/// A giaddr and the link-layer address that uses it.
#[derive(Clone, Default)]
struct Relay {
    asked: BTreeMap<ClientId, (Timestamp, Locator)>,
    /// Vendors (OUI) of those that tell no name, by what they ask for.
    looks: BTreeMap<u64, BTreeSet<[u8; 3]>>,
    offered: BTreeSet<ClientId>,
    /// Clients that asked more than once.
    insisted: BTreeSet<ClientId>,
    /// A client behind it took an offer, renewed, released: it is real.
    real: bool,
    from: Option<IpAddr>,
    mac: Option<Mac>,
    key: Option<FindingKey>,
    touch: Option<Touch>,
    check: Option<Timestamp>,
}

/// The detector.
#[derive(Clone)]
pub struct RelaySpoofed {
    /// Relays that are meant to be there.
    declared: Vec<IpAddr>,
    relays: Watched<(ScopeId, IpAddr), Relay>,
    checks: BTreeSet<(Timestamp, ScopeId, IpAddr)>,
    quiet: Quiet,
}

impl RelaySpoofed {
    /// With the relays that the operator declared.
    pub fn new(settings: &Settings) -> RelaySpoofed {
        RelaySpoofed {
            declared: settings.dhcp_relays.clone(),
            relays: Watched::new(QUIET),
            checks: BTreeSet::new(),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for RelaySpoofed {
    fn name(&self) -> &'static str {
        "dhcp.relay-spoofed"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let Some(giaddr) = m.relay.filter(|relay| !self.declared.contains(relay)) else {
            return;
        };
        let now = seen.event.at;
        let at = (heard.scope, giaddr);
        let Some(relay) = self.relays.at(at, now) else {
            return;
        };
        match m.verb {
            Verb::Discover => {
                relay.from = m.frame.ip_src;
                relay.mac = m.frame.eth_src;
                relay.touch = interface(seen.event, net);
                if relay.key.is_none() && relay.asked.len() < MAX_CLIENTS {
                    match relay.asked.entry(m.client.clone()) {
                        Entry::Vacant(new) => {
                            new.insert((now, seen.event.locator));
                            if let Some(Mac([a, b, c, ..])) =
                                m.client_mac.filter(|_| !m.named && !m.boots)
                            {
                                relay
                                    .looks
                                    .entry(m.fingerprint)
                                    .or_default()
                                    .insert([a, b, c]);
                            }
                        }
                        Entry::Occupied(_) => {
                            relay.insisted.insert(m.client.clone());
                        }
                    }
                    if relay.invented() {
                        self.checks.insert((now + TAKES, at.0, at.1));
                    }
                    if relay.asked.len() >= ENOUGH && relay.check.is_none() {
                        relay.check = Some(now + ASKS_AGAIN);
                        self.checks.insert((now + ASKS_AGAIN, at.0, at.1));
                    }
                }
                if let Some(key) = relay.key {
                    self.quiet.until(key, now + QUIET);
                    board.update(key, |f| {
                        f.again(seen.event);
                        f.explain = explain(relay, giaddr, f.count);
                    });
                }
            }
            Verb::Offer => {
                if relay.asked.contains_key(&m.client) {
                    relay.offered.insert(m.client.clone());
                }
                if relay.offered.len() >= ENOUGH && relay.key.is_none() && relay.check.is_none() {
                    relay.check = Some(now + ASKS_AGAIN);
                    self.checks.insert((now + ASKS_AGAIN, at.0, at.1));
                }
            }
            Verb::Select
            | Verb::Reboot
            | Verb::Renew
            | Verb::Rebind
            | Verb::Ack
            | Verb::Decline => {
                relay.real = true;
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let checks = self.checks.first().map(|(at, ..)| *at);
        [checks, self.quiet.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(&(at, scope, giaddr)) = self.checks.first()
            && at <= now
        {
            self.checks.remove(&(at, scope, giaddr));
            self.check(at, scope, giaddr, ASKS_AGAIN, net, board);
        }
        self.quiet.expire(now, board);
    }

    /// The end of what was seen is no proof against those who had no time to take an offer; a crowd of which many had it is told, and so
    /// are the looks of an invented crowd, which are no absence.
    fn finish(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for (_, scope, giaddr) in std::mem::take(&mut self.checks) {
            let Some(relay) = self.relays.get_mut(&(scope, giaddr)) else {
                continue;
            };
            if relay.invented() {
                self.check(now, scope, giaddr, TAKES_SOON, net, board);
                continue;
            }
            let had_time = relay.asked.iter().filter(|(client, (at, _))| {
                now.since(*at) >= TAKES_SOON
                    && relay.offered.contains(*client)
                    && !relay.insisted.contains(*client)
            });
            if relay.offered.len() >= 2 * ENOUGH
                && relay.insisted.is_empty()
                && had_time.count() >= ENOUGH
            {
                self.check(now, scope, giaddr, TAKES_SOON, net, board);
                let told = self
                    .relays
                    .get_mut(&(scope, giaddr))
                    .and_then(|relay| relay.key);
                if let Some(key) = told {
                    board.update(key, |f| f.truncated = true);
                }
            }
        }
    }
}

impl Relay {
    /// Nine of ten clients ask exactly alike, nine of ten of those are of a vendor of their own, and nobody has asked again.
    fn invented(&self) -> bool {
        if !self.insisted.is_empty() {
            return false;
        }
        let vendors = self.looks.values().map(BTreeSet::len).max();
        self.asked.len() >= CROWD && vendors.unwrap_or(0) * 10 >= self.asked.len() * 8
    }
}

impl RelaySpoofed {
    /// Judges a relay of which enough clients have been silent for so long.
    fn check(
        &mut self,
        now: Timestamp,
        scope: ScopeId,
        giaddr: IpAddr,
        waits: Duration,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(relay) = self.relays.get_mut(&(scope, giaddr)) else {
            return;
        };
        if relay.check == Some(now) {
            relay.check = None;
        }
        if relay.real || relay.key.is_some() {
            return;
        }
        // Whoever asks again is there, answered or not: a relay whose way back is broken has real clients (`dhcp.relay-deaf`).
        let once = |(client, (at, _)): &(&ClientId, &(Timestamp, Locator))| {
            now.since(*at) >= waits && !relay.insisted.contains(*client)
        };
        let silent = relay.insisted.is_empty() && relay.asked.iter().filter(once).count() >= ENOUGH;
        if !silent && !relay.invented() {
            // Those who came just now have not had their time: another look.
            let newest = relay.asked.values().map(|(at, _)| *at).max();
            if let Some(newest) = newest.filter(|_| relay.insisted.is_empty())
                && now.since(newest) < ASKS_AGAIN
                && relay.check.is_none()
                && relay.asked.len() >= ENOUGH
            {
                relay.check = Some(newest + ASKS_AGAIN);
                self.checks.insert((newest + ASKS_AGAIN, scope, giaddr));
            }
            return;
        }
        let mut asked: Vec<(Timestamp, Locator)> = relay.asked.values().copied().collect();
        asked.sort_unstable();
        let Some(&(first, _)) = asked.first() else {
            return;
        };
        let subject = match (relay.mac, relay.from) {
            (Some(mac), _) => Subject::Mac(mac),
            (None, Some(from)) => Subject::Address(from),
            (None, None) => Subject::Address(giaddr),
        };
        let mut f = Finding::at(Kind::DhcpRelaySpoofed, Severity::Warning, subject, first);
        for (nth, (at, locator)) in asked.iter().enumerate() {
            if nth > 0 {
                f.again_at(*at);
            }
            f.evidence.add(*locator);
        }
        f.also(Subject::Address(giaddr));
        f.touch(Touch::Address(giaddr));
        if let Some(from) = relay.from.filter(|from| *from != giaddr) {
            f.also(Subject::Address(from));
            f.touch(Touch::Address(from));
        }
        if let Some(mac) = relay.mac {
            f.touch(Touch::Mac(mac));
        }
        if let Some(touch) = &relay.touch {
            f.touch(touch.clone());
        }
        for server in net.leases.servers.of_scope(scope) {
            if let Some(addr) = server.addr {
                f.touch(Touch::Server(addr));
            }
        }
        f.explain = explain(relay, giaddr, f.count);
        f.advice = vec![
            match relay.mac {
                Some(mac) => format!("bridge fdb show | grep -i {mac}"),
                None => "bridge fdb show".into(),
            },
            format!("ip route get {giaddr}"),
        ];
        let last = f.last;
        let key = board.raise(f);
        relay.key = Some(key);
        relay.asked.clear();
        relay.offered.clear();
        relay.insisted.clear();
        self.quiet.until(key, last + QUIET);
    }
}

fn explain(relay: &Relay, giaddr: IpAddr, requests: u64) -> String {
    let from = match (relay.mac, relay.from) {
        (Some(mac), Some(ip)) => format!("{mac} ({ip})"),
        (Some(mac), None) => mac.to_string(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "A host".into(),
    };
    format!(
        "{from} sent {requests} relayed requests with giaddr {giaddr}, each for another client; none of them took an address it was offered or asked again: nobody is behind this relay."
    )
}
