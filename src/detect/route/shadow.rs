//! `route.shadowed`: a route of one owner takes the traffic of another owner's route.
//!
//! That is a more specific route inside a routing daemon's prefix, the same prefix with a better metric, or a pair of halves (/1) that
//! covers the default route. Everything is more specific than a default route: that alone is no shadow. Static routes are an
//! operator's choice and are information; DHCP, RA, redirects and scripts are not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::link::kernel::{actor, interfaces, list, placed, way};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::{RTPROT_KERNEL, is_routing_daemon, protocol_name};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::routes::{
    Cause, RTN_UNICAST, Route, RouteChange, RouteDelta, RouteKey, TABLE_MAIN,
};
use crate::state::{NetState, Observation};

/// Routes that one act installs: a DHCP client's script starts one process for each (4 ms each, measured).
const TOGETHER: Duration = Duration::from_secs(5);
/// Halves of the address space up to this length (with their siblings) stand for a default route: 0.0.0.0/1 and 128.0.0.0/1.
const HALVES: u8 = 1;
/// A route that was added more often than this, each time within the time it is remembered for, comes and goes: its third deletion within a minute
/// (or fifth in a quarter of an hour) makes it a `route.flap`.
const FLAPS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(60);
/// Subjects of one finding.
const MAX_SUBJECTS: usize = 32;
/// Shadowing routes watched.
const MAX_WATCHED: usize = 4_096;
/// `RTPROT_STATIC`.
const RTPROT_STATIC: u8 = 4;

#[derive(Clone, Default)]
pub(super) struct ShadowDetector {
    /// Shadowing route → its finding.
    shadows: BTreeMap<RouteKey, FindingKey>,
    /// Finding of an owner's act: protocol and way, for those that follow at once.
    acts: BTreeMap<(u8, Vec<crate::event::netlink::Hop>), (Timestamp, FindingKey)>,
    /// How often a shadowing route was added lately, and when last.
    times: BTreeMap<RouteKey, (u32, Timestamp)>,
}

impl Detector for ShadowDetector {
    fn name(&self) -> &'static str {
        "route.shadowed"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE
            .and(Classes::LINK)
            .and(Classes::ADDRESS)
            .and(Classes::NEXTHOP)
            .and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.routes {
            if delta.key.table != TABLE_MAIN {
                continue;
            }
            match (delta.change, &delta.new) {
                (RouteChange::Removed, _) => self.gone(delta, board),
                (RouteChange::Added | RouteChange::Replaced, Some(new)) if intruder(new) => {
                    self.appeared(delta, new, net, board);
                }
                _ => {}
            }
        }
    }
}

/// Routes that can take traffic from somebody: with a way, and not the routing daemons' or the kernel's own.
fn intruder(route: &Route) -> bool {
    route.kind == RTN_UNICAST
        && !route.hops.is_empty()
        && !is_routing_daemon(route.protocol)
        && route.protocol != RTPROT_KERNEL
}

impl ShadowDetector {
    /// Counts how often this route appeared lately. True when it comes and goes: then `route.flap` tells it, and where the traffic goes.
    fn comes_and_goes(&mut self, delta: &RouteDelta) -> bool {
        if delta.change != RouteChange::Added {
            // A renewal replaces what stays.
            return self
                .times
                .get(&delta.key)
                .is_some_and(|(times, _)| *times > FLAPS);
        }
        if self.times.len() >= MAX_WATCHED && !self.times.contains_key(&delta.key) {
            self.times.pop_first();
        }
        let (times, last) = self.times.entry(delta.key).or_insert((0, delta.at));
        *times = if delta.at.since(*last) <= AGAIN {
            *times + 1
        } else {
            1
        };
        *last = delta.at;
        *times > FLAPS
    }

