//! The shadow FIB: every route of every table as the kernel has it, including what the kernel does without a word.
//!
//! A deletion waits [`COALESCE`] before it is believed, because daemons and the kernel change routes by delete and add. Losses that
//! the kernel does not notify (law 6) are derived from link, address and nexthop events by [`infer`] and marked `Inferred`; a
//! `DELROUTE` that follows turns them into notified ones. Dumps are the baseline at first, and are compared with the table later.
//! Table 255 and local, broadcast and multicast routes mirror addresses: they are tracked and never reported.

mod hops;
mod infer;
mod lookup;
mod nexthops;
mod table;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

pub use hops::Hops;
pub use nexthops::Nexthop;

use self::hops::HopSets;
use self::nexthops::Nexthops;
use super::addresses::{AddressChange, AddressDelta, Addresses};
use super::links::{LinkDelta, Links};
use crate::event::netlink::{
    Action, DumpDone, Dumped, Hop, RTM_F_CLONED, RouteEvent, is_routing_daemon,
};
use crate::event::{Event, EventKind, Locator, Prefix, Timestamp};

/// Routes tracked at once: three full tables of both families (1.2 M each) with room.
pub const MAX_ROUTES: usize = 4_000_000;
/// Deletions waiting to be believed; beyond it the oldest are believed at once. A burst of the kernel's fastest rate
/// (60,000 a second, measured) lasts for 5 s before that.
const MAX_PENDING: usize = 262_144;
/// How long a deletion may be half of a change. FRR replaces an IPv6 set by delete and add 0.1 ms apart, address promotion takes
/// 33 µs (both measured); daemons with older kernels a few milliseconds.
pub const COALESCE: Duration = Duration::from_millis(50);
/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;
/// `RT_TABLE_LOCAL`.
pub const TABLE_LOCAL: u32 = 255;
/// `RTN_UNICAST`.
pub const RTN_UNICAST: u8 = 1;
/// `RTN_LOCAL`, `RTN_BROADCAST`, `RTN_ANYCAST`, `RTN_MULTICAST`: they come and go with addresses and links.
const RTN_OF_ADDRESSES: std::ops::RangeInclusive<u8> = 2..=5;
/// `RTPROT_RA`.
const RTPROT_RA: u8 = 9;

/// What makes two kernel routes the same one.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub struct RouteKey {
    pub table: u32,
    pub prefix: Prefix,
    pub tos: u8,
    pub metric: u32,
    /// Tells IPv6 routes apart that the kernel keeps side by side under one metric: by device (connected) or router (RA). Else 0.
    sibling: u32,
}

impl RouteKey {
    fn of(event: &RouteEvent) -> RouteKey {
        let sibling = match event.hops.as_slice() {
            [hop] if event.prefix.is_ipv6() => match (hop.gateway, hop.ifindex) {
                (None, Some(ifindex)) => ifindex,
                (Some(IpAddr::V6(router)), Some(ifindex)) if event.protocol == RTPROT_RA => {
                    let bits = u128::from(router);
                    // Routers of one link differ in the interface identifier: its low bits, spread.
                    ((bits as u32) ^ ((bits >> 32) as u32).rotate_left(16) ^ ifindex) | 1 << 31
                }
                _ => 0,
            },
            _ => 0,
        };
        RouteKey {
            table: event.table,
            prefix: event.prefix,
            tos: event.tos,
            metric: event.metric,
            sibling,
        }
    }

    /// The first key of this table and prefix.
    fn first(table: u32, prefix: Prefix) -> RouteKey {
        RouteKey {
            table,
            prefix,
            tos: 0,
            metric: 0,
            sibling: 0,
        }
    }
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Next hops, ordered; empty for blackholes and the like.
    pub hops: Hops,
    pub since: Timestamp,
    /// Nexthop object, 0 where there is none.
    pub nhid: u32,
    generation: u32,
    /// Who installed it (`rtm_protocol`).
    pub protocol: u8,
    /// `rtm_type`.
    pub kind: u8,
}

impl Route {
    /// Same owner, type and way: a repetition says nothing new. The nexthop object's number is bookkeeping.
    fn same(&self, other: &Route) -> bool {
        self.protocol == other.protocol && self.kind == other.kind && self.hops == other.hops
    }

    /// Addresses of its gateways.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.hops.iter().filter_map(|hop| hop.gateway)
    }

    /// Whether any next hop leaves through this interface.
    pub fn via(&self, ifindex: u32) -> bool {
        self.hops.iter().any(|hop| hop.ifindex == Some(ifindex))
    }

    /// Connected: the kernel made it from an address.
    pub fn connected(&self) -> bool {
        self.protocol == crate::event::netlink::RTPROT_KERNEL
    }
}

