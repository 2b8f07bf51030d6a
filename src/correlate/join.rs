//! Whether two findings have in common what a rule asks for, and whether their times fit its window.

use std::net::IpAddr;
use std::time::Duration;

use super::rule::{Join, Window};
use crate::detect::finding::{Finding, Reason};
use crate::detect::subject::Touch;
use crate::event::{Prefix, Timestamp};

/// An effect may be stamped this much before its cause: netlink stamps are taken in user space and lag packet stamps by up to 100 ms
/// (measured; design law 7).
pub const SKEW: Duration = Duration::from_millis(100);

/// A loss of carrier may be stamped this much after it: Linux's link watch tells changes of carrier at most once a second
/// (net/core/link_watch.c, `linkwatch_nextevent`), while the peer and its BMP notice at once.
const LINK_WATCH: Duration = Duration::from_secs(1);

/// How much later than its effect this cause may be stamped.
pub fn lead(cause: &Finding) -> Duration {
    match (cause.kind.layer(), cause.reason) {
        ("link", Some(Reason::Carrier)) => SKEW + LINK_WATCH,
        _ => SKEW,
    }
}

/// Whether `cause` and `effect` meet as `join` demands.
pub fn meets(join: Join, cause: &Finding, effect: &Finding) -> bool {
    match join {
        Join::Interface => {
            pair(cause, effect, |a, b| match (a, b) {
                (Touch::Interface(x), Touch::Interface(y)) => x == y,
                (
                    Touch::OnLink(net),
                    Touch::Peer(addr)
                    | Touch::Address(addr)
                    | Touch::Gateway(addr)
                    | Touch::Server(addr),
                ) => net.contains(*addr),
                _ => false,
            }) || (!(placed(cause) && placed(effect)) && meets(Join::Host, cause, effect))
        }
        Join::Peer => pair(cause, effect, |a, b| {
            addr_of(a).is_some_and(|x| match b {
                Touch::Peer(y) | Touch::Address(y) | Touch::Gateway(y) => x == *y,
                _ => false,
            })
        }),
        Join::Neighbor => pair(cause, effect, |a, b| match (a, b) {
            (Touch::RouterId(x), Touch::RouterId(y)) => x == y,
            (Touch::Mac(x), Touch::Mac(y)) => x == y,
            (Touch::Peer(x), Touch::Peer(y)) => x == y,
            _ => false,
        }),
        Join::AffectedPrefix => shares_prefixes(cause, effect),
        Join::Prefix => pair(cause, effect, |a, b| match (a, b) {
            (Touch::Prefix(x), Touch::Prefix(y)) => x.covers(y) || y.covers(x),
            (Touch::Address(x), Touch::Prefix(y)) | (Touch::Prefix(y), Touch::Address(x)) => {
                y.is_host() && y.contains(*x)
            }
            _ => false,
        }),
        Join::Host => pair(cause, effect, |a, b| match (a, b) {
            (Touch::Mac(x), Touch::Mac(y)) => x == y,
            (Touch::Client(x), Touch::Client(y)) => x == y,
            _ => match (addr_of(a), addr_of(b)) {
                (Some(x), Some(y)) => x == y,
                _ => false,
            },
        }),
        Join::Gateway => {
            pair(cause, effect, |a, b| match (a, b) {
                (
                    Touch::Peer(x) | Touch::Gateway(x) | Touch::Server(x) | Touch::Address(x),
                    Touch::Gateway(y),
                ) => x == y,
                (Touch::Gateway(x), Touch::Peer(y)) => x == y,
                (Touch::Prefix(net), Touch::Peer(y)) => !net.is_default() && net.contains(*y),
                _ => false,
            }) || shares_prefixes(cause, effect)
        }
        Join::Feed => pair(cause, effect, |a, b| match (a, b) {
            (Touch::Feed(x), Touch::Feed(y)) => x == y,
            (Touch::Peer(x), Touch::Peer(y)) => x == y,
            _ => false,
        }),
        Join::Everywhere => true,
    }
}

/// Whether the finding says on which interface it happened: a classic pcap names none, and what is about one host is on one wire then.
fn placed(finding: &Finding) -> bool {
    finding
        .touches
        .iter()
        .any(|touch| matches!(touch, Touch::Interface(_) | Touch::OnLink(_)))
}

