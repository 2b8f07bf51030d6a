//! Routers that advertise themselves (RFC 4861), and what each of those who speak in a router's name said last.
//!
//! A receiver identifies a router by the link-local source address alone, whoever sent the frame. This table keeps the frame's senders
//! apart: that is how a forged advertisement is told from a real one. Advertisements with flaws are discarded by receivers and here.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use smallvec::SmallVec;

use super::hosts::Scope;
use crate::event::frame::Mac;
use crate::event::lan::{NdMessage, RouterAdvertisement};
use crate::event::{Event, EventKind, Timestamp, WireText};

/// Routers kept, all links together. A link has a handful; Linux itself stops at 16 default routers learned from a flood (gc_thresh).
pub const MAX_ROUTERS: usize = 256;
/// Senders kept of one router: the real one, a fail-over partner, and two who forge.
pub const MAX_SENDERS: usize = 4;
/// Prefixes, routes, DNS servers and options kept of an advertisement. Linux's own limit is 16 addresses on an interface.
pub const MAX_KEPT: usize = 16;
/// Advertisements after which a router is no newcomer: a flood of invented ones sends one each.
const ESTABLISHED: u64 = 3;

/// What an advertisement changed.
#[derive(Clone, Debug)]
pub struct RouterDelta {
    pub scope: Scope,
    pub router: Ipv6Addr,
    /// The frame's link-layer source.
    pub sender: Option<Mac>,
    /// Nobody advertised in this name before.
    pub new_router: bool,
    /// This sender did not advertise in this name before.
    pub new_sender: bool,
    /// The sender of the advertisement before this one, when it was another.
    pub other_sender: Option<Mac>,
    /// What receivers took the router lifetime for before and now, seconds; `None` before the first one.
    pub lifetime: (Option<u16>, u16),
    /// What else differs from the same sender's advertisement before.
    pub changed: SmallVec<[Field; 4]>,
    /// What the same sender said before, where anything changed, lifetimes of prefixes included.
    pub before: Option<Box<RouterAdvertisement>>,
}

/// Parts of an advertisement that routers of a link, or one router over time, should agree on (RFC 4861 §6.2.7).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Field {
    HopLimit,
    Managed,
    OtherConfig,
    Preference,
    ReachableTime,
    RetransTimer,
    Mtu,
    Prefixes,
    Routes,
    Dns,
    Search,
    Captive,
    Pref64,
    /// The set of option types.
    Options,
}

/// One who advertises in a router's name.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The frame's link-layer source; `None` where the capture has none.
    pub mac: Option<Mac>,
    /// The source link-layer address option.
    pub source_mac: Option<Mac>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub seen: u64,
    /// The last advertisement, lists cut to [`MAX_KEPT`].
    pub ra: RouterAdvertisement,
}

/// A router.
#[derive(Clone, Debug)]
pub struct Router {
    pub first: Timestamp,
    pub last: Timestamp,
    pub seen: u64,
    /// In the order in which they first spoke.
    pub senders: SmallVec<[Sender; 1]>,
    current: usize,
    /// The shortest time between two advertisements of a steady sender, where there were two.
    pub interval: Option<Duration>,
    /// The longest one.
    pub longest: Option<Duration>,
}

impl Router {
    /// The sender of the last advertisement: what receivers believe.
    pub fn current(&self) -> Option<&Sender> {
        self.senders.get(self.current)
    }

    /// When receivers drop it as default router; `None` when it is none.
    pub fn expires(&self) -> Option<Timestamp> {
        let lifetime = self.current()?.ra.lifetime;
        (lifetime > 0).then(|| self.last + Duration::from_secs(lifetime.into()))
    }

    /// It is a default router at `at`.
    pub fn is_default(&self, at: Timestamp) -> bool {
        self.expires().is_some_and(|expires| expires > at)
    }
}

/// The table.
#[derive(Clone, Default)]
pub struct Routers {
    routers: BTreeMap<(Scope, Ipv6Addr), Router>,
    /// Advertisements that were not tracked because the table is full of established routers.
    pub refused: u64,
}