/// What happened to a route.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum RouteChange {
    Added,
    Removed,
    /// Another way, owner or type for the same prefix, by replacement or by delete and add.
    Replaced,
    /// Written again unchanged.
    Reasserted,
}

/// Kernel rules by which routes vanish or change without a notification.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Rule {
    /// Its interface was set down.
    AdminDown,
    /// Its interface was removed.
    LinkRemoved,
    /// Its nexthop object's interface lost the carrier.
    CarrierLost,
    /// The last IPv4 address of its interface was removed.
    LastAddress,
    /// Its nexthop object was deleted.
    NexthopDeleted,
    /// Its nexthop object was changed in place.
    NexthopChanged,
}

/// How a change is known.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Cause {
    /// The kernel said so.
    Notified,
    /// The kernel's rules imply it; the interface concerned, 0 where none is.
    Inferred(Rule, u32),
    /// A dump differs from what was known.
    DumpDiff,
}

/// A change of a route outside of table 255.
#[derive(Clone, Debug)]
pub struct RouteDelta {
    /// When it happened: of a believed deletion the time of the deletion, not of the belief.
    pub at: Timestamp,
    /// The frame that shows or implies it.
    pub locator: Locator,
    pub key: RouteKey,
    pub change: RouteChange,
    pub old: Option<Route>,
    pub new: Option<Route>,
    pub cause: Cause,
    /// `nlmsg_pid`: 0 is the kernel.
    pub by: u32,
}

#[derive(Clone)]
struct Pending {
    route: Route,
    at: Timestamp,
    locator: Locator,
    cause: Cause,
    by: u32,
    queued: (Timestamp, u64),
}

impl Pending {
    /// Whether another process than `by` deleted a routing daemon's route. (A script's deletion and addition are two processes, too, and one
    /// change.)
    fn is_anothers(&self, by: u32) -> bool {
        let both = self.by != 0 && by != 0 && self.by != by;
        both && self.cause == Cause::Notified && is_routing_daemon(self.route.protocol)
    }

    fn delta(&self, key: RouteKey) -> RouteDelta {
        RouteDelta {
            at: self.at,
            locator: self.locator,
            key,
            change: RouteChange::Removed,
            old: Some(self.route.clone()),
            new: None,
            cause: self.cause,
            by: self.by,
        }
    }
}

/// The table.
#[derive(Clone, Default)]
pub struct Routes {
    routes: table::Table,
    lengths: lookup::Lengths,
    hops: HopSets,
    nexthops: Nexthops,
    pending: BTreeMap<RouteKey, Pending>,
    queue: BTreeMap<(Timestamp, u64), RouteKey>,
    serial: u64,
    generation: u32,
    dump: Option<u32>,
    /// (IPv6, table) that the running dump listed.
    dumped: BTreeSet<(bool, u32)>,
    /// Whether a dump of this family is known (IPv4, IPv6): what it lacks is new.
    baseline: [bool; 2],
    /// When the first dump of this family was complete.
    baseline_at: [Option<Timestamp>; 2],
    /// Routes that were not taken because the table was full.
    pub refused: u64,
}

impl Routes {
    /// Applies an event.
    pub fn apply(
        &mut self,
        event: &Event,
        links: &Links,
        _addresses: &Addresses,
        link_deltas: &[LinkDelta],
        address_deltas: &[AddressDelta],
        out: &mut Vec<RouteDelta>,
    ) {
        for delta in link_deltas {
            self.link_changed(delta, links, out);
        }
        for delta in address_deltas {
            if delta.change == AddressChange::Removed && delta.last && !delta.addr.is_ipv6() {
                self.last_address_gone(delta, links, out);
            }
        }
        match &event.kind {
            EventKind::Route(route) if route.flags & RTM_F_CLONED == 0 => {
                self.route(route, event, out);
            }
            EventKind::Nexthop(nexthop) => self.nexthop(nexthop, event, out),
            EventKind::DumpDone(done) if done.what == Dumped::Routes => {
                if self.dump.take() == Some(done.seq) {
                    self.dump_ended(done, event, out);
                } else if done.family.is_some() {
                    // An empty list: nothing is of its generation.
                    self.generation = self.generation.wrapping_add(1);
                    self.dumped.clear();
                    self.dump_ended(done, event, out);
                }
            }
            EventKind::DumpDone(done) if done.what == Dumped::Nexthops => {
                self.nexthops.dump_ended(done);
            }
            _ => {}
        }
    }

