//! Groups route changes by who made them, and tells one cause with many routes from routes that change by themselves.
//!
//! Changes of one owner and process that follow each other closely are a batch. A batch of [`MASS`] prefixes or more is one finding
//! (`route.nexthop-churn` or `route.withdrawn`) about the next hop they have in common; the changes of a smaller one go to
//! [`Prefixes`], one by one. What falls with its link is left to the link and to `route.silent-loss`.

mod batch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use self::batch::{Batch, MASS, Ways, ranked};
use super::prefixes::Prefixes;
use crate::detect::finding::MAX_PREFIXES;
use crate::detect::link::kernel::{actor, is_container, list, quoted, times};
use crate::detect::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch,
};
use crate::event::netlink::{is_routing_daemon, protocol_name};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::routes::{Cause, RouteChange, RouteDelta, TABLE_MAIN};
use crate::state::{NetState, Observation};

/// A batch that follows one about the same next hop within this time continues it.
const CONTINUES: Duration = Duration::from_secs(5);
/// Later batches about the same next hop are the same finding.
const EPISODE: Duration = Duration::from_secs(600);
/// Batches open at once: each process that writes routes has one for 200 ms.
const MAX_BATCHES: usize = 1_024;
/// Changes kept of a small batch; a prefix that changes faster closes its batch early.
const MAX_SINGLE: usize = 256;
/// Gateways and withdrawals watched.
const MAX_WATCHED: usize = 1_024;

#[derive(Clone, Default)]
pub(super) struct ChurnDetector {
    batches: BTreeMap<(u8, u32), Batch>,
    prefixes: Prefixes,
    gateways: BTreeMap<IpAddr, Watch>,
    withdrawals: Vec<Withdrawal>,
}

#[derive(Copy, Clone)]
struct Watch {
    key: FindingKey,
    last: Timestamp,
    /// The gateway that the finding counts by.
    first: IpAddr,
}

#[derive(Clone)]
struct Withdrawal {
    key: FindingKey,
    gateway: Option<IpAddr>,
    last: Timestamp,
    /// Deletions of the occurrence at hand.
    total: u64,
    missing: BTreeSet<Prefix>,
}

impl Detector for ChurnDetector {
    fn name(&self) -> &'static str {
        "route.churn"
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
            if delta.change == RouteChange::Reasserted {
                self.prefixes.reasserted(delta, net, board);
            } else if judged(delta, net) {
                self.collect(delta, net, board);
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let batches = self.batches.values().map(Batch::closes);
        batches.chain(self.prefixes.next_deadline()).min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        let mut due: Vec<(Timestamp, (u8, u32))> = self
            .batches
            .iter()
            .map(|(key, batch)| (batch.closes(), *key))
            .filter(|(closes, _)| *closes <= now)
            .collect();
        due.sort_unstable();
        for (_, key) in due {
            self.close(key, net, board);
        }
        self.prefixes.expire(now, board);
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        let keys: Vec<(u8, u32)> = self.batches.keys().copied().collect();
        for key in keys {
            self.close(key, net, board);
        }
        // FRR was seen to name a nexthop group again that the kernel had silently shrunk: such routes never get the member back.
        let open: BTreeSet<FindingKey> = self.gateways.values().map(|watch| watch.key).collect();
        for key in open {
            board.update(key, |finding| {
                if finding.ended.is_none() {
                    finding
                        .explain
                        .push_str(" They had not got it back when the input ended.");
                    finding.truncated = true;
                }
            });
        }
    }
}

/// Whether a change is a route's own: not its link's, not an address's, not a container's.
fn judged(delta: &RouteDelta, net: &NetState) -> bool {
    let Some(route) = delta.new.as_ref().or(delta.old.as_ref()) else {
        return false;
    };
    let fell = delta.change == RouteChange::Removed;
    let silently = match delta.cause {
        Cause::Notified => false,
        Cause::Inferred(..) => true,
        Cause::DumpDiff => fell,
    };
    if route.connected() || silently {
        return false;
    }
    let mut ways = route.hops.iter().filter_map(|hop| hop.ifindex).peekable();
    if ways.peek().is_none() {
        return true;
    }
    !ways.all(|ifindex| {
        let container = match net.links.get(ifindex) {
            Some(link) => is_container(&link.name),
            None => is_container(&net.links.name(ifindex)),
        };
        container || (fell && !net.links.usable(ifindex))
    })
}

