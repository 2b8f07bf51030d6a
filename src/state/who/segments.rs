//! Places of capture that are one link. A bridge and its ports, both ends of a veth pair or a mirror of both directions hand out the same frame
//! several times; the second sight says nothing that the first did not, and what is learned at one of these places holds at all of them.
//!
//! Places of one input are joined when a frame that no two links can share is seen at both in the same instant. DHCP has its own, in
//! `leases::scope`, because relays stand between its places.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::event::frame::Mac;
use crate::event::lan::NdMessage;
use crate::event::{Event, EventKind, InputId, Locator, Timestamp};
use crate::state::hosts::Scope;

/// Copies are handed out together: measured below 0.1 ms; the same figure as for DHCP's at one place.
const TOGETHER_NS: i64 = 2_000_000;
/// Frames remembered: a flood of 100 k frames a second brings 200 in that time.
const MAX_RECENT: usize = 256;
/// Places that are joined to an older one; each VLAN of a trunk is one.
const MAX_PLACES: usize = 4096;
/// Frames that two links could share by chance (one router's link-local address on several VLANs) must meet so often before they join them.
const HINTS: u8 = 3;
const MAX_HINTS: usize = 256;
/// A probe that comes back through a loop does so at once; the next one of the same host comes a second later (RFC 4862 RetransTimer,
/// RFC 5227 PROBE_MIN).
const ECHO_NS: i64 = 500_000_000;
/// Probes and echoes remembered: an interface has a handful of addresses.
const MAX_PROBES: usize = 64;

/// A frame seen a moment ago.
#[derive(Copy, Clone)]
struct Seen {
    at: Timestamp,
    content: u64,
    place: Scope,
    input: InputId,
}

/// Where a frame was seen.
#[derive(Copy, Clone, Debug)]
pub struct Sight {
    pub scope: Scope,
    /// This very frame was seen on this link a moment ago.
    pub copy: bool,
}

/// A probe for an address by which a host checks that nobody has it, and its return to where it came from (RFC 7527).
#[derive(Copy, Clone, Debug)]
pub struct Echo {
    pub addr: IpAddr,
    pub mac: Mac,
    pub place: Scope,
    /// When it was seen first and when it came back.
    pub at: (Timestamp, Timestamp),
    pub frames: (Locator, Locator),
}

/// Frames and probes seen a moment ago, and the places that are one.
#[derive(Clone, Default)]
pub(super) struct Segments {
    recent: VecDeque<Seen>,
    /// A place and the older one that it was joined to.
    joined: BTreeMap<Scope, Scope>,
    hints: BTreeMap<(Scope, Scope), u8>,
    probes: VecDeque<(Timestamp, IpAddr, Mac, Scope, Locator)>,
    echoes: VecDeque<Echo>,
    /// Frames to one receiver that were seen twice at one place: a mirror of both directions, not a loop, doubles those.
    doubled: u64,
}

impl Segments {
    pub(super) fn sight(&mut self, event: &Event) -> Sight {
        let Some(frame) = super::frame(event) else {
            let scope = Scope {
                source: event.source,
                ifindex: None,
                vlans: [None; 3],
            };
            return Sight { scope, copy: false };
        };
        let place = Scope::of(event, frame);
        let Some(content) = content(event) else {
            return Sight {
                scope: self.root(place),
                copy: false,
            };
        };
        while let Some(seen) = self.recent.front()
            && (event.at.minus(seen.at).abs() > TOGETHER_NS || self.recent.len() >= MAX_RECENT)
        {
            self.recent.pop_front();
        }
        self.probed(event, place);
        let input = event.locator.input;
        let same = |seen: &&Seen| seen.content == content && seen.input == input;
        let here = self.root(place);
        let at_once: Option<Seen> = self
            .recent
            .iter()
            .filter(same)
            .find(|seen| self.root(seen.place) == here)
            .or_else(|| {
                let others = self.recent.iter().filter(same);
                others
                    .into_iter()
                    .find(|seen| may_be_one(seen.place, place))
            })
            .copied();
        let copy = match at_once {
            Some(seen) if self.root(seen.place) == here => {
                let to_one = frame.eth_dst.is_some_and(|to| !to.is_group());
                self.doubled += u64::from(to_one && seen.place == place);
                true
            }
            Some(seen) => self.meet(seen.place, place, is_telling(event)),
            None => false,
        };
        if !copy {
            self.recent.push_back(Seen {
                at: event.at,
                content,
                place,
                input,
            });
        }
        Sight {
            scope: self.root(place),
            copy,
        }
    }

    /// The oldest place of a link.
    pub(super) fn root(&self, place: Scope) -> Scope {
        self.joined.get(&place).copied().unwrap_or(place)
    }

