//! From an event and what it changed to facts. Called once for each event that is no UPDATE, and for deadlines of the model.

use super::Ledger;
use super::fact::{Channel, DhcpChange, Fact, LinkLoss, RouteWay, What};
use crate::event::lan::NdMessage;
use crate::event::{Event, EventKind, Prefix, Timestamp};
use crate::state::addresses::AddressChange;
use crate::state::leases::{LeaseDelta, Leases};
use crate::state::routes::{Cause, Route, RouteChange, Routes};
use crate::state::sessions::bfd::BfdChange;
use crate::state::sessions::{DownCause, SessionDelta, SessionId, Sessions};
use crate::state::{Changes, NetState};

/// `RTPROT_RA`: routes that the kernel makes of router advertisements.
const RTPROT_RA: u8 = 9;

/// What the tables know by now.
pub(in crate::state) struct Tables<'a> {
    pub sessions: &'a Sessions,
    pub leases: &'a Leases,
    pub routes: &'a Routes,
}

impl NetState {
    /// Notes what an event (or a deadline) changed.
    pub(in crate::state) fn note_facts(&mut self, event: &Event, changes: &Changes) {
        let tables = Tables {
            sessions: &self.sessions,
            leases: &self.leases,
            routes: &self.routes,
        };
        self.ledger.learn(event, changes, &tables);
    }
}

impl Ledger {
    fn learn(&mut self, event: &Event, changes: &Changes, tables: &Tables<'_>) {
        self.watch(event);
        self.kernel(changes);
        for delta in &changes.sessions {
            self.session(event, delta, tables.sessions);
        }
        for delta in &changes.leases {
            self.lease(event, delta, tables.leases);
        }
        for delta in &changes.routers {
            let (router, sender) = (delta.router, delta.sender);
            self.note(
                event,
                if delta.lifetime.1 == 0 {
                    What::RouterWithdrew { router, sender }
                } else {
                    What::RouterAdvertised {
                        router,
                        sender,
                        lifetime: delta.lifetime.1,
                    }
                },
            );
        }
        self.neighbor_advertised(event, changes, tables);
    }

    fn note(&mut self, event: &Event, what: What) {
        self.note_at(event.at, event, None, what);
    }

    fn note_at(&mut self, at: Timestamp, event: &Event, by: Option<u32>, what: What) {
        self.record(Fact {
            at,
            locator: event.locator,
            by,
            what,
        });
    }

    fn watch(&mut self, event: &Event) {
        let channel = match &event.kind {
            EventKind::Link(_) => Channel::Links,
            EventKind::Address(_) => Channel::Addresses,
            EventKind::Route(_) => Channel::Routes,
            EventKind::Neighbor(_) => Channel::Neighbors,
            EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => Channel::Dhcp,
            EventKind::Nd(_) => Channel::Nd,
            EventKind::Bfd(_) => Channel::Bfd,
            EventKind::Bgp(_) => Channel::Bgp,
            EventKind::Source(info) => {
                self.watches.source(info);
                return;
            }
            EventKind::Gap(gap) => {
                self.watches.hole(event.source, gap);
                return;
            }
            _ => {
                self.watches.alive(event.locator.input, event.at);
                return;
            }
        };
        self.watches.heard(channel, event.locator.input, event.at);
    }

