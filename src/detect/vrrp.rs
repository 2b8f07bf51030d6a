//! `vrrp.two-masters`, `vrrp.flap`, `vrrp.moved`: virtual routers with two masters at once, or one after the other again and again.
//!
//! Two masters hold one address: that conflict is the finding operators look for, and the virtual router with its two masters is how it
//! came about. When one of them gives up, caches keep the MAC that was announced last: if that is the loser's, the address stays
//! unreachable until the other announces it (RFC 9568 §8.2.1 has the master announce itself when it *becomes* one, and it never stopped to be).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::link::kernel::{list, times};
use super::{
    Board, Detector, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject, Touch,
};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, EventKind, Timestamp};
use crate::state::hosts::HostChange;
use crate::state::who::virtual_routers::{Group, GroupKey, Master, VrrpChange, VrrpDelta};
use crate::state::{NetState, Observation};

/// Take-overs within this time that make a flap: a fail-over is one, its way back another.
const FLAPS: u64 = 3;
const FLAP_WINDOW: Duration = Duration::from_secs(300);
/// Virtual routers followed; the table of them has the same bound.
const MAX_WATCHED: usize = 1024;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(VirtualRouters::default()));
}

/// Two masters at once.
#[derive(Copy, Clone, Debug)]
struct Split {
    state: FindingKey,
    /// The conflict about the address, where the advertisements name one.
    conflict: Option<FindingKey>,
    pair: (IpAddr, IpAddr),
    /// Who gave up, once one of them did, and with which MAC.
    lost: Option<Option<Mac>>,
}

#[derive(Clone, Default, Debug)]
struct Watch {
    moved: Option<FindingKey>,
    split: Option<Split>,
}

#[derive(Clone, Default)]
struct VirtualRouters {
    watched: BTreeMap<GroupKey, Watch>,
}

impl Detector for VirtualRouters {
    fn name(&self) -> &'static str {
        "vrrp"
    }

    fn wants(&self) -> Classes {
        Classes::VRRP.and(Classes::ARP).and(Classes::ND)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if !matches!(seen.event.kind, EventKind::Vrrp(_)) {
            if !self.watched.is_empty() {
                self.announced(seen, net, board);
            }
            return;
        }
        for delta in &seen.changes.virtual_routers {
            let Some(group) = net.who.virtual_routers.get(delta.group) else {
                continue;
            };
            if self.watched.len() >= MAX_WATCHED && !self.watched.contains_key(&delta.group) {
                continue;
            }
            let watch = self.watched.entry(delta.group).or_default();
            watch.advertised(seen.event, delta, group, net, board);
        }
    }
}

impl VirtualRouters {
    /// A claim to a virtual address: the remaining master announces it, and caches are right again.
    fn announced(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.hosts {
            let claims = !matches!(
                delta.change,
                HostChange::Probed | HostChange::Defended { .. } | HostChange::Ignored
            );
            let Some(key) = net.who.virtual_routers.key_of(delta.scope, delta.addr) else {
                continue;
            };
            let Some(watch) = self.watched.get_mut(&key).filter(|_| claims) else {
                continue;
            };
            if let Some(split) = watch.split
                && let Some(loser) = split.lost
                && loser != Some(delta.mac)
            {
                watch.split = None;
                for key in [Some(split.state), split.conflict].into_iter().flatten() {
                    board.update(key, |f| {
                        f.support(seen.event);
                        f.broken = Default::default();
                        f.ended = Some(seen.event.at);
                    });
                }
            }
        }
    }
}

impl Watch {
    fn advertised(
        &mut self,
        event: &Event,
        delta: &VrrpDelta,
        group: &Group,
        net: &NetState,
        board: &mut Board,
    ) {
        match delta.change {
            VrrpChange::Beside { other } => self.beside(event, delta, group, other, net, board),
            VrrpChange::Took { from } => self.took(event, delta, group, from, board),
            VrrpChange::First | VrrpChange::Same | VrrpChange::Resigned => {}
        }
        self.over(event, delta, group, net, board);
    }

