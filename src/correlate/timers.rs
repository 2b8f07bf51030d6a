//! Time structure: the period of a finding's occurrences, and the timer of a daemon or protocol that it equals.
//!
//! One table of timers, each with its source; values that the input shows itself (a lease's T1, a router's interval, a hold time) come before
//! the fixed ones. A match needs a steady period; where several timers fit alike all are named, so that nobody is accused by a coincidence.

use std::time::Duration;

use crate::detect::finding::{Finding, Occurrence, Period};
use crate::detect::subject::{Subject, Touch};
use crate::detect::{Board, FindingKey, Kind};
use crate::state::NetState;

/// Waits that prove a back-off: two steps that double.
const LEAST_DOUBLINGS: usize = 2;
/// A relative spread up to which a period is steady enough to be compared with a timer (C33: ±5 %).
const STEADY: f64 = 0.05;
/// A period may differ from a timer by this share, and this much more: programs sleep for their interval and then work.
const TOLERANCE: f64 = 0.01;
const WORK: f64 = 0.03;
/// Occurrences that are on the minute within this time, all of them, were started by a clock: cron starts within the first second and jobs
/// take a moment. Three in a row by chance: (2 s / 60 s)³ is 1 in 27,000.
const ON_THE_MINUTE: f64 = 2.0;
/// Doubling waits: each distance is so many times the one before, give or take a tenth (timers of whole seconds, and the work between).
const DOUBLING: std::ops::RangeInclusive<f64> = 1.8..=2.2;

/// Whose habit a timer is: the findings that it can explain.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Of {
    /// BGP sessions.
    Session,
    /// Kernel routes that BIRD owns.
    BirdRoutes,
    /// Kernel routes, whoever owns them.
    Routes,
    /// Announced single addresses, and addresses that come and go.
    ServiceAddresses,
    /// Addresses that a VRRP router answers for (00:00:5e:00:01/02).
    VirtualRouters,
    /// Announcements.
    Announcements,
    /// RPKI.
    Rpki,
    /// Whatever DHCP can move.
    Dhcp,
    /// Whatever router advertisements can move.
    Ra,
    /// BFD.
    Bfd,
    /// Everything.
    All,
}

impl Of {
    /// Whether such a timer can be behind this finding.
    fn fits(self, finding: &Finding) -> bool {
        let layer = finding.kind.layer();
        let by_bird = || {
            let actor = finding.actor.as_deref().unwrap_or_default();
            actor.to_ascii_lowercase().contains("bird")
        };
        match self {
            Of::Session => layer == "session",
            Of::BirdRoutes => layer == "route" && by_bird(),
            Of::Routes => layer == "route",
            Of::ServiceAddresses => {
                finding.kind == Kind::AddressFlap || layer == "prefix" && is_host(finding)
            }
            Of::VirtualRouters => finding.touches.iter().any(is_virtual_router),
            Of::Announcements => layer == "prefix",
            Of::Rpki => layer == "rpki" || finding.kind == Kind::PrefixRpkiInvalid,
            Of::Dhcp => matches!(layer, "dhcp" | "address" | "route"),
            Of::Ra => layer == "ra" || matches!(layer, "address" | "route") && is_ipv6(finding),
            Of::Bfd => layer == "bfd",
            Of::All => true,
        }
    }

    /// Whether `kind` can have findings that it fits, for `explain`.
    pub fn concerns(self, kind: Kind) -> bool {
        let layer = kind.layer();
        match self {
            Of::Session => layer == "session",
            Of::BirdRoutes | Of::Routes => layer == "route",
            Of::ServiceAddresses => kind == Kind::AddressFlap || layer == "prefix",
            Of::VirtualRouters => matches!(layer, "address" | "neighbor"),
            Of::Announcements => layer == "prefix",
            Of::Rpki => layer == "rpki" || kind == Kind::PrefixRpkiInvalid,
            Of::Dhcp => matches!(layer, "dhcp" | "address" | "route"),
            Of::Ra => matches!(layer, "ra" | "address" | "route"),
            Of::Bfd => layer == "bfd",
            Of::All => false,
        }
    }
}

fn is_host(finding: &Finding) -> bool {
    matches!(finding.subjects.first(), Some(Subject::Prefix(prefix)) if prefix.is_host())
}

fn is_ipv6(finding: &Finding) -> bool {
    match finding.subjects.first() {
        Some(Subject::Prefix(prefix)) => prefix.is_ipv6(),
        Some(Subject::Address(addr)) => addr.is_ipv6(),
        _ => false,
    }
}

