//! `neighbor.unreachable`, `neighbor.flap`, `neighbor.mac-flip`: the kernel's view of gateways and other neighbors.
//!
//! Only gateways of routes and BGP peers can be unreachable here: a host that is switched off is no fault of ours. An operator's flush makes FAILED
//! entries with a pid and is none either; entries that fall with their link belong to the link.

use std::net::IpAddr;
use std::time::Duration;

use super::link::kernel::{list, quoted, seconds, times};
use super::{Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch};
use crate::event::bounded::{Bounded, Worth};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, Timestamp};
use crate::state::neighbors::NeighborDelta;
use crate::state::{NetState, Observation};

/// Three failures within five minutes are a flap.
const FLAPS: usize = 3;
const FLAP_WINDOW: Duration = Duration::from_secs(300);
/// Three changes of the link-layer address within this time, back to one seen before, are an alternation. One change is a fail-over, two
/// are a fail-over and its way back.
const FLIPS: usize = 3;
const FLIP_WINDOW: Duration = Duration::from_secs(300);
/// After the link came back, resolution needs up to three probes of a second each (mcast_solicit, retrans_time_ms) and the neighbor's
/// own link as long; failing then is part of the link's recovery.
const AFTER_LINK: Duration = Duration::from_secs(10);
/// Neighbors whose link-layer addresses are remembered; the oldest give way.
const MAX_WATCHED: usize = 16_384;
/// Changes remembered of one neighbor before they are sure to be an alternation.
const REMEMBERED: usize = 4;
/// Link-layer addresses named in one finding.
const MAX_MACS: usize = 8;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(NeighborDetector::default()));
}

#[derive(Clone, Default)]
struct Watch {
    mac: Option<Mac>,
    /// Changes: when, where, from which address.
    changes: Vec<(Event, Mac)>,
    flip: Option<FindingKey>,
    failure: Option<FindingKey>,
    failures: Vec<Timestamp>,
    failed: bool,
}

#[derive(Clone)]
struct NeighborDetector {
    watched: Bounded<(u32, IpAddr), Watch>,
}

impl Default for NeighborDetector {
    fn default() -> NeighborDetector {
        NeighborDetector {
            watched: Bounded::new(MAX_WATCHED),
        }
    }
}

impl Detector for NeighborDetector {
    fn name(&self) -> &'static str {
        "neighbor"
    }

    fn wants(&self) -> Classes {
        Classes::NEIGHBOR
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if let crate::event::EventKind::Neighbor(dumped) = &seen.event.kind {
            // A dump entry makes no delta but tells the address that a later one differs from.
            let unicast = dumped.addr.filter(|addr| !addr.is_multicast());
            if let (true, Some(addr), Some(mac)) = (dumped.meta.dump, unicast, dumped.mac) {
                self.watch((dumped.ifindex, addr)).mac.get_or_insert(mac);
            }
        }
        for delta in &seen.changes.neighbors {
            if let Some(mac) = delta.after.and_then(|after| after.mac) {
                self.mac(delta, mac, seen.event, net, board);
            }
            let failed = delta.after.is_some_and(|after| after.failed());
            let answered = delta.after.is_some_and(|a| a.mac.is_some() && !a.failed());
            if failed && delta.by == 0 {
                self.failed(delta, seen.event, net, board);
            } else if answered {
                self.answered(delta, seen.event, net, board);
            }
        }
    }
}

impl NeighborDetector {
    /// The quietest one without a finding makes room; a flood of addresses cannot push out those that are being told about.
    fn watch(&mut self, key: (u32, IpAddr)) -> &mut Watch {
        self.watched.at_least(key, |_, watch| {
            if watch.flip.is_none() && watch.failure.is_none() {
                Worth::Spent
            } else {
                Worth::Kept
            }
        })
    }

