//! What neighbor advertisements and redirects in a router's name do to it.
//!
//! A neighbor advertisement without the router flag makes hosts drop the sender as default router (RFC 4861 §7.2.5), as a router does that
//! stops forwarding. A redirect is believed from the first hop alone (§8.1); forgers take its address, but send from their own link-layer
//! address. Both are held against what the router's own advertisements showed.

use std::net::{IpAddr, Ipv6Addr};

use super::{Open, QUIET, WINDOW, another_default, keys};
use crate::detect::{Board, Finding, Kind, Severity, Subject};
use crate::event::frame::Mac;
use crate::event::lan::{Nd, NdMessage};
use crate::event::{Event, Timestamp};
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::ledger::{Class, Key};
use crate::state::routers::Router;

/// Redirects from a foreign link-layer address before it is an alarm: a router with several ports may send one from another of them.
const REDIRECTS: u64 = 2;

/// What was seen of one router.
#[derive(Clone, Default, Debug)]
pub(super) struct Inside {
    /// The finding of the advertisement that took its role, while hosts have not got it back.
    dropped: Option<Open>,
    /// The one before, for the next: a router that loses and regains its role is one trouble.
    before: Option<Open>,
    forged: Option<(Open, Mac)>,
}

impl Inside {
    /// The address that a message speaks for, where it is one that can change a router's role.
    pub(super) fn speaks_for(nd: &Nd) -> Option<Ipv6Addr> {
        match (&nd.message, nd.frame.ip_src) {
            _ if !nd.flaws.is_empty() => None,
            (NdMessage::NeighborAdvertisement { target, .. }, _) => Some(*target),
            (NdMessage::Redirect { .. }, Some(IpAddr::V6(source))) => Some(source),
            _ => None,
        }
    }

    /// The sender of a neighbor advertisement with the router flag.
    pub(super) fn says_router(nd: &Nd) -> Option<Mac> {
        match nd.message {
            NdMessage::NeighborAdvertisement { router: true, .. } => nd.frame.eth_src,
            _ => None,
        }
    }

    /// Takes a neighbor advertisement or redirect in the router's name.
    pub(super) fn seen(
        &mut self,
        event: &Event,
        nd: &Nd,
        (scope, router): (Scope, Ipv6Addr),
        entry: Option<&Router>,
        net: &NetState,
        board: &mut Board,
    ) {
        match nd.message {
            NdMessage::NeighborAdvertisement { router: flag, .. } => {
                if flag {
                    self.back(event, board);
                } else if self.dropped.is_none() && took_role(net, router, event) {
                    self.drops(event, nd, (scope, router), entry, net, board);
                }
            }
            NdMessage::Redirect {
                target,
                destination,
            } => {
                let Some(entry) = entry else { return };
                self.redirected(
                    event,
                    nd,
                    (scope, router),
                    entry,
                    (target, destination),
                    net,
                    board,
                );
            }
            _ => {}
        }
    }

    /// It advertises itself as router again: hosts take it back.
    pub(super) fn back(&mut self, event: &Event, board: &mut Board) {
        if let Some(open) = self.dropped.take() {
            self.before = Some(open);
            board.update(open.key, |f| {
                f.recovered(event.at);
                f.support(event);
                f.broken = Default::default();
                f.ended = Some(event.at);
            });
        }
    }

