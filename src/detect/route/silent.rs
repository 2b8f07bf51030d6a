//! `route.silent-loss`: routes that the kernel took away without telling anybody.
//!
//! One finding for each interface whose fall took routes along. It waits [`SETTLE`]: what the routing daemon puts back at once was
//! not lost. Connected routes are left out (they are the address), the default route has its own kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::link::kernel::{actor, interfaces, is_container, list, placed, quoted, times};
use crate::detect::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch,
};
use crate::event::netlink::protocol_name;
use crate::event::{Classes, Event, Prefix, Timestamp};
use crate::state::routes::{Cause, RouteChange, RouteDelta, Rule, TABLE_MAIN};
use crate::state::{NetState, Observation};

/// FRR and BIRD replace routes that lost their next hop within 100 ms (measured), zebra's own limit is 1 s.
const SETTLE: Duration = Duration::from_secs(1);
/// A later loss through the same interface is the same finding.
const EPISODE: Duration = Duration::from_secs(600);
/// Lost prefixes that become subjects; all are counted as affected.
const MAX_SUBJECTS: usize = 16;
/// Lost prefixes remembered of one finding, to see them come back.
const MAX_LOST: usize = crate::detect::finding::MAX_PREFIXES;
/// Interfaces with losses at once.
const MAX_WATCHED: usize = 4_096;

#[derive(Clone, Default)]
pub(super) struct SilentDetector {
    /// Losses that may still be put back, by deadline and interface.
    waiting: BTreeMap<(Timestamp, u32), Waiting>,
    watched: BTreeMap<u32, Watch>,
}

#[derive(Clone)]
struct Waiting {
    event: Event,
    cause: Cause,
    lost: BTreeSet<Prefix>,
    more: u64,
    touches: BTreeSet<Touch>,
    owners: BTreeSet<u8>,
    /// Who deleted the nexthop object that they used.
    by: u32,
}

#[derive(Clone)]
struct Watch {
    key: FindingKey,
    last: Timestamp,
    missing: BTreeSet<Prefix>,
}

impl Detector for SilentDetector {
    fn name(&self) -> &'static str {
        "route.silent-loss"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE
            .and(Classes::NEXTHOP)
            .and(Classes::LINK)
            .and(Classes::ADDRESS)
            .and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.routes {
            if delta.key.table != TABLE_MAIN || delta.key.prefix.is_default() {
                continue;
            }
            match delta.change {
                RouteChange::Removed if delta.cause != Cause::Notified => self.lost(delta, net),
                RouteChange::Added | RouteChange::Replaced => self.returned(delta, board),
                _ => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let ((_, ifindex), waiting) = entry.remove_entry();
            self.judge(ifindex, waiting, net, board);
        }
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        for ((_, ifindex), waiting) in std::mem::take(&mut self.waiting) {
            self.judge(ifindex, waiting, net, board);
        }
    }
}

