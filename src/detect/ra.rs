//! Router advertisements: who is a router here, who only says so, and whose default-router role comes and goes.
//!
//! Advertisements arrive already taken apart by sender (`state::routers`). `identity` tells forged ones from real ones, `role` follows a
//! router's lifetime, `strangers` judges routers that appear later and routers that contradict each other, `flood` counts. One cause
//! is one finding: while a router is spoofed or a link flooded, nothing milder is said about it.

mod changes;
mod flood;
mod identity;
mod inside;
mod role;
mod strangers;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use super::link::kernel::placed;
use super::{Board, Detector, Finding, FindingKey, Settings, Touch};
use crate::event::frame::Mac;
use crate::event::lan::{NdFlaw, NdMessage};
use crate::event::loss::GapKind;
use crate::event::{Classes, Event, EventKind, Prefix, Timestamp};
use crate::state::hosts::Scope;
use crate::state::ledger::{Class, Key as Fact};
use crate::state::routers::{Router, RouterDelta};
use crate::state::routes::RouteDelta;
use crate::state::{NetState, Observation};
use changes::Changes;
use flood::Flood;
use identity::Identity;
use inside::Inside;
use role::Role;
use strangers::{Newcomer, Strangers};

/// Withdrawals of one router within this time are one story: the default lifetime is 30 minutes (RFC 4861 §6.2.1), attackers and faults repeat
/// within seconds to minutes.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// A condition is over when it was quiet for twice its window.
const QUIET: Duration = Duration::from_secs(2 * 5 * 60);
/// Routers followed; the table of routers has the same bound.
const MAX_TRACKED: usize = crate::state::routers::MAX_ROUTERS;
/// Links followed; each VLAN of a trunk is one.
const MAX_LINKS: usize = 4096;

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Advertisements {
        expected: strangers::Expected::new(settings),
        ..Advertisements::default()
    }));
}

type Key = (Scope, Ipv6Addr);

/// What is followed of one router.
#[derive(Clone, Default)]
struct Track {
    identity: Identity,
    role: Role,
    changes: Changes,
    inside: Inside,
    newcomer: Option<Newcomer>,
    /// When it was heard first the host had learned another router, and not this one.
    unlearned: bool,
    due: Option<Timestamp>,
}

impl Track {
    /// When its conditions count as over.
    fn quiet_at(&self) -> impl Iterator<Item = Timestamp> {
        let all = [
            self.identity.quiet_at(),
            self.role.quiet_at(),
            self.changes.quiet_at(),
            self.inside.quiet_at(),
        ];
        all.into_iter().flatten()
    }

    fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        self.identity.quiet(now, board);
        self.role.quiet(now, board);
        self.changes.quiet(now, board);
        self.inside.quiet(now, board);
    }
}

/// What is followed of one link.
#[derive(Clone)]
struct Link {
    flood: Flood,
    strangers: Strangers,
}

/// The detector of router advertisements.
#[derive(Clone, Default)]
struct Advertisements {
    expected: strangers::Expected,
    tracks: BTreeMap<Key, Track>,
    links: BTreeMap<Scope, Link>,
    deadlines: BTreeSet<(Timestamp, Key)>,
    /// Routers whose lifetime ran out; told when their capture is heard again, so that its own end is not taken for theirs.
    silent: BTreeMap<Key, Timestamp>,
    /// Links that are being flooded, with the time at which that is over unless it goes on.
    flooded: BTreeMap<Scope, Timestamp>,
    invalid: identity::Invalid,
}

