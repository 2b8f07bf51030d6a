//! Who is who: the one graph of identities that every sentence about "another host" comes from.
//!
//! It knows which places of capture are one link (`segments`), which link-layer addresses belong to one machine (`machines`), and through which
//! bridge port a machine is reached (`forwarding`). What it does not hold itself it asks of the tables that do: whose address (`hosts`,
//! `leases`), which routers (`routers`, `routes`), which interfaces are this host's own (`links`). Questions cost a look-up, never a walk.

pub mod forwarding;
pub mod machines;
pub mod segments;
pub mod virtual_routers;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use smallvec::SmallVec;

use super::NetState;
use super::hosts::Scope;
use crate::event::frame::{Frame, Mac};
use crate::event::{Event, EventKind};
use forwarding::Forwarding;
use machines::Machines;
use segments::{Echo, Segments, Sight};
use virtual_routers::VirtualRouters;

/// What the graph itself remembers.
#[derive(Clone, Default)]
pub struct Who {
    segments: Segments,
    pub machines: Machines,
    pub forwarding: Forwarding,
    pub virtual_routers: VirtualRouters,
    offered: BTreeSet<IpAddr>,
    offers: VecDeque<IpAddr>,
}

/// Interfaces named of one link.
const MAX_NAMES: usize = 8;
/// Addresses that DHCP servers offered or gave, remembered: a large pool; the oldest give way.
const MAX_OFFERED: usize = 4096;

impl Who {
    /// Takes the place of a frame: on which link it was, and whether that very frame was seen there already.
    pub(super) fn sight(&mut self, event: &Event) -> Sight {
        self.segments.sight(event)
    }

    /// The link on which a frame was seen: one for all places that were seen to be the same link.
    pub fn link(&self, event: &Event, frame: &Frame) -> Scope {
        self.segments.root(Scope::of(event, frame))
    }

    /// A probe for an address that came back to where it had been seen already.
    pub fn echo(&self, addr: IpAddr) -> Option<&Echo> {
        self.segments.echo(addr)
    }

    /// Takes what a DHCP server offers or gives.
    pub(super) fn offers(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Dhcp4(m) if m.op == 2 && !m.yiaddr.is_unspecified() => {
                self.offer(m.yiaddr.into());
            }
            EventKind::Dhcp6(m) if m.server.is_some() => {
                for given in m.addresses.iter().filter(|given| given.valid > 0) {
                    self.offer(given.addr.into());
                }
            }
            _ => {}
        }
    }

    fn offer(&mut self, addr: IpAddr) {
        if !self.offered.insert(addr) {
            return;
        }
        if self.offers.len() == MAX_OFFERED
            && let Some(oldest) = self.offers.pop_front()
        {
            self.offered.remove(&oldest);
        }
        self.offers.push_back(addr);
    }

    /// Whether a DHCP server offered or gave an address to somebody.
    pub fn was_offered(&self, addr: IpAddr) -> bool {
        self.offered.contains(&addr)
    }

    /// The places that see a link, the oldest first.
    pub fn places(&self, scope: Scope) -> impl Iterator<Item = Scope> {
        self.segments.places(scope)
    }
}

/// Why several link-layer addresses are one machine.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum OneMachine {
    /// Both are interfaces of the analysed host.
    Own,
    /// Both answer the same questions in the same instant, for so many addresses.
    AnswersTogether(usize),
}

impl NetState {
    /// Whether two link-layer addresses on a link are known to be one machine.
    pub fn one_machine(&self, scope: Scope, a: Mac, b: Mac) -> Option<OneMachine> {
        if self.links.is_own(a) && self.links.is_own(b) {
            return Some(OneMachine::Own);
        }
        let addresses = self.who.machines.together(scope, a, b)?;
        Some(OneMachine::AnswersTogether(addresses))
    }

    /// Whether all of these link-layer addresses speak for masters of the virtual router that has `addr`: then it is VRRP's to say what their
    /// claims mean.
    pub fn is_virtual(&self, scope: Scope, addr: IpAddr, macs: &[Mac]) -> bool {
        let group = self.who.virtual_routers.of(scope, addr);
        group.is_some_and(|group| {
            let mut all = macs.iter();
            all.all(|mac| group.masters.iter().any(|master| master.speaks_as(*mac)))
        })
    }

    /// The interfaces that a link is seen on, by name: those that are no bridge's port first, for that is where a host has its addresses.
    pub fn names_of(&self, scope: Scope) -> SmallVec<[Box<str>; 2]> {
        let mut names: SmallVec<[(bool, Box<str>); 2]> = SmallVec::new();
        for place in self.who.places(scope).take(MAX_NAMES) {
            let known = place.ifindex.and_then(|ifindex| self.links.get(ifindex));
            let source = self.sources.get(&place.source);
            let captured = source.and_then(|source| source.interface.as_ref());
            let Some(name) = known.map(|link| &link.name).or(captured) else {
                continue;
            };
            let link = known.or_else(|| self.links.named(name));
            let port = link.is_some_and(|link| link.state.master.is_some());
            if !names.iter().any(|(_, other)| other == name) {
                names.push((port, name.clone()));
            }
        }
        names.sort_by_key(|(port, _)| *port);
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// What a link-layer address is known to be besides a host: the DHCP server or a gateway of its link.
    pub fn role_of(&self, scope: Scope, mac: Mac) -> Option<&'static str> {
        let serves = |server: &super::leases::server::Server| {
            server.macs.contains(&mac)
                && (server.leases > 0 || server.acks > 0 || server.offers > 0)
        };
        let gateway = self.leases.servers.iter().any(|server| {
            let routers = server.config.routers.iter();
            routers.copied().any(|addr| self.holds(scope, addr, mac))
        });
        match (gateway, self.leases.servers.iter().any(serves)) {
            (true, true) => Some("the gateway and DHCP server"),
            (true, false) => Some("the gateway"),
            (false, true) => Some("the DHCP server"),
            (false, false) => None,
        }
    }

    /// Whether something besides claims to the address itself says that it is this machine's: it serves DHCP or advertises routes from there, or
    /// the address is made from it (RFC 4291 §2.5.1).
    pub fn vouched(&self, scope: Scope, addr: IpAddr, mac: Mac) -> bool {
        let IpAddr::V6(v6) = addr else {
            let mut servers = self.leases.servers.iter();
            return servers.any(|server| {
                server.addr == Some(addr) && server.leases > 0 && server.macs.contains(&mac)
            });
        };
        let [a, b, c, d, e, f] = mac.0;
        let made = v6.octets().last_chunk::<8>() == Some(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        made || self.routers.get(scope, v6).is_some_and(|router| {
            let mut senders = router.senders.iter();
            senders.any(|sender| sender.mac == Some(mac) && sender.ra.lifetime > 0)
        })
    }

    /// Whether `mac` claimed an address of the link last.
    fn holds(&self, scope: Scope, addr: IpAddr, mac: Mac) -> bool {
        let host = self.hosts.get(scope, addr);
        host.and_then(|host| host.current())
            .is_some_and(|user| user.mac == mac)
    }
}

/// The frame of an event that the graph places.
fn frame(event: &Event) -> Option<&Frame> {
    match &event.kind {
        EventKind::Arp(arp) => Some(&arp.frame),
        EventKind::Nd(nd) => Some(&nd.frame),
        EventKind::Vrrp(vrrp) => Some(&vrrp.frame),
        _ => None,
    }
}