fn pair(cause: &Finding, effect: &Finding, test: impl Fn(&Touch, &Touch) -> bool) -> bool {
    cause
        .touches
        .iter()
        .any(|a| effect.touches.iter().any(|b| test(a, b)))
}

fn addr_of(touch: &Touch) -> Option<IpAddr> {
    match touch {
        Touch::Address(addr) | Touch::Peer(addr) | Touch::Gateway(addr) | Touch::Server(addr) => {
            Some(*addr)
        }
        _ => None,
    }
}

/// The prefixes a finding is about: what it affected, and the prefixes it touches.
pub fn prefixes(finding: &Finding) -> impl Iterator<Item = Prefix> {
    let touched = finding.touches.iter().filter_map(|touch| match touch {
        Touch::Prefix(prefix) => Some(*prefix),
        _ => None,
    });
    touched
        .chain(finding.affected.prefixes.iter().copied())
        .chain(finding.affected.routes.iter().copied())
}

/// At least half of the effect's prefixes are among the cause's. At most 64 of them are asked: the sets are ordered, so these are the
/// same in every run.
fn shares_prefixes(cause: &Finding, effect: &Finding) -> bool {
    let knows = |prefix: &Prefix| {
        cause.affected.prefixes.contains(prefix)
            || cause.affected.routes.contains(prefix)
            || cause
                .touches
                .iter()
                .any(|touch| matches!(touch, Touch::Prefix(own) if own == prefix))
    };
    let (mut asked, mut known) = (0usize, 0usize);
    for prefix in prefixes(effect).take(64) {
        asked += 1;
        known += usize::from(knows(&prefix));
    }
    known > 0 && known * 2 >= asked
}

/// How well the times fit.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Fit {
    /// Occurrences of the effect that follow an occurrence of the cause inside the window.
    pub hits: u32,
    /// Occurrences of the effect that were looked at.
    pub of: u32,
    /// From the cause to the effect, at the first hit, nanoseconds; 0 when the effect is stamped first.
    pub lag_ns: i64,
}

/// The longest time from an occurrence of the cause to the effect's begin that `window` allows for these two.
pub fn reach(window: Window, cause: &Finding, effect: &Finding) -> Duration {
    match window {
        Window::After(after) => after,
        Window::Reach { least, plus } => [cause.reach, effect.reach]
            .into_iter()
            .flatten()
            .fold(least, Duration::max)
            .saturating_add(plus),
        Window::Kept { plus } => cause.keeps.unwrap_or_default().saturating_add(plus),
    }
}

/// Whether the two findings' times can fit at all: the cheap half of [`fit`].
pub fn overlaps(reach: Duration, cause: &Finding, effect: &Finding) -> bool {
    let lasted = cause
        .occurrences
        .iter()
        .filter_map(|o| o.until)
        .max()
        .unwrap_or(cause.last)
        .max(cause.last);
    cause.first <= effect.first + lead(cause) && effect.first <= lasted + reach + SKEW
}

/// Fits the effect's occurrences to the cause's. `None` when the effect began before the cause.
pub fn fit(reach: Duration, cause: &Finding, effect: &Finding) -> Option<Fit> {
    if effect.first + lead(cause) < cause.first {
        return None;
    }
    let (mut hits, mut lag) = (0u32, None);
    for occurrence in &effect.occurrences {
        if let Some(nearest) = latest_cause(cause, occurrence.at, reach) {
            hits += 1;
            lag.get_or_insert(occurrence.at.minus(nearest).max(0));
        }
    }
    let of = effect.occurrences.len() as u32;
    Some(Fit {
        hits,
        of,
        lag_ns: lag.unwrap_or(0),
    })
}

/// The latest occurrence of the cause that `at` can follow: not after it (but for skew), and not longer ago than `reach` unless it still lasts.
fn latest_cause(cause: &Finding, at: Timestamp, reach: Duration) -> Option<Timestamp> {
    let lead = lead(cause);
    cause
        .occurrences
        .iter()
        .filter(|o| {
            o.at <= at + lead
                && (at <= o.at + reach || o.until.is_some_and(|until| at <= until + SKEW))
        })
        .map(|o| o.at)
        .max()
}
