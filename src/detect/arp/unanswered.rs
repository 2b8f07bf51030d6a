//! `neighbor.unreachable` from packets alone: a gateway or BGP peer that is asked for, and does not answer any more.
//!
//! A missing answer may be the capture's fault: answers are unicast, and a mirrored port shows one direction only. So silence counts only
//! for whom this capture showed an answer of this very address before, only while the capture demonstrably goes on, and only for what
//! packets show to matter: gateways that DHCP or router advertisements hand out, declared ones, and ends of BGP sessions. Where the kernel's own
//! neighbor table is watched, `neighbor` knows better, and this stays silent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::detect::{
    Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};
use crate::event::lan::NdMessage;
use crate::event::{Classes, Event, EventKind, Locator, SourceId, SourceKind, Timestamp};
use crate::state::hosts::{HostChange, Proof, Scope};
use crate::state::{NetState, Observation};

/// Questions in a row without an answer: the kernel itself gives up after three (`mcast_solicit`, RFC 4861 §10 MAX_MULTICAST_SOLICIT).
const QUESTIONS: u32 = 3;
/// … and this long after the first of them: a VRRP fail-over takes 3.6 s with its defaults (RFC 9568 §6.1), then the new master announces
/// itself. The survey's A7 has the same figure.
const SILENT: Duration = Duration::from_secs(5);
/// A pause in the questions as long as this ends a row: nobody needs the address then.
const PAUSE: Duration = Duration::from_secs(60);
/// Failures within this time are one finding; the third makes it a flap, as for failures that the kernel tells.
const FLAP_WINDOW: Duration = Duration::from_secs(300);
const FLAPS: u64 = 3;
/// An answer that was seen proves the way of answers to this asker for so long: four hours, the longest that routers keep an entry.
const PROVEN: Duration = Duration::from_secs(4 * 3600);
/// Addresses whose answers are remembered, and askers of each.
const MAX_WATCHED: usize = 1024;
const MAX_ASKERS: usize = 4;
/// Looking for room walks the table; a flood makes it do so once a second.
const PURGE_EVERY: Duration = Duration::from_secs(1);

type Key = (Scope, IpAddr);

/// One address.
#[derive(Clone, Default)]
struct Watch {
    /// Whom its answers were seen to reach, and when last.
    reached: SmallVec<[(IpAddr, Timestamp); 2]>,
    /// Unanswered questions in a row: how many, since when, the last one, their first frames.
    asked: u32,
    since: Timestamp,
    last: Timestamp,
    frames: SmallVec<[Locator; 3]>,
    by: Option<IpAddr>,
    finding: Option<FindingKey>,
    silent: bool,
    touched: Timestamp,
}

/// The detector.
#[derive(Clone, Default)]
pub(super) struct Unanswered {
    declared: Vec<IpAddr>,
    watched: BTreeMap<Key, Watch>,
    /// Rows of questions that are long enough, with the time from which silence counts: told when their capture is heard after it.
    waiting: BTreeMap<Key, Timestamp>,
    purged: Timestamp,
}

impl Unanswered {
    pub(super) fn new(settings: &Settings) -> Unanswered {
        Unanswered {
            declared: settings.gateways.clone(),
            ..Unanswered::default()
        }
    }
}

impl Detector for Unanswered {
    fn name(&self) -> &'static str {
        "arp.unanswered"
    }

    fn wants(&self) -> Classes {
        Classes::ARP.and(Classes::ND).and(Classes::GAP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let event = seen.event;
        if matches!(event.kind, EventKind::Gap(_)) {
            self.gap(event.source);
            return;
        }
        for delta in &seen.changes.hosts {
            let claims = !matches!(
                delta.change,
                HostChange::Probed | HostChange::Defended { .. }
            );
            if claims {
                self.alive(
                    (delta.scope, delta.addr),
                    delta.proof,
                    delta.audience.one(),
                    event,
                    board,
                );
            }
        }
        if let Some((scope, addr, asker)) = question(event, net).filter(|_| !seen.changes.copy) {
            self.asked((scope, addr), asker, event, net);
        }
        if !self.waiting.is_empty() {
            self.heard(event, net, board);
        }
    }
}

