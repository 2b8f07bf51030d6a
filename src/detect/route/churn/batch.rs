//! Changes of one owner and process that follow each other closely, summed up while they come in.
//!
//! A small batch keeps its changes; a large one keeps prefixes up to a bound, counts, and which next-hop sets gave way to which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::detect::finding::MAX_PREFIXES;
use crate::detect::link::kernel::placed;
use crate::event::{Event, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::routes::{Cause, Hops, Route, RouteChange, RouteDelta, TABLE_MAIN};

/// Prefixes from which on a batch is one event with many victims. A handful of static routes or a node's pod routes stay below;
/// a BGP neighbor's table is above.
pub(super) const MASS: usize = 10;
/// Silence that ends a batch: zebra and BIRD write routes microseconds apart (measured: 362 routes in 10 ms).
const QUIET: Duration = Duration::from_millis(200);
/// Longest batch: alerts should not wait for the end of a full table (17 s at the kernel's 60,000 a second).
const LONGEST: Duration = Duration::from_secs(1);
/// Pairs of next-hop sets told apart in one batch: the combinations of a few uplinks.
const MAX_WAYS: usize = 256;

#[derive(Clone)]
pub(super) struct Batch {
    pub(super) opened: Event,
    pub(super) last: Event,
    /// While the batch is small: the changes themselves.
    pub(super) single: Vec<RouteDelta>,
    pub(super) prefixes: BTreeSet<(u32, Prefix)>,
    /// Changes beyond the remembered prefixes.
    more: u64,
    pub(super) removed: u64,
    pub(super) replaced: u64,
    /// Something in it was found by a dump.
    pub(super) inferred: bool,
    /// Pairs of next-hop sets before and after, with how many routes went that way.
    ways: Vec<(Option<Hops>, Option<Hops>, u64)>,
    pub(super) missing: BTreeSet<Prefix>,
}

/// What the ways of a batch come to.
#[derive(Clone, Default)]
pub(super) struct Ways {
    /// Gateways that routes lost and won, with how many.
    pub(super) lost: BTreeMap<IpAddr, u64>,
    pub(super) won: BTreeMap<IpAddr, u64>,
    pub(super) interfaces: BTreeSet<Box<str>>,
}

impl Batch {
    pub(super) fn new(delta: &RouteDelta) -> Batch {
        let event = placed(delta.at, delta.locator);
        Batch {
            last: event.clone(),
            opened: event,
            single: Vec::new(),
            prefixes: BTreeSet::new(),
            more: 0,
            removed: 0,
            replaced: 0,
            inferred: false,
            ways: Vec::new(),
            missing: BTreeSet::new(),
        }
    }

    pub(super) fn closes(&self) -> Timestamp {
        (self.last.at + QUIET).min(self.opened.at + LONGEST)
    }

    pub(super) fn add(&mut self, delta: &RouteDelta) {
        if delta.at >= self.last.at {
            self.last = placed(delta.at, delta.locator);
        }
        let prefix = (delta.key.table, delta.key.prefix);
        if self.prefixes.len() < MAX_PREFIXES {
            self.prefixes.insert(prefix);
        } else if !self.prefixes.contains(&prefix) {
            self.more += 1;
        }
        if self.prefixes.len() < MASS {
            self.single.push(delta.clone());
        } else {
            self.single = Vec::new();
        }
        self.inferred |= delta.cause != Cause::Notified;
        match delta.change {
            RouteChange::Removed => {
                self.removed += 1;
                if delta.key.table == TABLE_MAIN && self.missing.len() < MAX_PREFIXES {
                    self.missing.insert(delta.key.prefix);
                }
            }
            RouteChange::Replaced => self.replaced += 1,
            RouteChange::Added => {
                self.missing.remove(&delta.key.prefix);
            }
            RouteChange::Reasserted => {}
        }
        let (old, new) = (hops(&delta.old), hops(&delta.new));
        let same = |(a, b): (&Option<Hops>, Option<&Hops>)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        // The last way is the likeliest one: look from the end.
        let room = self.ways.len() < MAX_WAYS;
        let known = self
            .ways
            .iter_mut()
            .rev()
            .find(|way| same((&way.0, old)) && same((&way.1, new)));
        match known {
            Some(way) => way.2 += 1,
            None if room => {
                self.ways.push((old.cloned(), new.cloned(), 1));
            }
            None => {}
        }
    }

    pub(super) fn ways(&self, net: &NetState) -> Ways {
        let mut ways = Ways::default();
        let gateways = |hops: &Option<Hops>| -> BTreeSet<IpAddr> {
            let hops = hops.iter().flat_map(|hops| hops.iter());
            hops.filter_map(|hop| hop.gateway).collect()
        };
        for (old, new, routes) in &self.ways {
            let (before, after) = (gateways(old), gateways(new));
            for gateway in before.difference(&after) {
                *ways.lost.entry(*gateway).or_default() += routes;
            }
            for gateway in after.difference(&before) {
                *ways.won.entry(*gateway).or_default() += routes;
            }
            let hops = old.as_ref().or(new.as_ref()).into_iter();
            let names = hops
                .flat_map(|hops| hops.iter())
                .filter_map(|hop| hop.ifindex)
                .map(|ifindex| net.links.name(ifindex));
            ways.interfaces.extend(names);
        }
        ways
    }

    pub(super) fn total(&self) -> u64 {
        self.prefixes.len() as u64 + self.more
    }
}

fn hops(route: &Option<Route>) -> Option<&Hops> {
    route.as_ref().map(|route| &route.hops)
}

/// Most frequent first; the lower address wins a tie.
pub(super) fn ranked(gateways: &BTreeMap<IpAddr, u64>) -> Vec<IpAddr> {
    let mut ranked: Vec<(u64, IpAddr)> = gateways.iter().map(|(gw, n)| (*n, *gw)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, gateway)| gateway).collect()
}
