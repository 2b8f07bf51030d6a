//! `route.peer-path`: the way of a session's packets changed, and the session died of it.
//!
//! A peer on a shared link is reached by the connected route, one hop away, usually with a TTL of 1 (RFC 4271 §5.1.3, RFC 5082). When that
//! route is deleted by a process, or a more specific one covers the peer's address (a peer's own address learned by BGP: classic
//! recursive routing), the segments leave by another port, while carrier, address and neighbor are sound. The kernel's table tells it,
//! and so do the frames: segments of one end on another interface, ICMP errors that quote them. It is told with the loss that it made;
//! what the kernel itself does with a link or an address has findings of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::perspective::Perspective;
use super::reason;
use crate::detect::link::kernel::{actor, placed, process_advice, way};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};
use crate::event::netlink::protocol_name;
use crate::event::{Classes, EventKind, Locator, Prefix, Timestamp};
use crate::state::routes::{Cause, RouteChange, RouteDelta, TABLE_MAIN};
use crate::state::sessions::{DownCause, End, Session, SessionDelta, SessionId, Undelivered, Via};
use crate::state::{NetState, Observation};

/// Addresses watched: two for each session.
const MAX_PEERS: usize = crate::state::sessions::MAX_SESSIONS * 2;
/// Peers that one changed route is asked about: more than any link has.
const MAX_COVERED: usize = 256;
/// Without a known hold time: FRR's and BIRD's usual ones are 180 and 240 s; and a retry may follow before the loss is told.
const LONGEST: Duration = Duration::from_secs(240);
const SLACK: Duration = Duration::from_secs(10);
/// One stray segment on another interface is a mirror or a re-ordered capture.
const SEGMENTS: u32 = 2;

/// A change of the way to a peer.
#[derive(Clone, Debug)]
struct Shift {
    at: Timestamp,
    locator: Locator,
    by: u32,
    /// The route that went or came, and its owner.
    prefix: Prefix,
    protocol: u8,
    came: bool,
    from: u32,
    to: String,
    until: Option<Timestamp>,
}

/// Detects it.
#[derive(Clone, Default)]
pub(super) struct PeerPaths {
    perspective: Perspective,
    peers: BTreeSet<IpAddr>,
    shifts: BTreeMap<IpAddr, Shift>,
    found: BTreeMap<SessionId, (FindingKey, Timestamp)>,
}

impl Detector for PeerPaths {
    fn name(&self) -> &'static str {
        "route.peer-path"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::ROUTE)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if matches!(seen.event.kind, EventKind::Link(_) | EventKind::Address(_)) {
            self.perspective.observe(seen);
        }
        for delta in &seen.changes.routes {
            self.route(delta, net, board);
        }
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::Appeared { id, .. } | SessionDelta::Up { id, .. } => {
                    self.know(*id, net)
                }
                SessionDelta::Down { id, at, cause, .. } => {
                    self.know(*id, net);
                    self.lost(*id, *at, cause, net, board);
                }
                _ => {}
            }
        }
    }
}

