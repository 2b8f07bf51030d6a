//! Detectors of BGP prefixes: flaps, oscillations, path hunting, moves, origin conflicts; and of whole tables: mass withdrawals,
//! duplicates, surges, transfers.
//!
//! One detector walks the deltas of an UPDATE once and hands each to the books that care. Stages behind it see findings at most every two
//! seconds per subject: a prefix that flaps a thousand times a second must not cost a thousand reports.

mod episodes;
mod excuse;
mod hunting;
mod instance;
mod leak;
mod moved;
mod origin;
mod peer;
pub mod rows;
mod speaker;
mod twice;
pub(super) mod weather;
mod zombie;

use crate::event::{Classes, Event, EventKind, Timestamp};
use crate::state::rib::attributes::What;
use crate::state::rib::hot::{Alternation, Hot, STATES};
use crate::state::rib::{Rib, RibEvent, RibId, RibKind, RouteChange, RouteDelta};
use crate::state::{NetState, Observation};

use super::{Board, Detector, Kind, Settings};
use episodes::{Book, Report};
use instance::Instance;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

/// D2: withdrawals within a minute that make a flap, whatever the penalty.
const FAST: usize = 3;
const FAST_WINDOW: Duration = Duration::from_secs(60);
/// D3: withdrawals within six hours that make a slow flap.
const SLOW: usize = 4;
const SLOW_WINDOW: Duration = Duration::from_secs(6 * 3600);
/// D4: switches within ten minutes that make an oscillation, among at most [`STATES`] states.
const SWITCHES: u32 = 6;
const SWITCH_WINDOW: Duration = Duration::from_secs(600);
/// D18: communities alone change for harmless reasons (geographic and traffic-engineering tags)…
const COMMUNITY_SWITCHES: u32 = 20;
/// …unless they follow a strict cycle for so many switches: by chance two states do so half the time at each switch, 1 in 64.
const CYCLE: u32 = 6;

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    let weather = weather::Weather::new(settings);
    let blank = Books {
        instance: Instance::GLOBAL,
        flaps: Book::new(Kind::PrefixFlap, weather.clone()),
        paths: Book::new(Kind::PrefixPathOscillation, weather.clone()),
        attributes: Book::new(Kind::PrefixAttributeOscillation, weather.clone()),
        hunting: hunting::Hunts::default(),
        moved: moved::Moves::new(weather.clone()),
        twice: twice::Twice::new(settings),
        origin: origin::Origins::new(settings),
    };
    detectors.push(Box::new(Prefixes {
        global: blank.clone(),
        blank,
        others: BTreeMap::new(),
        leaks: leak::Leaks::default(),
        peer: peer::Peers::default(),
        excuses: excuse::Excuses::default(),
    }));
    detectors.push(Box::new(zombie::Zombies::new(weather)));
}

/// Where the deltas at hand come from.
pub(super) struct Scene<'a> {
    pub event: &'a Event,
    pub net: &'a NetState,
    pub id: RibId,
    pub rib: &'a Rib,
    pub sender: IpAddr,
    pub receiver: IpAddr,
}

/// Routing instances besides the global one whose prefixes are followed: a provider edge has tens of VRFs; 40 kB each.
const MAX_INSTANCES: usize = 256;

/// What is known of the prefixes of one routing instance: the same prefix in another is another (RFC 4364 §4.1, RFC 7854 §4.2).
#[derive(Clone)]
struct Books {
    instance: Instance,
    flaps: Book,
    paths: Book,
    attributes: Book,
    hunting: hunting::Hunts,
    moved: moved::Moves,
    twice: twice::Twice,
    origin: origin::Origins,
}

#[derive(Clone)]
struct Prefixes {
    global: Books,
    /// What those of a new instance begin as.
    blank: Books,
    others: BTreeMap<Instance, Books>,
    leaks: leak::Leaks,
    peer: peer::Peers,
    excuses: excuse::Excuses,
}

