//! A process deletes the kernel's own connected route while the address that made it stays.
//!
//! The kernel makes such a route with an address and takes it away with the last address of its prefix, both with port 0; nobody else
//! has to delete it. Network managers that keep a connected route of their own (NetworkManager, systemd-networkd, with a metric) delete
//! the kernel's beside it: while another route of the same prefix is on-link, nothing is lost.

use std::collections::BTreeMap;

use crate::detect::link::kernel::{actor, interfaces, placed, process_advice, times, way};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Classes, Prefix};
use crate::state::routes::{Cause, RouteChange, RouteDelta, TABLE_MAIN};
use crate::state::{NetState, Observation};

/// Connected prefixes watched at once: one or two for each interface.
const MAX_WATCHED: usize = 1024;

#[derive(Clone, Default)]
pub(super) struct Connected {
    found: BTreeMap<Prefix, FindingKey>,
}

impl Detector for Connected {
    fn name(&self) -> &'static str {
        "connected routes"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.routes {
            if delta.key.table != TABLE_MAIN {
                continue;
            }
            match delta.change {
                RouteChange::Removed => self.removed(delta, net, board),
                RouteChange::Added => self.returned(delta, board),
                RouteChange::Replaced | RouteChange::Reasserted => {}
            }
        }
    }
}

impl Connected {
    fn removed(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(old) = delta.old.as_ref().filter(|old| old.connected()) else {
            return;
        };
        let prefix = delta.key.prefix;
        // A link-local prefix is on-link whatever its route says only to few; a host route is a peer's or an address's own.
        let host = prefix.len() == if prefix.is_ipv6() { 128 } else { 32 };
        if delta.by == 0
            || delta.cause != Cause::Notified
            || host
            || net.routes.best(prefix).is_some()
        {
            return;
        }
        let Some(ifindex) = old.hops.iter().find_map(|hop| hop.ifindex) else {
            return;
        };
        let mut stays = net
            .addresses
            .on(ifindex)
            .filter(|(addr, address)| Prefix::new(*addr, address.prefix_len) == prefix);
        let (Some((address, _)), true) = (stays.next(), net.links.usable(ifindex)) else {
            return;
        };
        let event = placed(delta.at, delta.locator);
        let key = match self.found.get(&prefix) {
            Some(key) => {
                board.update(*key, |finding| finding.again(&event));
                *key
            }
            None if self.found.len() >= MAX_WATCHED => return,
            None => {
                let kind = Kind::RouteForeignDelete;
                let finding =
                    Finding::new(kind, Severity::Warning, Subject::Prefix(prefix), &event);
                let key = board.raise(finding);
                self.found.insert(prefix, key);
                key
            }
        };
        let who = actor(net, delta.by, None);
        let name = net.links.name(ifindex);
        let instead = match net.routes.lookup(prefix.addr()) {
            Some((covering, route)) => {
                format!(
                    "packets to its hosts follow {} {} now",
                    covering.prefix,
                    way(net, route)
                )
            }
            None => "there is no way to its hosts now".to_owned(),
        };
        board.update(key, |finding| {
            finding.touch(Touch::Prefix(prefix));
            finding.touch(Touch::OnLink(prefix));
            for name in interfaces(net, old) {
                finding.touch(Touch::Interface(name));
            }
            finding.affected.routes.insert(prefix);
            finding.broken.subject = true;
            finding.actor = Some(who.clone());
            finding.explain = format!(
                "{who} deleted the connected route {prefix} dev {name} {}, which the kernel keeps for {address}: that address stays on {name}, and \
                 {instead}.",
                times(finding.count, finding.first, delta.at),
            );
            finding.advice = vec![
                format!("ip route show table all {prefix}"),
                format!("ip address show dev {name}"),
                process_advice(net, delta.by),
            ];
        });
    }

    fn returned(&mut self, delta: &RouteDelta, board: &mut Board) {
        let Some(key) = self.found.get(&delta.key.prefix) else {
            return;
        };
        let on_link = delta
            .new
            .as_ref()
            .is_some_and(|route| route.gateways().next().is_none());
        if on_link {
            board.update(*key, |finding| {
                finding.recovered(delta.at);
                finding.support(&placed(delta.at, delta.locator));
                finding.ended = Some(delta.at);
                finding.broken = Default::default();
            });
        }
    }
}
