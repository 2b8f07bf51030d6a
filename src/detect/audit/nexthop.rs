//! `prefix.nexthop-unresolved`: a neighbor announces prefixes with a next hop that this host has no route to, so they are not in its kernel.
//!
//! Asked when a route disappears that a next hop may have needed, and when a next hop is seen for the first time. It is unresolved only
//! while no route but a default one leads to it *and* prefixes that depend on it have no kernel route: daemons differ on whether a default
//! route resolves next hops (FRR: `ip nht resolve-via-default`), the kernel's table shows which way it went.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashSet;

use super::{Host, Role, established};
use crate::detect::finding::MAX_PREFIXES;
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::is_routing_daemon;
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::RouteDelta as RibDelta;
use crate::state::rib::attributes::AttrId;
use crate::state::routes::{RouteChange, RouteDelta, TABLE_MAIN};

/// FRR's next-hop tracking takes prefixes out 75 ms after the route (measured); an alert is due 2 s after the evidence.
const AFTER_LOSS: Duration = Duration::from_millis(1200);
/// A next hop that is new: its own route may come by another protocol or session a moment later (IGP convergence, table transfers).
const NEW: Duration = Duration::from_secs(10);
/// Next hops remembered; a host's neighbors and their neighbors.
const MAX_NEXTHOPS: usize = 16_384;
/// Routes looked through in one RIB for those that depend on a next hop: a full table, at most once for each lost route.
const MAX_WALK: usize = 2_000_000;
/// Questions open at once.
const MAX_OPEN: usize = 256;

#[derive(Clone)]
struct Lost {
    at: Timestamp,
    locator: Option<Locator>,
    /// The route that went; `None` for a next hop that is new.
    route: Option<Prefix>,
    /// The interfaces through which it led.
    interfaces: Vec<Box<str>>,
}

#[derive(Clone, Default)]
pub(super) struct Nexthops {
    /// Hashes of next hops that were looked at.
    known: HashSet<u32, foldhash::fast::RandomState>,
    asked: BTreeMap<(Timestamp, Prefix), Lost>,
    open: BTreeMap<IpAddr, FindingKey>,
}

impl Nexthops {
    /// A change of the kernel's table: the route of a next hop may have gone, or come.
    pub fn route(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        if delta.key.table != TABLE_MAIN {
            return;
        }
        let prefix = delta.key.prefix;
        if delta.change == RouteChange::Removed {
            let owner = delta.old.as_ref().map_or(0, |old| old.protocol);
            // BGP's own routes resolve next hops only in networks that route recursively; a whole table of them going is no question.
            if self.known.is_empty()
                || prefix.is_default()
                || is_routing_daemon(owner) && self.asked.len() >= MAX_OPEN / 2
            {
                return;
            }
            if self.asked.len() < MAX_OPEN {
                let lost = Lost {
                    at: delta.at,
                    locator: Some(delta.locator),
                    route: Some(prefix),
                    interfaces: delta
                        .old
                        .iter()
                        .flat_map(|old| old.hops.iter())
                        .filter_map(|hop| Some(net.links.get(hop.ifindex?)?.name.clone()))
                        .collect(),
                };
                self.asked.insert((delta.at + AFTER_LOSS, prefix), lost);
            }
            return;
        }
        let back: Vec<IpAddr> = self
            .open
            .keys()
            .filter(|nh| prefix.contains(**nh) && is_resolved(**nh, net))
            .copied()
            .collect();
        for nexthop in back {
            if let Some(key) = self.open.get(&nexthop) {
                board.update(*key, |finding| {
                    finding.recovered(delta.at);
                    finding.ended = Some(delta.at);
                    finding.broken.subject = false;
                    finding.last = finding.last.max(delta.at);
                    finding.evidence.add(delta.locator);
                });
            }
        }
    }

