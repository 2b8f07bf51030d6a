//! Folding by structure: findings that no row of the table connects, and that are one fault all the same (law 16).
//!
//! The table of rules knows which kinds cause which. A fault that nobody thought of shows differently: two findings share something (the
//! origin of the prefixes, the process that acted, the neighbor, the machine, the interface) *and* happen in step: each time the one strikes the
//! other does, three times or more, or both in one burst. Either alone proves nothing: neighbors in time are two faults, and so are two troubles of
//! one origin that keep no step. The earlier of the two is the root; of two that begin together the one nearer to the ground is.
//!
//! A fold never takes an effect away from a rule: it is asked only where the rules have no cause.

use std::net::IpAddr;
use std::time::Duration;

use super::join::{Fit, SKEW};
use super::rule::{Grade, Join, Rule, Window};
use crate::detect::finding::Finding;
use crate::detect::subject::{Subject, Touch};
use crate::detect::{FindingKey, Kind, Severity};
use crate::event::frame::Mac;
use crate::event::{Prefix, Timestamp};

/// Findings with the same thing in common that are compared with one, the latest ones: what happens in step with it is as young as it is.
pub const MAX_FELLOWS: usize = 64;
/// Shares of one finding: a conflict names two machines, a prefix of many homes some origins.
const MAX_SHARES: usize = 8;

/// Occurrences in step from which on it is no coincidence: the least that proves a period, too (C33).
const LEAST: usize = 3;
/// BGP tells one change of an origin on several sessions, and in two families, within this: UPDATEs of one speaker lie 50 ms apart (measured),
/// netlink follows packets by up to 100 ms (law 7), and a router in between adds its own 50 to 100 ms.
const STEP: Duration = Duration::from_millis(300);
/// One process, one machine, one interface: only the stamps differ (law 7).
const CLOSE: Duration = Duration::from_millis(120);
/// What one cause does once, it does in one go: a daemon deletes a table of 1,000 routes in this time (measured: 4 routes in 1 ms and pauses
/// of 100 ms between families).
const BURST: Duration = Duration::from_millis(250);
/// UPDATEs of one change of policy follow each other within FRR's advertisement interval.
const ONE_CHANGE: Duration = Duration::from_secs(1);
/// Routers find out that one and the same neighbor is gone at different times: by carrier at once, by BFD within a second, by their retries
/// of a connection within some; those with a hold time of their own say so ([`Finding::reach`]).
const UPSTREAM: Duration = Duration::from_secs(5);
/// The same thing told anew within this goes on: an episode of route-flap damping (15 min half-life) has not even halved.
const AGAIN: Duration = Duration::from_secs(300);

/// What two findings may have in common that makes them one fault.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Share {
    /// The AS that originates the prefixes.
    Origin(u32),
    /// The AS behind which prefixes went, and with which a session ended.
    Upstream(u32),
    /// The process that acted.
    Actor(Box<str>),
    /// A neighbor in either family, by its BGP identifier.
    Neighbor(u32),
    /// The speaker that tells the prefixes.
    Teller(IpAddr),
    /// A machine, by its link-layer address.
    Machine(Mac),
    /// An interface.
    Device(Box<str>),
    /// A prefix that is unstable: what it does is one trouble, whatever it is called.
    Unstable(Prefix),
    /// The same trouble of the same subject.
    Again(Kind, Subject),
}

/// How the folds are called in alerts, and why; in the order of [`Share`].
pub const FOLDS: &[Rule] = &[
    fold(
        "one-origin-in-step",
        "prefixes of one origin change in step: one trouble there, whatever the family and the peer that tells it",
    ),
    fold(
        "one-upstream",
        "the session to the AS behind which the prefixes went ended with them",
    ),
    fold(
        "one-process-in-step",
        "one process does both, each time at once",
    ),
    fold(
        "one-neighbor-in-step",
        "one neighbor does both, in either family, each time at once",
    ),
    fold(
        "policy-change-resends-table",
        "a speaker whose policy changes for one prefix computes what it sends anew, and sends the rest again unchanged (RFC 4271 §9.1.3)",
    ),
    fold(
        "one-machine-in-step",
        "one machine shows both, each time at once",
    ),
    fold(
        "one-interface-in-step",
        "both happen on one interface, each time at once",
    ),
    fold(
        "one-unstable-prefix",
        "one prefix is unstable in more than one way",
    ),
    fold("goes-on", "the same trouble goes on"),
];

const fn fold(name: &'static str, because: &'static str) -> Rule {
    Rule {
        name,
        causes: &[],
        effects: &[],
        join: Join::Everywhere,
        window: Window::After(STEP),
        grade: Grade::Likely,
        when: &[],
        because,
        absent: None,
        survey: &[],
    }
}