/// Who asks for which address; probes and announcements ask nobody.
fn question(event: &Event, net: &NetState) -> Option<(Scope, IpAddr, IpAddr)> {
    match &event.kind {
        EventKind::Arp(arp) if arp.op == 1 && !arp.is_probe() && !arp.is_gratuitous() => Some((
            net.who.link(event, &arp.frame),
            arp.target_ip.into(),
            arp.sender_ip.into(),
        )),
        EventKind::Nd(nd) if nd.flaws.is_empty() => {
            let NdMessage::NeighborSolicitation { target } = nd.message else {
                return None;
            };
            let asker = nd.frame.ip_src.filter(|source| !source.is_unspecified())?;
            Some((net.who.link(event, &nd.frame), target.into(), asker))
        }
        _ => None,
    }
}

impl Unanswered {
    /// The address claims itself: it lives, and if it answered somebody, that one can hear it.
    fn alive(
        &mut self,
        key: Key,
        proof: Proof,
        to: Option<IpAddr>,
        event: &Event,
        board: &mut Board,
    ) {
        let reached = to.filter(|_| proof == Proof::Answer);
        if !self.watched.contains_key(&key) && (reached.is_none() || !self.room(event.at)) {
            return;
        }
        self.waiting.remove(&key);
        let watch = self.watched.entry(key).or_default();
        watch.touched = event.at;
        watch.asked = 0;
        watch.frames.clear();
        if let Some(to) = reached {
            watch.reached.retain(|(asker, _)| *asker != to);
            if watch.reached.len() == MAX_ASKERS {
                watch.reached.remove(0);
            }
            watch.reached.push((to, event.at));
        }
        if std::mem::replace(&mut watch.silent, false)
            && let Some(finding) = watch.finding
        {
            board.update(finding, |f| {
                f.recovered(event.at);
                f.support(event);
                f.broken = Default::default();
                f.ended = Some(event.at);
                let after = f
                    .occurrences
                    .last()
                    .map(|last| event.at.since(last.at).as_secs_f64());
                f.explain = format!(
                    "{} It answered again after {:.1} s.",
                    f.explain,
                    after.unwrap_or_default()
                );
            });
        }
    }

    fn asked(&mut self, key: Key, asker: IpAddr, event: &Event, net: &NetState) {
        let Some(watch) = self.watched.get_mut(&key) else {
            return; // never seen to answer
        };
        let visible = watch
            .reached
            .iter()
            .any(|(to, at)| *to == asker && event.at.since(*at) <= PROVEN);
        if !visible || watch.silent {
            return;
        }
        if watch.asked == 0 || event.at.since(watch.last) > PAUSE {
            watch.asked = 0;
            watch.frames.clear();
            watch.since = event.at;
        }
        watch.asked = watch.asked.saturating_add(1);
        watch.last = event.at;
        watch.touched = event.at;
        watch.by = Some(asker);
        if watch.frames.len() < QUESTIONS as usize {
            watch.frames.push(event.locator);
        }
        if watch.asked >= QUESTIONS && matters(key.1, &self.declared, net) {
            self.waiting.entry(key).or_insert(watch.since + SILENT);
        }
    }

