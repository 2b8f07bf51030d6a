//! The model of the network: what is up, who leads where, who told whom. Every change comes out as a small plain delta.
//!
//! Tables are bounded (law 10) by named constants in their own files. A table learns only from events.

pub mod actors;
pub mod addresses;
pub mod hosts;
pub mod leases;
pub mod ledger;
pub mod links;
pub mod neighbors;
pub mod netconf;
pub mod oui;
pub mod rib;
pub mod routers;
pub mod routes;
pub mod rov;
pub mod sessions;
pub mod vrps;
pub mod who;

use crate::event::{Event, EventKind, OwnFeed, SourceInfo, Timestamp};

/// An event and what it changed.
pub struct Observation<'a> {
    pub event: &'a Event,
    pub changes: &'a Changes,
}

/// What one event (or one deadline of the model) changed. Buffers are reused from event to event.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub links: Vec<links::LinkDelta>,
    pub addresses: Vec<addresses::AddressDelta>,
    pub neighbors: Vec<neighbors::NeighborDelta>,
    pub routes: Vec<routes::RouteDelta>,
    pub sessions: Vec<sessions::SessionDelta>,
    pub rib: rib::RibDeltas,
    pub leases: Vec<leases::LeaseDelta>,
    pub routers: Vec<routers::RouterDelta>,
    pub hosts: Vec<hosts::HostDelta>,
    pub ports: Vec<who::forwarding::PortDelta>,
    pub virtual_routers: Vec<who::virtual_routers::VrrpDelta>,
    pub vrps: Vec<vrps::VrpDelta>,
    pub rov: rov::RovDeltas,
    /// The event is another sight of an ARP or neighbor discovery frame: it changed nothing and counts for nothing.
    pub copy: bool,
}

impl Changes {
    /// Empties it, keeping buffers.
    pub fn clear(&mut self) {
        self.links.clear();
        self.addresses.clear();
        self.neighbors.clear();
        self.routes.clear();
        self.sessions.clear();
        self.rib.clear();
        self.leases.clear();
        self.routers.clear();
        self.hosts.clear();
        self.ports.clear();
        self.virtual_routers.clear();
        self.vrps.clear();
        self.rov.clear();
        self.copy = false;
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.addresses.is_empty()
            && self.neighbors.is_empty()
            && self.routes.is_empty()
            && self.sessions.is_empty()
            && self.rib.is_empty()
            && self.leases.is_empty()
            && self.routers.is_empty()
            && self.hosts.is_empty()
            && self.ports.is_empty()
            && self.virtual_routers.is_empty()
            && self.vrps.is_empty()
            && self.rov.is_empty()
    }
}

/// All tables.
#[derive(Clone, Default)]
pub struct NetState {
    /// Sources seen so far, by id.
    pub sources: std::collections::BTreeMap<crate::event::SourceId, SourceInfo>,
    pub links: links::Links,
    pub addresses: addresses::Addresses,
    pub neighbors: neighbors::Neighbors,
    /// The shadow FIB.
    pub routes: routes::Routes,
    pub sessions: sessions::Sessions,
    /// Adj-RIB-In of each (peer, family, path-id), for each observer.
    pub rib: rib::Ribs,
    pub leases: leases::Leases,
    /// Routers that advertise (RA).
    pub routers: routers::Routers,
    /// Settings of interfaces: forwarding and the like.
    pub netconf: netconf::Netconf,
    /// Names of processes that change the kernel's tables.
    pub actors: actors::Actors,
    /// Who uses which address with which MAC (ARP, ND).
    pub hosts: hosts::Hosts,
    /// What RPKI caches say.
    pub vrps: vrps::Vrps,
    /// What happened: facts with their frames, for who asks afterwards.
    pub ledger: ledger::Ledger,
    /// Who is who: links, machines, bridge ports.
    pub who: who::Who,
}

