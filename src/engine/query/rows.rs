//! The walk over each table: where its rows are, what they are sorted by. One slice at a time; the position survives changes of the table.

use std::net::{IpAddr, Ipv6Addr};

use super::{Key, Order, Query, Table};
use crate::engine::Engine;
use crate::event::{Prefix, Timestamp};
use crate::state::hosts::Scope;
use crate::state::leases::message::{ClientId, ServerId};
use crate::state::leases::scope::ScopeId;
use crate::state::rib::table::Slot;
use crate::state::rib::{Rib, RibId};
use crate::state::routes::{RouteKey, TABLE_LOCAL};
use crate::state::sessions::{SessionId, State};

/// Where a row is.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub struct RowRef {
    pub room: usize,
    pub at: At,
}

/// Where in a room's model a row is.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum At {
    Prefix(RibId, Slot),
    Route(RouteKey),
    Session(SessionId),
    Bfd(IpAddr, IpAddr),
    Server(ScopeId, ServerId),
    Client(ScopeId, ClientId),
    Lease(ScopeId, Prefix),
    Router(Scope, Ipv6Addr),
    Neighbor(u32, IpAddr),
}

/// How far a walk has come.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// Number of the RIB and of the record in it.
    rib: usize,
    record: usize,
    route: Option<RouteKey>,
}

/// Looks at up to `most` entries from `position` on; true when none are left. Tables that are bounded by some ten thousands are one slice.
pub(super) fn walk(
    engine: &Engine,
    query: &Query,
    position: &mut Position,
    most: usize,
    found: &mut dyn FnMut(Key, At),
) -> bool {
    let net = engine.net();
    match query.table {
        Table::Prefixes => prefixes(engine, query.order, position, most, found),
        Table::Routes => {
            let mut seen = 0;
            for (key, route) in net.routes.behind(position.route).take(most) {
                position.route = Some(*key);
                seen += 1;
                // It mirrors addresses, and is never reported (`state::routes`).
                if key.table == TABLE_LOCAL {
                    continue;
                }
                let by = match query.order {
                    Order::Latest => latest(route.since),
                    _ => Key::Prefix(key.prefix),
                };
                found(by, At::Route(*key));
            }
            seen < most
        }
        Table::Sessions => {
            for (id, session) in net.sessions.iter().filter(|(_, s)| !s.is_table) {
                let far = engine.perspective().far_end(&net.sessions, session);
                let down = session.state != State::Established;
                let by = match query.order {
                    Order::Worst => Key::Number(-worst(down, session.downs)),
                    Order::Changes => Key::Number(-i64::from(session.downs)),
                    Order::Latest => latest(session.since),
                    _ => Key::Address(session.ends[far].addr),
                };
                found(by, At::Session(id));
            }
            true
        }
        Table::Bfd => {
            for ((a, b), session) in net.sessions.bfd().iter() {
                let by = match query.order {
                    Order::Worst => Key::Number(-worst(!session.up, session.downs)),
                    Order::Changes => Key::Number(-i64::from(session.downs)),
                    Order::Latest => latest(session.since),
                    _ => Key::Address(*a),
                };
                found(by, At::Bfd(*a, *b));
            }
            true
        }
        Table::Servers => {
            for server in net.leases.servers.iter() {
                let by = match query.order {
                    Order::Changes => descending(server.offers + server.acks + server.naks),
                    Order::Latest => latest(server.last),
                    _ => Key::Text(server.id.to_string().into()),
                };
                found(by, At::Server(server.scope, server.id.clone()));
            }
            true
        }
        Table::Clients => {
            for client in net.leases.clients.unordered() {
                let counts = &client.counts;
                let by = match query.order {
                    Order::Changes => descending(
                        counts.discovers + counts.requests + counts.naks + counts.declines,
                    ),
                    Order::Latest => latest(client.last),
                    _ => Key::Text(client.id.to_string().into()),
                };
                found(by, At::Client(client.scope, client.id.clone()));
            }
            true
        }
        Table::Leases => {
            for (scope, prefix, lease) in net.leases.held() {
                let by = match query.order {
                    Order::Worst => Key::Number(lease.until.0),
                    Order::Latest => latest(lease.renewed),
                    Order::Peer => Key::Text(lease.client.to_string().into()),
                    _ => Key::Prefix(prefix),
                };
                found(by, At::Lease(scope, prefix));
            }
            true
        }
        Table::Routers => {
            for (scope, addr, router) in net.routers.all() {
                let by = match query.order {
                    Order::Worst => {
                        Key::Number(router.expires().map_or(i64::MIN, |expires| expires.0))
                    }
                    Order::Latest => latest(router.last),
                    _ => Key::Address(addr.into()),
                };
                found(by, At::Router(scope, addr));
            }
            true
        }
        Table::Neighbors => {
            for (index, addr, state) in net.neighbors.iter() {
                let by = match query.order {
                    Order::Worst => Key::Number(match () {
                        () if state.failed() => 0,
                        () if state.incomplete() => 1,
                        () => 2,
                    }),
                    Order::Peer => Key::Text(net.links.name(index)),
                    _ => Key::Address(addr),
                };
                found(by, At::Neighbor(index, addr));
            }
            true
        }
    }
}