    fn mac(
        &mut self,
        delta: &NeighborDelta,
        mac: Mac,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let watch = self.watch((delta.ifindex, delta.addr));
        let Some(before) = watch.mac.replace(mac).filter(|before| *before != mac) else {
            return;
        };
        let recent = |(change, _): &(Event, Mac)| event.at.since(change.at) <= FLIP_WINDOW;
        if !watch.changes.last().is_some_and(recent) {
            watch.flip = None;
        }
        watch.changes.retain(recent);
        let back = watch.changes.iter().any(|(_, from)| *from == mac);
        watch
            .changes
            .push((super::link::kernel::head(event), before));
        // A virtual router's address and its owner's own alternate by design (RFC 9568 §8.2).
        let virtual_router = mac.is_virtual_router() || before.is_virtual_router();
        let key = match watch.flip {
            Some(key) => {
                board.update(key, |finding| finding.again(event));
                key
            }
            None if back && watch.changes.len() >= FLIPS && !virtual_router => {
                let mut changes = watch.changes.iter();
                let Some((first, _)) = changes.next() else {
                    return;
                };
                let subject = Subject::Neighbor(delta.addr);
                let kind = Kind::NeighborMacFlip;
                let mut finding = Finding::new(kind, Severity::Warning, subject, first);
                changes.for_each(|(change, _)| finding.again(change));
                let key = board.raise(finding);
                watch.flip = Some(key);
                conflict_begins_with_flip(delta.addr, board);
                key
            }
            None => {
                if watch.changes.len() > REMEMBERED {
                    watch.changes.remove(0);
                }
                return;
            }
        };
        // The finding keeps count now; what decides whether it goes on is the last change.
        while watch.changes.len() > REMEMBERED {
            watch.changes.remove(0);
        }
        let gateway = net.routes.is_gateway(delta.addr);
        let name = net.links.name(delta.ifindex);
        board.update(key, |finding| {
            for mac in [before, mac] {
                if finding.subjects.len() <= MAX_MACS {
                    finding.also(Subject::Mac(mac));
                    finding.touch(Touch::Mac(mac));
                }
            }
            touch(finding, delta.addr, &name, gateway);
            finding.actor = Some("the kernel, from ARP or ND messages".to_owned());
            let macs = finding.subjects.iter().filter_map(|subject| match subject {
                Subject::Mac(mac) => Some(mac.to_string()),
                _ => None,
            });
            finding.explain = format!(
                "The link-layer address of {}{} on {name} changed {}, between {}: two hosts answer for it.",
                if gateway { "gateway " } else { "" },
                delta.addr,
                times(finding.count, finding.first, event.at),
                list(macs, 4),
            );
            finding.advice = vec![
                format!("ip neigh show {}", delta.addr),
                format!("tcpdump -eni {} -c 20 arp or icmp6", quoted(&name)),
            ];
        });
    }

    fn failed(&mut self, delta: &NeighborDelta, event: &Event, net: &NetState, board: &mut Board) {
        let Some(link) = net.links.get(delta.ifindex).filter(|l| l.state.usable()) else {
            return;
        };
        let gateway = net.routes.is_gateway(delta.addr);
        let peer = net.sessions.is_end(delta.addr);
        if !(gateway || peer) || event.at.since(link.since) < AFTER_LINK {
            return;
        }
        let name = link.name.clone();
        let watch = self.watch((delta.ifindex, delta.addr));
        if std::mem::replace(&mut watch.failed, true) {
            return;
        }
        watch
            .failures
            .retain(|at| event.at.since(*at) <= FLAP_WINDOW);
        let key = match watch.failure.filter(|_| !watch.failures.is_empty()) {
            Some(key) => {
                board.update(key, |finding| finding.again(event));
                key
            }
            None => {
                let subject = Subject::Neighbor(delta.addr);
                let kind = Kind::NeighborUnreachable;
                let key = board.raise(Finding::new(kind, Severity::Warning, subject, event));
                watch.failure = Some(key);
                key
            }
        };
        watch.failures.push(event.at);
        let flaps = watch.failures.len() >= FLAPS;
        if watch.failures.len() > FLAPS {
            watch.failures.remove(0);
        }
        let default = [false, true].into_iter().any(|v6| {
            net.routes.default(v6).is_some_and(|(_, route)| {
                route.gateways().next().is_some() && route.gateways().all(|gw| gw == delta.addr)
            })
        });
        board.update(key, |finding| {
            if flaps {
                finding.kind = Kind::NeighborFlap;
            }
            finding.broken.subject = true;
            finding.broken.default_route = default;
            if default {
                finding.severity = Severity::Critical;
            }
            finding.actor = Some("the kernel".to_owned());
            touch(finding, delta.addr, &name, gateway);
            beside_scan(finding, event.at, net);
            finding.explain = format!(
                "{} {} on {name} did not answer {} and is marked FAILED {}{}.",
                if gateway { "Gateway" } else { "BGP peer" },
                delta.addr,
                if delta.addr.is_ipv6() {
                    "neighbor solicitations"
                } else {
                    "ARP"
                },
                times(finding.count, finding.first, event.at),
                if default {
                    "; the default route leads through it only"
                } else {
                    ""
                },
            );
            finding.advice = vec![
                format!("ip neigh show {}", delta.addr),
                format!("ip route get {}", delta.addr),
            ];
        });
    }

