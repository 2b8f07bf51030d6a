//! `dhcp.starvation`: one sender takes addresses in the name of many clients, until none is left.
//!
//! Plain when many client addresses come from one link-layer source, or from one port of a relay. A careful tool also forges the
//! link-layer source; then the sign is a crowd that no real crowd resembles (see [`Surge::invented`]) *and* a pool that is empty
//! behind it, *or* that none of them takes what it is offered (a flood of DISCOVERs alone keeps servers reserving). One attack is one
//! finding, whatever it shows of itself. Many machines that boot at once are `dhcp.boot-storm`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::surge::{Newcomer, Surge, Surges};
use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard_once};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Classes, Locator, Timestamp};
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Client addresses of one source within a minute (knowledge D6): hypervisors and access points keep the client's own source address.
const FROM_ONE: usize = 10;
/// A crowd of invented clients with their own source addresses: more than one person could plug in within a minute, and few enough
/// that a slow tool (one client in three seconds, so that no rate limit sees it) still shows.
const CROWD: usize = 16;
/// Clients that find the pool empty after it.
const LEFT_OUT: usize = 3;
/// Silent for this long: over.
const QUIET: Duration = Duration::from_secs(120);
/// Clients named as affected; more are counted in the finding's count.
const MAX_NAMED: usize = 256;

/// Whose hand it is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Hand {
    Sender(Mac),
    Circuit(u64),
    Forged,
}

#[derive(Clone, Default)]
struct Known {
    key: Option<FindingKey>,
    /// Whose it is, as far as it is told.
    hands: BTreeSet<Hand>,
}

/// The detector.
#[derive(Clone)]
pub struct Starvation {
    surges: Surges,
    known: Watched<ScopeId, Known>,
    checks: BTreeSet<(Timestamp, ScopeId)>,
    quiet: Quiet,
}

