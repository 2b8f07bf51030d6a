//! One router that tells hosts something else than before: name servers, search list, where to get addresses, MTU, routes.
//!
//! One change is an administrator's and worth a note. A router may split what it says over several advertisements (RFC 4861 §6.2.3), so what an
//! advertisement leaves out says nothing: only two contradicting statements are a change. A fault are statements that keep coming back,
//! and a route that takes everybody's traffic from the default route, as nobody announces it who already is the default router.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{Open, keys};
use crate::detect::{Board, Finding, Kind, Severity, Subject, Touch};
use crate::event::lan::RouterAdvertisement;
use crate::event::{Event, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::routers::{Field, RouterDelta};

/// Changes that are told as one story, and how many of them are a fault: an administrator changes, reverts, and changes once more.
const WINDOW: Duration = Duration::from_secs(3600);
const ENOUGH: usize = 4;
/// A route to so much of the address space is preferred to the default route by everybody (survey R8; TunnelVision's IPv6 twin).
const COVERING: u8 = 3;
/// R5: lifetimes that fall below half of what was left were taken back…
const CUT: u64 = 2;
/// …unless little was left: routers may count lifetimes down to a fixed time (RFC 4861 §6.2.1), and clocks and stamps differ by seconds.
const LITTLE: u64 = 120;
/// RFC 4862 §5.5.3 (e): an unauthenticated advertisement cannot cut an address's life below two hours. (The on-link route goes at once; measured.)
const TWO_HOURS: u64 = 7200;
/// A prefix that was delegated so short a time before is why the LAN's changes: a router tells its LAN within seconds to minutes.
const DELEGATED: Duration = Duration::from_secs(600);
/// Values named in a sentence.
const MAX_NAMED: usize = 3;

/// The statements of one router.
#[derive(Clone, Default, Debug)]
pub(super) struct Changes {
    recent: VecDeque<Timestamp>,
    open: Option<Open>,
    /// When the last advertisement came.
    heard: Option<Timestamp>,
}

impl Changes {
    /// Takes an advertisement of the same sender as before, which nobody forges.
    pub(super) fn advertised(
        &mut self,
        event: &Event,
        delta: &RouterDelta,
        now: &RouterAdvertisement,
        net: &NetState,
        board: &mut Board,
    ) {
        let since = self.heard.replace(event.at);
        // A withdrawal changes everything, and its return too: `role` tells it.
        let steady =
            matches!(delta.lifetime, (Some(before), after) if (before == 0) == (after == 0));
        let Some(before) = delta.before.as_deref().filter(|_| steady) else {
            return;
        };
        let takes = covering(before, now);
        let cuts = cuts(
            before,
            now,
            since.map_or(0, |at| event.at.since(at).as_secs()),
        );
        let words: Vec<String> = cuts
            .iter()
            .map(Cut::says)
            .chain(delta.changed.iter()
            .filter_map(|field| statement(*field, before, now)))
            .chain(takes.map(|prefix| format!("a route to {prefix} is new, which takes everybody's traffic from the default route")))
            .collect();
        if words.is_empty() {
            return;
        }
        while self
            .recent
            .front()
            .is_some_and(|at| event.at.since(*at) > WINDOW)
            || self.recent.len() > ENOUGH
        {
            self.recent.pop_front();
        }
        if self.recent.is_empty() {
            self.open = None;
        }
        self.recent.push_back(event.at);
        let again = self.recent.len() >= ENOUGH;
        // Hosts without another prefix lose their addresses; with one they renumber, which breaks what runs over the old one at worst.
        let homeless = cuts.iter().any(|cut| cut.preferred.1 == 0)
            && !now.prefixes.iter().any(|p| p.autonomous && p.preferred > 0);
        let severity = if again || takes.is_some() || homeless {
            Severity::Warning
        } else {
            Severity::Info
        };
        let subject = Subject::Router(IpAddr::V6(delta.router));
        let key = match self.open {
            Some(open) => {
                board.update(open.key, |f| f.again(event));
                open.key
            }
            None => board.raise(Finding::new(Kind::RaInconsistent, severity, subject, event)),
        };
        self.open = Some(Open {
            key,
            last: event.at,
        });
        let macs: Vec<_> = delta.sender.into_iter().collect();
        let router = delta.router;
        board.update(key, |f| {
            f.severity = f.severity.max(severity);
            f.explain = sentence(router, f.count, &words);
            if let Some(prefix) = takes {
                f.touch(Touch::Prefix(prefix));
            }
            for cut in &cuts {
                f.touch(Touch::OnLink(cut.prefix));
                f.affected.routes.insert(cut.prefix);
                f.reach = f.reach.max(Some(Duration::from_secs(cut.lasts())));
            }
            if let Some(text) = delegated(before, now, net, event.at)
                && !f.explanations.contains(&text)
            {
                f.explanations.push(text);
            }
            keys(f, net, delta.scope, router, &macs);
        });
    }

    /// When its changes count as over.
    pub(super) fn quiet_at(&self) -> Option<Timestamp> {
        self.open.map(|open| open.last + WINDOW)
    }

    pub(super) fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        if let Some(open) = self.open.filter(|open| open.last + WINDOW <= now) {
            self.open = None;
            self.recent.clear();
            board.update(open.key, |f| f.ended = Some(now));
        }
    }
}

fn sentence(router: Ipv6Addr, count: u64, words: &[String]) -> String {
    let words = words.join("; ");
    if count == 1 {
        format!("{router} tells hosts something else than before: {words}")
    } else {
        format!("{router} changed {count} times what it tells hosts, at last: {words}")
    }
}