    fn route(&mut self, seen: &RouteEvent, event: &Event, out: &mut Vec<RouteDelta>) {
        let key = RouteKey::of(seen);
        if seen.meta.dump {
            if self.dump != Some(seen.meta.seq) {
                self.dump = Some(seen.meta.seq);
                self.generation = self.generation.wrapping_add(1);
                self.dumped.clear();
            }
            self.dumped.insert((key.prefix.is_ipv6(), key.table));
        }
        let resolved;
        let hops = match seen.nhid {
            // With nexthop_compat_mode=0 the message names the object only.
            Some(id) if seen.hops.is_empty() => {
                resolved = self.nexthops.resolve(id);
                resolved.as_slice()
            }
            _ => seen.hops.as_slice(),
        };
        let route = Route {
            hops: self.hops.intern(hops),
            since: event.at,
            nhid: seen.nhid.unwrap_or(0),
            generation: self.generation,
            protocol: seen.protocol,
            kind: seen.kind,
        };
        match seen.action {
            Action::New => self.added(key, route, seen.meta.pid, seen.meta.dump, event, out),
            Action::Del => self.deleted(key, route, seen.meta.pid, event, out),
        }
    }

    fn added(
        &mut self,
        key: RouteKey,
        route: Route,
        by: u32,
        dump: bool,
        event: &Event,
        out: &mut Vec<RouteDelta>,
    ) {
        // Of a dump the port is the dumper's: it says nothing about who acted.
        let (cause, by) = if dump {
            (Cause::DumpDiff, 0)
        } else {
            (Cause::Notified, by)
        };
        let waiting = match self.take_pending(&key, &route) {
            // What one process takes of a daemon's and another puts back is no change in two halves: it was gone.
            Some((of, deletion)) if deletion.is_anothers(by) => {
                if reported(&of, Some(&deletion.route)) {
                    out.push(deletion.delta(of));
                }
                None
            }
            waiting => waiting.map(|(_, deletion)| deletion.route),
        };
        if self.routes.len() >= MAX_ROUTES && !self.routes.contains_key(&key) {
            self.refused += 1;
            return;
        }
        if self
            .routes
            .get(&key)
            .is_some_and(|known| known.same(&route))
        {
            let same = self.routes.again(key, route.generation, route.nhid);
            if !dump {
                let change = RouteChange::Reasserted;
                self.emit(key, change, same.clone(), same, cause, by, event, out);
            }
            return;
        }
        let old = self.routes.insert(key, route.clone()).or_else(|| {
            self.lengths.add(key.prefix);
            waiting
        });
        let change = match &old {
            Some(old) if old.same(&route) => RouteChange::Reasserted,
            Some(_) => RouteChange::Replaced,
            // The first dump is where we come in; a later one that has more shows what we missed.
            None if dump && !self.baseline[usize::from(key.prefix.is_ipv6())] => return,
            None => RouteChange::Added,
        };
        self.emit(key, change, old, Some(route), cause, by, event, out);
    }

    fn deleted(
        &mut self,
        key: RouteKey,
        seen: Route,
        by: u32,
        event: &Event,
        out: &mut Vec<RouteDelta>,
    ) {
        let Some(route) = self.routes.remove(&key) else {
            if let Some(waiting) = self.pending.get_mut(&key) {
                // The kernel speaks after all.
                waiting.cause = Cause::Notified;
                waiting.by = by;
                waiting.locator = event.locator;
                waiting.at = event.at;
            } else if !self.baseline[usize::from(key.prefix.is_ipv6())] {
                // Nothing was dumped: the message itself is all that is known of the route.
                self.defer(key, seen, Cause::Notified, by, event.at, event.locator, out);
            }
            return;
        };
        // A member of a multipath set may be deleted alone. (FRR's deletions list what is left of the set, with its object.)
        let some = seen.nhid == 0
            && !seen.hops.is_empty()
            && seen.hops.len() < route.hops.len()
            && seen.hops.iter().all(|hop| route.hops.contains(hop));
        if some {
            let left: Vec<Hop> = route
                .hops
                .iter()
                .filter(|hop| !seen.hops.contains(hop))
                .copied()
                .collect();
            let new = Route {
                hops: self.hops.intern(&left),
                since: event.at,
                ..route.clone()
            };
            self.routes.insert(key, new.clone());
            let change = RouteChange::Replaced;
            self.emit(
                key,
                change,
                Some(route),
                Some(new),
                Cause::Notified,
                by,
                event,
                out,
            );
        } else {
            self.defer(
                key,
                route,
                Cause::Notified,
                by,
                event.at,
                event.locator,
                out,
            );
        }
    }