    fn kernel(&mut self, changes: &Changes) {
        for delta in &changes.links {
            let ifindex = delta.ifindex;
            let mut note = |what| {
                self.record(Fact {
                    at: delta.at,
                    locator: delta.locator,
                    by: Some(delta.by),
                    what,
                });
            };
            if delta.lost() {
                let how = if delta.removed() {
                    LinkLoss::Removed
                } else if delta.admin_down() {
                    LinkLoss::SetDown
                } else {
                    LinkLoss::Carrier
                };
                note(What::LinkDown { ifindex, how });
            } else if delta.missed > 0 {
                let how = LinkLoss::Counted;
                note(What::LinkDown { ifindex, how });
            }
            if delta.before.is_some() && delta.recovered() {
                note(What::LinkUp { ifindex });
            }
        }
        for delta in &changes.addresses {
            let (ifindex, addr, prefix_len) = (delta.ifindex, delta.addr, delta.prefix_len);
            let what = match delta.change {
                AddressChange::Removed => What::AddressGone {
                    ifindex,
                    addr,
                    prefix_len,
                    expired: delta.expired,
                    last: delta.last,
                },
                AddressChange::Added => What::AddressCame {
                    ifindex,
                    addr,
                    prefix_len,
                },
                AddressChange::DadFailed => continue,
            };
            self.record(Fact {
                at: delta.at,
                locator: delta.locator,
                by: (!delta.unnamed).then_some(delta.by),
                what,
            });
        }
        for delta in &changes.neighbors {
            let (ifindex, addr) = (delta.ifindex, delta.addr);
            let failed = |state: Option<crate::state::neighbors::NeighborState>| {
                state.is_some_and(|state| state.failed())
            };
            let what = if failed(delta.after) && !failed(delta.before) {
                What::NeighborFailed { ifindex, addr }
            } else if delta.after.is_some_and(|state| state.reachable())
                && delta.before.is_none_or(|state| !state.reachable())
            {
                What::NeighborBack { ifindex, addr }
            } else {
                continue;
            };
            self.record(Fact {
                at: delta.at,
                locator: delta.locator,
                by: Some(delta.by),
                what,
            });
        }
        for delta in &changes.routes {
            let prefix = delta.key.prefix;
            let way = |route: &Route| {
                let hop = route.hops.iter().next();
                RouteWay {
                    table: delta.key.table,
                    metric: delta.key.metric,
                    protocol: route.protocol,
                    kind: route.kind,
                    ifindex: hop.and_then(|hop| hop.ifindex),
                    gateway: hop.and_then(|hop| hop.gateway),
                }
            };
            let what = match (delta.change, &delta.old, &delta.new) {
                (RouteChange::Removed, Some(old), _) => What::RouteGone {
                    prefix,
                    old: way(old),
                    inferred: delta.cause != Cause::Notified,
                },
                (RouteChange::Added, _, Some(new)) => What::RouteCame {
                    prefix,
                    new: way(new),
                },
                (RouteChange::Replaced, Some(old), Some(new)) => What::RouteReplaced {
                    prefix,
                    old: way(old),
                    new: way(new),
                },
                _ => continue,
            };
            self.record(Fact {
                at: delta.at,
                locator: delta.locator,
                by: Some(delta.by),
                what,
            });
        }
    }

    fn session(&mut self, event: &Event, delta: &SessionDelta, sessions: &Sessions) {
        let ends = |id: &SessionId| {
            let session = sessions.get(*id)?;
            Some((session.ends[0].addr, session.ends[1].addr, session.vrf))
        };
        let told = |cause: &DownCause| match cause {
            DownCause::Notification { notification, .. }
            | DownCause::Bmp {
                notification: Some(notification),
                ..
            } => Some(notification.cause()),
            _ => None,
        };
        match delta {
            SessionDelta::Down { id, at, cause, .. } => {
                if let Some((a, b, vrf)) = ends(id) {
                    let notification = told(cause);
                    let what = What::SessionDown {
                        a,
                        b,
                        vrf,
                        notification,
                    };
                    self.note_at(*at, event, None, what);
                }
            }
            SessionDelta::Up { id, .. } => {
                if let Some((a, b, vrf)) = ends(id) {
                    self.note(event, What::SessionUp { a, b, vrf });
                }
            }
            SessionDelta::Refused { id, cause } => {
                if let Some((a, b, _)) = ends(id) {
                    let notification = told(cause);
                    self.note(event, What::SessionRefused { a, b, notification });
                }
            }
            SessionDelta::Late { id, end, gap, hold } => {
                if let Some(session) = sessions.get(*id)
                    && let Some(from) = session.ends.get(*end)
                {
                    let what = What::MessageLate {
                        a: session.ends[0].addr,
                        b: session.ends[1].addr,
                        from: from.addr,
                        gap: *gap,
                        hold: *hold,
                    };
                    self.note(event, what);
                }
            }
            SessionDelta::Bfd { pair, change } => {
                let (a, b) = (pair.0, pair.1);
                match change {
                    BfdChange::Up { .. } => self.note(event, What::BfdUp { a, b }),
                    BfdChange::Down { at, diag, .. } => {
                        let what = What::BfdDown {
                            a,
                            b,
                            diag: *diag,
                            admin: false,
                        };
                        self.note_at(*at, event, None, what);
                    }
                    BfdChange::AdminDown { .. } => {
                        let what = What::BfdDown {
                            a,
                            b,
                            diag: 7,
                            admin: true,
                        };
                        self.note(event, what);
                    }
                    BfdChange::Late { gap, .. } => {
                        self.note(event, What::BfdLate { a, b, gap: *gap });
                    }
                    BfdChange::Known | BfdChange::Confirmed { .. } => {}
                }
            }
            _ => {}
        }
    }