/// RFC 9568 §7.3: 00:00:5e:00:01/02 and the group's number.
fn is_virtual_router(touch: &Touch) -> bool {
    matches!(touch, Touch::Mac(mac) if mac.0.starts_with(&[0, 0, 0x5e, 0, 1]) || mac.0.starts_with(&[0, 0, 0x5e, 0, 2]))
}

/// A timer that is known by its default.
#[derive(Clone, Debug)]
pub struct Timer {
    pub seconds: f64,
    pub name: &'static str,
    pub source: &'static str,
    pub of: Of,
}

const fn timer(seconds: f64, name: &'static str, source: &'static str, of: Of) -> Timer {
    Timer {
        seconds,
        name,
        source,
        of,
    }
}

/// Fixed timers.
pub const TIMERS: &[Timer] = &[
    timer(
        10.0,
        "FRR's connect retry (datacenter profile)",
        "FRR bgpd.h, DFLT_BGP_TIMERS_CONNECT",
        Of::Session,
    ),
    timer(
        30.0,
        "FRR's connect retry",
        "FRR bgpd.h, DFLT_BGP_TIMERS_CONNECT",
        Of::Session,
    ),
    timer(
        120.0,
        "the connect retry of BIRD, GoBGP and older FRR",
        "BIRD: connect retry time; RFC 4271 §10",
        Of::Session,
    ),
    timer(
        3.0,
        "Calico's connect retry",
        "Calico's BIRD template: connect retry time",
        Of::Session,
    ),
    timer(
        5.0,
        "BIRD's connect delay",
        "BIRD: connect delay time",
        Of::Session,
    ),
    timer(
        60.0,
        "BIRD's reconnect back-off (first step)",
        "BIRD: error wait time 60,300",
        Of::Session,
    ),
    timer(
        300.0,
        "BIRD's reconnect back-off (last step)",
        "BIRD: error wait time 60,300",
        Of::Session,
    ),
    timer(
        2.0,
        "Calico's BIRD scan time",
        "Calico's BIRD template: kernel and device scan time",
        Of::BirdRoutes,
    ),
    timer(
        60.0,
        "BIRD's scan time",
        "BIRD: kernel protocol, scan time",
        Of::BirdRoutes,
    ),
    timer(
        10.0,
        "BIRD's device scan time",
        "BIRD's example configuration: device protocol, scan time",
        Of::BirdRoutes,
    ),
    timer(
        90.0,
        "Felix's route refresh",
        "Calico: RouteRefreshInterval",
        Of::Routes,
    ),
    timer(
        1.0,
        "the advertisement interval of keepalived",
        "keepalived: advert_int; RFC 9568 §6.1",
        Of::VirtualRouters,
    ),
    timer(
        5.0,
        "ExaBGP's health check",
        "exabgp healthcheck --interval",
        Of::ServiceAddresses,
    ),
    timer(
        1900.0,
        "FastNetMon's ban time",
        "fastnetmon.conf: ban_time",
        Of::ServiceAddresses,
    ),
    timer(
        30.0,
        "the minimum route advertisement interval of external peers",
        "RFC 4271 §10",
        Of::Announcements,
    ),
    timer(
        3600.0,
        "the refresh interval of RPKI-to-router",
        "RFC 8210 §6",
        Of::Rpki,
    ),
    timer(
        600.0,
        "the retry interval of RPKI-to-router",
        "RFC 8210 §6",
        Of::Rpki,
    ),
    timer(
        7200.0,
        "the expire interval of RPKI-to-router",
        "RFC 8210 §6",
        Of::Rpki,
    ),
    timer(
        1.0,
        "BFD's slowest rate while down",
        "RFC 5880 §6.8.3",
        Of::Bfd,
    ),
];

/// Distances that double from `first` until `last`.
#[derive(Clone, Debug)]
pub struct BackOff {
    pub first: f64,
    pub last: f64,
    pub name: &'static str,
    pub source: &'static str,
    pub of: Of,
}

/// Back-offs.
pub const BACK_OFFS: &[BackOff] = &[
    BackOff {
        first: 60.0,
        last: 300.0,
        name: "BIRD's reconnect back-off",
        source: "BIRD: error wait time 60,300",
        of: Of::Session,
    },
    BackOff {
        first: 5.0,
        last: 60.0,
        name: "Calico's reconnect back-off",
        source: "Calico's BIRD template: error wait time 5,60",
        of: Of::Session,
    },
    BackOff {
        first: 4.0,
        last: 64.0,
        name: "a DHCP client's back-off",
        source: "RFC 2131 §4.1",
        of: Of::Dhcp,
    },
];