    fn appeared(&mut self, delta: &RouteDelta, new: &Route, net: &NetState, board: &mut Board) {
        let prefix = delta.key.prefix;
        let victims = victims(&delta.key, new, net);
        let Some((victim_key, victim)) = victims.first() else {
            return;
        };
        if self.comes_and_goes(delta) {
            let act = (new.protocol, new.hops.to_vec());
            if let Some((_, key)) = self.acts.get(&act)
                && board.get(*key).is_some_and(|told| told.count == 1)
            {
                board.retract(*key);
                self.acts.remove(&act);
            }
            return;
        }
        let event = placed(delta.at, delta.locator);
        let act = (new.protocol, new.hops.to_vec());
        let known = self
            .acts
            .get(&act)
            .filter(|(last, key)| {
                let gap = delta.at.since(*last);
                // The same route again within a minute is no other shadow.
                let same = board
                    .get(*key)
                    .is_some_and(|told| told.subjects.contains(&Subject::Prefix(prefix)));
                gap <= TOGETHER || same && gap <= AGAIN
            })
            .map(|(_, key)| *key);
        let severity = if new.protocol == RTPROT_STATIC {
            Severity::Info
        } else {
            Severity::Warning
        };
        let key = match known {
            Some(key) => {
                board.update(key, |finding| {
                    // The same route again is the business of `route.flap`.
                    if finding.subjects.contains(&Subject::Prefix(prefix)) {
                        finding.support(&event);
                    } else {
                        finding.again(&event);
                    }
                    finding.ended = None;
                });
                key
            }
            None => {
                let subject = Subject::Prefix(victim_key.prefix);
                let kind = Kind::RouteShadowed;
                board.raise(Finding::new(kind, severity, subject, &event))
            }
        };
        if self.acts.len() >= MAX_WATCHED && !self.acts.contains_key(&act) {
            self.acts.pop_first();
        }
        self.acts.insert(act, (delta.at, key));
        if self.shadows.len() >= MAX_WATCHED {
            self.shadows.pop_first();
        }
        self.shadows.insert(delta.key, key);
        let how = if victim_key.prefix == prefix {
            format!("with the better metric {}", delta.key.metric)
        } else if victim_key.prefix.is_default() {
            "together with the other half of the address space".to_owned()
        } else {
            "as the more specific route".to_owned()
        };
        let overridden: BTreeSet<Prefix> = victims.iter().map(|(key, _)| key.prefix).collect();
        board.update(key, |finding| {
            finding.broken.subject = true;
            for overridden in overridden.iter().copied().chain([prefix]) {
                if finding.subjects.len() < MAX_SUBJECTS {
                    finding.also(Subject::Prefix(overridden));
                    finding.touch(Touch::Prefix(overridden));
                }
                finding.affected.routes.insert(overridden);
            }
            for gateway in new.gateways() {
                finding.touch(Touch::Gateway(gateway));
                finding.touch(Touch::Server(gateway));
            }
            for name in interfaces(net, new) {
                finding.touch(Touch::Interface(name));
            }
            finding.actor = Some(actor(net, delta.by, Some(new.protocol)));
            super::writers::name(finding, net, delta.by, new, delta.key.table);
            finding.explain = format!(
                "{prefix} {} of {} takes the traffic of {} {} of {}, {how}{}.",
                way(net, new),
                protocol_name(new.protocol),
                list(&overridden, 3),
                way(net, victim),
                protocol_name(victim.protocol),
                match finding.count {
                    1 => String::new(),
                    n => format!("; {n} routes of this kind in all"),
                },
            );
            finding.advice = vec![
                format!("ip route get {}", prefix.addr()),
                format!("ip route show table all root {prefix}"),
            ];
        });
    }

    fn gone(&mut self, delta: &RouteDelta, board: &mut Board) {
        let Some(key) = self.shadows.remove(&delta.key) else {
            return;
        };
        let last = !self.shadows.values().any(|other| *other == key);
        let event = placed(delta.at, delta.locator);
        board.update(key, |finding| {
            if delta.cause == Cause::Notified {
                finding.support(&event);
            }
            if last {
                finding.broken = Default::default();
                finding.ended = Some(delta.at);
                for occurrence in &mut finding.occurrences {
                    occurrence.until.get_or_insert(delta.at);
                }
            }
        });
    }
}

/// Routes of other owners whose traffic the new one takes. Ways that are the same shadow nothing.
fn victims(key: &RouteKey, new: &Route, net: &NetState) -> Vec<(RouteKey, Route)> {
    let differs = |route: &Route| route.protocol != new.protocol && route.hops != new.hops;
    let mut found: Vec<(RouteKey, Route)> = net
        .routes
        .of(TABLE_MAIN, key.prefix)
        .filter(|(other, route)| {
            other.metric > key.metric && differs(route) && route.kind == RTN_UNICAST
        })
        .map(|(other, route)| (*other, route.clone()))
        .collect();
    if key.prefix.len() == HALVES {
        let halves = net
            .routes
            .default(key.prefix.is_ipv6())
            .filter(|(_, route)| {
                differs(route)
                    && sibling(key.prefix).is_some_and(|half| {
                        net.routes
                            .best(half)
                            .is_some_and(|(_, other)| other.protocol == new.protocol)
                    })
            });
        found.extend(halves.map(|(other, route)| (*other, route.clone())));
    }
    // The longest covering route decides where the traffic went before.
    let covering = net
        .routes
        .covering(key.prefix)
        .find(|(other, _)| !other.prefix.is_default())
        .filter(|(_, route)| is_routing_daemon(route.protocol) && differs(route));
    found.extend(covering.map(|(other, route)| (*other, route.clone())));
    found
}

/// The other half of the prefix one bit shorter.
fn sibling(prefix: Prefix) -> Option<Prefix> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let shift = 128u32.checked_sub(u32::from(prefix.len()))?;
    let bits = prefix.bits() ^ 1u128.checked_shl(shift)?;
    let addr = if prefix.is_ipv6() {
        IpAddr::V6(Ipv6Addr::from(bits))
    } else {
        IpAddr::V4(Ipv4Addr::from((bits >> 96) as u32))
    };
    Some(Prefix::new(addr, prefix.len()))
}
