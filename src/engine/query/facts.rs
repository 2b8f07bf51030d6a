//! Rows of the big tables as something to filter: those of the report by its facts, kernel routes and BFD sessions by their own.

use std::net::{IpAddr, Ipv6Addr};

use super::At;
use crate::detect::prefix::rows;
use crate::engine::Engine;
use crate::event::Prefix;
use crate::event::frame::Mac;
use crate::event::netlink::protocol_name;
use crate::filter::{Fact, Facts, Filter, Key};
use crate::state::leases::Lease;
use crate::state::leases::message::ServerId;
use crate::state::leases::rows::ServerRow;
use crate::state::neighbors::NeighborState;
use crate::state::rib::table::Slot;
use crate::state::rib::{Rib, RibId};
use crate::state::routers::Router;
use crate::state::routes::{Route, RouteKey};
use crate::state::sessions::bfd::BfdSession;

type Test<'t> = dyn FnMut(Fact<'_>) -> bool + 't;

/// Whether the filter leaves a row.
pub(super) fn matches(engine: &Engine, at: &At, filter: &Filter) -> bool {
    let net = engine.net();
    match at {
        At::Prefix(rib, slot) => {
            Announced::of(engine, *rib, *slot).is_some_and(|row| filter.matches(&row))
        }
        At::Session(id) => {
            rows::session(net, engine.perspective(), *id).is_some_and(|row| filter.matches(&row))
        }
        At::Server(scope, id) => net
            .leases
            .servers
            .get(*scope, id)
            .is_some_and(|server| filter.matches(&ServerRow::of(server))),
        At::Client(scope, id) => net
            .leases
            .clients
            .get(*scope, id)
            .is_some_and(|client| filter.matches(&net.leases.client_row(client))),
        At::Route(key) => net
            .routes
            .get(key)
            .is_some_and(|route| filter.matches(&KernelRoute { engine, key, route })),
        At::Lease(scope, prefix) => net
            .leases
            .lease(*scope, *prefix)
            .is_some_and(|lease| filter.matches(&Held { prefix, lease })),
        At::Router(scope, addr) => net
            .routers
            .get(*scope, *addr)
            .is_some_and(|router| filter.matches(&Advertised { addr, router })),
        At::Neighbor(index, addr) => net.neighbors.get(*index, *addr).is_some_and(|state| {
            filter.matches(&Neighbor {
                addr: *addr,
                link: net.links.name(*index),
                state,
            })
        }),
        At::Bfd(a, b) => net.sessions.bfd().get(*a, *b).is_some_and(|session| {
            filter.matches(&Bfd {
                ends: [*a, *b],
                session,
            })
        }),
    }
}

/// A route of a RIB. A search looks at a million of them, so that only what a filter asks for is looked up: the whole row with its penalties
/// costs ten times as much.
struct Announced<'a> {
    engine: &'a Engine,
    id: RibId,
    rib: &'a Rib,
    slot: Slot,
    prefix: Prefix,
}

impl Announced<'_> {
    fn of(engine: &Engine, id: RibId, slot: Slot) -> Option<Announced<'_>> {
        let rib = engine.net().rib.get(id)?;
        Some(Announced {
            engine,
            id,
            rib,
            slot,
            prefix: rib.prefix(slot)?,
        })
    }

    fn origin(&self) -> Option<u32> {
        let net = self.engine.net();
        let cold = self.rib.cold(self.slot)?;
        let store = net.rib.hot_records();
        let asn = match cold.hot.checked_sub(1).and_then(|at| store.get(at)) {
            Some(hot) => hot.origin_as,
            None => net.rib.digest(cold.attrs)?.origin_as,
        };
        (asn != 0).then_some(asn)
    }

    fn suppressed(&self) -> bool {
        let store = self.engine.net().rib.hot_records();
        let cold = self.rib.cold(self.slot);
        let hot = cold.and_then(|cold| store.get(cold.hot.checked_sub(1)?));
        hot.is_some_and(|hot| {
            let mut both = hot.penalties.iter().zip(store.profiles());
            both.any(|(penalty, profile)| penalty.suppressed(profile, self.engine.now()))
        })
    }
}

impl Facts for Announced<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Subject => test(Fact::Shown(&format_args!("prefix:{}", self.prefix))),
            Key::Prefix => test(Fact::Prefix(self.prefix)),
            Key::Peer => {
                let session = self.engine.net().sessions.get(self.rib.session);
                let peer = session.and_then(|session| session.ends.get(self.rib.sender));
                peer.is_some_and(|peer| test(Fact::Address(peer.addr)))
            }
            Key::Asn => self.origin().is_some_and(|asn| test(Fact::As(asn))),
            Key::State => self.suppressed() && test(Fact::Word("suppressed")),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        let net = self.engine.net();
        self.any(Key::Prefix, test)
            || self.any(Key::Peer, test)
            || self.any(Key::Asn, test)
            || (net.vrps.is_usable()
                && rows::prefix(net, self.id, self.slot, self.engine.now())
                    .and_then(|row| row.rov)
                    .is_some_and(|rov| test(Fact::Word(rov))))
    }

    fn has(&self, key: Key) -> bool {
        !matches!(key, Key::Sev | Key::Kind)
    }
}

