//! `link.*`: interfaces that lose their carrier, are set down, removed, or flap.
//!
//! One finding for each interface and episode: it starts as what happened first (`carrier-lost`, `admin-down`, `removed`) and becomes
//! `link.flap` when it repeats. Interfaces of containers are information only, unused ports too.

pub(super) mod kernel;

use std::collections::BTreeMap;
use std::time::Duration;

use self::kernel::{actor, is_container, quoted, seconds, times};
use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject,
    Touch,
};
use crate::event::{Classes, Event, Timestamp};
use crate::state::ledger::{Class, Fact, Key, What};
use crate::state::links::LinkDelta;
use crate::state::{NetState, Observation};

/// Two losses (three transitions of IFF_RUNNING: down, up, down) within this time are a flap: the usual carrier-flap rule.
const FLAP_WINDOW: Duration = Duration::from_secs(60);
/// Slower flaps: three losses within the time that address and default-route flaps are judged by, too.
const SLOW_WINDOW: Duration = Duration::from_secs(600);
/// Losses remembered of one interface: what the slower rule needs.
const REMEMBERED: usize = 3;
/// `ip link del` sends the loss and the removal apart by less than this (2 ms were seen; the kernel may wait for an RCU period).
const REMOVAL: Duration = Duration::from_secs(1);
/// A port that goes dark this soon after a RELEASE on its bridge belonged to a machine that was shut down.
const FAREWELL: Duration = Duration::from_secs(1);
/// Interfaces watched: as many as the state tracks.
const MAX_WATCHED: usize = crate::state::links::MAX_LINKS;
/// Missed losses counted from one jump of the kernel's counter; more than that is a counter that was reset.
const MAX_MISSED: u32 = 1_000;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(LinkDetector::default()));
}

#[derive(Clone)]
struct Watch {
    key: FindingKey,
    /// Times of the last losses, oldest first.
    losses: Vec<Timestamp>,
    carrier: u64,
    admin: u64,
    down_since: Option<Timestamp>,
}

/// Watches interfaces by name: a re-created one has another index.
#[derive(Clone, Default)]
struct LinkDetector {
    watched: BTreeMap<Box<str>, Watch>,
}

impl Detector for LinkDetector {
    fn name(&self) -> &'static str {
        "link"
    }

    fn wants(&self) -> Classes {
        Classes::LINK.and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.links {
            if delta.missed > 0 {
                let missed = delta.missed.min(MAX_MISSED);
                self.lost(delta, missed, Kind::LinkCarrierLost, seen.event, net, board);
            }
            if delta.removed() {
                self.removed(delta, seen.event, net, board);
            } else if delta.lost() {
                let kind = if delta.admin_down() {
                    Kind::LinkAdminDown
                } else {
                    Kind::LinkCarrierLost
                };
                self.lost(delta, 1, kind, seen.event, net, board);
            } else if delta.recovered() || delta.missed > 0 {
                self.recovered(delta, seen.event, board);
            }
        }
    }
}