fn prefixes(
    engine: &Engine,
    order: Order,
    position: &mut Position,
    most: usize,
    found: &mut dyn FnMut(Key, At),
) -> bool {
    let net = engine.net();
    let store = net.rib.hot_records();
    let mut left = most;
    for (id, rib) in net.rib.iter().skip(position.rib) {
        let peer = net
            .sessions
            .get(rib.session)
            .map(|session| session.ends[rib.sender].addr);
        let copies = copies(engine, id, rib);
        let before = left;
        for (slot, cold) in rib.part(position.record, left) {
            left -= 1;
            if !copies.is_empty() && is_copy(engine, &copies, rib, slot) {
                continue;
            }
            // MACs and VTEPs of EVPN are no prefixes.
            if !slot.is_unicast() && rib.nlri(slot).is_none_or(|nlri| !nlri.is_prefix()) {
                continue;
            }
            let by = match order {
                Order::Worst => match cold.hot.checked_sub(1).and_then(|at| store.get(at)) {
                    // Whole numbers order alike: nobody could tell ranks apart that differ by less than a millionth.
                    Some(hot) if hot.rank().is_finite() => Key::Number((hot.rank() * -1e6) as i64),
                    _ => Key::Number(i64::MAX - i64::from(cold.withdrawals)),
                },
                Order::Changes => {
                    Key::Number(-(i64::from(cold.withdrawals) + i64::from(cold.changes)))
                }
                Order::Latest => latest(rib.last_change(cold)),
                Order::Peer => match peer {
                    Some(peer) => Key::Address(peer),
                    None => continue,
                },
                Order::Name => match rib.prefix(slot) {
                    Some(prefix) => Key::Prefix(prefix),
                    None => continue,
                },
            };
            found(by, At::Prefix(id, slot));
        }
        position.record += before - left;
        if left == 0 {
            return false;
        }
        position.rib += 1;
        position.record = 0;
    }
    true
}

/// Other RIBs that show what the same speaker says on the same session, better than this one: packets before BMP, before policy before after.
fn copies(engine: &Engine, id: RibId, rib: &Rib) -> Vec<RibId> {
    let net = engine.net();
    let same = net.rib.of_session(rib.session);
    same.filter(|(other, better)| {
        *other != id
            && better.sender == rib.sender
            && (!better.kind.is_exact(), *other) < (!rib.kind.is_exact(), id)
    })
    .map(|(other, _)| other)
    .collect()
}

/// A route of which one of `copies` tells already.
fn is_copy(engine: &Engine, copies: &[RibId], rib: &Rib, slot: Slot) -> bool {
    let Some(nlri) = rib.nlri(slot) else {
        return false;
    };
    let rib = &engine.net().rib;
    copies.iter().any(|copy| rib.lookup(*copy, &nlri).is_some())
}

/// What is down comes before what is up, whatever the counts.
fn worst(down: bool, downs: u32) -> i64 {
    (i64::from(down) << 32) | i64::from(downs)
}

fn latest(at: Timestamp) -> Key {
    Key::Number(at.0.saturating_neg())
}

fn descending(n: u64) -> Key {
    Key::Number(i64::try_from(n).unwrap_or(i64::MAX).saturating_neg())
}