impl PeerPaths {
    fn know(&mut self, id: SessionId, net: &NetState) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        // Which end is the far one may only turn out later: the way to an own address is never judged.
        for addr in session.ends.iter().map(|end| end.addr) {
            let room = self.peers.len() < MAX_PEERS || self.peers.contains(&addr);
            if !addr.is_unspecified() && room {
                self.peers.insert(addr);
            }
        }
    }

    /// A change of the kernel's table: does a peer's way change with it?
    fn route(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let prefix = delta.key.prefix;
        if self.peers.is_empty()
            || delta.key.table != TABLE_MAIN
            || prefix.is_default()
            || delta.change == RouteChange::Reasserted
        {
            return;
        }
        let covered: Vec<IpAddr> = self
            .peers
            .range(prefix.addr()..)
            .copied()
            .take_while(|addr| prefix.contains(*addr))
            .take(MAX_COVERED)
            .collect();
        for peer in covered {
            match shift(delta, peer, net) {
                Some(shift) => {
                    let known = self.shifts.get(&peer);
                    if known.is_none_or(|known| known.until.is_some()) {
                        self.shifts.insert(peer, shift);
                    }
                }
                None => self.restored(peer, delta, net, board),
            }
        }
    }

    fn restored(&mut self, peer: IpAddr, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(shift) = self.shifts.get_mut(&peer).filter(|s| s.until.is_none()) else {
            return;
        };
        let back = net
            .routes
            .lookup(peer)
            .is_some_and(|(_, route)| route.gateways().next().is_none() && route.via(shift.from));
        if !back {
            return;
        }
        shift.until = Some(delta.at);
        let since = shift.at;
        let over = self.found.values().filter(|(_, at)| *at == since);
        for (key, _) in over {
            board.update(*key, |finding| {
                finding.recovered(delta.at);
                finding.support(&placed(delta.at, delta.locator));
                finding.ended = Some(delta.at);
                finding.broken = Default::default();
            });
        }
    }

    /// A session went down: did its way change before?
    fn lost(
        &mut self,
        id: SessionId,
        at: Timestamp,
        cause: &DownCause,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        if !of_a_dead_path(cause) {
            return;
        }
        let far = self.perspective.far_end(&net.sessions, session) & 1;
        let reach = session.hold_time().unwrap_or(LONGEST) + SLACK;
        let inside = |when: Timestamp| when <= at && at.since(when) <= reach;
        let peer = session.ends[far].addr;
        let shift = self
            .shifts
            .get(&peer)
            .filter(|shift| shift.at <= at && shift.until.is_none_or(inside))
            // A way that was changed long before the session came up is the way that it had.
            .filter(|shift| session.up_since.is_none_or(|up| up <= shift.at) || inside(shift.at));
        let moved = (0..2).find_map(|end| {
            moved(session, end)
                .filter(|(now, _)| inside(now.since))
                .map(|(now, before)| (end, now, before))
        });
        let refused = (0..2).find_map(|end| {
            let lost = session.ends[end]
                .undelivered
                .filter(|lost| inside(lost.last.0) && !lost.is_about_size())?;
            Some((end, lost))
        });
        let down = self
            .perspective
            .interfaces(net, session)
            .iter()
            .any(|name| self.perspective.link_loss(name, at - reach, at).is_some());
        // Who asks for an address that is gone is told so by ICMP as well.
        let own = session.ends[1 - far].addr;
        let gone = self.perspective.address_loss(own, at - reach, at).is_some();
        if (down || gone) && shift.is_none() {
            return;
        }
        let frames = moved.is_some() || refused.is_some_and(|(_, lost)| lost.count >= SEGMENTS);
        if shift.is_none() && !frames {
            return;
        }
        let begin = shift
            .map(|shift| shift.at)
            .or(moved.map(|(_, now, _)| now.since))
            .or(refused.map(|(_, lost)| lost.first.0));
        let Some(begin) = begin else { return };
        if self
            .found
            .get(&id)
            .is_some_and(|(_, known)| *known == begin)
        {
            return;
        }
        let (far_end, near_end) = (&session.ends[far], &session.ends[1 - far]);
        let kind = Kind::RoutePeerPath;
        let mut finding = Finding::at(kind, Severity::Warning, Subject::Peer(peer, None), begin);
        finding.also(Subject::Peer(near_end.addr, None));
        finding.touch(Touch::Peer(peer));
        finding.touch(Touch::Peer(near_end.addr));
        finding.reach = session.hold_time();
        finding.broken.subject = true;
        let mut told: Vec<String> = Vec::new();
        if let Some(shift) = shift {
            let from = net.links.name(shift.from);
            finding.touch(Touch::Interface(from.clone()));
            finding.touch(Touch::Prefix(shift.prefix));
            finding.evidence.add(shift.locator);
            let what = if shift.came {
                format!(
                    "the {} route {} came",
                    protocol_name(shift.protocol),
                    shift.prefix
                )
            } else {
                format!(
                    "the connected route {} was deleted by {}",
                    shift.prefix,
                    actor(net, shift.by, None)
                )
            };
            told.push(format!(
                "Packets to the BGP peer {peer} stopped leaving by {from}, the link that they share, when {what}: they go {} since",
                shift.to
            ));
            self.shadow(shift, peer, net, board);
        }
        if let Some((end, now, before)) = moved {
            finding.evidence.add(now.locator);
            finding.last = finding.last.max(now.last.min(at));
            told.push(format!(
                "segments of {} were seen on {} before and on {} since {} ({} of them)",
                session.ends[end].addr,
                place(&before, net),
                place(&now, net),
                now.since.clock(),
                now.segments
            ));
        }
        if let Some((end, lost)) = refused {
            for (when, locator) in [lost.first, lost.last] {
                if when >= begin && when <= at {
                    finding.evidence.add(locator);
                    finding.last = finding.last.max(when);
                }
            }
            told.push(undelivered(&session.ends[end], &lost));
        }
        let mut text = told.join("; ");
        if let Some(first) = text.get(..1) {
            text = format!(
                "{}{}",
                first.to_uppercase(),
                text.get(1..).unwrap_or_default()
            );
        }
        finding.explain = format!("{text}.");
        finding.advice = vec![
            format!("ip route get {peer}"),
            format!("ip route show table all match {peer}"),
        ];
        if let Some(by) = shift.map(|shift| shift.by).filter(|by| *by != 0) {
            finding.advice.push(process_advice(net, by));
        }
        if let Some(mac) = far_end.mac {
            finding.touch(Touch::Mac(mac));
        }
        let key = board.raise(finding);
        if self.found.len() < MAX_PEERS {
            self.found.insert(id, (key, begin));
        }
    }

    /// The route that covers the peer's address is the root: a finding of its own.
    fn shadow(&self, shift: &Shift, peer: IpAddr, net: &NetState, board: &mut Board) {
        if !shift.came {
            return;
        }
        let kind = Kind::RouteShadowed;
        let subject = Subject::Prefix(shift.prefix);
        let known = board
            .of_kind(kind)
            .find(|(_, finding)| {
                finding.subjects.first() == Some(&subject) && finding.first == shift.at
            })
            .map(|(key, _)| key);
        if let Some(key) = known {
            // Told already as what it does to other traffic; now it cost a session.
            board.update(key, |finding| {
                finding.severity = finding.severity.max(Severity::Warning);
                finding.touch(Touch::Peer(peer));
            });
            return;
        }
        let event = placed(shift.at, shift.locator);
        let mut finding = Finding::new(
            kind,
            Severity::Warning,
            Subject::Prefix(shift.prefix),
            &event,
        );
        finding.touch(Touch::Prefix(shift.prefix));
        finding.touch(Touch::Peer(peer));
        finding.affected.routes.insert(shift.prefix);
        finding.broken.subject = true;
        finding.actor = Some(actor(net, shift.by, Some(shift.protocol)));
        finding.explain = format!(
            "The {} route {} ({}) covers the address of the BGP peer {peer} and is more specific than the connected route on {}: packets to the peer \
             follow it, and a single-hop session does not survive that.",
            protocol_name(shift.protocol),
            shift.prefix,
            shift.to,
            net.links.name(shift.from),
        );
        finding.advice = vec![
            format!("ip route show {}", shift.prefix),
            format!("ip route get {peer}"),
        ];
        board.raise(finding);
    }
}