    fn beside(
        &mut self,
        event: &Event,
        delta: &VrrpDelta,
        group: &Group,
        other: IpAddr,
        net: &NetState,
        board: &mut Board,
    ) {
        let (Some(a), Some(b)) = (group.master(delta.by), group.master(other)) else {
            return;
        };
        let pair = (delta.by.min(other), delta.by.max(other));
        if let Some(split) = &mut self.split
            && split.pair == pair
            && split.lost.is_none()
        {
            let sentence = both(delta.group, (a, b), event.at);
            for key in [Some(split.state), split.conflict].into_iter().flatten() {
                board.update(key, |f| f.support(event));
            }
            board.update(split.conflict.unwrap_or(split.state), |f| {
                f.explain = sentence
            });
            return;
        }
        let raise = |kind, subject: Subject, board: &mut Board| {
            // Since the later of the two is one.
            let (begin, frame) = (a.since.max(b.since), if a.since > b.since { a } else { b });
            let mut finding = Finding::at(kind, Severity::Warning, subject, begin);
            finding.evidence.add(frame.first);
            finding.evidence.add(b.locator);
            finding.support(event);
            finding.broken.subject = true;
            finding.reason = Some(Reason::TwoMasters);
            finding.explain = both(delta.group, (a, b), event.at);
            keys(&mut finding, delta.group, &[a, b], net);
            board.raise(finding)
        };
        let address = a.addresses.first().or(b.addresses.first()).copied();
        let shared = address.filter(|addr| b.addresses.contains(addr));
        let conflict =
            shared.map(|addr| raise(Kind::AddressConflict, Subject::Address(addr), board));
        let subject = address.map_or(Subject::Router(delta.by), Subject::Address);
        let state = raise(Kind::VrrpTwoMasters, subject, board);
        board.update(conflict.unwrap_or(state), |f| f.explanations = why(a, b));
        if conflict.is_some() {
            board.update(state, |f| f.explain = each(delta.group, (a, b)));
        }
        self.split = Some(Split {
            state,
            conflict,
            pair,
            lost: None,
        });
    }

    /// One of the two is silent by now, or gave up: it was the loser.
    fn over(
        &mut self,
        event: &Event,
        delta: &VrrpDelta,
        group: &Group,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(split) = self.split.as_mut().filter(|split| split.lost.is_none()) else {
            return;
        };
        let ends = [split.pair.0, split.pair.1].map(|addr| group.master(addr));
        let gone = |master: &&Master| !master.is_alive(event.at);
        let (Some(lost), Some(stays)) = (
            ends.iter().flatten().copied().find(gone),
            ends.iter().flatten().copied().find(|master| !gone(master)),
        ) else {
            return;
        };
        split.lost = Some(lost.mac);
        let stale = stays.addresses.iter().copied().find(|addr| {
            let host = net.hosts.get(delta.group.0, *addr);
            let last = host.and_then(|host| host.current());
            last.is_some_and(|user| Some(user.mac) == lost.mac)
        });
        let seconds = lost.last.since(lost.since.max(stays.since)).as_secs_f64();
        let after = match (stale, lost.mac) {
            (Some(addr), Some(mac)) => format!(
                " {} stopped after {seconds:.0} s; the last that told caches about {addr} was {mac}, and {} has not announced it since: neighbors that \
                 believed the loser reach nobody until their entries age out.",
                lost.addr, stays.addr
            ),
            _ => format!(" {} stopped after {seconds:.0} s.", lost.addr),
        };
        for key in [Some(split.state), split.conflict].into_iter().flatten() {
            board.update(key, |f| {
                f.recovered(lost.last);
                f.evidence.add(lost.locator);
                if key == split.conflict.unwrap_or(split.state) {
                    f.explain.push_str(&after);
                }
                if let (Some(addr), true) = (stale, f.advice.len() < 4) {
                    f.advice.push(format!(
                        "arping -c 3 -U -I IFACE {addr}   (on {}: announces it again)",
                        stays.addr
                    ));
                }
                f.broken.subject = stale.is_some();
                f.ended = Some(event.at).filter(|_| stale.is_none());
            });
        }
        if stale.is_none() {
            self.split = None;
        }
    }

