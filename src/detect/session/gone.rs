//! The BGP speaker of this host ended and is not back: every session was closed from here at once, and none is up again.
//!
//! The kernel of a process that dies closes its connections (FIN or RST, without a NOTIFICATION); who restarts it brings them back within
//! seconds, which is `session.speaker-restarted`. What the daemon wrote into the kernel's table stays there when nobody cleans up (zebra
//! killed before bgpd, BIRD killed, `bgp graceful-restart preserve-fw-state`): it forwards on, and nobody follows the network any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::perspective::Perspective;
use crate::detect::finding::MAX_PREFIXES;
use crate::detect::link::kernel::list;
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};
use crate::event::bgp::Notification;
use crate::event::netlink::{is_routing_daemon, protocol_name};
use crate::event::{Classes, EventKind, Locator, Prefix, Timestamp};
use crate::state::sessions::{DownCause, Observer, Session, SessionDelta, SessionId, State};
use crate::state::{NetState, Observation};

/// D32: the kernel closes all sockets of a dead process in one go; FRR sends its Ceases within milliseconds.
const TOGETHER: Duration = Duration::from_secs(2);
/// A supervisor starts a dead daemon again within this (systemd: RestartSec=100ms, FRR's watchfrr: 5 s), and its sessions come up in a second.
const AWAY: Duration = Duration::from_secs(10);
/// One closed session may have any reason; two at once are a process, and so is one behind whose port nobody listens.
const LEAST: usize = 2;
/// Sessions of a host that are looked at; a route server's first thousands prove it.
const MAX_CLOSED: usize = 4096;
/// Prefixes named.
const MAX_SUBJECTS: usize = 16;

#[derive(Copy, Clone, Debug)]
struct Closed {
    at: Timestamp,
    locator: Locator,
    /// It said that it was shut down (Cease 6/2, 6/3).
    said: bool,
}

/// Detects it.
#[derive(Clone, Default)]
pub(super) struct SpeakerGone {
    perspective: Perspective,
    closed: BTreeMap<SessionId, Closed>,
    /// When the first of those closings was, and when it is asked whether anything is back.
    ask: Option<(Timestamp, Timestamp)>,
    found: Option<(FindingKey, Option<FindingKey>)>,
}

impl Detector for SpeakerGone {
    fn name(&self) -> &'static str {
        "session.speaker-gone"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if matches!(seen.event.kind, EventKind::Link(_) | EventKind::Address(_)) {
            return self.perspective.observe(seen);
        }
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::Down {
                    id,
                    at,
                    observer: Observer::Packets,
                    cause,
                } => self.down(*id, *at, seen.event.locator, cause, net),
                SessionDelta::Up { id, .. } => self.up(*id, seen.event.at, board),
                _ => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.ask.map(|(_, at)| at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        if let Some((first, _)) = self.ask.filter(|(_, at)| *at <= now) {
            self.ask = None;
            self.judge(first, now, net, board);
        }
    }
}

impl SpeakerGone {
    fn down(
        &mut self,
        id: SessionId,
        at: Timestamp,
        locator: Locator,
        cause: &DownCause,
        net: &NetState,
    ) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        let shut = |n: &Notification| matches!(n.cause(), (6, 2 | 3));
        let by = match cause {
            DownCause::Tcp { from, .. } => Some((*from, false)),
            DownCause::Notification { from, notification } if shut(notification) => {
                Some((*from, true))
            }
            _ => None,
        };
        let Some((from, said)) = by else { return };
        if self.own_end(session) != Some(from & 1) || self.closed.len() >= MAX_CLOSED {
            return;
        }
        if self.ask.is_none_or(|(first, _)| at.since(first) > TOGETHER) {
            self.closed.clear();
            self.ask = Some((at, at + AWAY));
        }
        self.closed.insert(id, Closed { at, locator, said });
    }

    /// The end that is certainly this host's: by its addresses, or because packets of it were captured as they left.
    fn own_end(&self, session: &Session) -> Option<usize> {
        self.perspective.own_end(session)
    }

    fn up(&mut self, id: SessionId, at: Timestamp, board: &mut Board) {
        if self.closed.remove(&id).is_none() {
            return;
        }
        // One that is back is proof of a speaker.
        self.closed.clear();
        self.ask = None;
        let Some((gone, stale)) = self.found.take() else {
            return;
        };
        for key in [Some(gone), stale].into_iter().flatten() {
            board.update(key, |finding| {
                finding.recovered(at);
                finding.ended = Some(at);
                finding.broken = Default::default();
            });
        }
    }

    fn judge(&mut self, first: Timestamp, now: Timestamp, net: &NetState, board: &mut Board) {
        let mut struck: Vec<(SessionId, &Session, usize, Closed)> = Vec::new();
        let mut deaf = false;
        for (id, session) in net.sessions.iter() {
            let Some(own) = self.own_end(session).filter(|_| session.feed.is_none()) else {
                continue;
            };
            match self.closed.get(&id) {
                Some(closed) if session.state != State::Established => {
                    deaf |= session.ends[1 - own].opening.reset > 0;
                    struck.push((id, session, own, *closed));
                }
                // One that lives, or that went another way after them, is another story: the speaker is there.
                _ if session.state == State::Established => return,
                _ if session.down_at.is_some_and(|down| down > first) => return,
                _ => {}
            }
        }
        // A Cease alone may be an operator's word for all neighbors of a process that lives on.
        let said = struck.iter().any(|(_, _, _, closed)| closed.said);
        let Some(&(_, lead, own, _)) = struck.iter().min_by_key(|(id, _, _, c)| (c.at, *id)) else {
            return;
        };
        if !deaf && (said || struck.len() < LEAST) {
            return;
        }
        // About the speaker here, not one of its neighbors.
        let id = lead.ends[own].router_id;
        let subject = match id {
            0 => Subject::Peer(lead.ends[own].addr, None),
            id => Subject::Router(IpAddr::from(id.to_be_bytes())),
        };
        // The process ended before its kernel closed the first connection.
        let begin = first - Duration::from_nanos(1);
        let mut finding = Finding::at(Kind::SessionDown, Severity::Warning, subject, begin);
        finding.reason = Some(Reason::SpeakerGone);
        finding.broken.subject = true;
        finding.fidelity = crate::detect::Fidelity::Exact;
        let mut peers = BTreeSet::new();
        for (_, session, own, closed) in &struck {
            let (here, there) = (&session.ends[*own], &session.ends[1 - *own]);
            peers.insert(there.addr);
            finding.also(Subject::Peer(there.addr, None));
            finding.touch(Touch::Peer(there.addr));
            finding.touch(Touch::Peer(here.addr));
            finding
                .affected
                .sessions
                .insert(Subject::Peer(there.addr, None));
            finding.evidence.add(closed.locator);
            finding.last = finding.last.max(closed.at);
        }
        let within = finding.last.since(first);
        let listens = if deaf {
            "; nobody listens here any more: SYNs of its neighbors are answered by RST"
        } else {
            ""
        };
        let how = if said {
            "with a Cease"
        } else {
            "without a NOTIFICATION"
        };
        finding.explain = format!(
            "The BGP speaker of this host is gone: it closed its {} sessions (to {}) within {:.0} ms {how}, and none was back {:.0} s later{listens}.",
            struck.len(),
            list(&peers, 4),
            within.as_secs_f64() * 1000.0,
            now.since(first).as_secs_f64(),
        );
        finding.advice = vec![
            "systemctl status frr bird --no-pager".to_owned(),
            "journalctl -b --no-pager -n 50 -u frr -u bird".to_owned(),
            "ss -tlnp '( sport = :179 )'".to_owned(),
        ];
        let stale = stale(net, first, &peers, &struck, &mut finding.affected.routes);
        // Who says goodbye to everybody and clears up was stopped on purpose; what is missing then has findings of its own.
        if said && stale.is_none() {
            finding.planned = true;
            finding.severity = Severity::Info;
        }
        let gone = board.raise(finding);
        self.found = Some((gone, stale.map(|stale| board.raise(stale))));
    }
}

