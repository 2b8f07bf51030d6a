//! Questions to the shadow FIB: which route a packet takes, what covers what, who is a gateway. Reads only.
//!
//! The table is ordered by prefix, so everything inside a prefix lies together; a longest match asks once for each length.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Nexthop, Route, RouteKey, Routes, TABLE_MAIN};
use crate::event::Prefix;

/// The prefix lengths that any route ever had, by family (true is IPv6): a longest match need not ask for others. None is ever taken away:
/// one too many costs a question, not an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths([u128; 2]);

impl Lengths {
    pub(super) fn add(&mut self, prefix: Prefix) {
        if let Some(bit) = 1u128.checked_shl(prefix.len().into()) {
            self.0[usize::from(prefix.is_ipv6())] |= bit;
        }
    }

    /// An IPv6 host route, of length 128, covers nothing: it is never asked for.
    fn has(&self, ipv6: bool, length: u8) -> bool {
        let bit = 1u128.checked_shl(length.into());
        bit.is_none_or(|bit| self.0[usize::from(ipv6)] & bit != 0)
    }
}

impl Routes {
    /// The best route of exactly this prefix in the main table.
    pub fn best(&self, prefix: Prefix) -> Option<(&RouteKey, &Route)> {
        self.of(TABLE_MAIN, prefix)
            .min_by_key(|(key, _)| (key.metric, key.tos))
    }

    /// All routes of exactly this prefix in a table, in order.
    pub fn of(&self, table: u32, prefix: Prefix) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.routes
            .range(RouteKey::first(table, prefix)..)
            .take_while(move |(key, _)| key.table == table && key.prefix == prefix)
    }

    /// The tables that have routes, in order; a host with VRFs has a handful.
    pub fn tables(&self) -> Vec<u32> {
        const MOST: usize = 256;
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(start) = from.filter(|_| all.len() < MOST) {
            let first = RouteKey::first(start, Prefix::v4([0; 4], 0));
            let next = self.routes.range(first..).next();
            all.extend(next.map(|(key, _)| key.table));
            from = next.and_then(|(key, _)| key.table.checked_add(1));
        }
        all
    }

    /// Whether a table has a route of a family. Routes are ordered by table, then family: one look.
    pub fn has_table(&self, table: u32, ipv6: bool) -> bool {
        let least = if ipv6 {
            Prefix::v6([0; 16], 0)
        } else {
            Prefix::v4([0; 4], 0)
        };
        let next = self.routes.range(RouteKey::first(table, least)..).next();
        next.is_some_and(|(key, _)| key.table == table && key.prefix.is_ipv6() == ipv6)
    }

    /// Whether a route was there when the first dump of its family told what is: before anybody watched.
    pub fn from_start(&self, key: &RouteKey, route: &Route) -> bool {
        self.baseline_at[usize::from(key.prefix.is_ipv6())].is_some_and(|at| route.since <= at)
    }

    /// The best default route of the main table.
    pub fn default(&self, v6: bool) -> Option<(&RouteKey, &Route)> {
        let all = if v6 {
            Prefix::v6([0; 16], 0)
        } else {
            Prefix::v4([0; 4], 0)
        };
        self.best(all)
    }

    /// The route of the main table that `addr` takes (longest prefix).
    pub fn lookup(&self, addr: IpAddr) -> Option<(&RouteKey, &Route)> {
        let host = Prefix::host(addr);
        self.best(host).or_else(|| self.covering(host).next())
    }

    /// The best routes of the main table that cover `prefix` with a shorter length, longest first.
    pub fn covering(&self, prefix: Prefix) -> impl Iterator<Item = (&RouteKey, &Route)> {
        let lengths = &self.lengths;
        (0..prefix.len())
            .rev()
            .filter(move |len| lengths.has(prefix.is_ipv6(), *len))
            .filter_map(move |len| self.best(Prefix::new(prefix.addr(), len)))
    }

    /// Routes of the main table inside `prefix`, itself too, in order.
    pub fn inside(&self, prefix: Prefix) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.routes
            .range(RouteKey::first(TABLE_MAIN, prefix)..)
            .take_while(move |(key, _)| key.table == TABLE_MAIN && prefix.covers(&key.prefix))
    }

    /// One route.
    pub fn get(&self, key: &RouteKey) -> Option<&Route> {
        self.routes.get(key)
    }

    /// The routes behind `after` (all of them for `None`), in the order of table and prefix.
    pub fn behind(&self, after: Option<RouteKey>) -> impl Iterator<Item = (&RouteKey, &Route)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.routes
            .range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// All routes, in the order of table and prefix.
    pub fn iter(&self) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.routes.iter()
    }

    /// Gateways in use through an interface.
    pub fn gateways_via(&self, ifindex: u32) -> BTreeSet<IpAddr> {
        self.hops.gateways(Some(ifindex))
    }

    /// Whether any route uses this gateway.
    pub fn is_gateway(&self, addr: IpAddr) -> bool {
        self.hops.has_gateway(addr)
    }

    /// A nexthop object.
    pub fn nexthop_object(&self, id: u32) -> Option<&Nexthop> {
        self.nexthops.get(id)
    }

    /// Whether a dump of this family is known: what is not in the table is not in the kernel.
    pub fn has_baseline(&self, v6: bool) -> bool {
        self.baseline[usize::from(v6)]
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// No route is known.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}
