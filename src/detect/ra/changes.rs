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
/// Values named in a sentence.
const MAX_NAMED: usize = 3;

/// The statements of one router.
#[derive(Clone, Default, Debug)]
pub(super) struct Changes {
    recent: VecDeque<Timestamp>,
    open: Option<Open>,
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
        // A withdrawal changes everything, and its return too: `role` tells it.
        let steady =
            matches!(delta.lifetime, (Some(before), after) if (before == 0) == (after == 0));
        let Some(before) = delta.before.as_deref().filter(|_| steady) else {
            return;
        };
        let takes = covering(before, now);
        let words: Vec<String> = delta
            .changed
            .iter()
            .filter_map(|field| statement(*field, before, now))
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
        let severity = if again || takes.is_some() {
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