impl Share {
    /// Its row of [`FOLDS`].
    pub fn row(&self) -> usize {
        match self {
            Share::Origin(_) => 0,
            Share::Upstream(_) => 1,
            Share::Actor(_) => 2,
            Share::Neighbor(_) => 3,
            Share::Teller(_) => 4,
            Share::Machine(_) => 5,
            Share::Device(_) => 6,
            Share::Unstable(_) => 7,
            Share::Again(..) => 8,
        }
    }
}

/// What this finding may share with others. What nobody has to act on makes no incident and needs no root, but for what a process did: of
/// its one act the quiet half may be the deeper one.
pub fn shares(finding: &Finding) -> Vec<Share> {
    let mut shares = Vec::new();
    let layer = finding.kind.layer();
    if matches!(layer, "link" | "address" | "neighbor" | "route")
        && let Some(actor) = process(finding)
    {
        shares.push(Share::Actor(actor.into()));
    }
    if finding.severity == Severity::Info {
        return shares;
    }
    let subjects = finding.subjects.iter();
    match layer {
        "prefix" => {
            shares.extend(subjects.filter_map(|subject| match subject {
                Subject::Origin(asn) => Some(Share::Origin(*asn)),
                Subject::As(asn) if finding.kind == Kind::PrefixMassWithdrawal => {
                    Some(Share::Upstream(*asn))
                }
                Subject::Peer(addr, _) if changes_alone(finding.kind) || is_resend(finding) => {
                    Some(Share::Teller(*addr))
                }
                _ => None,
            }));
        }
        "session" => {
            // Within one AS everything is behind it.
            let outside = finding.session.as_ref().and_then(|ends| {
                ends.remote_as
                    .filter(|asn| *asn != 0 && ends.local_as != Some(*asn))
            });
            shares.extend(outside.map(Share::Upstream));
        }
        _ => {}
    }
    for touch in &finding.touches {
        match touch {
            Touch::RouterId(id) if matches!(layer, "prefix" | "session" | "bfd") => {
                shares.push(Share::Neighbor(*id));
            }
            Touch::Mac(mac)
                if matches!(layer, "address" | "neighbor" | "ra" | "dhcp" | "session") =>
            {
                shares.push(Share::Machine(*mac));
            }
            Touch::Interface(name) if layer == "route" => {
                shares.push(Share::Device(name.clone()));
            }
            _ => {}
        }
    }
    if let Some(Subject::Prefix(prefix)) = finding.subjects.first()
        && changes_alone(finding.kind)
    {
        shares.push(Share::Unstable(*prefix));
    }
    shares.extend(
        finding
            .subjects
            .first()
            .map(|subject| Share::Again(finding.kind, subject.clone())),
    );
    shares.sort_unstable();
    shares.dedup();
    shares.truncate(MAX_SHARES);
    shares
}

/// The one process that acted; the kernel is no process, and "12 processes" are not one.
fn process(finding: &Finding) -> Option<&str> {
    let actor = finding.actor.as_deref()?;
    (!actor.starts_with("the kernel") && !actor.ends_with("processes")).then_some(actor)
}

/// Nearer to the ground is nearer to the cause (law 8).
fn depth(kind: Kind) -> u8 {
    match kind.layer() {
        "feed" | "host" => 0,
        "link" => 1,
        "path" => 2,
        "address" => 3,
        "neighbor" | "vrrp" => 4,
        "dhcp" | "ra" => 5,
        "bfd" => 6,
        "session" => 7,
        // What is sent again unchanged is the shadow of something that changed.
        _ if kind == Kind::PrefixDuplicateUpdates => 10,
        "prefix" | "evpn" => 8,
        _ => 9,
    }
}

/// Whether `a` can be the root of `b`: it is the earlier; of two that begin together (but for skew) the one nearer to the ground.
pub fn leads(a: (FindingKey, &Finding), b: (FindingKey, &Finding)) -> bool {
    let apart = a.1.first.since(b.1.first).max(b.1.first.since(a.1.first));
    if apart > SKEW {
        a.1.first < b.1.first
    } else {
        let order = |(key, finding): (FindingKey, &Finding)| {
            let subject = finding.subjects.first().cloned();
            (depth(finding.kind), finding.first, subject, key)
        };
        order(a) < order(b)
    }
}

/// How well `effect` goes with `cause`, if it does.
pub fn fit(share: &Share, cause: &Finding, effect: &Finding) -> Option<Fit> {
    match share {
        Share::Unstable(_) | Share::Again(..) => goes_on(cause, effect),
        Share::Upstream(_) => {
            let pair = [cause.kind.layer(), effect.kind.layer()];
            let both = pair == ["session", "prefix"] || pair == ["prefix", "session"];
            both.then(|| upstream(cause, effect)).flatten()
        }
        Share::Teller(_) => (changes_alone(cause.kind) && is_resend(effect))
            .then(|| at_each_change(cause, effect))
            .flatten(),
        Share::Origin(_) => in_step(cause, effect, STEP),
        Share::Neighbor(_) => in_step(cause, effect, STEP),
        Share::Actor(_) | Share::Machine(_) | Share::Device(_) => in_step(cause, effect, CLOSE),
    }
}