    fn drops(
        &mut self,
        event: &Event,
        nd: &Nd,
        (scope, router): (Scope, Ipv6Addr),
        entry: Option<&Router>,
        net: &NetState,
        board: &mut Board,
    ) {
        let alone = !another_default(net, scope, router, event.at);
        let foreign = entry.and_then(|entry| foreign(nd, entry));
        let again = self.before.take().filter(|open| {
            let same = |f: &Finding| (f.kind == Kind::RaSpoofed) == foreign.is_some();
            event.at.since(open.last) <= WINDOW && board.get(open.key).is_some_and(same)
        });
        if let Some(open) = again {
            board.update(open.key, |f| {
                f.again(event);
                f.broken.subject = true;
                f.broken.default_route = alone;
                if foreign.is_none() {
                    f.kind = Kind::RaFlap;
                    f.severity = Severity::Warning;
                }
                f.explain = format!(
                    "neighbor advertisements of {router} have no router flag, {} times: hosts drop it as default router each time (RFC 4861 \
                     §7.2.5), until its next router advertisement",
                    f.count
                );
            });
            self.dropped = Some(Open {
                key: open.key,
                last: event.at,
            });
            return;
        }
        let (kind, severity) = match foreign {
            Some(_) => (Kind::RaSpoofed, Severity::Warning),
            None if alone => (Kind::RaRouterWithdrawn, Severity::Warning),
            None => (Kind::RaRouterWithdrawn, Severity::Info),
        };
        let subject = Subject::Router(IpAddr::V6(router));
        let mut finding = Finding::new(kind, severity, subject, event);
        finding.broken.subject = true;
        finding.broken.default_route = alone;
        let by = foreign.map_or_else(String::new, |mac| {
            format!(", sent by {mac}, which is none of its own")
        });
        finding.explain = format!(
            "a neighbor advertisement of {router} has no router flag any more{by}: hosts drop it as default router (RFC 4861 §7.2.5){}",
            if alone {
                "; no other router advertises a default route on this link"
            } else {
                ""
            }
        );
        if foreign.is_none() {
            finding
                .explanations
                .push("IPv6 forwarding was turned off on it".into());
        }
        let macs: Vec<Mac> = nd.frame.eth_src.into_iter().collect();
        keys(&mut finding, net, scope, router, &macs);
        if let Some(mac) = foreign {
            finding.also(Subject::Mac(mac));
        }
        self.dropped = Some(Open {
            key: board.raise(finding),
            last: event.at,
        });
    }

    #[allow(clippy::too_many_arguments)] // one call site; the parts of one message
    fn redirected(
        &mut self,
        event: &Event,
        nd: &Nd,
        (scope, router): (Scope, Ipv6Addr),
        entry: &Router,
        (target, destination): (Ipv6Addr, Ipv6Addr),
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(mac) = foreign(nd, entry) else {
            return; // routers redirect: that is what the message is for
        };
        let known = self
            .forged
            .filter(|(open, by)| *by == mac && event.at.since(open.last) <= QUIET);
        let key = match known {
            Some((open, _)) => {
                board.update(open.key, |f| f.again(event));
                open.key
            }
            None => {
                let subject = Subject::Router(IpAddr::V6(router));
                let mut finding = Finding::new(Kind::RaSpoofed, Severity::Info, subject, event);
                keys(&mut finding, net, scope, router, &[mac]);
                finding.also(Subject::Mac(mac));
                board.raise(finding)
            }
        };
        self.forged = Some((
            Open {
                key,
                last: event.at,
            },
            mac,
        ));
        board.update(key, |f| {
            if f.count >= REDIRECTS {
                f.severity = Severity::Warning;
            }
            f.explain = format!(
                "{mac} sends redirects in the name of router {router}, which has another link-layer address ({} so far): hosts would send what \
                 goes to {destination} to {target}",
                f.count
            );
        });
    }

    /// When the redirects count as over.
    pub(super) fn quiet_at(&self) -> Option<Timestamp> {
        self.forged.map(|(open, _)| open.last + QUIET)
    }

    pub(super) fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        if let Some((open, _)) = self.forged.filter(|(open, _)| open.last + QUIET <= now) {
            self.forged = None;
            board.update(open.key, |f| f.ended = Some(now));
        }
    }
}

/// Whether this very advertisement took a role back that the router had: by its own advertisement, by its flag before, or because the host's
/// kernel had learned it as default router. Hosts that advertise for a service never set the flag and had no role.
fn took_role(net: &NetState, router: Ipv6Addr, event: &Event) -> bool {
    let key = Key::Address(router.into());
    let taken = net.ledger.last(Class::RouterFlagGone, &key, event.at);
    taken.is_some_and(|fact| fact.at == event.at && fact.locator == event.locator)
}

/// The link-layer source of a message in a router's name that never advertised in that name. Virtual routers use addresses of their own, and a
/// router whose advertisements show no link-layer source says nothing about it.
fn foreign(nd: &Nd, entry: &Router) -> Option<Mac> {
    let mac = nd.frame.eth_src?;
    let own = |sender: &crate::state::routers::Sender| {
        sender
            .mac
            .is_none_or(|own| own == mac || own.is_virtual_router())
            || sender.source_mac == Some(mac)
    };
    (!mac.is_virtual_router() && !entry.senders.iter().any(own)).then_some(mac)
}