impl LinkDetector {
    fn lost(
        &mut self,
        delta: &LinkDelta,
        losses: u32,
        kind: Kind,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let at = event.at;
        let known = self
            .watched
            .get(&delta.name)
            .and_then(|watch| watch.losses.last())
            .is_some_and(|last| at.since(*last) <= SLOW_WINDOW);
        if !known {
            if self.watched.len() >= MAX_WATCHED {
                self.watched.pop_first();
            }
            let mut finding = Finding::new(
                kind,
                Severity::Info,
                Subject::Link(delta.name.clone()),
                event,
            );
            finding.count = 0;
            finding.occurrences.clear();
            let watch = Watch {
                key: board.raise(finding),
                losses: Vec::new(),
                carrier: 0,
                admin: 0,
                down_since: None,
            };
            self.watched.insert(delta.name.clone(), watch);
        }
        let Some(watch) = self.watched.get_mut(&delta.name) else {
            return;
        };
        for _ in 0..losses {
            if watch.losses.len() == REMEMBERED {
                watch.losses.remove(0);
            }
            watch.losses.push(at);
        }
        watch.down_since = Some(at);
        let by_carrier = kind == Kind::LinkCarrierLost;
        *(if by_carrier {
            &mut watch.carrier
        } else {
            &mut watch.admin
        }) += u64::from(losses);
        let farewell = farewell(delta, kind, at, net);
        let severity = match farewell {
            Some(_) if !watch.flaps() => Severity::Info,
            _ => severity(delta, kind, watch.flaps(), net),
        };
        let default_lost = [false, true].into_iter().any(|v6| default_is_dead(net, v6));
        let (flaps, carrier) = (watch.flaps(), watch.carrier > 0);
        let watch = &*watch;
        board.update(watch.key, |finding| {
            for _ in 0..losses {
                finding.again(event);
            }
            if delta.missed > 0 && by_carrier && !delta.lost() {
                finding.fidelity = Fidelity::Compressed;
            }
            if flaps {
                finding.kind = Kind::LinkFlap;
            } else if finding.count == 1 {
                finding.kind = kind;
            }
            finding.reason = Some(if carrier {
                Reason::Carrier
            } else {
                Reason::Admin
            });
            finding.severity = finding.severity.max(severity);
            if let Some(given) = farewell {
                finding.explanations.push(format!(
                    "a DHCP client on its bridge gave its lease back at {} (RELEASE)",
                    given.clock()
                ));
            }
            if default_lost {
                finding.severity = Severity::Critical;
                finding.broken.default_route = true;
            }
            finding.broken.subject = true;
            if delta.by != 0 {
                finding.actor = Some(actor(net, delta.by, None));
            }
            touch(finding, delta, net);
            describe(finding, watch, &delta.name);
        });
    }

    fn removed(&mut self, delta: &LinkDelta, event: &Event, net: &NetState, board: &mut Board) {
        let just_lost = self.watched.get(&delta.name).filter(|watch| {
            watch
                .down_since
                .is_some_and(|at| event.at.since(at) <= REMOVAL)
        });
        if let Some(watch) = just_lost {
            board.update(watch.key, |finding| {
                if finding.count == 1 {
                    finding.kind = Kind::LinkRemoved;
                }
                finding.support(event);
                describe(finding, watch, &delta.name);
            });
        } else if delta.lost() {
            self.lost(delta, 1, Kind::LinkRemoved, event, net, board);
        }
    }

    fn recovered(&mut self, delta: &LinkDelta, event: &Event, board: &mut Board) {
        let Some(watch) = self.watched.get_mut(&delta.name) else {
            return;
        };
        if watch.down_since.take().is_none() {
            return;
        }
        let watch = &*watch;
        board.update(watch.key, |finding| {
            finding.recovered(event.at);
            finding.support(event);
            finding.ended = Some(event.at);
            finding.broken = Default::default();
            describe(finding, watch, &delta.name);
        });
    }
}

impl Watch {
    fn flaps(&self) -> bool {
        let span = |n: usize| {
            let last = self.losses.last()?;
            let first = self.losses.get(self.losses.len().checked_sub(n)?)?;
            Some(last.since(*first))
        };
        span(2).is_some_and(|span| span <= FLAP_WINDOW)
            || span(3).is_some_and(|span| span <= SLOW_WINDOW)
    }
}

/// When the machine behind a bridge port said goodbye, where it did: a station that is shut down gives its lease back (RFC 2131 §4.4.6) and
/// takes its interface down within a second (110 ms were seen). A port whose host routes or speaks over it itself is more than a station's.
fn farewell(delta: &LinkDelta, kind: Kind, at: Timestamp, net: &NetState) -> Option<Timestamp> {
    delta.before.as_ref()?.master?;
    let own = !net.routes.gateways_via(delta.ifindex).is_empty()
        || net.addresses.on(delta.ifindex).any(|(_, a)| a.scope == 0);
    if own || kind != Kind::LinkCarrierLost {
        return None;
    }
    let given = net
        .ledger
        .within(Class::LeaseReleased, &Key::Everything, at - FAREWELL, at);
    // Where the bridge's forwarding entries name a port for who gave it back, it must be this one.
    let here = |fact: &&Fact| match &fact.what {
        What::LeaseReleased { sender, .. } => sender.is_none_or(|mac| {
            let mut ports = net.who.forwarding.ports(mac).peekable();
            ports.peek().is_none() || ports.any(|port| port == delta.ifindex)
        }),
        _ => false,
    };
    given.filter(here).map(|fact| fact.at).last()
}

