//! Which end of a session is the analysed host, and what its links and addresses did: the kernel's side of a session's loss.
//!
//! In this order: an address that the operator or netlink calls the host's own; packets that a capture marked as outgoing; the end
//! that reports (BMP router, MRT collector); the BGP identifier that the sessions of a capture have in common; the lower address.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::event::netlink::{Action, AddressEvent, IFF_LOWER_UP, IFF_UP, LinkEvent};
use crate::event::{EventKind, Locator, Timestamp};
use crate::state::NetState;
use crate::state::Observation;
use crate::state::sessions::{Session, Sessions};

/// Addresses of the host remembered: a hypervisor with thousands of ElasticIPs.
const MAX_ADDRESSES: usize = 16_384;
/// Interfaces watched.
const MAX_LINKS: usize = 4096;
/// Losses of carrier remembered per interface; a session's loss looks back one hold time.
const MAX_LINK_LOSSES: usize = 16;

/// Outage of an interface.
#[derive(Copy, Clone, Debug)]
pub struct LinkLoss {
    pub at: Timestamp,
    pub until: Option<Timestamp>,
    /// Set down by an administrator, rather than without carrier.
    pub admin: bool,
    pub locator: Locator,
}

#[derive(Clone, Debug, Default)]
struct Link {
    up: Option<bool>,
    losses: VecDeque<LinkLoss>,
}

/// What is known of the analysed host.
#[derive(Clone, Debug, Default)]
pub struct Perspective {
    /// Own addresses, with their interface; `None` once removed, with the time.
    own: BTreeMap<IpAddr, OwnAddress>,
    names: BTreeMap<u32, Box<str>>,
    links: BTreeMap<Box<str>, Link>,
}

#[derive(Copy, Clone, Debug)]
struct OwnAddress {
    ifindex: Option<u32>,
    removed: Option<Timestamp>,
}

impl Perspective {
    /// Declares addresses of the analysed host, whatever the input suggests.
    pub fn with_own(addresses: impl IntoIterator<Item = IpAddr>) -> Perspective {
        let own = addresses
            .into_iter()
            .map(|addr| {
                (
                    addr,
                    OwnAddress {
                        ifindex: None,
                        removed: None,
                    },
                )
            })
            .collect();
        Perspective {
            own,
            ..Perspective::default()
        }
    }

    /// Learns from the kernel's messages.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        match &seen.event.kind {
            EventKind::Link(link) => self.link(seen.event.at, seen.event.locator, link),
            EventKind::Address(address) => self.address(seen.event.at, address),
            _ => {}
        }
    }

    fn link(&mut self, at: Timestamp, locator: Locator, link: &LinkEvent) {
        // Copies of other families lack carrier attributes.
        if link.family != 0
            || link.name.is_empty()
            || (self.links.len() >= MAX_LINKS && !self.links.contains_key(&link.name))
        {
            return;
        }
        self.names.insert(link.ifindex, link.name.clone());
        let admin_up = link.flags & IFF_UP != 0;
        let carrier = link.carrier.unwrap_or(link.flags & IFF_LOWER_UP != 0);
        let up = link.action == Action::New && admin_up && carrier;
        let entry = self.links.entry(link.name.clone()).or_default();
        let before = entry.up.replace(up);
        if before == Some(true) && !up {
            if entry.losses.len() == MAX_LINK_LOSSES {
                entry.losses.pop_front();
            }
            entry.losses.push_back(LinkLoss {
                at,
                until: None,
                admin: !admin_up,
                locator,
            });
        } else if up && let Some(last) = entry.losses.back_mut().filter(|loss| loss.until.is_none())
        {
            last.until = Some(at);
        }
    }

    fn address(&mut self, at: Timestamp, address: &AddressEvent) {
        if address.addr.is_loopback() {
            return;
        }
        match address.action {
            Action::New
                if self.own.len() < MAX_ADDRESSES || self.own.contains_key(&address.addr) =>
            {
                self.own.insert(
                    address.addr,
                    OwnAddress {
                        ifindex: Some(address.ifindex),
                        removed: None,
                    },
                );
            }
            Action::New => {}
            Action::Del => {
                if let Some(own) = self.own.get_mut(&address.addr) {
                    own.removed = Some(at);
                }
            }
        }
    }

    /// An outage of this interface that overlaps `from`…`to`; the latest one.
    pub fn link_loss(&self, name: &str, from: Timestamp, to: Timestamp) -> Option<LinkLoss> {
        let overlaps =
            |loss: &&LinkLoss| loss.at <= to && loss.until.is_none_or(|until| until >= from);
        self.links
            .get(name)?
            .losses
            .iter()
            .rev()
            .find(overlaps)
            .copied()
    }

    /// When this own address was removed, if it was within `from`…`to`.
    pub fn address_loss(&self, addr: IpAddr, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        self.own
            .get(&addr)?
            .removed
            .filter(|at| (from..=to).contains(at))
    }

    /// The index of the end that is not the analysed host.
    pub fn far_end(&self, sessions: &Sessions, session: &Session) -> usize {
        let only = |test: &dyn Fn(usize) -> bool| match (test(0), test(1)) {
            (true, false) => Some(1),
            (false, true) => Some(0),
            _ => None,
        };
        only(&|end| self.own.contains_key(&session.ends[end].addr))
            .or_else(|| only(&|end| session.ends[end].outgoing))
            .or_else(|| {
                let uses = |end: usize| {
                    let id = session.ends[end].router_id;
                    let named =
                        |s: &Session| s.in_packets() && s.ends.iter().any(|e| e.router_id == id);
                    if id == 0 {
                        0
                    } else {
                        sessions.iter().filter(|(_, s)| named(s)).count()
                    }
                };
                // Only worth the walk for a handful of sessions: a capture on a host.
                if !session.in_packets() || sessions.iter().nth(64).is_some() {
                    return None;
                }
                let (a, b) = (uses(0), uses(1));
                only(&|end| if end == 0 { a > b } else { b > a })
            })
            .or_else(|| only(&|end| session.ends[end].reports))
            .or_else(|| only(&|end| session.ends[end].addr.is_unspecified()))
            .unwrap_or(1)
    }

    /// The index of the end that certainly is the analysed host's: the one whose address it has, or whose packets were captured as they left.
    pub fn own_end(&self, session: &Session) -> Option<usize> {
        let only = |test: &dyn Fn(usize) -> bool| match (test(0), test(1)) {
            (true, false) => Some(0),
            (false, true) => Some(1),
            _ => None,
        };
        only(&|end| self.own.contains_key(&session.ends[end].addr))
            .or_else(|| only(&|end| session.ends[end].outgoing))
    }

    /// The index of the end of an address pair that is not the analysed host, by its own addresses alone; else the higher one.
    pub fn far_of(&self, pair: (IpAddr, IpAddr)) -> usize {
        usize::from(!self.own.contains_key(&pair.1) || self.own.contains_key(&pair.0))
    }

    /// Interfaces of the analysed host that carry a session: that of its own address, and those on which its packets were captured.
    pub fn interfaces(&self, net: &NetState, session: &Session) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = session
            .ends
            .iter()
            .filter_map(|end| self.own.get(&end.addr)?.ifindex)
            .filter_map(|index| self.names.get(&index).cloned())
            .collect();
        if names.is_empty() {
            for seen in session.seen_on.iter().rev() {
                let name = net
                    .sources
                    .get(&seen.source)
                    .and_then(|info| info.interface.clone());
                if let Some(name) = name.filter(|name| !names.contains(name) && &**name != "any") {
                    names.push(name);
                }
            }
        }
        names
    }
}