/// The routes that a routing daemon wrote through these neighbors and that are still there.
fn stale(
    net: &NetState,
    first: Timestamp,
    peers: &BTreeSet<IpAddr>,
    struck: &[(SessionId, &Session, usize, Closed)],
    all: &mut crate::event::PrefixSet,
) -> Option<Finding> {
    let mut counts = [0u64; 2];
    let mut owners: BTreeSet<u8> = BTreeSet::new();
    let mut prefixes: BTreeSet<Prefix> = BTreeSet::new();
    // IPv6 routes may lead to a neighbor's link-local address: its link is known by the neighbor's other one.
    let links: BTreeSet<u32> = peers
        .iter()
        .filter_map(|peer| net.addresses.interface_of(*peer))
        .collect();
    for (key, route) in net.routes.iter() {
        let theirs = route.since < first
            && is_routing_daemon(route.protocol)
            && route
                .hops
                .iter()
                .any(|hop| match (hop.gateway, hop.ifindex) {
                    (Some(IpAddr::V6(gateway)), Some(link)) if gateway.is_unicast_link_local() => {
                        links.contains(&link)
                    }
                    (Some(gateway), _) => peers.contains(&gateway),
                    (None, _) => false,
                });
        if !theirs {
            continue;
        }
        counts[usize::from(key.prefix.is_ipv6())] += 1;
        owners.insert(route.protocol);
        if all.len() < MAX_PREFIXES {
            all.insert(key.prefix);
        }
        if prefixes.len() < MAX_SUBJECTS && !key.prefix.is_default() {
            prefixes.insert(key.prefix);
        }
    }
    let named = prefixes.first().copied()?;
    let kind = Kind::RouteFibStale;
    let mut finding = Finding::at(kind, Severity::Warning, Subject::Prefix(named), first);
    for prefix in &prefixes {
        finding.also(Subject::Prefix(*prefix));
        finding.touch(Touch::Prefix(*prefix));
    }
    for peer in peers {
        finding.touch(Touch::Gateway(*peer));
        finding.touch(Touch::Peer(*peer));
    }
    for (_, _, _, closed) in struck {
        finding.evidence.add(closed.locator);
        finding.last = finding.last.max(closed.at);
    }
    finding.fidelity = crate::detect::Fidelity::Inferred;
    finding.affected.routes = all.clone();
    finding.broken.subject = true;
    let families = [(counts[0], "IPv4"), (counts[1], "IPv6")];
    let families = families.iter().filter(|(n, _)| *n > 0);
    finding.explain = format!(
        "{} routes of {} through its neighbors are still in the kernel and forward, though no daemon follows the network any more: {}.",
        list(families.map(|(n, family)| format!("{n} {family}")), 2),
        list(owners.iter().map(|owner| protocol_name(*owner)), 3),
        list(&prefixes, 4),
    );
    finding.advice = owners
        .iter()
        .take(2)
        .map(|owner| format!("ip route show table all proto {owner}"))
        .collect();
    Some(finding)
}

#[cfg(test)]
mod tests;