impl Routers {
    /// All routers with their links.
    pub fn all(&self) -> impl Iterator<Item = (Scope, Ipv6Addr, &Router)> {
        self.routers
            .iter()
            .map(|((scope, router), known)| (*scope, *router, known))
    }

    /// All routers, by link and address.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv6Addr, &Router)> {
        self.routers
            .iter()
            .map(|((_, router), known)| (*router, known))
    }

    /// Applies an event of a link.
    pub fn apply(&mut self, event: &Event, scope: Scope, out: &mut Vec<RouterDelta>) {
        let EventKind::Nd(nd) = &event.kind else {
            return;
        };
        let (NdMessage::RouterAdvertisement(ra), Some(IpAddr::V6(router))) =
            (&nd.message, nd.frame.ip_src)
        else {
            return;
        };
        if !nd.flaws.is_empty() {
            return;
        }
        let new_router = !self.routers.contains_key(&(scope, router));
        if new_router && !self.make_room() {
            self.refused = self.refused.saturating_add(1);
            return;
        }
        let entry = self
            .routers
            .entry((scope, router))
            .or_insert_with(|| Router {
                first: event.at,
                last: event.at,
                seen: 0,
                senders: SmallVec::new(),
                current: 0,
                interval: None,
                longest: None,
            });
        let (change, sender) = (entry, nd.frame.eth_src);
        out.push(change.advertised(scope, router, sender, nd.source_mac, ra, event.at));
    }

    /// A router by name.
    pub fn get(&self, scope: Scope, router: Ipv6Addr) -> Option<&Router> {
        self.routers.get(&(scope, router))
    }

    /// The routers of a link.
    pub fn on_link(&self, scope: Scope) -> impl Iterator<Item = (Ipv6Addr, &Router)> {
        self.routers
            .range((scope, Ipv6Addr::UNSPECIFIED)..)
            .take_while(move |((at, _), _)| *at == scope)
            .map(|((_, router), entry)| (*router, entry))
    }

    /// Earliest deadline: expiry is computed by those who tell it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<RouterDelta>) {}

    /// Room for another router: a newcomer gives way to a newcomer, an established one to nobody before it has run out.
    fn make_room(&mut self) -> bool {
        if self.routers.len() < MAX_ROUTERS {
            return true;
        }
        let latest = self.routers.values().map(|router| router.last).max();
        let stalest = self
            .routers
            .iter()
            .filter(|(_, router)| {
                router.seen < ESTABLISHED || latest.is_some_and(|at| !router.is_default(at))
            })
            .min_by_key(|(_, router)| router.last)
            .map(|(key, _)| *key);
        stalest.is_some_and(|key| self.routers.remove(&key).is_some())
    }
}

impl Router {
    fn advertised(
        &mut self,
        scope: Scope,
        router: Ipv6Addr,
        mac: Option<Mac>,
        source_mac: Option<Mac>,
        ra: &RouterAdvertisement,
        at: Timestamp,
    ) -> RouterDelta {
        let before = self.current();
        let lifetime_before = before.map(|sender| sender.ra.lifetime);
        let other_sender = before
            .and_then(|sender| sender.mac)
            .filter(|m| Some(*m) != mac);
        let known = self.senders.iter().position(|sender| sender.mac == mac);
        let index = known.unwrap_or_else(|| self.slot());
        let mut changed = SmallVec::new();
        let mut said = None;
        let kept = kept(ra);
        match (known, self.senders.get_mut(index)) {
            (Some(_), Some(sender)) => {
                changed = differences(&sender.ra, &kept);
                said = Some(&sender.ra)
                    .filter(|old| !changed.is_empty() || old.prefixes != kept.prefixes)
                    .map(|ra| Box::new(ra.clone()));
                let pause = at.since(sender.last);
                let shortest = self.interval.is_none_or(|known| pause < known);
                if shortest && !pause.is_zero() {
                    self.interval = Some(pause);
                }
                self.longest = self.longest.max(Some(pause));
                sender.last = at;
                sender.seen = sender.seen.saturating_add(1);
                sender.source_mac = source_mac;
                sender.ra = kept;
            }
            (_, slot) => {
                let sender = Sender {
                    mac,
                    source_mac,
                    first: at,
                    last: at,
                    seen: 1,
                    ra: kept,
                };
                match slot {
                    Some(slot) => *slot = sender,
                    None => self.senders.push(sender),
                }
            }
        }
        self.current = index;
        self.last = at;
        self.seen = self.seen.saturating_add(1);
        RouterDelta {
            scope,
            router,
            sender: mac,
            new_router: lifetime_before.is_none(),
            new_sender: known.is_none(),
            other_sender,
            lifetime: (lifetime_before, ra.lifetime),
            changed,
            before: said,
        }
    }