impl ChurnDetector {
    fn collect(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let protocol = delta.new.as_ref().or(delta.old.as_ref());
        let key = (protocol.map_or(0, |route| route.protocol), delta.by);
        // A believed deletion is older than its belief: it may lie before the batch at hand or end it.
        let full = self
            .batches
            .get(&key)
            .is_some_and(|batch| batch.single.len() >= MAX_SINGLE);
        if full || (self.batches.len() >= MAX_BATCHES && !self.batches.contains_key(&key)) {
            let victim = if full {
                Some(key)
            } else {
                let oldest = self.batches.iter().min_by_key(|(k, b)| (b.opened.at, **k));
                oldest.map(|(key, _)| *key)
            };
            if let Some(victim) = victim {
                self.close(victim, net, board);
            }
        }
        let batch = self.batches.entry(key).or_insert_with(|| Batch::new(delta));
        batch.add(delta);
    }

    fn close(&mut self, key: (u8, u32), net: &NetState, board: &mut Board) {
        let Some(batch) = self.batches.remove(&key) else {
            return;
        };
        let ways = batch.ways(net);
        self.returned(&batch, &ways, board);
        if batch.prefixes.len() < MASS {
            let mut single = batch.single;
            single.sort_by_key(|delta| delta.at);
            for delta in &single {
                self.prefixes.changed(delta, net, board);
            }
            return;
        }
        let n = batch.total();
        if batch.removed * 2 >= n {
            self.withdrawn(key, &batch, &ways, net, board);
        } else if batch.replaced * 2 >= n && !ways.lost.is_empty() {
            self.moved(key, &batch, &ways, net, board);
        }
    }

    /// Next hops that are won back, and prefixes that return.
    fn returned(&mut self, batch: &Batch, ways: &Ways, board: &mut Board) {
        let recovered = |key: FindingKey, board: &mut Board| {
            board.update(key, |finding| {
                if finding
                    .occurrences
                    .last()
                    .is_some_and(|o| o.until.is_none())
                {
                    finding.recovered(batch.opened.at.max(finding.last));
                    finding.support(&batch.last);
                    finding.ended = Some(batch.last.at);
                    finding.broken = Default::default();
                }
            });
        };
        let mut told = BTreeSet::new();
        for gateway in ways.won.keys() {
            let watch = self.gateways.get(gateway);
            if let Some(watch) = watch.filter(|watch| watch.last < batch.opened.at)
                && told.insert(watch.key)
            {
                recovered(watch.key, board);
            }
        }
        for withdrawal in &mut self.withdrawals {
            let before = withdrawal.missing.len();
            if before == 0 {
                continue;
            }
            withdrawal.missing.retain(|prefix| {
                batch.missing.contains(prefix) || !batch.prefixes.contains(&(TABLE_MAIN, *prefix))
            });
            if withdrawal.missing.is_empty() {
                recovered(withdrawal.key, board);
            }
        }
    }

    /// Many routes lost a next hop and kept others, or got others.
    fn moved(
        &mut self,
        (protocol, by): (u8, u32),
        batch: &Batch,
        ways: &Ways,
        net: &NetState,
        board: &mut Board,
    ) {
        let lost = ranked(&ways.lost);
        let Some(first) = lost.first().copied() else {
            return;
        };
        let at = batch.opened.at;
        let known = lost
            .iter()
            .filter_map(|gateway| self.gateways.get(gateway).copied())
            .find(|watch| at.since(watch.last) <= EPISODE);
        let watch = match known {
            Some(watch) => {
                // Both families of one neighbor, or the rest of a long batch, are one occurrence.
                let counts = lost.contains(&watch.first) && at.since(watch.last) > CONTINUES;
                let recovered = board
                    .get(watch.key)
                    .and_then(|f| f.occurrences.last())
                    .is_some_and(|o| o.until.is_some());
                board.update(watch.key, |finding| {
                    if counts || (recovered && lost.contains(&watch.first)) {
                        finding.again(&batch.opened);
                    } else {
                        finding.support(&batch.opened);
                    }
                });
                Watch {
                    last: batch.last.at,
                    ..watch
                }
            }
            None => {
                let subject = Subject::Nexthop(first);
                let kind = Kind::RouteNexthopChurn;
                let finding = Finding::new(kind, Severity::Info, subject, &batch.opened);
                Watch {
                    key: board.raise(finding),
                    last: batch.last.at,
                    first,
                }
            }
        };
        for gateway in &lost {
            if self.gateways.len() >= MAX_WATCHED && !self.gateways.contains_key(gateway) {
                self.gateways.pop_first();
            }
            self.gateways.insert(*gateway, watch);
        }
        let won = ranked(&ways.won);
        board.update(watch.key, |finding| {
            finding.support(&batch.last);
            for gateway in &lost {
                finding.also(Subject::Nexthop(*gateway));
                finding.touch(Touch::Gateway(*gateway));
            }
            common(finding, batch, ways, protocol, by, net);
            let onto = if won.is_empty() {
                "the remaining ones carry the traffic".to_owned()
            } else {
                format!("they moved to {}", list(&won, 3))
            };
            finding.explain = format!(
                "{} routes of {} lost next hop {} {}; {onto}.",
                finding.affected.routes.len().max(batch.prefixes.len()),
                protocol_name(protocol),
                list(&lost, 3),
                times(finding.count, finding.first, at),
            );
        });
    }