impl NetState {
    /// Applies an event; `changes` is emptied first and then holds what it changed.
    pub fn apply(&mut self, event: &Event, changes: &mut Changes) {
        changes.clear();
        if let EventKind::Source(info) = &event.kind {
            if info.own_feed() == Some(OwnFeed::Bgp) {
                self.sessions.own_listener(info.id);
            }
            self.vrps.source(info);
            self.sources.insert(info.id, (**info).clone());
        }
        match &event.kind {
            EventKind::Link(_)
            | EventKind::Address(_)
            | EventKind::Route(_)
            | EventKind::Neighbor(_)
            | EventKind::Rule(_)
            | EventKind::Nexthop(_)
            | EventKind::DumpDone(_) => {
                self.links.apply(event, &mut changes.links);
                self.addresses
                    .apply(event, &self.links, &changes.links, &mut changes.addresses);
                self.neighbors
                    .apply(event, &self.links, &mut changes.neighbors);
                if let EventKind::Neighbor(seen) = &event.kind {
                    let port = self.links.get(seen.ifindex);
                    let bridge = port.and_then(|port| port.state.master);
                    let out = &mut changes.ports;
                    self.who.forwarding.apply(event, seen, bridge, out);
                }
                self.routes.apply(
                    event,
                    &self.links,
                    &self.addresses,
                    &changes.links,
                    &changes.addresses,
                    &mut changes.routes,
                );
            }
            EventKind::Netconf(_) => self.netconf.apply(event),
            EventKind::Bgp(_) | EventKind::Bmp(_) | EventKind::Tcp(_) => {
                self.sessions.apply(event, &mut changes.sessions);
                self.rib
                    .apply(event, &self.sessions, &changes.sessions, &mut changes.rib);
                if self.vrps.is_usable() && !changes.rib.routes.is_empty() {
                    let (vrps, ribs) = (&self.vrps, &self.rib);
                    rov::judge(vrps, ribs, &self.sessions, &changes.rib, &mut changes.rov);
                }
            }
            EventKind::Rtr(_) => {
                let was_usable = self.vrps.is_usable();
                self.vrps.apply(event, &mut changes.vrps);
                self.revalidate(event.at, was_usable, changes);
            }
            EventKind::Bfd(_) => self.sessions.apply(event, &mut changes.sessions),
            EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => {
                self.who.offers(event);
                self.leases.apply(event, &mut changes.leases)
            }
            EventKind::Arp(_) | EventKind::Nd(_) => {
                let sight = self.who.sight(event);
                changes.copy = sight.copy;
                if !sight.copy {
                    let machines = &mut self.who.machines;
                    self.hosts
                        .apply(event, sight.scope, machines, &mut changes.hosts);
                    self.routers.apply(event, sight.scope, &mut changes.routers);
                }
            }
            EventKind::Vrrp(said) => {
                let sight = self.who.sight(event);
                changes.copy = sight.copy;
                if !sight.copy {
                    let out = &mut changes.virtual_routers;
                    self.who
                        .virtual_routers
                        .apply(sight.scope, said, event.at, event.locator, out);
                }
            }
            EventKind::Gap(_) => {
                self.sessions.apply(event, &mut changes.sessions);
                self.rib
                    .apply(event, &self.sessions, &changes.sessions, &mut changes.rib);
            }
            EventKind::Actor(actor) => self.actors.learn(actor),
            EventKind::Source(_)
            | EventKind::Malformed(_)
            | EventKind::Annotation(_)
            | EventKind::Mdb(_)
            | EventKind::Deadline => {}
        }
        if ledger::Ledger::wants(&event.kind) || !changes.sessions.is_empty() {
            self.note_facts(event, changes);
        }
    }

    fn revalidate(&self, now: Timestamp, was_usable: bool, changes: &mut Changes) {
        let (vrps, ribs) = (&self.vrps, &self.rib);
        rov::revalidate(
            now,
            vrps,
            ribs,
            &self.sessions,
            was_usable,
            &mut changes.rov,
        );
    }

    /// The earliest deadline of any table (coalescing windows, computed expiries).
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [
            self.routes.next_deadline(),
            self.sessions.next_deadline(),
            self.rib.next_deadline(),
            self.leases.next_deadline(),
            self.vrps.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Fires deadlines at `now`; `changes` is emptied first and then holds what they changed.
    pub fn expire(&mut self, now: Timestamp, changes: &mut Changes) {
        changes.clear();
        self.routes.expire(now, &mut changes.routes);
        self.sessions.expire(now, &mut changes.sessions);
        self.rib.expire(now, &mut changes.rib);
        self.leases.expire(now, &mut changes.leases);
        if self.vrps.next_deadline().is_some_and(|at| at <= now) {
            let was_usable = self.vrps.is_usable();
            self.vrps.expire(now, &mut changes.vrps);
            self.revalidate(now, was_usable, changes);
        }
        if !changes.is_empty() {
            self.note_facts(&Event::deadline(now), changes);
        }
    }
}