/// Whether a loss may be that of a dead path: nobody said anything else.
fn of_a_dead_path(cause: &DownCause) -> bool {
    let silent = |n: &crate::event::bgp::Notification| {
        matches!(
            reason::of_notification(n),
            Reason::HoldTimerExpired | Reason::SendHoldExpired | Reason::BfdDown | Reason::Unknown
        )
    };
    match cause {
        DownCause::Notification { notification, .. } => silent(notification),
        DownCause::Bmp { notification, .. } => notification.as_ref().is_none_or(silent),
        DownCause::Silence { .. }
        | DownCause::Tcp { .. }
        | DownCause::Superseded
        | DownCause::StateChange { .. } => true,
    }
}

/// What a change of a route does to the way to `peer`, which was on the link that both share.
fn shift(delta: &RouteDelta, peer: IpAddr, net: &NetState) -> Option<Shift> {
    let now = net.routes.lookup(peer);
    let by = delta.by;
    let prefix = delta.key.prefix;
    let to = now.map_or("nowhere".to_owned(), |(_, route)| way(net, route));
    let (old, new) = (delta.old.as_ref(), delta.new.as_ref());
    if delta.change == RouteChange::Removed {
        let old = old.filter(|old| old.connected())?;
        let from = old.hops.iter().find_map(|hop| hop.ifindex)?;
        let asked = by != 0 && delta.cause == Cause::Notified;
        let still =
            now.is_some_and(|(_, route)| route.gateways().next().is_none() && route.via(from));
        return (asked && !still && net.links.usable(from)).then_some(Shift {
            at: delta.at,
            locator: delta.locator,
            by,
            prefix,
            protocol: old.protocol,
            came: false,
            from,
            to,
            until: None,
        });
    }
    let new = new?;
    let (key, _) = now?;
    if *key != delta.key {
        return None;
    }
    // What it beats: the connected route of the link.
    let (_, connected) = net.routes.covering(prefix).next()?;
    let from = connected.hops.iter().find_map(|hop| hop.ifindex)?;
    let on_link = |route: &crate::state::routes::Route| route.gateways().next().is_none();
    let leaves = !on_link(new) && new.gateways().all(|gateway| gateway != peer)
        || !new.via(from) && !new.hops.is_empty()
        || new.hops.is_empty();
    // By the same link through its own router, as FRR writes what the peer announces of itself, nothing changes but a hop.
    let same_link = new.hops.iter().all(|hop| hop.ifindex == Some(from)) && !new.hops.is_empty();
    (on_link(connected) && connected.connected() && leaves && !same_link).then_some(Shift {
        at: delta.at,
        locator: delta.locator,
        by,
        prefix,
        protocol: new.protocol,
        came: true,
        from,
        to,
        until: None,
    })
}