/// A prefix whose policy may be what changes.
fn changes_alone(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PrefixFlap
            | Kind::PrefixMoveFlap
            | Kind::PrefixPathOscillation
            | Kind::PrefixAttributeOscillation
    )
}

fn is_resend(finding: &Finding) -> bool {
    finding.kind == Kind::PrefixDuplicateUpdates
}

/// Two in three re-sent tables lie beside a change of the prefix, three or more. (Of a flap's first rounds, before it was known as one, only
/// the withdrawals are remembered; and what comes after its last known change has not been compared yet.)
fn at_each_change(cause: &Finding, effect: &Finding) -> Option<Fit> {
    let mut changes: Vec<Timestamp> = cause
        .occurrences
        .iter()
        .flat_map(|o| [Some(o.at), o.until])
        .flatten()
        .collect();
    changes.sort_unstable();
    let effects = times(effect);
    let hits = near(&effects, &changes, ONE_CHANGE);
    let known = *changes.last()? + ONE_CHANGE;
    let compared = effects.partition_point(|at| *at <= known);
    (hits >= LEAST && hits * 3 >= compared * 2 && hits * 2 >= effects.len())
        .then(|| fitting(cause, effect, hits, effects.len()))
}

/// One began while the other went on, or soon after.
fn goes_on(cause: &Finding, effect: &Finding) -> Option<Fit> {
    let fits = cause.first <= effect.first && effect.first <= cause.last + AGAIN;
    fits.then(|| Fit {
        hits: 1,
        of: 1,
        lag_ns: effect.first.minus(cause.first).max(0),
    })
}

/// Each of the effect's occurrences lies near one of the cause's, before or after: two routers notice one loss in any order.
fn upstream(cause: &Finding, effect: &Finding) -> Option<Fit> {
    let window = [cause.reach, effect.reach]
        .into_iter()
        .flatten()
        .fold(UPSTREAM, Duration::max);
    let (causes, effects) = (times(cause), times(effect));
    let hits = near(&effects, &causes, window);
    (hits == effects.len()).then(|| fitting(cause, effect, hits, effects.len()))
}

/// Both strike together: all their occurrences in the time in which both are seen, three or more; or the one or two that there are, in one burst.
fn in_step(cause: &Finding, effect: &Finding, step: Duration) -> Option<Fit> {
    let (causes, effects) = (times(cause), times(effect));
    let from = *causes.first()?.max(effects.first()?) - step;
    let to = *causes.last()?.min(effects.last()?) + step;
    let both = |times: &[Timestamp]| -> Vec<Timestamp> {
        times
            .iter()
            .copied()
            .filter(|at| (from..=to).contains(at))
            .collect()
    };
    let (a, b) = (both(&causes), both(&effects));
    let most = a.len().max(b.len());
    if most < LEAST {
        // Few occurrences: all there are, equally many, at once.
        let hits = near(&effects, &causes, step.min(BURST));
        let whole = causes.len() == effects.len() && hits == effects.len();
        return whole.then(|| fitting(cause, effect, hits, effects.len()));
    }
    // Where something happens all the time, everything is near it.
    let step = step.min(gap(&a) / 3).min(gap(&b) / 3);
    let hits = near(&b, &a, step).min(near(&a, &b, step));
    let nearly_all = hits * 5 >= most * 4;
    // What the other did before both were seen may be another story; the effect's own occurrences are not.
    let own = near(&effects, &causes, step);
    (hits >= LEAST && nearly_all && own * 5 >= effects.len() * 4)
        .then(|| fitting(cause, effect, own, effects.len()))
}

fn fitting(cause: &Finding, effect: &Finding, hits: usize, of: usize) -> Fit {
    Fit {
        hits: hits as u32,
        of: of as u32,
        lag_ns: effect.first.minus(cause.first).max(0),
    }
}

fn times(finding: &Finding) -> Vec<Timestamp> {
    let mut times: Vec<Timestamp> = finding.occurrences.iter().map(|o| o.at).collect();
    times.sort_unstable();
    times
}

/// How many of these (in order) lie within `window` of one of those.
fn near(these: &[Timestamp], those: &[Timestamp], window: Duration) -> usize {
    these
        .iter()
        .filter(|at| {
            let next = those.partition_point(|other| *other < **at);
            let close = |other: Option<&Timestamp>| {
                other.is_some_and(|other| other.since(**at).max(at.since(*other)) <= window)
            };
            close(those.get(next)) || close(next.checked_sub(1).and_then(|i| those.get(i)))
        })
        .count()
}

/// The median distance.
fn gap(times: &[Timestamp]) -> Duration {
    let mut gaps: Vec<Duration> = times
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(b.since(*a)),
            _ => None,
        })
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
