//! Routers that appear when a link's routers are known already, and routers that contradict each other.
//!
//! Learning: whoever advertises within ten minutes of the first advertisement on a link is one of its routers, because a router may wait so
//! long between advertisements (MaxRtrAdvInterval's default, RFC 4861 §6.2.1). Learned first is not legitimate first; but without a
//! list of the legitimate ones a capture says no more than that. Where the host's own routes are watched it need not be waited for: a
//! router that it has not learned, while it had learned another, did not advertise before.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use smallvec::SmallVec;

use super::{Track, keys, witness};
use crate::detect::{Board, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Event, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::routers::{Field, Router, RouterDelta, differences};

/// MaxRtrAdvInterval's default (RFC 4861 §6.2.1).
const LEARNING: Duration = Duration::from_secs(600);
/// Advertisements of each router before their contradiction counts: a reload shows as one.
const STEADY: u64 = 2;
/// Advertisements after which a router's own rhythm is known: two pauses between them.
const BEGAN: u64 = 3;
/// A route to so much of the address space takes over traffic from the default route.
const COVERING: u8 = 3;
/// Pairs remembered as told.
const MAX_PAIRS: usize = 64;

/// Routers that are known beforehand.
#[derive(Clone, Default)]
pub(super) struct Expected {
    /// By the operator: a complete list.
    declared: BTreeSet<IpAddr>,
    /// By earlier runs.
    learned: BTreeSet<IpAddr>,
}

impl Expected {
    pub(super) fn new(settings: &Settings) -> Expected {
        Expected {
            declared: settings.routers.iter().copied().collect(),
            learned: settings.baseline.routers.clone(),
        }
    }

    /// Whether somebody knows it; `None` where nobody knows any router.
    fn knows(&self, router: Ipv6Addr) -> Option<bool> {
        let addr = IpAddr::V6(router);
        (!self.declared.is_empty() || !self.learned.is_empty())
            .then(|| self.declared.contains(&addr) || self.learned.contains(&addr))
    }

    /// Not among those that the operator declared.
    fn is_undeclared(&self, router: Ipv6Addr) -> bool {
        !self.declared.is_empty() && !self.declared.contains(&IpAddr::V6(router))
    }
}

/// The window in which a flood's routers are counted (see `flood`).
const FRESH: Duration = Duration::from_secs(60);
/// More than the newcomers that make a flood.
const MAX_FRESH: usize = 32;

/// The newcomers of one link.
#[derive(Clone)]
pub(super) struct Strangers {
    since: Timestamp,
    told: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
    /// Newcomers of the last minute: what began as some strangers may turn out to be a flood.
    fresh: VecDeque<(Timestamp, FindingKey)>,
}

impl Strangers {
    pub(super) fn since(since: Timestamp) -> Strangers {
        Strangers {
            since,
            told: BTreeSet::new(),
            fresh: VecDeque::new(),
        }
    }

    /// The link is being flooded: those that came with it are the flood, and none of them is a router of its own.
    pub(super) fn are_a_flood(&mut self, at: Timestamp, board: &mut Board) {
        for (appeared, key) in self.fresh.drain(..) {
            if at.since(appeared) <= FRESH {
                board.retract(key);
            }
        }
    }
}

/// A router that appeared late, with its finding.
#[derive(Copy, Clone, Debug)]
pub(super) struct Newcomer {
    key: FindingKey,
}

impl Newcomer {
    /// It went again: its role ended at `at`.
    pub(super) fn left(self, at: Timestamp, board: &mut Board) {
        board.update(self.key, |f| {
            f.recovered(at);
            f.broken = Default::default();
            f.ended = Some(at);
        });
    }
}

/// Takes an advertisement.
pub(super) fn advertised(
    strangers: Option<&mut Strangers>,
    expected: &Expected,
    track: &mut Track,
    event: &Event,
    delta: &RouterDelta,
    net: &NetState,
    board: &mut Board,
) {
    let (Some(strangers), Some(router)) = (strangers, net.routers.get(delta.scope, delta.router))
    else {
        return;
    };
    if let Some(newcomer) = track.newcomer {
        if delta.lifetime.1 == 0 && delta.lifetime.0 > Some(0) {
            newcomer.left(event.at, board);
            track.newcomer = None;
        } else {
            let severity = judge(event.at, expected, delta, router, net).0;
            board.update(newcomer.key, |f| {
                f.again(event);
                f.severity = f.severity.max(severity);
            });
        }
    } else {
        if delta.new_router && delta.lifetime.1 > 0 {
            track.unlearned = witness::unknown_to_kernel(net, delta.scope, delta.router);
        }
        // A list of those that belong here needs no time for learning.
        let known = expected.knows(delta.router);
        let late = delta.new_router
            && match known {
                Some(known) => !known,
                None => event.at.since(strangers.since) > LEARNING,
            };
        // It advertises steadily, and was silent before for longer than it ever is: it began while somebody watched.
        let began = known.is_none()
            && router.seen == BEGAN
            && router.longest.is_some_and(|longest| {
                router.first.since(strangers.since) > longest + longest / 10
            });
        // Its fellows may be heard later than it is, although they were there before: judged when there is somebody to compare it with.
        if late
            || (track.unlearned && known != Some(true))
            || takes_over(began, event.at, expected, delta, router, net)
        {
            track.newcomer = appeared(event, expected, delta, router, net, board);
            if let Some(newcomer) = track.newcomer {
                if strangers.fresh.len() == MAX_FRESH {
                    strangers.fresh.pop_front();
                }
                strangers.fresh.push_back((event.at, newcomer.key));
            }
        }
    }
    contradictions(strangers, event, delta, router, net, board);
}

/// Of a router that began within [`LEARNING`] only one that takes over is worth a word: the others may have been quiet by chance.
fn takes_over(
    began: bool,
    at: Timestamp,
    expected: &Expected,
    delta: &RouterDelta,
    router: &Router,
    net: &NetState,
) -> bool {
    began && judge(at, expected, delta, router, net).1.len() >= 2
}

/// How bad a newcomer is, and why.
fn judge(
    at: Timestamp,
    expected: &Expected,
    delta: &RouterDelta,
    router: &Router,
    net: &NetState,
) -> (Severity, SmallVec<[String; 3]>) {
    let mut reasons = SmallVec::new();
    let Some(sender) = router.current() else {
        return (Severity::Info, reasons);
    };
    if expected.is_undeclared(delta.router) && sender.ra.lifetime > 0 {
        reasons.push("is none of the declared routers".to_string());
    }
    let incumbents: Vec<&Router> = net
        .routers
        .on_link(delta.scope)
        .filter(|(addr, other)| {
            *addr != delta.router
                && (other.first < router.first
                    || witness::known_from_start(net, delta.scope, *addr))
        })
        .map(|(_, other)| other)
        .collect();
    let best = incumbents
        .iter()
        .filter(|other| other.is_default(at))
        .filter_map(|other| other.current()?.ra.preference)
        .max();
    if sender.ra.lifetime > 0 && best.is_some() && sender.ra.preference > best {
        reasons.push("takes over the default route by its higher preference".to_string());
    }
    let known_route = |prefix: &Prefix| {
        incumbents
            .iter()
            .filter_map(|other| other.current())
            .any(|other| other.ra.routes.iter().any(|(known, ..)| known == prefix))
    };
    for (prefix, _, lifetime) in &sender.ra.routes {
        if *lifetime > 0 && !known_route(prefix) {
            let takes = if prefix.len() <= COVERING {
                ", which covers everybody's default route"
            } else {
                ""
            };
            reasons.push(format!("injects a route to {prefix}{takes}"));
            break;
        }
    }
    let known_prefix = |prefix: &Prefix| {
        incumbents
            .iter()
            .filter_map(|other| other.current())
            .any(|other| {
                other
                    .ra
                    .prefixes
                    .iter()
                    .any(|known| known.prefix == *prefix)
            })
    };
    let foreign = sender
        .ra
        .prefixes
        .iter()
        .find(|p| (p.autonomous || p.on_link) && p.valid > 0 && !known_prefix(&p.prefix));
    if let Some(foreign) = foreign
        && sender.ra.lifetime > 0
        && best.is_some()
    {
        reasons.push(format!(
            "makes hosts take addresses of {}, which no router here announced",
            foreign.prefix
        ));
    }
    let virtual_router = sender.mac.is_some_and(|mac| mac.is_virtual_router());
    let severity = if reasons.is_empty() || virtual_router {
        Severity::Info
    } else {
        Severity::Warning
    };
    (severity, reasons)
}

fn appeared(
    event: &Event,
    expected: &Expected,
    delta: &RouterDelta,
    router: &Router,
    net: &NetState,
    board: &mut Board,
) -> Option<Newcomer> {
    let others = net.routers.on_link(delta.scope).count().saturating_sub(1);
    if others == 0 && expected.knows(delta.router).is_none() {
        return None; // the first router of the link again, after its entry was dropped
    }
    let (severity, reasons) = judge(event.at, expected, delta, router, net);
    let subject = Subject::Router(IpAddr::V6(delta.router));
    let mut finding = Finding::new(Kind::RaRogueRouter, severity, subject, event);
    let why = if reasons.is_empty() {
        "it agrees with what the others say".to_string()
    } else {
        format!("it {}", reasons.join(" and "))
    };
    finding.explain = format!(
        "{} began to advertise itself on a link that had {others} router(s); {why}",
        delta.router
    );
    finding.broken.subject = severity > Severity::Info;
    finding.explanations = vec![
        "a new or replaced router, which then belongs on the list of expected ones".into(),
        "a host that shares its connection (Windows ICS, a hotspot), or a container that answers solicitations (CVE-2020-10749)".into(),
    ];
    let macs: SmallVec<[Mac; 1]> = delta.sender.into_iter().collect();
    keys(&mut finding, net, delta.scope, delta.router, &macs);
    for mac in macs {
        finding.also(Subject::Mac(mac));
    }
    if let Some(sender) = router.current() {
        for (prefix, ..) in &sender.ra.routes {
            finding.touch(Touch::Prefix(*prefix));
        }
    }
    Some(Newcomer {
        key: board.raise(finding),
    })
}

/// Two steady default routers of one link that tell hosts different things about the link itself (RFC 4861 §6.2.7). Their prefixes and
/// routes may differ.
fn contradictions(
    strangers: &mut Strangers,
    event: &Event,
    delta: &RouterDelta,
    router: &Router,
    net: &NetState,
    board: &mut Board,
) {
    if router.seen < STEADY || !router.is_default(event.at) || strangers.told.len() >= MAX_PAIRS {
        return;
    }
    for (addr, other) in net.routers.on_link(delta.scope) {
        let pair = (addr.min(delta.router), addr.max(delta.router));
        let comparable = addr != delta.router && other.seen >= STEADY && other.is_default(event.at);
        if !comparable || strangers.told.contains(&pair) {
            continue;
        }
        let (Some(a), Some(b)) = (router.current(), other.current()) else {
            continue;
        };
        let about_link: Vec<&str> = differences(&a.ra, &b.ra)
            .into_iter()
            .filter_map(|field| match field {
                Field::HopLimit => Some("the hop limit"),
                Field::Managed => Some("whether addresses come from DHCPv6"),
                Field::OtherConfig => Some("whether other settings come from DHCPv6"),
                Field::ReachableTime => Some("the reachable time"),
                Field::RetransTimer => Some("the retransmission timer"),
                Field::Mtu => Some("the MTU"),
                _ => None,
            })
            .collect();
        if about_link.is_empty() {
            continue;
        }
        strangers.told.insert(pair);
        let subject = Subject::Router(IpAddr::V6(delta.router));
        let mut finding = Finding::new(Kind::RaInconsistent, Severity::Info, subject, event);
        finding.also(Subject::Router(IpAddr::V6(addr)));
        finding.explain = format!(
            "{} and {addr} tell hosts different things about {}; each host believes whom it heard last",
            delta.router,
            about_link.join(", ")
        );
        let macs: Vec<Mac> = [a.mac, b.mac].into_iter().flatten().collect();
        keys(&mut finding, net, delta.scope, delta.router, &macs);
        board.raise(finding);
    }
}