    /// Many routes were deleted.
    fn withdrawn(
        &mut self,
        (protocol, by): (u8, u32),
        batch: &Batch,
        ways: &Ways,
        net: &NetState,
        board: &mut Board,
    ) {
        let at = batch.opened.at;
        let gateway = ranked(&ways.lost).first().copied();
        let missing: BTreeSet<Prefix> = batch
            .missing
            .iter()
            .filter(|prefix| net.routes.best(**prefix).is_none())
            .copied()
            .collect();
        let Some(sample) = missing.first().copied() else {
            return;
        };
        let known = self.withdrawals.iter_mut().find(|withdrawal| {
            withdrawal.gateway == gateway && at.since(withdrawal.last) <= EPISODE
        });
        let (key, total) = match known {
            Some(withdrawal) => {
                let continues = at.since(withdrawal.last) <= CONTINUES;
                withdrawal.last = batch.last.at;
                withdrawal.total = if continues { withdrawal.total } else { 0 } + batch.removed;
                withdrawal.missing.extend(missing.iter().copied());
                while withdrawal.missing.len() > MAX_PREFIXES {
                    withdrawal.missing.pop_last();
                }
                board.update(withdrawal.key, |finding| {
                    if continues && finding.broken.subject {
                        finding.support(&batch.opened);
                    } else {
                        finding.again(&batch.opened);
                    }
                });
                (withdrawal.key, withdrawal.total)
            }
            None => {
                let subject = match gateway {
                    Some(gateway) => Subject::Nexthop(gateway),
                    None => Subject::Prefix(sample),
                };
                // What a routing daemon withdraws, its peers withdrew: their findings say how bad that is.
                let severity = if is_routing_daemon(protocol) {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                let kind = Kind::RouteWithdrawn;
                let key = board.raise(Finding::new(kind, severity, subject, &batch.opened));
                if self.withdrawals.len() >= MAX_WATCHED {
                    self.withdrawals.remove(0);
                }
                self.withdrawals.push(Withdrawal {
                    key,
                    gateway,
                    last: batch.last.at,
                    total: batch.removed,
                    missing: missing.clone(),
                });
                (key, batch.removed)
            }
        };
        if is_routing_daemon(protocol) {
            let gateways = ways.lost.keys().copied().collect();
            self.prefixes
                .took_along(at, &gateways, &missing, protocol, board);
        }
        let no_way = net.routes.lookup(sample.addr()).is_none();
        board.update(key, |finding| {
            finding.support(&batch.last);
            for gateway in ways.lost.keys() {
                finding.touch(Touch::Gateway(*gateway));
            }
            finding.also(Subject::Prefix(sample));
            finding.broken.subject = true;
            finding.broken.last_path = no_way;
            common(finding, batch, ways, protocol, by, net);
            let replaced = batch.missing.len() - missing.len();
            finding.explain = format!(
                "{total} routes of {} were deleted {}: {}{}.",
                protocol_name(protocol),
                times(finding.count, finding.first, at),
                list(&missing, 3),
                match replaced {
                    0 => String::new(),
                    n => format!("; {n} of them have another route"),
                },
            );
        });
    }
}

fn common(
    finding: &mut Finding,
    batch: &Batch,
    ways: &Ways,
    protocol: u8,
    by: u32,
    net: &NetState,
) {
    for (_, prefix) in &batch.prefixes {
        if finding.affected.routes.len() < MAX_PREFIXES {
            finding.affected.routes.insert(*prefix);
        }
    }
    if batch.inferred {
        finding.fidelity = finding.fidelity.max(Fidelity::Inferred);
    }
    // Batches of several processes close in another order than they began.
    finding.first = finding.first.min(batch.opened.at);
    for name in &ways.interfaces {
        finding.touch(Touch::Interface(name.clone()));
    }
    finding.actor = Some(actor(net, by, Some(protocol)));
    let devices: Vec<Box<str>> = ways.interfaces.iter().cloned().collect();
    super::writers::name_batch(finding, net, by, protocol, &devices);
    finding.advice = vec![
        format!("ip route show proto {protocol}"),
        "vtysh -c 'show bgp summary' # or birdc show protocols".to_owned(),
    ];
    if let Some(name) = ways.interfaces.first() {
        finding
            .advice
            .push(format!("ip -s link show {}", quoted(name)));
    }
}