/// Whether an end's segments moved to another interface, and the other end's still come by the first one: now and before.
fn moved(session: &Session, end: usize) -> Option<(Via, Via)> {
    let (own, other) = (&session.ends[end & 1], &session.ends[1 - (end & 1)]);
    let (now, before) = (own.via?, own.via_before?);
    let beside = other.via.filter(|via| {
        (via.source, via.ifindex) == (before.source, before.ifindex) && via.last >= now.since
    });
    let enough = now.segments >= SEGMENTS && before.segments >= SEGMENTS;
    // A frame seen on two interfaces in turns is one that is forwarded or mirrored.
    (enough && beside.is_some() && before.last <= now.since && own.retransmissions > 0)
        .then_some((now, before))
}

fn place(via: &Via, net: &NetState) -> String {
    let name = via.ifindex.map(|ifindex| net.links.name(ifindex));
    let name = name.or_else(|| net.sources.get(&via.source)?.interface.clone());
    name.map_or("another interface".to_owned(), String::from)
}

fn undelivered(end: &End, lost: &Undelivered) -> String {
    let by = lost.by.map_or("somebody".to_owned(), |by| by.to_string());
    format!(
        "{by} answered segments of {} with ICMP {}, {} times",
        end.addr,
        lost.says(),
        lost.count
    )
}

#[cfg(test)]
mod tests;