struct KernelRoute<'a> {
    engine: &'a Engine,
    key: &'a RouteKey,
    route: &'a Route,
}

impl Facts for KernelRoute<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Prefix => test(Fact::Prefix(self.key.prefix)),
            Key::Subject => test(Fact::Shown(&format_args!("prefix:{}", self.key.prefix))),
            Key::Peer => self
                .route
                .gateways()
                .any(|gateway| test(Fact::Address(gateway))),
            Key::If => self.route.hops.iter().any(|hop| {
                hop.ifindex
                    .is_some_and(|index| test(Fact::Word(&self.engine.net().links.name(index))))
            }),
            Key::Src => test(Fact::Word(&protocol_name(self.route.protocol))),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        [Key::Prefix, Key::Peer, Key::If, Key::Src]
            .into_iter()
            .any(|key| self.any(key, test))
    }

    fn has(&self, key: Key) -> bool {
        !matches!(key, Key::Sev | Key::Kind | Key::State | Key::Asn | Key::Mac)
    }
}

struct Bfd<'a> {
    ends: [IpAddr; 2],
    session: &'a BfdSession,
}

impl Facts for Bfd<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Peer => self.ends.into_iter().any(|end| test(Fact::Address(end))),
            Key::Subject => self
                .ends
                .into_iter()
                .any(|end| test(Fact::Shown(&format_args!("peer:{end}")))),
            Key::State => test(Fact::Word(if self.session.up { "up" } else { "down" })),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        self.any(Key::Peer, test) || self.any(Key::State, test)
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Peer | Key::Subject | Key::State)
    }
}

struct Held<'a> {
    prefix: &'a Prefix,
    lease: &'a Lease,
}

impl Facts for Held<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Prefix => {
                test(Fact::Prefix(*self.prefix))
                    || match self.lease.server {
                        ServerId::V4(server) => test(Fact::Prefix(Prefix::host(server))),
                        ServerId::V6(_) => false,
                    }
            }
            Key::Subject => {
                test(Fact::Shown(&format_args!("client:{}", self.lease.client)))
                    || test(Fact::Shown(&format_args!("server:{}", self.lease.server)))
                    || test(Fact::Shown(&format_args!("address:{}", self.prefix.addr())))
            }
            Key::Mac => {
                let client = self.lease.client.to_string();
                client.parse().is_ok_and(|mac: Mac| test(Fact::Mac(mac)))
            }
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Prefix(*self.prefix))
            || test(Fact::Shown(&self.lease.client))
            || test(Fact::Shown(&self.lease.server))
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Prefix | Key::Subject | Key::Mac)
    }
}

struct Advertised<'a> {
    addr: &'a Ipv6Addr,
    router: &'a Router,
}

impl Facts for Advertised<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        let sender = self.router.current();
        match key {
            Key::Subject => test(Fact::Shown(&format_args!("router:{}", self.addr))),
            Key::Prefix => {
                test(Fact::Prefix(Prefix::host((*self.addr).into())))
                    || sender.is_some_and(|sender| {
                        let mut prefixes = sender.ra.prefixes.iter();
                        prefixes.any(|told| test(Fact::Prefix(told.prefix)))
                    })
            }
            Key::Mac => sender
                .and_then(|sender| sender.mac)
                .is_some_and(|mac| test(Fact::Mac(mac))),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Address((*self.addr).into()))
            || self.any(Key::Prefix, test)
            || self.any(Key::Mac, test)
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Prefix | Key::Subject | Key::Mac)
    }
}

struct Neighbor {
    addr: IpAddr,
    link: Box<str>,
    state: NeighborState,
}

impl Facts for Neighbor {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Prefix => test(Fact::Prefix(Prefix::host(self.addr))),
            Key::Peer => test(Fact::Address(self.addr)),
            Key::Subject => test(Fact::Shown(&format_args!("neighbor:{}", self.addr))),
            Key::If => test(Fact::Word(&self.link)),
            Key::Mac => self.state.mac.is_some_and(|mac| test(Fact::Mac(mac))),
            Key::State => test(Fact::Word(self.state.word())),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        [Key::Peer, Key::If, Key::Mac, Key::State]
            .into_iter()
            .any(|key| self.any(key, test))
    }

    fn has(&self, key: Key) -> bool {
        !matches!(key, Key::Sev | Key::Kind | Key::Asn | Key::Src)
    }
}
