//! What proves that a router's lifetime ended while somebody watched: the capture went on, or the kernel dropped the router's route.
//!
//! The end of the input is no proof, and another input is none either: the capture of packets may have ended long before it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::event::{Classes, SourceId, Timestamp};
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::routes::{Cause, RouteChange, RouteDelta};

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

/// Whether an interface of the kernel may be the captured link, and still is usable: link-local gateways repeat on every link, and a link
/// that goes down takes its routes along.
pub(super) fn on_link(net: &NetState, scope: Scope, ifindex: Option<u32>) -> bool {
    let Some(ifindex) = ifindex else {
        return true;
    };
    if !net.links.usable(ifindex) {
        return false;
    }
    if let Some(captured) = scope.ifindex {
        return captured == ifindex;
    }
    let source = net.sources.get(&scope.source);
    match source.and_then(|source| source.interface.as_deref()) {
        Some(name) => *net.links.name(ifindex) == *name,
        None => true,
    }
}

/// Whether a route deleted at `at` was deleted because it had run out at `expired`.
pub(super) fn in_time(expired: Timestamp, at: Timestamp) -> bool {
    at + EARLY >= expired && at.since(expired) <= COLLECTED
}