impl Detector for Prefixes {
    fn name(&self) -> &'static str {
        "prefixes"
    }

    fn wants(&self) -> Classes {
        Classes::BGP.and(Classes::BMP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let changes = &seen.changes.rib;
        for event in &changes.events {
            self.excuses.rib_event(event, seen.event.at, net);
            self.peer.rib_event(event, net, board);
            if let RibEvent::Lost { rib, .. } = event {
                self.leaks.lost(seen.event, *rib, board);
            }
        }
        if matches!(seen.event.kind, EventKind::Deadline) || changes.routes.is_empty() {
            return;
        }
        let Some(id) = changes.rib else { return };
        let Some(rib) = net.rib.get(id) else { return };
        let Some(session) = net.sessions.get(rib.session) else {
            return;
        };
        let scene = Scene {
            event: seen.event,
            net,
            id,
            rib,
            sender: session.ends[rib.sender].addr,
            receiver: session.ends[1 - rib.sender].addr,
        };
        // What a daemon passes on to our listener falls with what others said to it, where that is seen.
        let copied = session.feed.is_some() && others_are_seen(net);
        if !copied {
            let is_prefix = |delta: &&RouteDelta| {
                delta.slot.is_unicast() || rib.nlri(delta.slot).is_some_and(|n| n.is_prefix())
            };
            if changes.routes.iter().all(|delta| is_prefix(&delta)) {
                self.peer.updates(&scene, &changes.routes, board);
            } else {
                let prefixes: Vec<RouteDelta> =
                    changes.routes.iter().filter(is_prefix).copied().collect();
                self.peer.updates(&scene, &prefixes, board);
            }
        }
        let mass = self.peer.in_mass(id, seen.event.at);
        let role = leak::sender_role(session, rib);
        let mut last = Instance::GLOBAL;
        for delta in &changes.routes {
            let instance = if session.vrf == 0 && delta.slot.is_unicast() {
                Instance::GLOBAL
            } else {
                match rib.nlri(delta.slot) {
                    // MACs and VTEPs are `evpn.*`.
                    Some(nlri) if !nlri.is_prefix() => continue,
                    Some(nlri) => Instance::of(session.vrf, &nlri),
                    None => continue,
                }
            };
            let books = if instance == Instance::GLOBAL {
                &mut self.global
            } else {
                let room = self.others.len() < MAX_INSTANCES;
                match self.others.entry(instance) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(gap) if room => gap.insert(self.blank.of(instance)),
                    Entry::Vacant(_) => continue,
                }
            };
            // One UPDATE is nearly always about one table.
            if instance != last {
                board.table = instance.label();
                last = instance;
            }
            if delta.hot != 0
                && !mass
                && let Some(hot) = net.rib.hot(delta)
            {
                books.churn(&self.excuses, &scene, delta, hot, board);
            }
            // What the router's own table says again, its peers said before.
            if rib.kind != RibKind::BmpLoc {
                books.moved.route(&scene, delta, board);
            }
            books.origin.route(&scene, delta, &books.moved, board);
            books.twice.route(&scene, delta, board);
            if let Some(role) = role {
                self.leaks.route(&scene, role, delta, board);
            }
        }
        board.table = None;
        if self.global.flaps.any() {
            let flaps = &self.global.flaps;
            self.peer
                .give_way(&scene, |prefix| flaps.has(prefix), board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let books = std::iter::once(&self.global).chain(self.others.values());
        books
            .filter_map(Books::next_deadline)
            .chain(self.peer.next_deadline())
            .min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for books in std::iter::once(&mut self.global).chain(self.others.values_mut()) {
            board.table = books.instance.label();
            books.expire(now, net, board);
        }
        board.table = None;
        self.peer.expire(now, net, board);
    }

    fn finish(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for books in std::iter::once(&mut self.global).chain(self.others.values_mut()) {
            for book in [&mut books.flaps, &mut books.paths, &mut books.attributes] {
                book.flush(now, true, net, board);
            }
        }
        self.peer.finish(now, net, board);
    }
}

impl Books {
    /// New ones, for another instance.
    fn of(&self, instance: Instance) -> Books {
        let mut books = self.clone();
        books.instance = instance;
        books.origin.instance = instance;
        books.twice.instance = instance;
        books
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        [&self.flaps, &self.paths, &self.attributes]
            .into_iter()
            .filter_map(Book::next_deadline)
            .chain(self.origin.next_deadline())
            .chain(self.twice.next_deadline())
            .min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for book in [&mut self.flaps, &mut self.paths, &mut self.attributes] {
            book.expire(now, net, board);
        }
        self.origin.expire(now, net, board);
        let (moved, origin) = (&self.moved, &self.origin);
        let known = |prefix: &_| (!origin.has_told(prefix)).then(|| moved.has_moved(prefix));
        self.twice.expire(now, net, known, board);
    }

    fn churn(
        &mut self,
        excuses: &excuse::Excuses,
        scene: &Scene<'_>,
        delta: &RouteDelta,
        hot: &Hot,
        board: &mut Board,
    ) {
        let now = scene.event.at;
        // What falls with a session is that session's affair, on every peer that passes it on.
        let since = match excuses.until(scene, delta) {
            Some(until) if until > now => return,
            Some(until) => until,
            None => Timestamp::MIN,
        };
        let report = |count: u32, first: Timestamp| Report {
            scene,
            slot: delta.slot,
            hot,
            count,
            first,
        };
        match delta.change {
            RouteChange::Withdrawn => {
                if let Some(hunt) = &hot.ended_hunt {
                    self.hunting.ended(scene, delta, hunt, board);
                }
                let counted = report(hot.withdrawals, hot.first);
                if is_flap(scene, hot, now, since) {
                    self.flaps.raise(&counted, board);
                } else {
                    self.flaps.known(&counted);
                }
            }
            RouteChange::Reannounced => self.flaps.recovered(&report(0, hot.first)),
            RouteChange::Changed => {
                let quiet = hot.withdrawals_since(now - SWITCH_WINDOW) == 0;
                if quiet && hot.path.since >= since && alternates(&hot.path, SWITCHES, now) {
                    self.paths
                        .raise(&report(hot.path.switches, hot.path.since), board);
                }
                let least = if hot.what == What::COMMUNITIES {
                    COMMUNITY_SWITCHES
                } else {
                    SWITCHES
                };
                if quiet
                    && hot.attributes.since >= since
                    && (alternates(&hot.attributes, least, now) || hot.attributes.cycle() >= CYCLE)
                    && hot.attributes.last == now
                {
                    self.attributes.raise(
                        &report(hot.attributes.switches, hot.attributes.since),
                        board,
                    );
                }
            }
            _ => {}
        }
    }
}

/// Whether sessions are seen that do not end at our own listener.
fn others_are_seen(net: &NetState) -> bool {
    net.rib.iter().any(|(_, rib)| {
        let session = net.sessions.get(rib.session);
        session.is_some_and(|session| session.feed.is_none())
    })
}

/// D1, D2, D3: FRR's defaults would suppress it, or it goes often, or it goes again and again.
fn is_flap(scene: &Scene<'_>, hot: &Hot, now: Timestamp, since: Timestamp) -> bool {
    let fast = hot.withdrawals_since(since.max(now - FAST_WINDOW)) >= FAST;
    let slow = hot.withdrawals_since(since.max(now - SLOW_WINDOW)) >= SLOW;
    let profiles = scene.net.rib.hot_records().profiles();
    let damped =
        hot.withdrawals_since(since) >= FAST && hot.penalties[0].suppressed(&profiles[0], now);
    fast || slow || damped
}

fn alternates(a: &Alternation, least: u32, now: Timestamp) -> bool {
    // Nearly all changes lead back to a known state: the first ones only make the states known.
    a.switches >= least
        && usize::from(a.states) <= STATES
        && a.returns + STATES as u32 >= a.switches
        && now.since(a.last) <= SWITCH_WINDOW
}

#[cfg(test)]
mod tests;