    fn answered(
        &mut self,
        delta: &NeighborDelta,
        event: &Event,
        _net: &NetState,
        board: &mut Board,
    ) {
        let Some(watch) = self.watched.get_mut(&(delta.ifindex, delta.addr)) else {
            return;
        };
        if !std::mem::replace(&mut watch.failed, false) {
            return;
        }
        let Some(key) = watch.failure else {
            return;
        };
        board.update(key, |finding| {
            finding.recovered(event.at);
            finding.support(event);
            finding.ended = Some(event.at);
            finding.broken = Default::default();
            finding.severity = finding.severity.min(Severity::Warning);
            if let Some(last) = finding.occurrences.last() {
                let after = seconds(event.at.since(last.at));
                finding.explain = format!("{} It answered again after {after}.", finding.explain);
            }
        });
    }
}

/// A scan right before a neighbor failed may have pushed it out of a cache (RFC 6583): said beside it, for it is no proof.
pub(super) fn beside_scan(finding: &mut Finding, at: Timestamp, net: &NetState) {
    /// A failed resolution takes three questions a second apart, and caches are collected every 30 s (Linux gc_interval).
    const BEFORE: Duration = Duration::from_secs(30);
    if let Some(scan) = net.hosts.scan_before(at, BEFORE) {
        let text = format!(
            "{} asked for 100 addresses and more in 10 s at that time: a scan fills the caches of neighbors (RFC 6583)",
            scan.by
        );
        if !finding.explanations.contains(&text) {
            finding.explanations.push(text);
        }
    }
}

fn touch(finding: &mut Finding, addr: IpAddr, interface: &str, gateway: bool) {
    finding.touch(Touch::Address(addr));
    if gateway {
        finding.touch(Touch::Gateway(addr));
    }
    finding.touch(Touch::Peer(addr));
    finding.touch(Touch::Interface(interface.into()));
}