    /// Where a new sender goes: behind the others, or in the place of the one heard least, but never the first.
    fn slot(&self) -> usize {
        if self.senders.len() < MAX_SENDERS {
            return self.senders.len();
        }
        let others = self.senders.iter().enumerate().skip(1);
        others
            .min_by_key(|(_, sender)| sender.seen)
            .map_or(self.senders.len() - 1, |(index, _)| index)
    }
}

/// An advertisement with its lists cut.
fn kept(ra: &RouterAdvertisement) -> RouterAdvertisement {
    let mut kept = ra.clone();
    kept.prefixes.truncate(MAX_KEPT);
    kept.routes.truncate(MAX_KEPT);
    kept.rdnss.truncate(MAX_KEPT);
    for (_, servers) in &mut kept.rdnss {
        servers.truncate(MAX_KEPT);
    }
    kept.search.truncate(MAX_KEPT);
    kept.options.truncate(MAX_KEPT * 2);
    kept
}

/// What two advertisements say differently. Zero means "unspecified" in the numbers that receivers ignore then, and lifetimes may count down.
pub fn differences(a: &RouterAdvertisement, b: &RouterAdvertisement) -> SmallVec<[Field; 4]> {
    fn specified<T: PartialEq + Default>(a: T, b: T) -> bool {
        a != T::default() && b != T::default() && a != b
    }
    let prefixes = |ra: &RouterAdvertisement| {
        let mut list: Vec<_> = ra
            .prefixes
            .iter()
            .map(|p| {
                (
                    p.prefix,
                    p.on_link,
                    p.autonomous,
                    p.valid > 0,
                    p.preferred > 0,
                )
            })
            .collect();
        list.sort_unstable();
        list
    };
    let routes = |ra: &RouterAdvertisement| {
        let mut list: Vec<_> = ra
            .routes
            .iter()
            .map(|(p, pref, life)| (*p, *pref, *life > 0))
            .collect();
        list.sort_unstable();
        list
    };
    let dns = |ra: &RouterAdvertisement| {
        let mut list: Vec<_> = ra
            .rdnss
            .iter()
            .flat_map(|(_, servers)| servers.clone())
            .collect();
        list.sort_unstable();
        list
    };
    let search = |ra: &RouterAdvertisement| {
        let mut list: Vec<&[u8]> = ra.search.iter().map(WireText::octets).collect();
        list.sort_unstable();
        list.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let options = |ra: &RouterAdvertisement| {
        let mut list = ra.options.clone();
        list.sort_unstable();
        list.dedup();
        list
    };
    [
        (Field::HopLimit, specified(a.cur_hop_limit, b.cur_hop_limit)),
        (Field::Managed, a.managed != b.managed),
        (Field::OtherConfig, a.other != b.other),
        (Field::Preference, a.preference != b.preference),
        (
            Field::ReachableTime,
            specified(a.reachable_ms, b.reachable_ms),
        ),
        (Field::RetransTimer, specified(a.retrans_ms, b.retrans_ms)),
        (
            Field::Mtu,
            a.mtu.is_some() && b.mtu.is_some() && a.mtu != b.mtu,
        ),
        (Field::Prefixes, prefixes(a) != prefixes(b)),
        (Field::Routes, routes(a) != routes(b)),
        (Field::Dns, dns(a) != dns(b)),
        (Field::Search, search(a) != search(b)),
        (Field::Captive, a.captive != b.captive),
        (
            Field::Pref64,
            a.pref64.map(|(prefix, _)| prefix) != b.pref64.map(|(prefix, _)| prefix),
        ),
        (Field::Options, options(a) != options(b)),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}