    /// The places of a link, the oldest first.
    pub(super) fn places(&self, scope: Scope) -> impl Iterator<Item = Scope> {
        let others = self.joined.iter();
        std::iter::once(scope).chain(
            others
                .filter(move |(_, root)| **root == scope)
                .map(|(p, _)| *p),
        )
    }

    pub(super) fn echo(&self, addr: IpAddr) -> Option<&Echo> {
        let latest = self.echoes.iter().rev().find(|echo| echo.addr == addr);
        latest.filter(|_| self.doubled == 0)
    }

    /// One frame at two places; whether they are one link from now on.
    fn meet(&mut self, a: Scope, b: Scope, telling: bool) -> bool {
        let (old, new) = (self.root(a), self.root(b));
        if !telling {
            if self.hints.len() >= MAX_HINTS && !self.hints.contains_key(&(old, new)) {
                return false;
            }
            let met = self.hints.entry((old, new)).or_default();
            *met = met.saturating_add(1);
            if *met < HINTS {
                return false;
            }
        }
        if self.joined.len() >= MAX_PLACES {
            return false;
        }
        // Happens once for each place: those that were joined to the newer one follow it.
        for root in self.joined.values_mut().filter(|root| **root == new) {
            *root = old;
        }
        self.joined.insert(new, old);
        true
    }

    /// Remembers a probe, and whether it is one that was seen here a moment ago.
    fn probed(&mut self, event: &Event, place: Scope) {
        let Some((addr, mac)) = probe(event) else {
            return;
        };
        while self.probes.len() >= MAX_PROBES
            || self
                .probes
                .front()
                .is_some_and(|(at, ..)| event.at.minus(*at).abs() > ECHO_NS)
        {
            self.probes.pop_front();
        }
        let before = self
            .probes
            .iter()
            .find(|(_, probed, by, where_, _)| (*probed, *by, *where_) == (addr, mac, place));
        if let Some((at, .., locator)) = before.copied() {
            if self.echoes.len() == MAX_PROBES {
                self.echoes.pop_front();
            }
            self.echoes.push_back(Echo {
                addr,
                mac,
                place,
                at: (at, event.at),
                frames: (locator, event.locator),
            });
        } else {
            self.probes
                .push_back((event.at, addr, mac, place, event.locator));
        }
    }
}

/// Whether two places can be one link: a capture behind the tag shows no VLAN where one before it does, but two different ones are two links.
fn may_be_one(a: Scope, b: Scope) -> bool {
    let untagged = |scope: Scope| scope.vlans == [None; 3];
    a.vlans == b.vlans || untagged(a) || untagged(b)
}

/// Whether no two links can carry this frame at once. A router may have one link-local address and MAC on all its links, and a host checks its
/// own on each.
fn is_telling(event: &Event) -> bool {
    match &event.kind {
        EventKind::Arp(_) | EventKind::Vrrp(_) => true,
        EventKind::Nd(nd) => match &nd.message {
            NdMessage::NeighborSolicitation { target }
            | NdMessage::NeighborAdvertisement { target, .. } => !target.is_unicast_link_local(),
            NdMessage::RouterAdvertisement(ra) => !ra.prefixes.is_empty(),
            NdMessage::RouterSolicitation | NdMessage::Redirect { .. } => false,
        },
        _ => false,
    }
}

