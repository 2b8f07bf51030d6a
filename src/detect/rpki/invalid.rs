//! `prefix.rpki-invalid`: which announced routes contradict the ROAs, from when to when.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audience, advice, because, by, is_announced, is_evidence, sender};
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Event, Prefix};
use crate::state::rov::RovDelta;
use crate::state::vrps::Rov;
use crate::state::{NetState, Observation};

/// Findings told apart; more invalid routes at once belong to the one quiet statement.
const MAX_TOLD: usize = 64;
/// Prefixes of findings that are watched for their end.
const MAX_WATCHED: usize = 4096;

type Route = (Prefix, Option<u32>);

/// Findings and what they are about.
#[derive(Clone)]
pub(super) struct Book {
    audience: Audience,
    /// Routes that are invalid now, each in a finding.
    open: BTreeMap<Route, FindingKey>,
    told: usize,
    /// What is nobody's matter.
    quiet: BTreeSet<Route>,
    quiet_key: Option<FindingKey>,
    quiet_count: u64,
}

impl Book {
    pub fn new(audience: Audience) -> Book {
        Book {
            audience,
            open: BTreeMap::new(),
            told: 0,
            quiet: BTreeSet::new(),
            quiet_key: None,
            quiet_count: 0,
        }
    }

    /// Nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What one event changed. Routes that one origin has made invalid with it are one finding.
    pub fn news(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let rov = &seen.changes.rov;
        let mut groups: BTreeMap<Option<u32>, Vec<&RovDelta>> = BTreeMap::new();
        for delta in &rov.routes {
            if !delta.after.is_invalid() {
                self.over(seen.event, (delta.prefix, delta.origin), board);
                continue;
            }
            if !delta.announced {
                continue;
            }
            if let Some(key) = self.open.get(&(delta.prefix, delta.origin)) {
                let peer = sender(net, delta.rib);
                board.update(*key, |finding| {
                    if let Some(peer) = peer {
                        finding.touch(Touch::Peer(peer));
                    }
                });
                continue;
            }
            // What was there before we looked, or before there were ROAs, is loud only where it is the operator's own.
            let old = delta.transfer || rov.first;
            let severity = self.audience.severity(net, delta);
            let loud = severity > Severity::Info
                && (!old || self.audience.is_own(&delta.prefix, delta.origin));
            if loud && self.told + groups.len() < MAX_TOLD && self.open.len() < MAX_WATCHED {
                groups.entry(delta.origin).or_default().push(delta);
            } else {
                self.quietly(seen.event, delta, net, board);
            }
        }
        self.quiet_count += rov.more as u64;
        for (origin, deltas) in groups {
            self.raise(seen.event, origin, &deltas, net, board);
        }
    }