    /// Lets a deletion wait for its other half. The route is out of the table already.
    #[allow(clippy::too_many_arguments)] // the parts of one deletion; a struct for one caller would only rename them
    fn defer(
        &mut self,
        key: RouteKey,
        route: Route,
        cause: Cause,
        by: u32,
        at: Timestamp,
        locator: Locator,
        out: &mut Vec<RouteDelta>,
    ) {
        self.serial += 1;
        let queued = (at + COALESCE, self.serial);
        let waiting = Pending {
            route,
            at,
            locator,
            cause,
            by,
            queued,
        };
        if let Some(before) = self.pending.insert(key, waiting) {
            self.queue.remove(&before.queued);
        }
        self.queue.insert(queued, key);
        while self.pending.len() > MAX_PENDING {
            let Some((_, key)) = self.queue.pop_first() else {
                break;
            };
            self.believe(key, out);
        }
    }

    /// The waiting deletion that `new` completes: of the same route, or of the same owner's route with another metric.
    fn take_pending(&mut self, key: &RouteKey, new: &Route) -> Option<(RouteKey, Pending)> {
        let found = if self.pending.contains_key(key) {
            *key
        } else {
            let first = RouteKey {
                metric: 0,
                sibling: 0,
                ..*key
            };
            *self
                .pending
                .range(first..)
                .take_while(|(k, _)| (k.table, k.prefix, k.tos) == (key.table, key.prefix, key.tos))
                .find(|(k, waiting)| {
                    waiting.route.protocol == new.protocol && k.sibling == 0 && key.sibling == 0
                })?
                .0
        };
        let waiting = self.pending.remove(&found)?;
        self.queue.remove(&waiting.queued);
        Some((found, waiting))
    }

    #[allow(clippy::too_many_arguments)] // the fields of a delta
    fn emit(
        &self,
        key: RouteKey,
        change: RouteChange,
        old: Option<Route>,
        new: Option<Route>,
        cause: Cause,
        by: u32,
        event: &Event,
        out: &mut Vec<RouteDelta>,
    ) {
        if reported(&key, new.as_ref().or(old.as_ref())) {
            out.push(RouteDelta {
                at: event.at,
                locator: event.locator,
                key,
                change,
                old,
                new,
                cause,
                by,
            });
        }
    }

    fn dump_ended(&mut self, done: &DumpDone, event: &Event, out: &mut Vec<RouteDelta>) {
        let gone: Vec<RouteKey> = self
            .routes
            .iter()
            .filter(|(key, route)| {
                route.generation != self.generation
                    && (done.complete(key.prefix.is_ipv6())
                        || self.dumped.contains(&(key.prefix.is_ipv6(), key.table)))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            if let Some(route) = self.routes.remove(&key) {
                let change = RouteChange::Removed;
                self.emit(
                    key,
                    change,
                    Some(route),
                    None,
                    Cause::DumpDiff,
                    0,
                    event,
                    out,
                );
            }
        }
        for (v6, _) in std::mem::take(&mut self.dumped) {
            self.baseline[usize::from(v6)] = true;
        }
        for v6 in [false, true] {
            self.baseline[usize::from(v6)] |= done.complete(v6);
            if self.baseline[usize::from(v6)] {
                self.baseline_at[usize::from(v6)].get_or_insert(event.at);
            }
        }
    }

    /// A deletion that waited long enough.
    fn believe(&mut self, key: RouteKey, out: &mut Vec<RouteDelta>) {
        if let Some(waiting) = self.pending.remove(&key)
            && reported(&key, Some(&waiting.route))
        {
            out.push(waiting.delta(key));
        }
    }

    /// Deletions that are not believed yet, in the order of their routes: what is left of them when the input ends.
    pub fn waiting(&self) -> impl Iterator<Item = RouteDelta> {
        self.pending
            .iter()
            .filter(|(key, waiting)| reported(key, Some(&waiting.route)))
            .map(|(key, waiting)| waiting.delta(*key))
    }

    /// Earliest deadline: the oldest deletion that is not believed yet.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Fires deadlines.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<RouteDelta>) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.believe(key, out);
        }
    }
}

/// Whether changes of this route are worth a delta.
fn reported(key: &RouteKey, route: Option<&Route>) -> bool {
    key.table != TABLE_LOCAL && !route.is_some_and(|r| RTN_OF_ADDRESSES.contains(&r.kind))
}

#[cfg(test)]
mod tests;