/// The address that is probed for, and by whom (RFC 4862 §5.4.2, RFC 5227 §2.1.1).
fn probe(event: &Event) -> Option<(IpAddr, Mac)> {
    match &event.kind {
        EventKind::Arp(arp) if arp.is_probe() => Some((arp.target_ip.into(), arp.sender_mac)),
        EventKind::Nd(nd) if nd.frame.ip_src.is_some_and(|from| from.is_unspecified()) => {
            match nd.message {
                NdMessage::NeighborSolicitation { target } => {
                    Some((target.into(), nd.frame.eth_src?))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Hash of what a frame says and between whom, the same in every run (law 13).
fn content(event: &Event) -> Option<u64> {
    let fixed = foldhash::fast::FixedState::with_seed(0x6172_7070);
    Some(match &event.kind {
        EventKind::Arp(arp) => fixed.hash_one((
            (arp.frame.eth_src, arp.frame.eth_dst, arp.op),
            (arp.sender_mac, arp.sender_ip, arp.target_mac, arp.target_ip),
        )),
        EventKind::Vrrp(vrrp) => fixed.hash_one((
            (vrrp.frame.eth_src, vrrp.frame.ip_src, vrrp.frame.ip_dst),
            (vrrp.version, vrrp.vrid, vrrp.priority, vrrp.interval_ms),
            &vrrp.addresses,
        )),
        EventKind::Nd(nd) => {
            let said = match &nd.message {
                NdMessage::RouterSolicitation => (133, None, None, 0),
                // Rare enough, and much of it, to be compared as text.
                NdMessage::RouterAdvertisement(ra) => (134, None, Some(format!("{ra:?}")), 0),
                NdMessage::NeighborSolicitation { target } => {
                    (135, Some((*target, *target)), None, 0)
                }
                NdMessage::NeighborAdvertisement {
                    target,
                    router,
                    solicited,
                    overriding,
                } => {
                    let flags =
                        u8::from(*router) | u8::from(*solicited) << 1 | u8::from(*overriding) << 2;
                    (136, Some((*target, *target)), None, flags)
                }
                NdMessage::Redirect {
                    target,
                    destination,
                } => (137, Some((*target, *destination)), None, 0),
            };
            fixed.hash_one((
                (
                    nd.frame.eth_src,
                    nd.frame.eth_dst,
                    nd.frame.ip_src,
                    nd.frame.ip_dst,
                ),
                (nd.source_mac, nd.target_mac, said),
            ))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourceId;
    use crate::event::frame::Frame;
    use crate::event::lan::Arp;

    fn arp(ns: i64, source: u32, last: u8, vlan: Option<u16>) -> Event {
        let mut event = Event::deadline(Timestamp(ns));
        event.source = SourceId(source);
        event.kind = EventKind::Arp(Box::new(Arp {
            frame: Frame {
                vlans: [vlan, None, None],
                ..Frame::default()
            },
            op: 1,
            sender_mac: Mac([2, 0, 0, 0, 0, last]),
            sender_ip: [192, 0, 2, last].into(),
            target_mac: Mac([0; 6]),
            target_ip: [192, 0, 2, 1].into(),
        }));
        event
    }

    #[test]
    fn the_same_frame_a_moment_later_is_a_copy_and_another_or_a_later_one_is_none() {
        let mut links = Segments::default();
        let mut copy = |event: Event| links.sight(&event).copy;
        assert!(!copy(arp(0, 0, 7, None)));
        assert!(copy(arp(30_000, 0, 7, None)));
        assert!(!copy(arp(40_000, 0, 8, None)));
        assert!(!copy(arp(3_000_000, 0, 7, None)));
        for nth in 0..1000 {
            copy(arp(3_000_000 + nth, 0, nth as u8, Some(nth as u16)));
        }
        assert!(links.recent.len() <= MAX_RECENT);
    }

    /// The benign twin: two VLANs with one frame each stay two, and so do two inputs.
    #[test]
    fn ports_that_show_one_frame_at_once_are_one_link() {
        let mut links = Segments::default();
        let first = links.sight(&arp(0, 1, 7, None));
        let second = links.sight(&arp(9_000, 2, 7, None));
        let third = links.sight(&arp(20_000, 3, 7, None));
        assert!(!first.copy && second.copy && third.copy);
        assert_eq!((second.scope, third.scope), (first.scope, first.scope));
        assert_eq!(links.places(first.scope).count(), 3);
        // From now on what only one port shows is the link's too.
        assert_eq!(links.sight(&arp(9_000_000, 3, 9, None)).scope, first.scope);
        let mut links = Segments::default();
        let ten = links.sight(&arp(0, 1, 7, Some(10)));
        let twenty = links.sight(&arp(9_000, 1, 7, Some(20)));
        assert!(!twenty.copy && ten.scope != twenty.scope);
        let mut elsewhere = arp(12_000, 2, 7, Some(10));
        elsewhere.locator.input = InputId(4);
        assert!(!links.sight(&elsewhere).copy);
    }

    /// RFC 7527. The benign twin: the next probe of the same check comes a second later.
    #[test]
    fn a_probe_that_comes_back_at_once_is_an_echo_and_the_next_one_is_none() {
        let probe = |ms: i64, source: u32| {
            let mut event = arp(ms * 1_000_000, source, 7, None);
            if let EventKind::Arp(arp) = &mut event.kind {
                arp.sender_ip = [0; 4].into();
            }
            event
        };
        let addr = IpAddr::from([192, 0, 2, 1]);
        let mut links = Segments::default();
        for ms in [0, 1_000, 2_000] {
            links.sight(&probe(ms, 0));
            links.sight(&probe(ms, 1)); // the bridge's view of the port's frame
        }
        assert!(links.echo(addr).is_none());
        links.sight(&probe(2_004, 0));
        let echo = links.echo(addr).unwrap();
        assert_eq!(echo.at.1.minus(echo.at.0), 4_000_000);
    }
}