    /// A route that a neighbor announces to this host.
    pub fn inbound(&mut self, delta: &RibDelta, at: Timestamp, net: &NetState) {
        let Some(digest) = net.rib.digest(delta.new) else {
            return;
        };
        if self.known.len() >= MAX_NEXTHOPS || !self.known.insert(digest.next_hop) {
            return;
        }
        let nexthop = net.rib.attributes(delta.new).and_then(|a| a.next_hop);
        if let Some(nexthop) = nexthop.filter(|_| self.asked.len() < MAX_OPEN) {
            let lost = Lost {
                at,
                locator: None,
                route: None,
                interfaces: Vec::new(),
            };
            self.asked.insert((at + NEW, Prefix::host(nexthop)), lost);
        }
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.asked.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn expire(&mut self, now: Timestamp, host: &Host, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.asked.first_entry().filter(|e| e.key().0 <= now) {
            let (_, prefix) = *entry.key();
            let lost = entry.remove();
            if host.paths || !net.routes.has_baseline(prefix.is_ipv6()) || is_covered(prefix, net) {
                continue;
            }
            self.look(prefix, lost, host, net, board);
        }
    }

    /// Looks for next hops inside `within` that nothing leads to, and for prefixes that miss their kernel route because of it.
    fn look(&mut self, within: Prefix, lost: Lost, host: &Host, net: &NetState, board: &mut Board) {
        let mut dependents: BTreeMap<IpAddr, (BTreeSet<Prefix>, u64)> = BTreeMap::new();
        let mut nexthops: BTreeMap<AttrId, Option<IpAddr>> = BTreeMap::new();
        for (_, rib) in host.ribs(net, Role::Inbound) {
            if !established(net, rib.session) {
                continue;
            }
            for (_, nlri, cold) in rib.iter().take(MAX_WALK) {
                let attrs = rib.current(cold);
                if !attrs.is_some() {
                    continue;
                }
                let nexthop = *nexthops.entry(attrs).or_insert_with(|| {
                    let nexthop = net.rib.attributes(attrs)?.next_hop?;
                    (within.contains(nexthop) && !is_resolved(nexthop, net)).then_some(nexthop)
                });
                if let Some(nexthop) = nexthop
                    && net.routes.best(nlri.prefix).is_none()
                {
                    let (prefixes, more) = dependents.entry(nexthop).or_default();
                    if prefixes.len() < MAX_PREFIXES {
                        prefixes.insert(nlri.prefix);
                    } else {
                        *more += 1;
                    }
                }
            }
        }
        // A host whose daemon puts nothing into the kernel (a route reflector, a collector) misses nothing.
        let installs = net
            .routes
            .iter()
            .any(|(_, route)| is_routing_daemon(route.protocol))
            || lost.route.is_some();
        if !installs {
            return;
        }
        for (nexthop, (prefixes, more)) in dependents {
            let count = prefixes.len() as u64 + more;
            match self.open.get(&nexthop) {
                Some(key) => board.update(*key, |finding| {
                    // Asked again while it is so is not lost again.
                    let back = finding.occurrences.last().is_none_or(|o| o.until.is_some());
                    if back {
                        finding.again_at(lost.at);
                    } else {
                        finding.last = finding.last.max(lost.at);
                    }
                    finding.broken.subject = true;
                    lost.locator
                        .into_iter()
                        .for_each(|locator| finding.evidence.add(locator));
                }),
                None if self.open.len() >= MAX_OPEN => {}
                None => {
                    let mut finding = Finding::at(
                        Kind::PrefixNexthopUnresolved,
                        Severity::Warning,
                        Subject::Nexthop(nexthop),
                        lost.at,
                    );
                    finding.fidelity = Fidelity::Inferred;
                    lost.locator
                        .into_iter()
                        .for_each(|locator| finding.evidence.add(locator));
                    finding.broken.subject = true;
                    finding.touch(Touch::Gateway(nexthop));
                    finding.touch(Touch::Prefix(Prefix::host(nexthop)));
                    for name in &lost.interfaces {
                        finding.touch(Touch::Interface(name.clone()));
                    }
                    let first = prefixes.first().map(Prefix::to_string).unwrap_or_default();
                    let why = match lost.route {
                        Some(route) => format!("its route {route} is gone"),
                        None => "no route but a default one leads there".to_owned(),
                    };
                    finding.explain = format!(
                        "next hop {nexthop} cannot be resolved ({why}): {count} prefixes that BGP announces with it, first {first}, have no route \
                         in the kernel"
                    );
                    finding.advice = vec![
                        format!("ip route get {nexthop}"),
                        format!(
                            "vtysh -c 'show bgp nexthop {nexthop}' # or birdc show route all noexport"
                        ),
                    ];
                    for prefix in prefixes {
                        finding.affected.prefix(prefix);
                        finding.affected.routes.insert(prefix);
                    }
                    finding.affected.more_prefixes += more;
                    self.open.insert(nexthop, board.raise(finding));
                }
            }
        }
    }
}

/// Whether a route other than a default one leads to a next hop. Link-local ones are on-link by definition.
fn is_resolved(nexthop: IpAddr, net: &NetState) -> bool {
    matches!(nexthop, IpAddr::V6(a) if a.is_unicast_link_local())
        || is_covered(Prefix::host(nexthop), net)
}

fn is_covered(prefix: Prefix, net: &NetState) -> bool {
    let leads = |(key, route): (
        &crate::state::routes::RouteKey,
        &crate::state::routes::Route,
    )| { !key.prefix.is_default() && !route.hops.is_empty() };
    net.routes
        .best(prefix)
        .into_iter()
        .chain(net.routes.covering(prefix))
        .any(leads)
        || net.addresses.owner(prefix.addr()).is_some()
}
