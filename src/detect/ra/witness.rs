//! What proves that a router's lifetime ended while somebody watched: the capture went on, or the kernel dropped the router's route. And
//! what proves that a router is new: the kernel, which learns routers from advertisements, had not learned it.
//!
//! The end of the input is no proof, and another input is none either: the capture of packets may have ended long before it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::event::{Classes, Prefix, SourceId, Timestamp};
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::routes::{Cause, RouteChange, RouteDelta, TABLE_MAIN};

/// Events with which changes of routes arrive.
pub(super) const CLASSES: Classes = Classes::ROUTE.and(Classes::DUMP_DONE);
/// `RTPROT_RA`: learned from router advertisements (linux/rtnetlink.h).
const RTPROT_RA: u8 = 9;
/// The kernel drops an expired route at its next garbage collection: `gc_interval` is 30 s and a collection may just have missed the
/// route, so twice that (15 s were measured in a recorded fault). Later deletions have other reasons.
const COLLECTED: Duration = Duration::from_secs(60);
/// The kernel's timers tick in whole jiffies from when it saw the advertisement, not from when the capture did.
const EARLY: Duration = Duration::from_millis(500);

/// Whether both sources are interfaces of one capture, which goes on while any of them is heard.
pub(super) fn same_capture(net: &NetState, of: SourceId, heard: SourceId) -> bool {
    if of == heard {
        return true;
    }
    match (net.sources.get(&of), net.sources.get(&heard)) {
        (Some(of), Some(heard)) => of.input == heard.input,
        _ => false,
    }
}

/// Gateways and interfaces of a default route that the kernel itself, without any other reason, deleted.
pub(super) fn dropped(delta: &RouteDelta) -> impl Iterator<Item = (Ipv6Addr, Option<u32>)> {
    let route = delta.old.as_ref().filter(|route| {
        delta.change == RouteChange::Removed
            && delta.cause == Cause::Notified
            && delta.by == 0
            && delta.key.prefix.is_default()
            && route.protocol == RTPROT_RA
    });
    let hops = route.into_iter().flat_map(|route| route.hops.iter());
    hops.filter_map(|hop| match hop.gateway {
        Some(IpAddr::V6(gateway)) => Some((gateway, hop.ifindex)),
        _ => None,
    })
}

/// IPv6 default routes that the kernel learned from advertisements on this link: their routers, and whether they were there before anybody
/// watched.
fn learned(net: &NetState, scope: Scope) -> impl Iterator<Item = (IpAddr, bool)> {
    let all = net.routes.of(TABLE_MAIN, Prefix::v6([0; 16], 0));
    let theirs = all.filter(|(_, route)| route.protocol == RTPROT_RA);
    theirs.flat_map(move |(key, route)| {
        let old = net.routes.from_start(key, route);
        let here = route.hops.iter();
        let here = here.filter(move |hop| on_link(net, scope, hop.ifindex));
        here.filter_map(move |hop| Some((hop.gateway?, old)))
    })
}

/// Whether the kernel had a default route from this router before anybody watched.
pub(super) fn known_from_start(net: &NetState, scope: Scope, router: Ipv6Addr) -> bool {
    learned(net, scope).any(|(gateway, old)| old && gateway == IpAddr::V6(router))
}

/// Whether the kernel takes default routes from advertisements on this link, took one before anybody watched, and has none of this router: a
/// router of this lifetime did not advertise before, or the kernel would still have it (RFC 4861 §6.3.4).
pub(super) fn unknown_to_kernel(net: &NetState, scope: Scope, router: Ipv6Addr) -> bool {
    let mut takes = false;
    for (gateway, old) in learned(net, scope) {
        if gateway == IpAddr::V6(router) {
            return false;
        }
        takes |= old;
    }
    takes
}

/// Whether an interface of the kernel may be the captured link, and still is usable: link-local gateways repeat on every link, and a link
/// that goes down takes its routes along.
pub(super) fn on_link(net: &NetState, scope: Scope, ifindex: Option<u32>) -> bool {
    let Some(ifindex) = ifindex else {
        return true;
    };
    net.links.usable(ifindex)
        && net.who.places(scope).any(|place| {
            if let Some(captured) = place.ifindex {
                return captured == ifindex;
            }
            let source = net.sources.get(&place.source);
            match source.and_then(|source| source.interface.as_deref()) {
                Some(name) => *net.links.name(ifindex) == *name,
                None => true,
            }
        })
}

/// Whether a route deleted at `at` was deleted because it had run out at `expired`.
pub(super) fn in_time(expired: Timestamp, at: Timestamp) -> bool {
    at + EARLY >= expired && at.since(expired) <= COLLECTED
}