/// Values that the input itself shows, for the docs.
pub const COMPUTED: &[(&str, &str)] = &[
    (
        "T1, T2 and length of each lease seen",
        "RFC 2131 §4.4.5, RFC 8415 §21.4",
    ),
    ("the negotiated hold time", "RFC 4271 §4.2"),
    (
        "the interval and the lifetime of each advertising router",
        "RFC 4861 §6.2.1",
    ),
    ("BFD's detection time", "RFC 5880 §6.8.4"),
    (
        "full minutes of the clock, when every occurrence falls on one",
        "cron(8)",
    ),
];

/// Brings the periods of changed findings up to date, matches included.
pub fn update(board: &mut Board, dirty: &[FindingKey], net: &NetState) {
    for key in dirty {
        let Some(finding) = board.get(*key).filter(|f| may_repeat(f.kind)) else {
            continue;
        };
        let period = period(finding, net);
        if period != finding.period {
            board.update(*key, |finding| finding.period = period);
        }
    }
}

/// Kinds whose occurrences are events of one subject. What counts clients, or tables sent, has no period.
fn may_repeat(kind: Kind) -> bool {
    let counted = matches!(
        kind,
        Kind::DhcpStarvation
            | Kind::DhcpBootStorm
            | Kind::PrefixTableTransfer
            | Kind::PrefixSurge
            | Kind::RaFlood
            | Kind::DhcpFlood
            | Kind::NeighborFlood
    );
    kind.layer() != "feed" && !counted
}

/// The period of a finding, with the timer that it equals.
pub fn period(finding: &Finding, net: &NetState) -> Option<Period> {
    let gaps = gaps(&finding.occurrences);
    if let Some(period) = back_off(finding, net, &gaps) {
        return Some(period);
    }
    let mut period = Period::of_gaps(gaps)?;
    period.matches = whole(finding, net, &period).or_else(|| phases(finding, net));
    Some(period)
}

fn gaps(occurrences: &[Occurrence]) -> Vec<f64> {
    occurrences
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(b.at.since(a.at).as_secs_f64()),
            _ => None,
        })
        .filter(|gap| *gap > 0.0)
        .collect()
}

/// Waits that double: no period, but a signature of its own.
fn back_off(finding: &Finding, net: &NetState, gaps: &[f64]) -> Option<Period> {
    let first = *gaps.first()?;
    let doubling = gaps
        .windows(2)
        .take_while(|pair| matches!(pair, [a, b] if DOUBLING.contains(&(b / a))))
        .count();
    if doubling < LEAST_DOUBLINGS {
        return None;
    }
    let known: Vec<&str> = BACK_OFFS
        .iter()
        .filter(|b| b.of.fits(finding) && first >= b.first * 0.75 && first <= b.first * 1.25)
        .filter(|b| is_here(b.name, net))
        .map(|b| b.name)
        .collect();
    let whose = if known.is_empty() {
        "a back-off".to_owned()
    } else {
        known.join(" or ")
    };
    Some(Period {
        seconds: first,
        // The waits are not alike: they double.
        spread: 1.0,
        matches: Some(format!("{whose}: each wait is twice the one before")),
    })
}

/// The timer that the whole period equals.
fn whole(finding: &Finding, net: &NetState, period: &Period) -> Option<String> {
    // What the input shows is no coincidence of defaults: it stands alone.
    one_of(shown(finding, net, period)).or_else(|| one_of(known(finding, net, period)))
}

/// Timers that the input shows.
fn shown(finding: &Finding, net: &NetState, period: &Period) -> Vec<String> {
    if period.spread > STEADY {
        return Vec::new();
    }
    computed(finding, net, period.seconds)
}

/// Timers that are known by their defaults.
fn known(finding: &Finding, net: &NetState, period: &Period) -> Vec<String> {
    if period.spread > STEADY {
        return Vec::new();
    }
    let clock = on_the_minute(finding, period.seconds);
    clock
        .into_iter()
        .chain(fixed(finding, net, period.seconds))
        .collect()
}

