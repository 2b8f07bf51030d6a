//! `rpki.vrp-changed`: which VRPs came or went and what that did to announced routes: made them invalid, took the ROA away that made them
//! valid, made validating neighbors withdraw them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Audience, NAMED, advice, by, is_announced, is_evidence, sender};
use crate::detect::{Board, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::rtr::VrpChange;
use crate::event::{Event, Prefix, Timestamp};
use crate::state::rib::{RibId, RouteChange, RouteDelta};
use crate::state::rov::RovDelta;
use crate::state::vrps::{Rov, VrpDelta, covering};
use crate::state::{NetState, Observation};

/// D13: a fifth of all VRPs gone at once is a validator's or trust anchor's fault, not an operator's change (BGPalerter's default) …
const MASS: usize = 5;
/// … in a table that is large enough for that to mean something.
const MASS_LEAST: usize = 1000;
/// C34, C35: validating routers hear of it, judge again and withdraw within this time.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(120);
/// Findings whose routes are watched.
const MAX_TOLD: usize = 64;
/// Routes of a finding that are watched.
const MAX_ROUTES: usize = 4096;

type Route = (Prefix, Option<u32>);

#[derive(Clone)]
struct Told {
    key: FindingKey,
    at: Timestamp,
    /// Routes that are worse than before.
    worse: BTreeSet<Route>,
    /// Those of them that were withdrawn.
    withdrawn: BTreeSet<Prefix>,
}

/// Findings and what they are about.
#[derive(Clone)]
pub(super) struct Book {
    audience: Audience,
    told: Vec<Told>,
    quiet_key: Option<FindingKey>,
}

impl Book {
    pub fn new(audience: Audience) -> Book {
        Book {
            audience,
            told: Vec::new(),
            quiet_key: None,
        }
    }

    /// Nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// An answer of a cache came into force and changed the state of routes.
    pub fn news(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let mut worse: Vec<&RovDelta> = Vec::new();
        let mut severity = Severity::Info;
        for delta in &seen.changes.rov.routes {
            let (Some(before), after) = (delta.before, delta.after) else {
                continue;
            };
            if rank(after) <= rank(before) {
                self.mended(seen.event, (delta.prefix, delta.origin), board);
                continue;
            }
            let own = self.audience.is_own(&delta.prefix, delta.origin);
            // Without a ROA a route is still accepted: that concerns its owner only.
            let loud = if after.is_invalid() || own {
                self.audience.severity(net, delta)
            } else {
                Severity::Info
            };
            severity = severity.max(loud);
            worse.push(delta);
        }
        let removed = seen.changes.vrps.iter().map(|delta| match delta {
            VrpDelta::Fresh { removed, added, .. } => removed.saturating_sub(*added),
            _ => 0,
        });
        let removed: usize = removed.sum();
        let mass =
            net.vrps.len() + removed >= MASS_LEAST && removed * MASS >= net.vrps.len() + removed;
        if mass {
            severity = Severity::Warning;
        }
        if worse.is_empty() && !mass {
            return;
        }
        if severity == Severity::Info && net.rib.is_internet() {
            self.quietly(seen.event, &worse, board);
            return;
        }
        self.raise(seen, net, &worse, severity, mass.then_some(removed), board);
    }

    fn raise(
        &mut self,
        seen: &Observation<'_>,
        net: &NetState,
        worse: &[&RovDelta],
        severity: Severity,
        mass: Option<usize>,
        board: &mut Board,
    ) {
        let (changed, _) = net.vrps.changed();
        // The VRPs that did it: those that cover a route that is worse now.
        let mut guilty: BTreeMap<VrpChange, ()> = BTreeMap::new();
        for delta in worse.iter().take(MAX_ROUTES) {
            guilty.extend(covering(changed, &delta.prefix).map(|change| (*change, ())));
        }
        let guilty: Vec<VrpChange> = guilty.into_keys().collect();
        let named = guilty.first().or_else(|| changed.first());
        let Some(named) = named else { return };
        let event = seen.event;
        let mut finding = Finding::at(
            Kind::RpkiVrpChanged,
            severity,
            Subject::Prefix(named.vrp.prefix),
            event.at,
        );
        if is_evidence(event) {
            finding.evidence.add(event.locator);
        }
        finding.also(Subject::Origin(named.vrp.asn));
        finding.count = guilty.len().max(1) as u64;
        let cache = seen.changes.vrps.iter().find_map(|delta| match delta {
            VrpDelta::Fresh { cache, .. } => net.vrps.cache(*cache),
            _ => None,
        });
        let mut from = String::new();
        if let Some(cache) = cache {
            finding.also(super::caches::subject(cache));
            finding.touch(Touch::Feed(super::caches::name(cache).into()));
            from = format!(", says {}", cache.label());
        }
        let mut told = Told {
            key: FindingKey(u32::MAX),
            at: event.at,
            worse: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
        };
        for delta in worse {
            finding.affected.prefix(delta.prefix);
            if told.worse.len() < MAX_ROUTES {
                told.worse.insert((delta.prefix, delta.origin));
            }
            if !delta.announced {
                told.withdrawn.insert(delta.prefix);
                // The router heard of it before we did: the change is as old as its reaction.
                if let Some(at) = net
                    .rib
                    .get(delta.rib)
                    .and_then(|rib| Some(rib.last_change(rib.cold(delta.slot)?)))
                {
                    finding.first = finding.first.min(at);
                }
            }
        }
        if let Some(first) = finding.occurrences.first_mut() {
            first.at = finding.first;
        }
        for prefix in told.worse.iter().map(|(prefix, _)| *prefix).take(NAMED) {
            finding.touch(Touch::Prefix(prefix));
        }
        finding.touch(Touch::As(named.vrp.asn));
        finding.broken.subject = worse.iter().any(|delta| delta.after.is_invalid());
        finding.explain = match mass {
            Some(removed) => format!(
                "{removed} of {} VRPs are gone at once{from}: a validator or a trust anchor is at fault{}",
                net.vrps.len() + removed,
                effects(worse, "; ")
            ),
            None => format!("{}{from}{}", causes(&guilty), effects(worse, ": ")),
        };
        finding.advice = advice(&named.vrp.prefix);
        let gone: Vec<Prefix> = told.withdrawn.iter().copied().collect();
        told.key = board.raise(finding);
        for prefix in gone {
            note_withdrawal(&told, net, prefix, None, board);
        }
        if self.told.len() >= MAX_TOLD {
            self.told.remove(0);
        }
        self.told.push(told);
    }

    /// The Internet's ROAs change all the time.
    fn quietly(&mut self, event: &Event, worse: &[&RovDelta], board: &mut Board) {
        let words = format!("VRPs changed{}", effects(worse, ": "));
        match self.quiet_key {
            Some(key) => board.update(key, |finding| {
                finding.again_at(event.at);
                finding.evidence.add(event.locator);
                finding.explain = words;
            }),
            None => {
                let subject = Subject::Source("rpki".into());
                let mut finding =
                    Finding::at(Kind::RpkiVrpChanged, Severity::Info, subject, event.at);
                finding.evidence.add(event.locator);
                for delta in worse {
                    finding.affected.prefix(delta.prefix);
                }
                finding.explain = words;
                self.quiet_key = Some(board.raise(finding));
            }
        }
    }

    /// A route is as good as before, or better.
    fn mended(&mut self, event: &Event, route: Route, board: &mut Board) {
        for told in &mut self.told {
            if !told.worse.remove(&route) || !told.worse.is_empty() {
                continue;
            }
            board.update(told.key, |finding| {
                finding.recovered(event.at);
                finding.ended = Some(event.at);
                finding.last = finding.last.max(event.at);
                finding.broken.subject = false;
                finding.broken.last_path = false;
            });
        }
        self.told.retain(|told| !told.worse.is_empty());
    }

    /// A route was withdrawn or got another origin: perhaps a validating neighbor's answer to what we told.
    pub fn moved(
        &mut self,
        event: &Event,
        rib: RibId,
        prefix: Prefix,
        delta: &RouteDelta,
        net: &NetState,
        board: &mut Board,
    ) {
        for told in &mut self.told {
            if delta.change != RouteChange::Withdrawn
                || event.at.since(told.at) > WITHDRAWN_WITHIN
                || !told.concerns(prefix)
            {
                continue;
            }
            if told.withdrawn.insert(prefix) {
                note_withdrawal(told, net, prefix, Some((event, rib)), board);
            }
        }
    }

    /// A route is announced, perhaps again: what was lost may be back.
    pub fn announced(&mut self, event: &Event, prefix: Prefix, net: &NetState, board: &mut Board) {
        let mut mended = Vec::new();
        for told in self.told.iter_mut().filter(|told| told.concerns(prefix)) {
            let mut back = false;
            for (prefix, origin) in told.worse.range((prefix, None)..=(prefix, Some(u32::MAX))) {
                if !is_announced(net, *prefix, *origin) {
                    continue;
                }
                back = true;
                if !net.vrps.validate(prefix, *origin).is_invalid() {
                    mended.push((*prefix, *origin));
                }
            }
            if back && told.withdrawn.remove(&prefix) && told.withdrawn.is_empty() {
                board.update(told.key, |finding| finding.broken.last_path = false);
            }
        }
        for route in mended {
            self.mended(event, route, board);
        }
    }
}

impl Told {
    fn concerns(&self, prefix: Prefix) -> bool {
        self.worse
            .range((prefix, None)..=(prefix, Some(u32::MAX)))
            .next()
            .is_some()
    }
}

/// Says in a finding that a route it is about was withdrawn.
fn note_withdrawal(
    told: &Told,
    net: &NetState,
    prefix: Prefix,
    by: Option<(&Event, RibId)>,
    board: &mut Board,
) {
    let gone = !told
        .worse
        .range((prefix, None)..=(prefix, Some(u32::MAX)))
        .any(|(prefix, origin)| is_announced(net, *prefix, *origin));
    let peer = by.and_then(|(_, rib)| sender(net, rib));
    board.update(told.key, |finding| {
        if let Some((event, _)) = by {
            finding.support(event);
        }
        if let Some(peer) = peer {
            finding.touch(Touch::Peer(peer));
        }
        if finding.severity == Severity::Info {
            finding.severity = Severity::Warning;
        }
        // Nobody announces it any more, as far as we see.
        finding.broken.last_path |= gone;
        if told.withdrawn.len() <= NAMED {
            let who = peer.map_or_else(String::new, |peer| format!(" by {peer}"));
            finding.explain = format!("{}; {prefix} was withdrawn{who}", finding.explain);
        }
    });
}

/// How good a state is: the smaller the better.
const fn rank(state: Rov) -> u8 {
    match state {
        Rov::Valid => 0,
        Rov::NotFound => 1,
        Rov::InvalidLength | Rov::InvalidOrigin => 2,
    }
}

/// The changed VRPs, in words.
fn causes(changes: &[VrpChange]) -> String {
    let one = |change: &VrpChange| {
        let what = if change.announce { "came" } else { "is gone" };
        format!("the ROA {} {what}", change.vrp)
    };
    let mut words: Vec<String> = changes.iter().take(NAMED).map(one).collect();
    if changes.len() > NAMED {
        words.push(format!("{} more changed", changes.len() - NAMED));
    }
    words.join(", ")
}

/// What became of routes, in words.
fn effects(worse: &[&RovDelta], separator: &str) -> String {
    let Some(first) = worse.first() else {
        return String::new();
    };
    let more = match worse.len() {
        1 => String::new(),
        n => format!(" (and {} more routes)", n - 1),
    };
    let was = first.before.map_or("unknown", Rov::as_str);
    format!(
        "{separator}{} by {} was {was} and is {}{more}",
        first.prefix,
        by(first.origin),
        first.after.as_str()
    )
}