impl SilentDetector {
    fn lost(&mut self, delta: &RouteDelta, net: &NetState) {
        let Some(old) = delta.old.as_ref().filter(|old| !old.connected()) else {
            return;
        };
        let ifindex = match delta.cause {
            Cause::Inferred(_, ifindex) if ifindex != 0 => ifindex,
            _ => old.hops.iter().find_map(|hop| hop.ifindex).unwrap_or(0),
        };
        let key = (delta.at + SETTLE, ifindex);
        if self.waiting.len() >= MAX_WATCHED && !self.waiting.contains_key(&key) {
            return;
        }
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting {
            event: placed(delta.at, delta.locator),
            cause: delta.cause,
            lost: BTreeSet::new(),
            more: 0,
            touches: BTreeSet::new(),
            owners: BTreeSet::new(),
            by: delta.by,
        });
        if waiting.lost.len() < MAX_LOST {
            waiting.lost.insert(delta.key.prefix);
        } else {
            waiting.more += 1;
        }
        waiting.owners.insert(old.protocol);
        if waiting.touches.len() < MAX_SUBJECTS {
            waiting.touches.extend(old.gateways().map(Touch::Gateway));
            let names = interfaces(net, old).into_iter();
            waiting.touches.extend(names.map(Touch::Interface));
        }
    }

    fn judge(&mut self, ifindex: u32, mut waiting: Waiting, net: &NetState, board: &mut Board) {
        // Put back by its owner, or there by another metric: not lost.
        waiting
            .lost
            .retain(|prefix| net.routes.best(*prefix).is_none());
        if waiting.lost.is_empty() {
            return;
        }
        let at = waiting.event.at;
        let name = net.links.name(ifindex);
        // The routes of a container that ended go with it; it comes back elsewhere, under another interface.
        let pod = is_container(&name);
        let known = self
            .watched
            .get(&ifindex)
            .filter(|watch| at.since(watch.last) <= EPISODE)
            .map(|watch| watch.key);
        let key = match known {
            Some(key) => {
                board.update(key, |finding| finding.again(&waiting.event));
                key
            }
            None => {
                let subject = Subject::Link(name.clone());
                let kind = Kind::RouteSilentLoss;
                let severity = if pod {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                let mut finding = Finding::new(kind, severity, subject, &waiting.event);
                finding.fidelity = Fidelity::Inferred;
                board.raise(finding)
            }
        };
        let unreachable = waiting
            .lost
            .iter()
            .take(MAX_SUBJECTS)
            .any(|prefix| net.routes.lookup(prefix.addr()).is_none());
        let total = waiting.lost.len() as u64 + waiting.more;
        board.update(key, |finding| {
            for prefix in &waiting.lost {
                if finding.subjects.len() <= MAX_SUBJECTS {
                    finding.also(Subject::Prefix(*prefix));
                    finding.touch(Touch::Prefix(*prefix));
                }
                if finding.affected.routes.len() < MAX_LOST {
                    finding.affected.routes.insert(*prefix);
                }
            }
            for touch in &waiting.touches {
                finding.touch(touch.clone());
            }
            finding.touch(Touch::Interface(name.clone()));
            for owner in &waiting.owners {
                super::writers::name_batch(finding, net, 0, *owner, std::slice::from_ref(&name));
            }
            finding.broken.subject = !pod;
            finding.broken.last_path = unreachable && !pod;
            let deleter = (waiting.by != 0).then(|| actor(net, waiting.by, None));
            finding.actor = Some(match &deleter {
                Some(process) => process.clone(),
                None => "the kernel, without a notification".to_owned(),
            });
            let who = deleter.map_or(String::new(), |process| format!(" by {process}"));
            finding.explain = format!(
                "{total} {} of {} vanished without a notification {}: {} ({}{who}).",
                if total == 1 { "route" } else { "routes" },
                list(waiting.owners.iter().map(|owner| protocol_name(*owner)), 3),
                times(finding.count, finding.first, at),
                list(&waiting.lost, 4),
                why(waiting.cause, net),
            );
            finding.advice = vec![
                format!("ip route show table all dev {}", quoted(&name)),
                "vtysh -c 'show ip route' # or birdc show route: compare with the kernel"
                    .to_owned(),
            ];
        });
        if self.watched.len() >= MAX_WATCHED && !self.watched.contains_key(&ifindex) {
            self.watched.pop_first();
        }
        let watch = self.watched.entry(ifindex).or_insert(Watch {
            key,
            last: at,
            missing: BTreeSet::new(),
        });
        if watch.key != key {
            watch.missing.clear();
        }
        watch.key = key;
        watch.last = at;
        watch.missing.append(&mut waiting.lost);
        while watch.missing.len() > MAX_LOST {
            watch.missing.pop_last();
        }
    }

    fn returned(&mut self, delta: &RouteDelta, board: &mut Board) {
        for watch in self.watched.values_mut() {
            if !watch.missing.remove(&delta.key.prefix) || !watch.missing.is_empty() {
                continue;
            }
            let event = placed(delta.at, delta.locator);
            board.update(watch.key, |finding| {
                finding.recovered(delta.at);
                finding.support(&event);
                finding.ended = Some(delta.at);
                finding.broken = Default::default();
                finding.explain.push_str(" All of them came back.");
            });
        }
    }
}

/// Why the kernel took a route away.
pub(super) fn why(cause: Cause, net: &NetState) -> String {
    let (rule, ifindex) = match cause {
        Cause::Inferred(rule, ifindex) => (rule, ifindex),
        Cause::DumpDiff => return "found by comparing a dump with what was known".to_owned(),
        Cause::Notified => return "as notified".to_owned(),
    };
    let name = net.links.name(ifindex);
    match rule {
        Rule::AdminDown => format!("{name} was set down, which removes its IPv4 routes silently"),
        Rule::LinkRemoved => format!("{name} was removed"),
        Rule::CarrierLost => {
            format!("{name} lost its carrier, which removes routes of nexthop objects silently")
        }
        Rule::LastAddress => format!(
            "the last IPv4 address of {name} was removed, which removes its IPv4 routes silently"
        ),
        Rule::NexthopDeleted => "their nexthop object was deleted".to_owned(),
        Rule::NexthopChanged => "their nexthop object was changed".to_owned(),
    }
}