    fn raise(
        &mut self,
        event: &Event,
        origin: Option<u32>,
        deltas: &[&RovDelta],
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(first) = deltas.first() else {
            return;
        };
        let subject = Subject::Prefix(first.prefix);
        let mut finding = Finding::at(
            Kind::PrefixRpkiInvalid,
            Severity::Warning,
            subject,
            event.at,
        );
        if is_evidence(event) {
            finding.evidence.add(event.locator);
        }
        if let Some(asn) = origin {
            finding.also(Subject::Origin(asn));
            finding.touch(Touch::As(asn));
        }
        let exact = net
            .rib
            .get(first.rib)
            .is_some_and(|rib| rib.kind.is_exact());
        finding.fidelity = if exact {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        for delta in deltas {
            finding.affected.prefix(delta.prefix);
            if let Some(peer) = sender(net, delta.rib) {
                finding.also(Subject::Peer(peer, None));
                finding.touch(Touch::Peer(peer));
            }
        }
        finding.touch(Touch::Prefix(first.prefix));
        finding.broken.subject = true;
        let peer = sender(net, first.rib).map_or_else(String::new, |peer| format!(" over {peer}"));
        let more = match deltas.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let who = by(origin);
        let because = because(net, &first.prefix, origin, first.after);
        finding.explain = match (first.by_vrps, first.before) {
            (true, Some(before)) => format!(
                "{}{more}, announced by {who}{peer}, was {} and is RPKI-invalid now: {because}",
                first.prefix,
                before.as_str()
            ),
            (true, None) => format!(
                "{}{more}, announced by {who}{peer}, is RPKI-invalid: {because}",
                first.prefix
            ),
            (false, _) => format!(
                "{who} announces {}{more}{peer}, and RPKI says it may not: {because}",
                first.prefix
            ),
        };
        finding.advice = advice(&first.prefix);
        let key = board.raise(finding);
        self.told += 1;
        for delta in deltas {
            if self.open.len() < MAX_WATCHED {
                self.open.insert((delta.prefix, origin), key);
            }
        }
    }

    /// One statement for all that nobody has to act upon; written anew when it has doubled.
    fn quietly(&mut self, event: &Event, delta: &RovDelta, net: &NetState, board: &mut Board) {
        let route = (delta.prefix, delta.origin);
        if self.quiet.contains(&route) {
            return;
        }
        if self.quiet.len() < MAX_WATCHED {
            self.quiet.insert(route);
        }
        self.quiet_count += 1;
        let count = self.quiet_count;
        if !count.is_power_of_two() {
            return;
        }
        let words = format!(
            "{count} announced {} RPKI-invalid, like {} by {}: {}",
            if count == 1 {
                "prefix is"
            } else {
                "prefixes are"
            },
            delta.prefix,
            by(delta.origin),
            because(net, &delta.prefix, delta.origin, delta.after)
        );
        match self.quiet_key {
            Some(key) => board.update(key, |finding| {
                finding.count = count;
                finding.last = event.at;
                for (prefix, _) in &self.quiet {
                    finding.affected.prefix(*prefix);
                }
                finding.affected.more_prefixes = count.saturating_sub(self.quiet.len() as u64);
                finding.evidence.add(event.locator);
                finding.explain = words;
            }),
            None => {
                let subject = Subject::Source("rpki".into());
                let kind = Kind::PrefixRpkiInvalid;
                let mut finding = Finding::at(kind, Severity::Info, subject, event.at);
                if is_evidence(event) {
                    finding.evidence.add(event.locator);
                }
                finding.affected.prefix(delta.prefix);
                finding.explain = words;
                self.quiet_key = Some(board.raise(finding));
            }
        }
    }

    /// A prefix was withdrawn, or has another origin now: the route may be over.
    pub fn recheck(&mut self, event: &Event, prefix: Prefix, net: &NetState, board: &mut Board) {
        let routes: Vec<Route> = self
            .open
            .range((prefix, None)..=(prefix, Some(u32::MAX)))
            .map(|(route, _)| *route)
            .collect();
        for route in routes {
            if !is_announced(net, route.0, route.1) {
                self.over(event, route, board);
            }
        }
    }

    /// A session is lost, with everything that it announced.
    pub fn recheck_all(&mut self, event: &Event, net: &NetState, board: &mut Board) {
        let routes: Vec<Route> = self.open.keys().copied().collect();
        for route in routes {
            if !is_announced(net, route.0, route.1) {
                self.over(event, route, board);
            }
        }
    }

    fn over(&mut self, event: &Event, route: Route, board: &mut Board) {
        let Some(key) = self.open.remove(&route) else {
            return;
        };
        if self.open.values().any(|other| *other == key) {
            return;
        }
        self.told = self.told.saturating_sub(1);
        board.update(key, |finding| {
            finding.recovered(event.at);
            finding.ended = Some(event.at);
            finding.last = finding.last.max(event.at);
            finding.broken.subject = false;
        });
    }
}

/// The state of a route in words, for other findings; nothing without ROAs.
pub fn state_of(net: &NetState, prefix: &Prefix, origin: u32) -> Option<Rov> {
    net.vrps
        .is_usable()
        .then(|| net.vrps.validate(prefix, Some(origin)))
}