/// A cache that flipped a moment before two hosts were seen to answer for one address flipped because of them: the conflict began then.
pub(super) fn conflict_begins_with_flip(addr: IpAddr, board: &mut Board) {
    /// RFC 5227 §2.4: a host defends its address at most every 10 s; caches flip for some rounds before both ends are proven.
    const BEFORE: Duration = Duration::from_secs(60);
    let of = |board: &Board, kind: Kind, subject: Subject| {
        board
            .of_kind(kind)
            .filter(|(_, finding)| finding.subjects.first() == Some(&subject))
            .map(|(key, finding)| (key, finding.first))
            .last()
    };
    let flip = of(board, Kind::NeighborMacFlip, Subject::Neighbor(addr));
    let conflict = of(board, Kind::AddressConflict, Subject::Address(addr));
    if let (Some((_, flip)), Some((key, begin))) = (flip, conflict)
        && flip < begin
        && begin.since(flip) <= BEFORE
    {
        board.update(key, |finding| {
            finding.first = flip;
            finding.occurrences.insert(
                0,
                super::Occurrence {
                    at: flip,
                    until: None,
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::route::lab::Lab;
    use crate::event::EventKind;
    use crate::event::netlink::*;
    use crate::state::routes::testing::{link_event, neighbor_event, route_event};

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn lab() -> Lab {
        let mut lab = Lab::new();
        let up = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
        lab.at(0, EventKind::Link(Box::new(link_event(3, "eth1", up))));
        let route = route_event(Action::New, "0.0.0.0/0", 4, &["192.0.2.1@3"]);
        lab.at(0, EventKind::Route(Box::new(route)));
        lab
    }

    fn neighbor(lab: &mut Lab, ms: i64, addr: &str, state: u16, mac: Option<Mac>, pid: u32) {
        let neighbor = neighbor_event(3, addr, state, mac, pid);
        lab.at(ms, EventKind::Neighbor(Box::new(neighbor)));
    }

    #[test]
    fn a_gateway_that_fails_breaks_the_default_route_until_it_answers() {
        let mut lab = lab();
        neighbor(&mut lab, 60_000, "192.0.2.1", NUD_REACHABLE, Some(A), 0);
        neighbor(&mut lab, 70_000, "192.0.2.1", NUD_FAILED, None, 0);
        let found = lab.findings(Kind::NeighborUnreachable);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Critical));
        assert!(found[0].broken.default_route);
        neighbor(&mut lab, 75_000, "192.0.2.1", NUD_REACHABLE, Some(A), 0);
        let found = lab.findings(Kind::NeighborUnreachable);
        assert!(found[0].ended.is_some() && !found[0].broken.default_route);
    }

    #[test]
    fn a_flush_a_silent_host_and_a_link_that_just_came_back_are_quiet() {
        let mut lab = lab();
        neighbor(&mut lab, 1_000, "192.0.2.1", NUD_FAILED, None, 0);
        neighbor(&mut lab, 60_000, "192.0.2.1", NUD_REACHABLE, Some(A), 0);
        neighbor(&mut lab, 70_000, "192.0.2.1", NUD_FAILED, None, 4242);
        neighbor(&mut lab, 80_000, "192.0.2.99", NUD_FAILED, None, 0);
        assert_eq!(lab.board.iter().count(), 0);
    }

    #[test]
    fn an_alternating_address_is_a_flip_that_counts_every_change_across_flushes() {
        let mut lab = lab();
        neighbor(&mut lab, 1_000, "192.0.2.1", NUD_STALE, Some(A), 0);
        neighbor(&mut lab, 2_000, "192.0.2.1", NUD_STALE, Some(B), 0);
        assert_eq!(lab.board.iter().count(), 0);
        neighbor(&mut lab, 2_500, "192.0.2.1", NUD_FAILED, None, 4242);
        neighbor(&mut lab, 3_000, "192.0.2.1", NUD_STALE, Some(A), 0);
        neighbor(&mut lab, 4_000, "192.0.2.1", NUD_STALE, Some(B), 0);
        let found = lab.findings(Kind::NeighborMacFlip);
        assert_eq!((found.len(), found[0].count), (1, 3));
        assert_eq!(found[0].first, Timestamp(2_000_000_000));
        assert!(found[0].subjects.contains(&Subject::Mac(A)));
        assert!(
            found[0]
                .touches
                .contains(&Touch::Gateway("192.0.2.1".parse().unwrap()))
        );
    }

    #[test]
    fn one_fail_over_and_a_virtual_routers_address_are_quiet() {
        let mut lab = lab();
        neighbor(&mut lab, 1_000, "192.0.2.1", NUD_STALE, Some(A), 0);
        neighbor(&mut lab, 2_000, "192.0.2.1", NUD_STALE, Some(B), 0);
        let vrrp = Mac([0, 0, 0x5e, 0, 1, 9]);
        neighbor(&mut lab, 1_000, "192.0.2.2", NUD_STALE, Some(vrrp), 0);
        for ms in [2_000, 3_000, 4_000] {
            neighbor(&mut lab, ms, "192.0.2.2", NUD_STALE, Some(A), 0);
            neighbor(&mut lab, ms + 500, "192.0.2.2", NUD_STALE, Some(vrrp), 0);
        }
        // Without a virtual address, too: over and back.
        for (ms, mac) in [(5_000, A), (6_000, B), (9_000, A)] {
            neighbor(&mut lab, ms, "192.0.2.3", NUD_STALE, Some(mac), 0);
        }
        assert_eq!(lab.board.iter().count(), 0);
    }
}
