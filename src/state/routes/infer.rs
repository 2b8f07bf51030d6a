//! What the kernel does to routes without saying so (measured on Linux 6.18, see [`Rule`]).
//!
//! Each rule only derives what is certain: a route goes when *all* its hops are dead in the kernel's sense. Plain routes survive the
//! loss of carrier, multipath routes survive the loss of a member, IPv6 routes survive the loss of their last address. A nexthop group
//! that shrinks keeps its dead member here: the daemon's replacement, which follows, then tells exactly what moved.

use super::hops::identity;
use super::{Cause, Route, RouteChange, RouteDelta, RouteKey, Routes, Rule};
use crate::event::netlink::{Action, Hop, NexthopEvent};
use crate::event::{Event, Locator, Timestamp};
use crate::state::addresses::AddressDelta;
use crate::state::links::{LinkDelta, Links};

impl Routes {
    pub(super) fn link_changed(
        &mut self,
        delta: &LinkDelta,
        links: &Links,
        out: &mut Vec<RouteDelta>,
    ) {
        let rule = if delta.removed() {
            Rule::LinkRemoved
        } else if delta.admin_down() {
            Rule::AdminDown
        } else if delta.carrier_lost() {
            Rule::CarrierLost
        } else {
            return;
        };
        let cause = Cause::Inferred(rule, delta.ifindex);
        // IPv6 routes get a DELROUTE (unless skip_notify_on_dev_down is set): it turns the inference into a notification.
        self.lose(
            delta.ifindex,
            cause,
            delta.at,
            delta.locator,
            out,
            |_, route| {
                if route.nhid == 0 && rule == Rule::CarrierLost {
                    return false;
                }
                route.hops.iter().all(|hop| dead(hop, route, links))
            },
        );
    }

    pub(super) fn last_address_gone(
        &mut self,
        delta: &AddressDelta,
        links: &Links,
        out: &mut Vec<RouteDelta>,
    ) {
        let cause = Cause::Inferred(Rule::LastAddress, delta.ifindex);
        self.lose(
            delta.ifindex,
            cause,
            delta.at,
            delta.locator,
            out,
            |key, route| {
                // Routes of nexthop objects outlive the address (measured on 6.18): their owner has to delete them.
                !key.prefix.is_ipv6()
                    && route.nhid == 0
                    && route
                        .hops
                        .iter()
                        .all(|hop| hop.ifindex == Some(delta.ifindex) || dead(hop, route, links))
            },
        );
    }

    pub(super) fn nexthop(
        &mut self,
        seen: &NexthopEvent,
        event: &Event,
        out: &mut Vec<RouteDelta>,
    ) {
        let (ids, rule) = match seen.action {
            Action::New if seen.meta.dump => {
                self.nexthops.learn(seen);
                return;
            }
            Action::New => (self.nexthops.learn(seen), Rule::NexthopChanged),
            Action::Del => (self.nexthops.forget(seen.id), Rule::NexthopDeleted),
        };
        if ids.is_empty() {
            return;
        }
        let ifindex = seen.ifindex.unwrap_or(0);
        let cause = Cause::Inferred(rule, ifindex);
        let mut users: Vec<RouteKey> = ids.iter().flat_map(|id| self.routes.users(*id)).collect();
        users.sort_unstable();
        for key in users {
            if rule == Rule::NexthopDeleted {
                if let Some(route) = self.routes.remove(&key) {
                    self.defer(
                        key,
                        route,
                        cause,
                        seen.meta.pid,
                        event.at,
                        event.locator,
                        out,
                    );
                }
                continue;
            }
            let Some(route) = self.routes.get(&key).cloned() else {
                continue;
            };
            let resolved = self.nexthops.resolve(route.nhid);
            if resolved.is_empty() {
                continue;
            }
            let new = Route {
                hops: self.hops.intern(&resolved),
                since: event.at,
                ..route.clone()
            };
            if new.hops != route.hops {
                self.routes.insert(key, new.clone());
                let change = RouteChange::Replaced;
                self.emit(
                    key,
                    change,
                    Some(route),
                    Some(new),
                    cause,
                    seen.meta.pid,
                    event,
                    out,
                );
            }
        }
    }

    /// Takes the routes through an interface that fulfil `gone` out of the table and lets them wait for contradiction.
    fn lose(
        &mut self,
        ifindex: u32,
        cause: Cause,
        at: Timestamp,
        locator: Locator,
        out: &mut Vec<RouteDelta>,
        gone: impl Fn(&RouteKey, &Route) -> bool,
    ) {
        let sets = self.hops.through(ifindex);
        if sets.is_empty() {
            return;
        }
        let lost: Vec<RouteKey> = self
            .routes
            .iter()
            .filter(|(key, route)| sets.contains(&identity(&route.hops)) && gone(key, route))
            .map(|(key, _)| *key)
            .collect();
        for key in lost {
            if let Some(route) = self.routes.remove(&key) {
                self.defer(key, route, cause, 0, at, locator, out);
            }
        }
    }
}

/// Dead for the kernel: the interface is down or gone; for nexthop objects the loss of carrier is enough.
fn dead(hop: &Hop, route: &Route, links: &Links) -> bool {
    hop.ifindex.is_some_and(|ifindex| {
        !links.admin_up(ifindex) || (route.nhid != 0 && !links.usable(ifindex))
    })
}