    fn took(
        &mut self,
        event: &Event,
        delta: &VrrpDelta,
        group: &Group,
        from: IpAddr,
        board: &mut Board,
    ) {
        let (Some(now), Some(before)) = (group.master(delta.by), group.master(from)) else {
            return;
        };
        let how = if before.resigned {
            "which gave it up (priority 0)".to_owned()
        } else if now.priority > before.priority {
            format!(
                "which has the lower priority ({} against {})",
                before.priority, now.priority
            )
        } else {
            let silence = event.at.since(before.last).as_secs_f64();
            format!("which had been silent for {silence:.1} s")
        };
        let known = self.moved.filter(|key| {
            board
                .get(*key)
                .is_some_and(|f| event.at.since(f.last) <= FLAP_WINDOW)
        });
        let address = now.addresses.first().copied();
        let key = known.unwrap_or_else(|| {
            let subject = address.map_or(Subject::Router(delta.by), Subject::Address);
            board.raise(Finding::new(
                Kind::VrrpMoved,
                Severity::Info,
                subject,
                event,
            ))
        });
        self.moved = Some(key);
        let vrid = delta.group.2;
        board.update(key, |f| {
            if known.is_some() {
                f.again(event);
            }
            f.ended = Some(event.at);
            f.touches.extend(
                [now, before]
                    .iter()
                    .flat_map(|master| master.mac)
                    .map(Touch::Mac),
            );
            f.touches.dedup();
            for addr in now.addresses.iter().take(MAX_NAMED) {
                f.also(Subject::Address(*addr));
                f.touch(Touch::Address(*addr));
                f.touch(Touch::Gateway(*addr));
            }
            f.explain = format!("{} took virtual router {vrid} over from {from}, {how}", delta.by);
            if f.count >= FLAPS {
                f.kind = Kind::VrrpFlap;
                f.severity = Severity::Warning;
                f.broken.subject = true;
                f.explain = format!(
                    "The master of virtual router {vrid} changed {}, the last time to {} from {from}, {how}",
                    times(f.count, f.first, event.at),
                    delta.by
                );
            } else {
                f.explanations = vec!["a fail-over, or its way back".into()];
            }
        });
    }
}

/// Addresses named in one finding.
const MAX_NAMED: usize = 8;

fn both((_, _, vrid): GroupKey, (a, b): (&Master, &Master), at: Timestamp) -> String {
    let mut pair = [a, b];
    pair.sort_by_key(|master| (std::cmp::Reverse(master.priority), master.addr));
    let named = pair.map(|master| {
        let mac = master
            .mac
            .map_or_else(String::new, |mac| format!("{mac}, "));
        format!("{} ({mac}priority {})", master.addr, master.priority)
    });
    let addresses = list(a.addresses.iter().map(IpAddr::to_string), 4);
    let seconds = at.since(a.since.max(b.since)).as_secs_f64();
    format!(
        "Virtual router {vrid} has two masters at once for {seconds:.0} s: {} and {} both hold {addresses}.",
        named[0], named[1]
    )
}

fn each((_, _, vrid): GroupKey, (a, b): (&Master, &Master)) -> String {
    let one = |master: &Master| {
        format!(
            "{} every {:.1} s with priority {} (version {})",
            master.addr,
            master.interval.as_secs_f64(),
            master.priority,
            master.version
        )
    };
    format!(
        "Virtual router {vrid} is advertised by {} and by {}.",
        one(a),
        one(b)
    )
}

/// What the advertisements themselves say about why the two do not hear each other (RFC 9568 §7.1: what differs is discarded).
fn why(a: &Master, b: &Master) -> Vec<String> {
    let mut all = Vec::new();
    if a.version != b.version {
        all.push(format!(
            "they speak versions {} and {} of VRRP, and each discards the other's",
            a.version, b.version
        ));
    }
    if a.authentication != b.authentication {
        all.push(
            "their authentication types differ, so each discards the other's advertisements"
                .to_owned(),
        );
    }
    if a.interval != b.interval && a.version == 2 {
        all.push(format!(
            "their intervals differ ({:.1} s and {:.1} s), so each discards the other's advertisements",
            a.interval.as_secs_f64(),
            b.interval.as_secs_f64()
        ));
    }
    if a.addresses.iter().all(|addr| !b.addresses.contains(addr)) {
        all.push(
            "their addresses have nothing in common: two virtual routers with one number"
                .to_owned(),
        );
    }
    if all.is_empty() {
        all.push("they do not hear each other: advertisements (protocol 112) are lost or filtered between them".to_owned());
    }
    all
}

fn keys(finding: &mut Finding, group: GroupKey, masters: &[&Master], net: &NetState) {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for master in masters {
        addresses.extend(master.addresses.iter().take(MAX_NAMED));
        if let Some(mac) = master.mac {
            finding.also(Subject::Mac(mac));
            finding.touch(Touch::Mac(mac));
        }
        finding.touch(Touch::Address(master.addr));
    }
    addresses.dedup();
    for addr in addresses.into_iter().take(MAX_NAMED) {
        finding.also(Subject::Address(addr));
        finding.touch(Touch::Address(addr));
        finding.touch(Touch::Gateway(addr));
    }
    for name in net.names_of(group.0) {
        finding.touch(Touch::Interface(name));
    }
    finding.advice = vec![
        "tcpdump -veni IFACE ip proto 112   (on both: who hears whom)".into(),
        "journalctl -b --no-pager -n 50 -u keepalived".into(),
    ];
}

#[cfg(test)]
mod tests;