/// A lone administrative act is information, unless the interface carries routes; so is the loss of a port that nobody uses.
fn severity(delta: &LinkDelta, kind: Kind, flaps: bool, net: &NetState) -> Severity {
    let routed = !net.routes.gateways_via(delta.ifindex).is_empty();
    let addressed = net.addresses.on(delta.ifindex).any(|(_, a)| a.scope == 0);
    // rtmon dumps links only: who uses them is not known then, and not a reason to be quiet.
    let unknown = net.addresses.is_empty();
    let bridged = delta.before.is_some_and(|before| before.master.is_some());
    let used = routed || addressed || bridged || unknown;
    if is_container(&delta.name) || !used {
        Severity::Info
    } else if flaps || kind == Kind::LinkCarrierLost || routed {
        Severity::Warning
    } else {
        Severity::Info
    }
}

/// There is a default route, and all its ways lead through interfaces without carrier.
fn default_is_dead(net: &NetState, v6: bool) -> bool {
    net.routes.default(v6).is_some_and(|(_, route)| {
        !route.hops.is_empty()
            && route.hops.iter().all(|hop| {
                hop.ifindex
                    .is_some_and(|ifindex| !net.links.usable(ifindex))
            })
    })
}

fn touch(finding: &mut Finding, delta: &LinkDelta, net: &NetState) {
    finding.touch(Touch::Interface(delta.name.clone()));
    for (addr, address) in net.addresses.on(delta.ifindex) {
        finding.touch(Touch::Address(addr));
        // Link-local prefixes are the same on every link and would join strangers.
        if address.scope == 0 {
            let prefix = crate::event::Prefix::new(addr, address.prefix_len);
            finding.touch(Touch::OnLink(prefix));
        }
    }
    for gateway in net.routes.gateways_via(delta.ifindex) {
        finding.touch(Touch::Gateway(gateway));
    }
}

fn describe(finding: &mut Finding, watch: &Watch, name: &str) {
    let last_loss = finding.occurrences.last().map_or(finding.last, |o| o.at);
    let how_often = times(finding.count, finding.first, last_loss);
    let mut what = match (finding.kind, watch.carrier, watch.admin) {
        (Kind::LinkRemoved, ..) => format!("{name} was removed"),
        (_, _, 0) => format!("{name} lost its carrier {how_often}"),
        (_, 0, _) => format!("{name} was set down {how_often}"),
        (_, carrier, admin) => {
            format!("{name} lost its carrier ({carrier}) or was set down ({admin}) {how_often}")
        }
    };
    match finding.occurrences.last().map(|o| (o.at, o.until)) {
        Some((at, Some(until))) => {
            what += &format!(
                "; last time it came back after {}",
                seconds(until.since(at))
            );
        }
        Some((_, None)) if finding.broken.subject => what += "; it is still down",
        _ => {}
    }
    if finding.fidelity == Fidelity::Compressed {
        what += "; the kernel's carrier counter shows losses that came too fast to be notified";
    }
    finding.explain = what + ".";
    let name = quoted(name);
    finding.advice = match finding.reason {
        Some(Reason::Admin) => vec![
            format!("ip -d link show {name}"),
            "journalctl -b -u systemd-networkd -u NetworkManager -u networking --no-pager -n 50"
                .to_owned(),
        ],
        _ => vec![
            // `ethtool` takes a name that begins with a dash for an option, and knows no `--`.
            match name.trim_start_matches('\'').starts_with('-') {
                true => format!("cat /sys/class/net/{name}/carrier_changes"),
                false => format!("ethtool {name}"),
            },
            format!("ip -s -s link show {name}"),
            format!("journalctl -k -b --no-pager -n 50 --grep={name}"),
        ],
    };
}

#[cfg(test)]
mod tests;