impl Default for Starvation {
    fn default() -> Starvation {
        Starvation {
            surges: Surges::default(),
            known: Watched::new(QUIET),
            checks: BTreeSet::new(),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for Starvation {
    fn name(&self) -> &'static str {
        "dhcp.starvation"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        if m.flawed || !matches!(m.verb, Verb::Discover | Verb::Offer | Verb::Ack) {
            return;
        }
        let now = seen.event.at;
        let Some((surge, new)) = self.surges.observe(seen, heard, net) else {
            return;
        };
        if !new {
            return;
        }
        let newest = surge.newcomers.back().and_then(hand);
        let one = newest.filter(|_| {
            let same = |newcomer: &&Newcomer| hand(newcomer) == newest;
            surge.newcomers.iter().filter(same).count() >= FROM_ONE
        });
        if surge.newcomers.len() >= CROWD
            && let Some(at) = surge.look_later(now)
        {
            self.checks.insert((at, heard.scope));
        }
        if let Some(hand) = one {
            self.tell(now, heard.scope, hand, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let checks = self.checks.first().map(|(at, _)| *at);
        [checks, self.quiet.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(&(at, scope)) = self.checks.first()
            && at <= now
        {
            self.checks.remove(&(at, scope));
            self.crowd(at, scope, net, board);
        }
        self.quiet.expire(now, board);
    }

    fn finish(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for (_, scope) in std::mem::take(&mut self.checks) {
            self.crowd(now, scope, net, board);
        }
    }
}

impl Starvation {
    /// Whether the crowd of a scope is invented and the pool empty behind it.
    fn crowd(&mut self, now: Timestamp, scope: ScopeId, net: &NetState, board: &mut Board) {
        let known = self.known.get_mut(&scope);
        let hands = known.map(|known| &known.hands);
        let told = hands.is_some_and(|hands| hands.contains(&Hand::Forged));
        let Some(surge) = self.surges.scopes.get_mut(&scope) else {
            return;
        };
        surge.due = None;
        // Those who came just now have not waited long enough: another look.
        if let Some(at) = surge.look_again(now) {
            self.checks.insert((at, scope));
        }
        let invented = surge.invented();
        if !told && surge.left_out(now).count() < LEFT_OUT && !surge.spurned(&invented, now) {
            return;
        }
        // A network that no server was ever heard to serve has no pool that could be empty.
        if net.leases.servers.of_scope(scope).next().is_none() {
            return;
        }
        // What a known sender or port does in the name of many is its own doing, and no crowd behind it.
        let of_known = |newcomer: &Newcomer| {
            hand(newcomer).is_some_and(|hand| hands.is_some_and(|hands| hands.contains(&hand)))
        };
        let strangers = invented
            .iter()
            .filter_map(|at| surge.newcomers.get(*at))
            .filter(|newcomer| !of_known(newcomer));
        if strangers.count() < CROWD {
            return;
        }
        self.tell(now, scope, Hand::Forged, net, board);
    }

    fn tell(
        &mut self,
        now: Timestamp,
        scope: ScopeId,
        hand: Hand,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(surge) = self.surges.scopes.get_mut(&scope) else {
            return;
        };
        let fresh = untold(surge, hand);
        let (Some((first, ..)), Some(known)) = (fresh.first(), self.known.at(scope, now)) else {
            return;
        };
        let server = net
            .leases
            .servers
            .of_scope(scope)
            .max_by_key(|server| server.acks)
            .and_then(|server| server.addr);
        let granted = surge.granted();
        let spurned = surge.spurned(&surge.invented(), now);
        let interface = surge.interface.clone();
        let key = match known.key.filter(|key| board.get(*key).is_some()) {
            Some(key) => key,
            None => {
                let subject = match (hand, &interface, server) {
                    (Hand::Sender(mac), ..) => Subject::Mac(mac),
                    (_, Some(Touch::Interface(name)), _) => Subject::Link(name.clone()),
                    (_, _, Some(server)) => Subject::Server(server),
                    _ => Subject::Source("dhcp".into()),
                };
                let mut f = Finding::at(Kind::DhcpStarvation, Severity::Critical, subject, *first);
                f.count = 0;
                f.occurrences.clear();
                f.advice = vec![
                    "bridge fdb show | sort -k3 | uniq -c -f2   # which port has the many addresses".into(),
                    "limit addresses on that port (DHCP snooping rate, port security)".into(),
                ];
                board.raise(f)
            }
        };
        known.key = Some(key);
        known.hands.insert(hand);
        self.quiet.until(key, now + QUIET);
        board.update(key, |f| {
            for (at, locator, client) in &fresh {
                f.again_at(*at);
                f.evidence.add(*locator);
                if f.affected.clients.len() < MAX_NAMED && hand == Hand::Forged {
                    f.affected.clients.insert(client_subject(client));
                }
            }
            if let Some(server) = server {
                f.touch(Touch::Server(server));
                f.also(Subject::Server(server));
            }
            if let Hand::Sender(mac) = hand {
                f.also(Subject::Mac(mac));
                f.touch(Touch::Mac(mac));
            }
            if let Some(touch) = interface {
                f.touch(touch);
            }
            let how = match hand {
                Hand::Sender(mac) => format!("from the one link-layer address {mac}"),
                Hand::Circuit(_) => "from one port of a relay".into(),
                Hand::Forged => {
                    "that share no vendor, ask exactly alike and tell no name: one tool invents them".into()
                }
            };
            let seconds = f.last.since(f.first).as_secs_f64();
            // Before a relay only the questions are seen, not what they got.
            let took = match granted {
                0 if spurned => "; none of them took what it was offered".into(),
                0 => String::new(),
                n => format!("; {n} of them took an address"),
            };
            f.explain = format!("{} new clients in {seconds:.1} s {how}{took}.", f.count);
        });
    }
}

/// By what a newcomer counts against one sender.
fn hand(newcomer: &Newcomer) -> Option<Hand> {
    // Machines behind an access point or a nested hypervisor share its address, but tell their names; tools rarely trouble to.
    if newcomer.named || newcomer.boots {
        return None;
    }
    match (newcomer.circuit, newcomer.sender) {
        (Some(circuit), _) => Some(Hand::Circuit(circuit)),
        // A DHCPv6 client has no hardware address of its own to compare: many DUIDs at one source are the sign.
        (None, Some(sender)) if newcomer.v6 || newcomer.mac != Some(sender) => {
            Some(Hand::Sender(sender))
        }
        _ => None,
    }
}

/// Marks and returns the newcomers that are of this hand and not counted yet, oldest first.
fn untold(surge: &mut Surge, with: Hand) -> Vec<(Timestamp, Locator, ClientId)> {
    let positions = if with == Hand::Forged {
        surge.invented()
    } else {
        let its = |(at, newcomer): (usize, &Newcomer)| (hand(newcomer) == Some(with)).then_some(at);
        surge.newcomers.iter().enumerate().filter_map(its).collect()
    };
    let mut fresh = Vec::new();
    for at in positions {
        if let Some(newcomer) = surge.newcomers.get_mut(at).filter(|n| !n.told) {
            newcomer.told = true;
            fresh.push((newcomer.at, newcomer.locator, newcomer.client.clone()));
        }
    }
    fresh
}