    fn lease(&mut self, event: &Event, delta: &LeaseDelta, leases: &Leases) {
        let until = |scope, prefix: &Prefix| {
            let lease = leases.lease(scope, *prefix);
            lease.map_or(event.at, |lease| lease.until)
        };
        let seen = leases.seen().map(|seen| &seen.message);
        let what = match delta {
            LeaseDelta::Granted {
                scope,
                client,
                server,
                prefix,
            } => What::LeaseGranted {
                client: client.clone(),
                server: server.clone(),
                prefix: *prefix,
                until: until(*scope, prefix),
            },
            LeaseDelta::Renewed {
                scope,
                client,
                server,
                prefix,
                ..
            } => What::LeaseRenewed {
                client: client.clone(),
                server: server.clone(),
                prefix: *prefix,
                until: until(*scope, prefix),
            },
            LeaseDelta::Expired { prefix, lease, .. } => What::LeaseEnded {
                client: lease.client.clone(),
                server: lease.server.clone(),
                prefix: *prefix,
            },
            LeaseDelta::Released { client, addr, .. } => What::LeaseReleased {
                client: client.clone(),
                addr: *addr,
                sender: seen.and_then(|message| message.frame.eth_src),
            },
            LeaseDelta::Naked { client, server, .. } => What::LeaseRefused {
                client: client.clone(),
                server: server.clone(),
            },
            LeaseDelta::Declined { client, addr, .. } => What::AddressDeclined {
                client: client.clone(),
                addr: *addr,
            },
            LeaseDelta::Reconfigured {
                client,
                server,
                before,
                ..
            } => {
                let Some(message) = seen else { return };
                What::DhcpChanged {
                    client: client.clone(),
                    server: server.clone(),
                    addr: message.grants.first().map(|grant| grant.prefix.addr()),
                    change: Box::new(DhcpChange {
                        before: (**before).clone(),
                        after: message.config.clone(),
                    }),
                }
            }
            _ => return,
        };
        self.note(event, what);
    }

    /// An NA says whether its sender is a router. With R it says so; without, it takes the role back (RFC 4861 §7.2.5) from whoever had it:
    /// who advertised with a lifetime, said so before, or is the gateway of a route that the kernel made of an advertisement.
    fn neighbor_advertised(&mut self, event: &Event, changes: &Changes, tables: &Tables<'_>) {
        let EventKind::Nd(nd) = &event.kind else {
            return;
        };
        let NdMessage::NeighborAdvertisement { target, router, .. } = &nd.message else {
            return;
        };
        if changes.copy || !nd.flaws.is_empty() {
            return;
        }
        let (router, sender, named) = (*target, nd.frame.eth_src, *router);
        let key = super::Key::Address(router.into());
        if named {
            self.note(event, What::RouterFlag { router, sender });
            return;
        }
        let latest = |classes: [super::Class; 2]| {
            let said = classes.into_iter();
            said.filter_map(|class| self.last(class, &key, event.at))
                .map(|fact| fact.at)
                .max()
        };
        let given = latest([super::Class::RouterAdvertised, super::Class::RouterFlag]);
        let taken = latest([super::Class::RouterWithdrew, super::Class::RouterFlagGone]);
        let known = given.is_some() && given > taken;
        let default = || {
            let all = Prefix::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0);
            tables.routes.best(all).is_some_and(|(_, route)| {
                route.protocol == RTPROT_RA && route.gateways().any(|gateway| gateway == router)
            })
        };
        let gone = || {
            let all = super::Key::Prefix(Prefix::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0));
            let mut lost = self.within(
                super::Class::RouteGone,
                &all,
                event.at - super::STORM,
                event.at,
            );
            lost.any(|fact| {
                matches!(&fact.what, What::RouteGone { old, .. } if old.protocol == RTPROT_RA && old.gateway == Some(router.into()))
            })
        };
        if known || default() || gone() {
            self.note(event, What::RouterFlagGone { router, sender });
        }
    }
}