/// Lifetimes that a router takes back: before (what was left of it) and now.
struct Cut {
    prefix: Prefix,
    preferred: (u64, u64),
    valid: (u64, u64),
}

impl Cut {
    fn says(&self) -> String {
        let life = |seconds: u64| {
            if seconds == u64::from(u32::MAX) {
                "for ever".to_owned()
            } else {
                format!("for {seconds} s")
            }
        };
        format!(
            "{} is preferred {} more instead of {}, and valid {} instead of {}",
            self.prefix,
            life(self.preferred.1),
            life(self.preferred.0),
            life(self.valid.1),
            life(self.valid.0)
        )
    }

    /// How long its addresses may live on.
    fn lasts(&self) -> u64 {
        self.valid.1.max(TWO_HOURS.min(self.valid.0))
    }
}

fn cuts(before: &RouterAdvertisement, now: &RouterAdvertisement, elapsed: u64) -> Vec<Cut> {
    let left = |seconds: u32| match seconds {
        u32::MAX => u64::from(u32::MAX),
        seconds => u64::from(seconds).saturating_sub(elapsed),
    };
    let cut = |(was, is): (u64, u64)| was > LITTLE && is.saturating_mul(CUT) < was;
    now.prefixes
        .iter()
        .filter_map(|new| {
            let old = before.prefixes.iter().find(|p| p.prefix == new.prefix)?;
            let preferred = (left(old.preferred), u64::from(new.preferred));
            let valid = (left(old.valid), u64::from(new.valid));
            (cut(preferred) || cut(valid)).then_some(Cut {
                prefix: new.prefix,
                preferred,
                valid,
            })
        })
        .collect()
}

/// Where a prefix that is new on the LAN comes from, if it was delegated (RFC 8415 §6.3) a moment ago.
fn delegated(
    before: &RouterAdvertisement,
    now: &RouterAdvertisement,
    net: &NetState,
    at: Timestamp,
) -> Option<String> {
    let new = |p: &Prefix| !before.prefixes.iter().any(|known| known.prefix == *p);
    let (_, prefix, lease) = net.leases.held().find(|(_, prefix, lease)| {
        let fresh = lease.granted <= at && at.since(lease.granted) <= DELEGATED;
        let advertised = now
            .prefixes
            .iter()
            .any(|p| new(&p.prefix) && prefix.covers(&p.prefix));
        prefix.is_ipv6() && !prefix.is_host() && fresh && advertised
    })?;
    Some(format!(
        "DHCPv6 prefix delegation renumbers the LAN: {prefix} was delegated {:.0} s before (RFC 8415 §6.3, RFC 9096)",
        at.since(lease.granted).as_secs_f64()
    ))
}

/// A route over most of the address space that was not there before.
fn covering(before: &RouterAdvertisement, now: &RouterAdvertisement) -> Option<Prefix> {
    let known = |prefix: &Prefix| before.routes.iter().any(|(known, ..)| known == prefix);
    now.routes
        .iter()
        .find(|(prefix, _, lifetime)| {
            *lifetime > 0 && (1..=COVERING).contains(&prefix.len()) && !known(prefix)
        })
        .map(|(prefix, ..)| *prefix)
}

/// What changed, where both advertisements say something about it.
fn statement(
    field: Field,
    before: &RouterAdvertisement,
    now: &RouterAdvertisement,
) -> Option<String> {
    let flag =
        |what: &str, on: bool| format!("{what} {}", if on { "is on now" } else { "is off now" });
    let both = |what: &str, old: Vec<String>, new: Vec<String>| {
        let told = !old.is_empty() && !new.is_empty() && old != new;
        told.then(|| format!("{what} {} instead of {}", named(&new), named(&old)))
    };
    match field {
        Field::Managed => Some(flag("addresses by DHCPv6 (M)", now.managed)),
        Field::OtherConfig => Some(flag("other settings by DHCPv6 (O)", now.other)),
        Field::Mtu => Some(format!("MTU {} instead of {}", now.mtu?, before.mtu?)),
        Field::HopLimit => Some(format!(
            "hop limit {} instead of {}",
            now.cur_hop_limit, before.cur_hop_limit
        )),
        Field::Dns => both("name servers", servers(before), servers(now)),
        Field::Search => {
            let list =
                |ra: &RouterAdvertisement| ra.search.iter().map(ToString::to_string).collect();
            both("search list", list(before), list(now))
        }
        Field::Captive => both(
            "captive portal",
            before.captive.iter().map(ToString::to_string).collect(),
            now.captive.iter().map(ToString::to_string).collect(),
        ),
        Field::Pref64 => both(
            "NAT64 prefix",
            before
                .pref64
                .iter()
                .map(|(prefix, _)| prefix.to_string())
                .collect(),
            now.pref64
                .iter()
                .map(|(prefix, _)| prefix.to_string())
                .collect(),
        ),
        _ => None,
    }
}

fn servers(ra: &RouterAdvertisement) -> Vec<String> {
    // A lifetime of 0 takes a server back (RFC 8106 §5.1): it is none.
    let all = ra.rdnss.iter().filter(|(lifetime, _)| *lifetime > 0);
    let mut list: Vec<Ipv6Addr> = all
        .flat_map(|(_, servers)| servers.iter().copied())
        .collect();
    list.sort_unstable();
    list.dedup();
    list.iter().map(ToString::to_string).collect()
}

fn named(values: &[String]) -> String {
    let mut text = values
        .iter()
        .take(MAX_NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if values.len() > MAX_NAMED {
        text.push_str(", …");
    }
    text
}
