//! `route.default-lost` and `route.default-flap`: the default routes of the main table.
//!
//! Lost means that no default route of the family is left. Losing it twice, or a gateway that alternates, is a flap. Members of a
//! multipath default that come and go are not judged here: traffic still leaves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::detect::link::kernel::{actor, interfaces, list, placed, seconds, times, way};
use crate::detect::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch,
};
use crate::event::netlink::protocol_name;
use crate::event::{Classes, Event, Timestamp};
use crate::state::routes::{Cause, Route, RouteChange, RouteDelta, TABLE_MAIN};
use crate::state::{NetState, Observation};

/// The kernel tells of the setting, then deletes the routes, within the same system call; a busy machine has other work between.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(1);
/// `RTPROT_RA`.
const RTPROT_RA: u8 = 9;

/// Two losses within ten minutes are a flap: planned router changes are rarer.
const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// Changes of the gateway within the window that make a flap, the last one back to a gateway used before. Two are a fail-over and
/// its way back.
const GATEWAY_CHANGES: usize = 3;
/// A default route that is missing for less than this was rewritten by a script in two steps (two process starts), not lost.
const REWRITE: Duration = Duration::from_secs(1);
/// Changes remembered before they make a flap.
const REMEMBERED: usize = 8;

#[derive(Clone, Default)]
pub(super) struct DefaultDetector {
    /// IPv4 and IPv6.
    families: [Watch; 2],
}

#[derive(Clone, Default)]
struct Watch {
    key: Option<FindingKey>,
    /// The last occurrence counted in `key`.
    last: Option<Timestamp>,
    losses: u64,
    missing_since: Option<Timestamp>,
    /// Disjoint gateway changes not yet in a finding: event, gateways before.
    changes: Vec<(Event, BTreeSet<IpAddr>)>,
}

impl Detector for DefaultDetector {
    fn name(&self) -> &'static str {
        "route.default"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE
            .and(Classes::NEXTHOP)
            .and(Classes::LINK)
            .and(Classes::ADDRESS)
            .and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in seen.changes.routes.iter().filter(|delta| is_default(delta)) {
            let watch = &mut self.families[usize::from(delta.key.prefix.is_ipv6())];
            match delta.change {
                RouteChange::Removed => watch.removed(delta, net, board),
                RouteChange::Added => watch.returned(delta, net, board),
                RouteChange::Replaced => {
                    watch.returned(delta, net, board);
                    watch.replaced(delta, net, board);
                }
                RouteChange::Reasserted => {}
            }
        }
    }

    /// A deletion at the very end was said and not contradicted: it counts.
    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        for delta in net.routes.waiting().filter(is_default) {
            let watch = &mut self.families[usize::from(delta.key.prefix.is_ipv6())];
            watch.removed(&delta, net, board);
            if let Some(key) = watch.key {
                board.update(key, |finding| finding.truncated = true);
            }
        }
    }
}

/// Whether a delta is about the default routes judged here.
fn is_default(delta: &RouteDelta) -> bool {
    delta.key.table == TABLE_MAIN && delta.key.prefix.is_default()
}

impl Watch {
    /// Whether an occurrence at `at` belongs to the finding at hand.
    fn recent(&self, at: Timestamp) -> Option<FindingKey> {
        let last = self.last.filter(|last| at.since(*last) <= FLAP_WINDOW);
        self.key.filter(|_| last.is_some())
    }

    fn removed(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(old) = &delta.old else { return };
        let prefix = delta.key.prefix;
        if net.routes.best(prefix).is_some() || self.missing_since.is_some() {
            return;
        }
        self.missing_since = Some(delta.at);
        let event = placed(delta.at, delta.locator);
        let key = match self.recent(delta.at) {
            Some(key) => {
                board.update(key, |finding| {
                    finding.again(&event);
                    finding.kind = Kind::RouteDefaultFlap;
                });
                key
            }
            None => {
                self.losses = 0;
                let subject = Subject::Prefix(prefix);
                let kind = Kind::RouteDefaultLost;
                board.raise(Finding::new(kind, Severity::Critical, subject, &event))
            }
        };
        self.losses += 1;
        self.key = Some(key);
        self.last = Some(delta.at);
        board.update(key, |finding| {
            finding.severity = Severity::Critical;
            finding.broken.default_route = true;
            if delta.cause != Cause::Notified {
                finding.fidelity = finding.fidelity.max(Fidelity::Inferred);
            }
            finding.actor = Some(match delta.cause {
                Cause::Notified => actor(net, delta.by, Some(old.protocol)),
                _ => "the kernel, without a notification".to_owned(),
            });
            touch(finding, delta, old, net);
            let how_often = times(finding.count, finding.first, delta.at);
            let why = match delta.cause {
                Cause::Notified => String::new(),
                cause => format!(" ({})", super::silent::why(cause, net)),
            };
            finding.explain = format!(
                "The default route {prefix} {} of {} was lost {how_often}{why}; no other default route was left.",
                way(net, old),
                protocol_name(old.protocol),
            );
            finding.advice = advice(prefix.is_ipv6());
            finding.explanations = became_router(delta, old, net).into_iter().collect();
            if delta.cause == Cause::Notified {
                super::writers::name(finding, net, delta.by, old, delta.key.table);
            }
        });
    }

