//! Detectors of RPKI: routes that are invalid, changes of VRPs that made them so, caches that are lost.
//!
//! The model says which state changed (`state::rov`); here it is judged whom it concerns. In a full table some thousand prefixes are always
//! invalid and every refresh changes some: those are one quiet statement. What is the operator's own, or what a small network announces,
//! is told one by one.

mod caches;
mod changes;
mod invalid;

pub(super) use invalid::state_of;

use std::net::IpAddr;

use super::prefix::weather::Weather;
use super::{Board, Detector, Settings, Severity};
use crate::event::bgp::Nlri;
use crate::event::rtr::Vrp;
use crate::event::{Classes, Event, Prefix, Timestamp};
use crate::state::rib::{RibEvent, RibId, RouteChange};
use crate::state::rov::RovDelta;
use crate::state::vrps::{Rov, VrpDelta, listed};
use crate::state::{NetState, Observation};

/// VRPs named in a sentence.
const NAMED: usize = 3;
/// The longest prefixes that cross operators' borders (common practice, RIPE-399): longer ones are inside somebody's network, where his own
/// ROA makes them invalid by its maximum length and nobody minds (ElasticIPs).
const LONGEST_V4: u8 = 24;
const LONGEST_V6: u8 = 48;

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    let audience = Audience {
        weather: Weather::new(settings),
        own: settings.own_prefixes.clone(),
        own_as: settings.own_as.clone(),
    };
    detectors.push(Box::new(Rpki {
        caches: caches::Losses::default(),
        invalid: invalid::Book::new(audience.clone()),
        changes: changes::Book::new(audience),
    }));
}

/// `prefix.rpki-invalid`, `rpki.vrp-changed`, `rpki.cache-lost`.
#[derive(Clone)]
struct Rpki {
    caches: caches::Losses,
    invalid: invalid::Book,
    changes: changes::Book,
}