    /// Something of a capture was heard: what was silent in it until now is so indeed.
    fn heard(&mut self, event: &Event, net: &NetState, board: &mut Board) {
        let due: Vec<Key> = self
            .waiting
            .iter()
            .filter(|((scope, _), from)| scope.source == event.source && event.at > **from)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.waiting.remove(&key);
            self.silent(key, event, net, board);
        }
    }

    fn silent(&mut self, key: Key, event: &Event, net: &NetState, board: &mut Board) {
        let (scope, addr) = key;
        let Some(watch) = self.watched.get_mut(&key) else {
            return;
        };
        let mut sources = net.sources.values();
        if sources.any(|source| source.kind == SourceKind::Netlink) {
            return; // the kernel's neighbor table is watched: it knows
        }
        watch.silent = true;
        let since = watch.since;
        let known = watch.finding.filter(|finding| {
            board
                .get(*finding)
                .is_some_and(|f| since.since(f.last) <= FLAP_WINDOW)
        });
        let finding = match known {
            Some(finding) => {
                board.update(finding, |f| f.again_at(since));
                finding
            }
            None => {
                let subject = Subject::Neighbor(addr);
                let kind = Kind::NeighborUnreachable;
                board.raise(Finding::at(kind, Severity::Warning, subject, since))
            }
        };
        watch.finding = Some(finding);
        let (frames, asked, by) = (watch.frames.clone(), watch.asked, watch.by);
        let mac = net
            .hosts
            .get(scope, addr)
            .and_then(|host| host.current())
            .map(|user| user.mac);
        let role = role(addr, &self.declared, net);
        let interface = net
            .sources
            .get(&scope.source)
            .and_then(|source| source.interface.clone());
        board.update(finding, |f| {
            for locator in &frames {
                f.evidence.add(*locator);
            }
            f.last = f.last.max(event.at.min(since + SILENT));
            f.broken.subject = true;
            if f.count >= FLAPS {
                f.kind = Kind::NeighborFlap;
            }
            crate::detect::neighbor::beside_scan(f, event.at, net);
            f.touch(Touch::Address(addr));
            f.touch(Touch::Peer(addr));
            if role == "Gateway" {
                f.touch(Touch::Gateway(addr));
            }
            if let Some(interface) = interface {
                f.touch(Touch::Interface(interface));
            }
            if let Some(mac) = mac {
                f.also(Subject::Mac(mac));
                f.touch(Touch::Mac(mac));
            }
            let by = by.map_or_else(|| "hosts".to_owned(), |by| by.to_string());
            let times = if f.count > 1 {
                format!(" ({} times so far)", f.count)
            } else {
                String::new()
            };
            f.explain = format!(
                "{role} {addr} does not answer {} any more: {by} asked {asked} times in {:.0} s and it answered before{times}.",
                if addr.is_ipv6() { "neighbor solicitations" } else { "ARP" },
                event.at.since(since).as_secs_f64(),
            );
            f.advice = vec![
                format!("tcpdump -eni IFACE '{} host {addr}'", if addr.is_ipv6() { "icmp6 and" } else { "arp and" }),
                format!("ip neigh show {addr}"),
            ];
        });
    }

    /// What was lost may have been answers.
    fn gap(&mut self, source: SourceId) {
        self.waiting.retain(|(scope, _), _| scope.source != source);
        for ((scope, _), watch) in &mut self.watched {
            if scope.source == source {
                watch.asked = 0;
                watch.frames.clear();
            }
        }
    }

    /// Room for another address: the one that was quiet for longest gives way, unless there is a finding about it.
    fn room(&mut self, now: Timestamp) -> bool {
        if self.watched.len() < MAX_WATCHED {
            return true;
        }
        if now.since(self.purged) < PURGE_EVERY {
            return false;
        }
        self.purged = now;
        let idle = self
            .watched
            .iter()
            .filter(|(key, watch)| watch.finding.is_none() && !self.waiting.contains_key(key))
            .min_by_key(|(key, watch)| (watch.touched, **key))
            .map(|(key, _)| *key);
        idle.is_some_and(|key| self.watched.remove(&key).is_some())
    }
}

fn role(addr: IpAddr, declared: &[IpAddr], net: &NetState) -> &'static str {
    if is_gateway(addr, declared, net) {
        "Gateway"
    } else {
        "BGP peer"
    }
}

fn is_gateway(addr: IpAddr, declared: &[IpAddr], net: &NetState) -> bool {
    declared.contains(&addr)
        || net
            .leases
            .servers
            .iter()
            .any(|server| server.leases > 0 && server.config.routers.contains(&addr))
        || net
            .routers
            .iter()
            .any(|(router, entry)| IpAddr::V6(router) == addr && entry.expires().is_some())
}

/// Whether anybody's traffic depends on the address, as far as packets tell.
fn matters(addr: IpAddr, declared: &[IpAddr], net: &NetState) -> bool {
    is_gateway(addr, declared, net)
        || net
            .sessions
            .iter()
            .any(|(_, session)| session.end_of(addr).is_some())
}