    fn returned(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let (Some(since), Some(new)) = (self.missing_since.take(), &delta.new) else {
            return;
        };
        let Some(key) = self.key else { return };
        let event = placed(delta.at, delta.locator);
        let gone = delta.at.since(since);
        board.update(key, |finding| {
            finding.recovered(delta.at);
            finding.support(&event);
            finding.ended = Some(delta.at);
            finding.broken.default_route = false;
            finding.severity = if finding.count == 1 && gone < REWRITE {
                Severity::Info
            } else {
                Severity::Warning
            };
            touch(finding, delta, new, net);
            let after = seconds(gone);
            finding.explain = format!("{} It came back after {after}.", finding.explain);
        });
    }

    fn replaced(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let (Some(old), Some(new)) = (&delta.old, &delta.new) else {
            return;
        };
        let (from, to): (BTreeSet<_>, BTreeSet<_>) =
            (old.gateways().collect(), new.gateways().collect());
        if from.is_empty() || to.is_empty() || !from.is_disjoint(&to) {
            return;
        }
        let event = placed(delta.at, delta.locator);
        let recent = |at: Timestamp| delta.at.since(at) <= FLAP_WINDOW;
        self.changes.retain(|(change, _)| recent(change.at));
        let back = self.changes.iter().any(|(_, before)| *before == to);
        self.changes.push((event.clone(), from));
        if self.changes.len() > REMEMBERED {
            self.changes.remove(0);
        }
        let key = match self.recent(delta.at) {
            Some(key) => {
                board.update(key, |finding| {
                    finding.again(&event);
                    finding.kind = Kind::RouteDefaultFlap;
                });
                key
            }
            None if back && self.changes.len() >= GATEWAY_CHANGES => {
                let mut changes = self.changes.iter();
                let Some((first, _)) = changes.next() else {
                    return;
                };
                let subject = Subject::Prefix(delta.key.prefix);
                let kind = Kind::RouteDefaultFlap;
                let mut finding = Finding::new(kind, Severity::Warning, subject, first);
                changes.for_each(|(change, _)| finding.again(change));
                board.raise(finding)
            }
            None => return,
        };
        self.key = Some(key);
        self.last = Some(delta.at);
        let gateways: BTreeSet<IpAddr> = self
            .changes
            .iter()
            .flat_map(|(_, before)| before.iter().copied())
            .chain(to.iter().copied())
            .collect();
        board.update(key, |finding| {
            finding.actor = Some(actor(net, delta.by, Some(new.protocol)));
            super::writers::name(finding, net, delta.by, new, delta.key.table);
            touch(finding, delta, old, net);
            touch(finding, delta, new, net);
            finding.recovered(delta.at);
            finding.ended = Some(delta.at);
            finding.explain = format!(
                "The default route {} of {} changed {}, between gateways {}.",
                delta.key.prefix,
                protocol_name(new.protocol),
                times(finding.count, finding.first, delta.at),
                list(&gateways, 4),
            );
            finding.advice = advice(delta.key.prefix.is_ipv6());
        });
    }
}

/// A host that becomes a router forgets the routers it has heard (RFC 4861 §6.2.6; Linux purges them when forwarding is switched on, unless
/// `accept_ra` is 2). Docker, libvirt and Kubernetes' installers switch it on.
fn became_router(delta: &RouteDelta, old: &Route, net: &NetState) -> Option<String> {
    let since = delta.at - FORGOTTEN_WITHIN;
    let learnt = old.protocol == RTPROT_RA && delta.key.prefix.is_ipv6();
    let switched = || {
        let mut devices = old.hops.iter().filter_map(|hop| hop.ifindex);
        devices.any(|device| net.netconf.switched(true, device, true, since))
    };
    (learnt && switched()).then(|| {
        "IPv6 forwarding was switched on right before: the kernel then forgets routers it heard, unless accept_ra is 2"
            .to_owned()
    })
}

fn touch(finding: &mut Finding, delta: &RouteDelta, route: &Route, net: &NetState) {
    finding.touch(Touch::Prefix(delta.key.prefix));
    for gateway in route.gateways() {
        finding.touch(Touch::Gateway(gateway));
        // A gateway from DHCP or RA is often the server or router itself.
        finding.touch(Touch::Server(gateway));
    }
    for name in interfaces(net, route) {
        finding.touch(Touch::Interface(name));
    }
}

fn advice(v6: bool) -> Vec<String> {
    let family = if v6 { "-6" } else { "-4" };
    vec![
        format!("ip {family} route show default table all"),
        format!("ip {family} monitor route"),
    ]
}
