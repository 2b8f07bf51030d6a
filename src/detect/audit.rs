//! Comparing what BGP says with what the kernel of the same host has: `route.fib-missing`, `route.fib-stale`,
//! `prefix.nexthop-unresolved`, `prefix.blackholed`, `address.unannounced`.
//!
//! Nothing is compared by walking tables: what changed on one side is looked up on the other once the daemons had time to follow. All of it
//! needs both sides: sessions of this host (an end is one of its addresses) and a dump of its routes; without them it is silent.

mod fib;
mod nexthop;
mod origin;

use crate::event::bgp::Nlri;
use crate::event::{Classes, EventKind, Prefix, Timestamp};
use crate::state::rib::attributes::AttrId;
use crate::state::rib::{Rib, RibId, RibKind};
use crate::state::sessions::{SessionId, State};
use crate::state::{NetState, Observation};

use super::{Board, Detector, Settings};

/// RIBs whose part in this host is remembered.
const MAX_RIBS: usize = 65_536;

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Audit {
        host: Host::default(),
        fib: fib::Fib::default(),
        nexthops: nexthop::Nexthops::default(),
        origin: origin::Origins::new(settings),
    }));
}

/// What a RIB is to this host.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Role {
    /// Of another host, or not known to be ours.
    Foreign,
    /// What a neighbor announces to this host.
    Inbound,
    /// What this host announces.
    Outbound,
    /// The best routes of this host's daemon.
    Best,
}

/// This host's RIBs.
#[derive(Clone, Default)]
pub(super) struct Host {
    roles: Vec<Option<Role>>,
    /// Routes with path identifiers were seen: a prefix alone does not name them, so absence proves nothing.
    paths: bool,
}

impl Host {
    /// The part of a RIB; searched again while the host's addresses are still being learned.
    fn role(&mut self, id: RibId, rib: &Rib, net: &NetState) -> Role {
        let at = id.0 as usize;
        if at >= MAX_RIBS {
            return Role::Foreign;
        }
        if self.roles.len() <= at {
            self.roles.resize(at + 1, None);
        }
        if let Some(Some(role)) = self.roles.get(at) {
            return *role;
        }
        let Some(session) = net
            .sessions
            .get(rib.session)
            .filter(|s| s.feed.is_none() && s.vrf == 0)
        else {
            return Role::Foreign;
        };
        let own = |end: usize| net.addresses.owner(session.ends[end & 1].addr).is_some();
        let role = match (own(0), own(1)) {
            (true, false) | (false, true) if rib.kind == RibKind::BmpLoc => Role::Best,
            (true, false) | (false, true) => {
                if own(rib.sender) {
                    Role::Outbound
                } else {
                    Role::Inbound
                }
            }
            _ => return Role::Foreign,
        };
        if let Some(slot) = self.roles.get_mut(at) {
            *slot = Some(role);
        }
        role
    }

    fn ribs<'a>(&'a self, net: &'a NetState, role: Role) -> impl Iterator<Item = (RibId, &'a Rib)> {
        self.roles
            .iter()
            .enumerate()
            .filter(move |(_, known)| **known == Some(role))
            .filter_map(|(at, _)| {
                let id = RibId(at as u32);
                Some((id, net.rib.get(id)?))
            })
    }

    /// The RIBs of a role that hold exactly this prefix now, with its attributes.
    fn holding<'a>(
        &'a self,
        net: &'a NetState,
        role: Role,
        prefix: Prefix,
    ) -> impl Iterator<Item = (RibId, &'a Rib, AttrId)> {
        let nlri = Nlri::unicast(prefix);
        self.ribs(net, role).filter_map(move |(id, rib)| {
            let (_, attrs) = net.rib.lookup(id, &nlri)?;
            attrs.is_some().then_some((id, rib, attrs))
        })
    }

    /// Whether any session of this host is up.
    fn talks(&self, net: &NetState) -> bool {
        [Role::Inbound, Role::Outbound]
            .into_iter()
            .flat_map(|role| self.ribs(net, role))
            .any(|(_, rib)| established(net, rib.session))
    }
}

fn established(net: &NetState, id: SessionId) -> bool {
    net.sessions
        .get(id)
        .is_some_and(|s| s.state == State::Established)
}

#[derive(Clone)]
struct Audit {
    host: Host,
    fib: fib::Fib,
    nexthops: nexthop::Nexthops,
    origin: origin::Origins,
}

impl Detector for Audit {
    fn name(&self) -> &'static str {
        "BGP against the kernel"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE
            .and(Classes::LINK)
            .and(Classes::ADDRESS)
            .and(Classes::NEXTHOP)
            .and(Classes::DUMP_DONE)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.routes {
            self.fib.route(delta, board);
            self.nexthops.route(delta, net, board);
            self.origin.route(delta, seen.event.at);
        }
        for delta in &seen.changes.addresses {
            self.origin.address(delta);
        }
        let rib = &seen.changes.rib;
        if rib.is_empty() || !(net.routes.has_baseline(false) || net.routes.has_baseline(true)) {
            return;
        }
        for event in &rib.events {
            self.fib.rib_event(event, seen.event, &mut self.host, net);
        }
        let deadline = matches!(seen.event.kind, EventKind::Deadline);
        let Some((id, table)) = rib
            .rib
            .filter(|_| !deadline)
            .and_then(|id| Some((id, net.rib.get(id)?)))
        else {
            return;
        };
        let role = self.host.role(id, table, net);
        if role == Role::Foreign {
            return;
        }
        for delta in &rib.routes {
            let Some(nlri) = table.nlri(delta.slot) else {
                continue;
            };
            if nlri.path_id != 0 {
                self.host.paths = true;
                continue;
            }
            match role {
                Role::Inbound => {
                    self.fib.inbound(id, delta, nlri.prefix, seen.event);
                    self.nexthops.inbound(delta, seen.event.at, net);
                }
                Role::Best => self.fib.best(delta, nlri.prefix, seen.event),
                Role::Outbound => self.origin.outbound(delta, nlri.prefix, seen.event, net),
                Role::Foreign => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        [
            self.fib.next_deadline(),
            self.nexthops.next_deadline(),
            self.origin.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.fib.expire(now, &self.host, net, board);
        self.nexthops.expire(now, &self.host, net, board);
        self.origin.expire(now, &self.host, net, board);
    }
}

#[cfg(test)]
mod tests;