impl Detector for Advertisements {
    fn name(&self) -> &'static str {
        "ra"
    }

    fn wants(&self) -> Classes {
        // Packets of other protocols only show that a link is still being captured.
        Classes::ND
            .and(Classes::GAP)
            .and(Classes::ARP)
            .and(Classes::DHCP4)
            .and(Classes::DHCP6)
            .and(Classes::BFD)
            .and(Classes::BGP)
            .and(Classes::TCP)
            .and(witness::CLASSES)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let event = seen.event;
        if let EventKind::Gap(gap) = &event.kind {
            if gap.kind != GapKind::StateFull {
                self.gap(event);
            }
            return;
        }
        for delta in &seen.changes.routers {
            self.advertised(event, delta, net, board);
        }
        for delta in &seen.changes.routes {
            self.deleted(delta, net, board);
        }
        if !self.silent.is_empty() {
            self.heard(event, net, board);
        }
        if seen.changes.copy {
            return;
        }
        if let EventKind::Nd(nd) = &event.kind
            && let Some(router) = Inside::speaks_for(nd)
        {
            let key = (net.who.link(event, &nd.frame), router);
            let entry = net.routers.get(key.0, router);
            // A router that was not heard to advertise yet may be one by what the kernel knows.
            let told = matches!(
                nd.message,
                NdMessage::NeighborAdvertisement { router: false, .. }
            ) && net
                .ledger
                .last(
                    Class::RouterFlagGone,
                    &Fact::Address(router.into()),
                    event.at,
                )
                .is_some_and(|fact| fact.at == event.at)
                && self.tracks.len() < MAX_TRACKED;
            if told {
                self.tracks.entry(key).or_default();
            }
            if let Some(track) = self.tracks.get_mut(&key) {
                if let (Some(mac), Some(entry)) = (Inside::says_router(nd), entry)
                    && track.identity.lives(mac, event, key, entry, net, board)
                {
                    track.role.silence(board);
                }
                track.inside.seen(event, nd, key, entry, net, board);
                self.schedule(key, net);
            }
        }
        if let EventKind::Nd(nd) = &event.kind
            && matches!(nd.message, NdMessage::RouterAdvertisement(_))
            && nd.flaws.iter().any(|flaw| {
                matches!(
                    flaw,
                    NdFlaw::HopLimit | NdFlaw::SourceNotLinkLocal | NdFlaw::Evasive
                )
            })
        {
            self.invalid.seen(event, nd, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let tracks = self.deadlines.first().map(|(at, _)| *at);
        let floods = self.flooded.values().min().copied();
        [tracks, floods, self.invalid.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.invalid.expire(now, board);
        let links = &mut self.links;
        self.flooded.retain(|scope, quiet| {
            if *quiet <= now
                && let Some(link) = links.get_mut(scope)
            {
                link.flood.quiet(now, board);
            }
            *quiet > now
        });
        while let Some((at, key)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.due(now, key, net, board);
        }
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        for delta in net.routes.waiting() {
            self.deleted(&delta, net, board); // said, and not contradicted before the end
        }
        self.silent.clear(); // nobody knows whether they would have spoken
    }
}

impl Advertisements {
    fn advertised(
        &mut self,
        event: &Event,
        delta: &RouterDelta,
        net: &NetState,
        board: &mut Board,
    ) {
        let key = (delta.scope, delta.router);
        let Some(router) = net.routers.get(delta.scope, delta.router) else {
            return;
        };
        let room = self.links.len() < MAX_LINKS || self.links.contains_key(&delta.scope);
        if !room || (self.tracks.len() >= MAX_TRACKED && !self.make_room(&key, net)) {
            return;
        }
        let link = self.links.entry(delta.scope).or_insert_with(|| Link {
            flood: Flood::default(),
            strangers: Strangers::since(event.at),
        });
        self.silent.remove(&key);
        let before = link.flood.quiet_at().is_some();
        let flooded = link.flood.advertised(event, delta, net, board);
        if flooded && !before {
            link.strangers.are_a_flood(event.at, board);
        }
        if let Some(quiet) = link.flood.quiet_at() {
            self.flooded.insert(delta.scope, quiet);
        }
        let track = self.tracks.entry(key).or_default();
        let spoofed = track.identity.advertised(event, delta, router, net, board);
        if spoofed {
            track.role.silence(board);
        } else if !flooded {
            track.role.advertised(event, delta, net, board);
            if let Some(sender) = router.current() {
                track
                    .changes
                    .advertised(event, delta, &sender.ra, net, board);
            }
        }
        if delta.lifetime.1 > 0 {
            track.inside.back(event, board);
        }
        if !flooded {
            strangers::advertised(
                link_of(&mut self.links, delta.scope),
                &self.expected,
                track,
                event,
                delta,
                net,
                board,
            );
        }
        self.schedule(key, net);
    }

    /// Drops a router that the table dropped too.
    fn make_room(&mut self, wanted: &Key, net: &NetState) -> bool {
        if self.tracks.contains_key(wanted) {
            return true;
        }
        let gone = self
            .tracks
            .iter()
            .find(|((scope, router), _)| net.routers.get(*scope, *router).is_none())
            .map(|(key, track)| (*key, track.due));
        let Some((key, due)) = gone else {
            return false;
        };
        if let Some(due) = due {
            self.deadlines.remove(&(due, key));
        }
        self.tracks.remove(&key).is_some()
    }

    /// Sets when to look at a router next.
    fn schedule(&mut self, key: Key, net: &NetState) {
        let Some(track) = self.tracks.get_mut(&key) else {
            return;
        };
        let expires = net
            .routers
            .get(key.0, key.1)
            .and_then(|router| router.expires());
        let next = expires.into_iter().chain(track.quiet_at()).min();
        if let Some(before) = track.due.take() {
            self.deadlines.remove(&(before, key));
        }
        if let Some(next) = next {
            track.due = Some(next);
            self.deadlines.insert((next, key));
        }
    }

    fn due(&mut self, now: Timestamp, key: Key, net: &NetState, board: &mut Board) {
        let Some(track) = self.tracks.get_mut(&key) else {
            return;
        };
        track.due = None;
        track.quiet(now, board);
        let router = net.routers.get(key.0, key.1);
        if let Some(router) = router
            && let Some(expired) = router.expires().filter(|at| *at <= now)
        {
            if let Some(newcomer) = track.newcomer.take() {
                newcomer.left(expired, board);
            }
            if track.role.may_expire(router) {
                self.silent.insert(key, expired);
            }
        }
        // What is due later than now is set again; an expiry is over once it was seen.
        if let Some(next) = track.quiet_at().filter(|at| *at > now).min() {
            track.due = Some(next);
            self.deadlines.insert((next, key));
        }
    }

    /// Something was heard: routers of the same capture that were silent are so indeed. Another input proves nothing: the capture may have
    /// ended before.
    fn heard(&mut self, event: &Event, net: &NetState, board: &mut Board) {
        if matches!(event.kind, EventKind::Deadline) {
            return; // computed, not heard
        }
        let mut told = Vec::new();
        for ((scope, router), expired) in &self.silent {
            if event.at > *expired && witness::same_capture(net, scope.source, event.source) {
                told.push(((*scope, *router), *expired));
            }
        }
        for (key, expired) in told {
            self.silent.remove(&key);
            if let Some(track) = self.tracks.get_mut(&key) {
                track.role.expired(key, expired, event, net, board);
            }
        }
    }

    /// The kernel dropped a default route that it had learned from a router: a proof of the expiry, were it heard but once.
    fn deleted(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        for (gateway, ifindex) in witness::dropped(delta) {
            let mut told = Vec::new();
            for key in self.tracks.keys().filter(|(_, addr)| *addr == gateway) {
                let expired = net.routers.get(key.0, key.1).and_then(Router::expires);
                if let Some(expired) = expired
                    && witness::on_link(net, key.0, ifindex)
                    && witness::in_time(expired, delta.at)
                {
                    told.push((*key, expired));
                }
            }
            let event = placed(delta.at, delta.locator);
            for (key, expired) in told {
                self.silent.remove(&key);
                if let Some(track) = self.tracks.get_mut(&key) {
                    track.role.expired(key, expired, &event, net, board);
                }
            }
        }
    }

    /// What was lost may have been advertisements: nothing that was due meanwhile is told.
    fn gap(&mut self, event: &Event) {
        self.silent
            .retain(|(scope, _), _| scope.source != event.source);
        for ((scope, _), track) in &mut self.tracks {
            if scope.source == event.source {
                track.role.gap();
            }
        }
    }
}

/// The link's entry; made just before by the caller.
fn link_of(links: &mut BTreeMap<Scope, Link>, scope: Scope) -> Option<&mut Strangers> {
    links.get_mut(&scope).map(|link| &mut link.strangers)
}

/// Whether another router than `router` is a default router at `at`.
fn another_default(net: &NetState, scope: Scope, router: Ipv6Addr, at: Timestamp) -> bool {
    net.routers
        .on_link(scope)
        .any(|(other, entry)| other != router && entry.is_default(at))
}

/// Keys for joins, and what to look at next.
fn keys(finding: &mut Finding, net: &NetState, scope: Scope, router: Ipv6Addr, macs: &[Mac]) {
    let addr = std::net::IpAddr::V6(router);
    let names = net.names_of(scope);
    let name = names.first().map_or("IFACE", |name| name).to_string();
    for interface in names {
        finding.touch(Touch::Interface(interface));
    }
    finding.touch(Touch::Gateway(addr));
    finding.touch(Touch::Server(addr));
    finding.touch(Touch::Address(addr));
    finding.touch(Touch::Prefix(Prefix::v6([0; 16], 0)));
    for mac in macs {
        finding.touch(Touch::Mac(*mac));
    }
    let prefixes = net
        .routers
        .get(scope, router)
        .and_then(|entry| entry.current())
        .map(|sender| sender.ra.prefixes.clone())
        .unwrap_or_default();
    for information in prefixes {
        finding.touch(Touch::Prefix(information.prefix));
    }
    finding.advice = vec![
        format!("ip -6 route show default dev {name}"),
        format!("rdisc6 {name}   (who answers, with which MAC)"),
    ];
    for mac in macs {
        finding.advice.push(format!(
            "bridge fdb show | grep {mac}   (the port it is on)"
        ));
    }
}

/// An open finding and when its condition occurred last.
#[derive(Copy, Clone, Debug)]
struct Open {
    key: FindingKey,
    last: Timestamp,
}