/// Where the whole period is nobody's timer, its parts may be: a session that dies at its hold time and comes back after the connect retry
/// has the sum of both. What ends a session is negotiated, what brings it back is a daemon's default.
fn phases(finding: &Finding, net: &NetState) -> Option<String> {
    if !Of::Session.fits(finding) {
        return None;
    }
    let down = finding
        .occurrences
        .iter()
        .filter_map(|o| Some(o.until?.since(o.at).as_secs_f64()))
        .collect();
    let up = finding
        .occurrences
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(b.at.since(a.until?).as_secs_f64()),
            _ => None,
        })
        .collect();
    let down = Period::of_gaps(down).and_then(|phase| {
        let fits = fixed(finding, net, phase.seconds).collect();
        let timer = one_of(fits).filter(|_| phase.spread <= STEADY)?;
        Some(format!(
            "down for {:.1} s each time: {timer}",
            phase.seconds
        ))
    });
    let up = Period::of_gaps(up).and_then(|phase| {
        let timer = one_of(shown(finding, net, &phase))?;
        Some(format!("up for {:.1} s each time: {timer}", phase.seconds))
    });
    let said: Vec<String> = down.into_iter().chain(up).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn one_of(mut fits: Vec<String>) -> Option<String> {
    fits.dedup();
    match fits.len() {
        0 => None,
        1 => fits.pop(),
        _ => Some(format!("{} (they fit alike)", fits.join(", or "))),
    }
}

fn equal(period: f64, timer: f64) -> bool {
    // Work makes a period longer, never shorter.
    period >= timer * (1.0 - TOLERANCE) && period <= timer * (1.0 + TOLERANCE) + WORK
}

/// Whether what a timer belongs to was seen here. Calico and Felix are a node's: their devices are there, or they are not. Routing daemons
/// may run at the other end, whose default is the same.
fn is_here(timer: &str, net: &NetState) -> bool {
    const OF_CALICO: [&str; 2] = ["Calico's", "Felix's"];
    /// Calico's interfaces: pods, its VXLAN devices, and `tunl0` of IPIP mode.
    const DEVICES: [&str; 4] = ["cali", "vxlan.calico", "vxlan-v6.calico", "tunl0"];
    let starts = |text: &str, with: &[&str]| with.iter().any(|start| text.starts_with(start));
    !starts(timer, &OF_CALICO) || net.links.names().any(|name| starts(name, &DEVICES))
}

fn fixed(finding: &Finding, net: &NetState, seconds: f64) -> impl Iterator<Item = String> {
    TIMERS
        .iter()
        .filter(move |timer| equal(seconds, timer.seconds) && timer.of.fits(finding))
        .filter(|timer| is_here(timer.name, net))
        .map(|timer| format!("{} ({} s)", timer.name, timer.seconds))
}

/// Full minutes, and every occurrence on one.
fn on_the_minute(finding: &Finding, seconds: f64) -> Option<String> {
    let minutes = (seconds / 60.0).round();
    let aligned =
        |o: &Occurrence| (o.at.0.rem_euclid(60_000_000_000) as f64) / 1e9 <= ON_THE_MINUTE;
    (minutes >= 1.0 && equal(seconds, minutes * 60.0) && finding.occurrences.iter().all(aligned))
        .then(|| format!("on the minute, every {minutes} min of the clock, as cron starts jobs"))
}

/// Timers whose values the input shows.
fn computed(finding: &Finding, net: &NetState, seconds: f64) -> Vec<String> {
    let mut fits = Vec::new();
    if Of::Dhcp.fits(finding) {
        for (term, prefix) in net.leases.terms() {
            let of = format!("of the lease of {} ({} s)", prefix.addr(), term.valid);
            for (name, value) in [("T1", term.t1), ("T2", term.t2), ("the end", term.valid)] {
                if value > 0 && equal(seconds, f64::from(value)) {
                    fits.push(format!("{name} {of}"));
                }
            }
        }
        // Leases of one length are one timer.
        fits.dedup_by_key(|text| text.split(" of the lease").next().map(str::to_owned));
    }
    if Of::Session.fits(finding)
        && let Some(hold) = finding.reach
    {
        let hold = hold.as_secs_f64();
        if equal(seconds, hold) {
            fits.push(format!("the hold time ({hold} s)"));
        }
    }
    if Of::Bfd.fits(finding)
        && let Some(detection) = finding.reach.filter(|d| !d.is_zero())
        && equal(seconds, detection.as_secs_f64())
    {
        fits.push(format!(
            "BFD's detection time ({} s)",
            detection.as_secs_f64()
        ));
    }
    if Of::Ra.fits(finding) {
        for (router, known) in net.routers.iter() {
            let lifetime = known.current().map(|sender| sender.ra.lifetime);
            let lifetime = lifetime.map(|s| Duration::from_secs(s.into()));
            for (name, value) in [("interval", known.interval), ("lifetime", lifetime)] {
                let value = value.unwrap_or_default().as_secs_f64();
                if value >= 1.0 && equal(seconds, value) && fits.len() < 4 {
                    fits.push(format!(
                        "the advertisement {name} of router {router} ({value:.0} s)"
                    ));
                }
            }
        }
    }
    fits
}

#[cfg(test)]
mod tests;