impl Detector for Rpki {
    fn name(&self) -> &'static str {
        "rpki"
    }

    fn wants(&self) -> Classes {
        Classes::RTR.and(Classes::BGP).and(Classes::BMP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let changes = seen.changes;
        for delta in &changes.vrps {
            self.caches.delta(delta, seen, net, board);
        }
        let fresh = changes
            .vrps
            .iter()
            .any(|delta| matches!(delta, VrpDelta::Fresh { .. }));
        if fresh && !changes.rov.first {
            self.changes.news(seen, net, board);
        }
        if !changes.rov.is_empty() {
            self.invalid.news(seen, net, board);
        }
        if self.invalid.is_empty() && self.changes.is_empty() {
            return;
        }
        let scene = changes.rib.rib.and_then(|id| Some((id, net.rib.get(id)?)));
        if let Some((id, rib)) = scene {
            for delta in &changes.rib.routes {
                let (gone, new) = match delta.change {
                    RouteChange::Withdrawn => (true, false),
                    RouteChange::Changed => (true, true),
                    RouteChange::New | RouteChange::Reannounced | RouteChange::Returned => {
                        (false, true)
                    }
                    _ => continue,
                };
                let Some(prefix) = rib.prefix(delta.slot) else {
                    continue;
                };
                if gone {
                    self.changes
                        .moved(seen.event, id, prefix, delta, net, board);
                    self.invalid.recheck(seen.event, prefix, net, board);
                }
                if new && !self.changes.is_empty() {
                    self.changes.announced(seen.event, prefix, net, board);
                }
            }
        }
        if changes
            .rib
            .events
            .iter()
            .any(|event| matches!(event, RibEvent::Lost { .. }))
        {
            self.invalid.recheck_all(seen.event, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.caches.next_deadline()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.caches.expire(now, net, board);
    }
}

/// Whom a route concerns.
#[derive(Clone)]
struct Audience {
    weather: Weather,
    own: Vec<Prefix>,
    own_as: Vec<u32>,
}

impl Audience {
    /// It is the operator's own, as he said.
    fn is_own(&self, prefix: &Prefix, origin: Option<u32>) -> bool {
        self.own
            .iter()
            .any(|own| own.covers(prefix) || prefix.covers(own) && !prefix.is_default())
            || origin.is_some_and(|asn| self.own_as.contains(&asn))
    }

    /// How loud a change for the worse is.
    fn severity(&self, net: &NetState, delta: &RovDelta) -> Severity {
        if delta.after.is_invalid() && is_internal(net, delta) {
            return Severity::Info;
        }
        if self.is_own(&delta.prefix, delta.origin) {
            return Severity::Warning;
        }
        let origin = delta.origin.unwrap_or(0);
        self.weather.severity(net, delta.prefix, origin)
    }
}

/// Routes that live inside a network and that its public ROAs do not mean: longer than what crosses borders, or originated by a private AS
/// where all VRPs name public ones.
fn is_internal(net: &NetState, delta: &RovDelta) -> bool {
    let longest = if delta.prefix.is_ipv6() {
        LONGEST_V6
    } else {
        LONGEST_V4
    };
    let covering = || net.vrps.table().list(&delta.prefix);
    // Unless somebody made a ROA for exactly such routes.
    if delta.prefix.len() > longest {
        return covering().iter().all(|vrp| vrp.max_len <= longest);
    }
    delta.origin.is_some_and(is_private)
        && covering()
            .iter()
            .all(|vrp| vrp.asn == 0 || !is_private(vrp.asn))
}

/// RFC 6996, and the numbers for documentation (RFC 5398): in no public ROA.
fn is_private(asn: u32) -> bool {
    matches!(asn, 64_496..=65_551 | 4_200_000_000..=u32::MAX)
}

/// Who announces the route of a delta.
fn sender(net: &NetState, rib: RibId) -> Option<IpAddr> {
    let rib = net.rib.get(rib)?;
    let session = net.sessions.get(rib.session)?;
    Some(session.ends[rib.sender & 1].addr)
}

/// Whether anybody announces the prefix with this origin now, on any session.
fn is_announced(net: &NetState, prefix: Prefix, origin: Option<u32>) -> bool {
    let nlri = Nlri::unicast(prefix);
    net.rib.iter().any(|(id, rib)| {
        let Some((_, attrs)) = net.rib.lookup(id, &nlri) else {
            return false;
        };
        let own = net
            .sessions
            .get(rib.session)
            .map_or(0, |session| session.ends[rib.sender & 1].asn);
        net.rib
            .digest(attrs)
            .and_then(|digest| crate::state::rov::origin(digest, own))
            == Some(origin)
    })
}

/// Why a route is invalid, in words: what covers it.
fn because(net: &NetState, prefix: &Prefix, origin: Option<u32>, state: Rov) -> String {
    let covering: Vec<Vrp> = net.vrps.table().list(prefix);
    let others = listed(&covering, NAMED);
    match (state, origin) {
        (Rov::InvalidLength, _) => format!("it is longer than the ROA allows ({others})"),
        (_, None) => format!("its path ends in a set, which no ROA matches ({others} covers it)"),
        (_, Some(_)) if covering.iter().all(|vrp| vrp.asn == 0) => {
            format!("a ROA for AS0 says that nobody may announce it ({others})")
        }
        (_, Some(_)) if covering.len() == 1 => format!("only {others} covers it"),
        (_, Some(_)) => format!("only {others} cover it"),
    }
}

/// An origin, in words.
fn by(origin: Option<u32>) -> String {
    origin.map_or_else(|| "an AS set".to_owned(), |asn| format!("AS{asn}"))
}

/// Commands that show it on a router.
fn advice(prefix: &Prefix) -> Vec<String> {
    let family = if prefix.is_ipv6() { 6 } else { 4 };
    vec![
        format!("vtysh -c 'show bgp ipv{family} unicast {prefix}'"),
        format!("vtysh -c 'show rpki prefix {prefix}'"),
    ]
}

/// Where a delta's frame counts as evidence: deadlines have none.
fn is_evidence(event: &Event) -> bool {
    event.locator.number != 0
}

#[cfg(test)]
mod tests;
