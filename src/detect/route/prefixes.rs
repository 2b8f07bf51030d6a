//! Routes that change by themselves, prefix by prefix: `route.flap`, `route.withdrawn`, `route.nexthop-churn`, `route.ecmp-shrunk`,
//! `route.ownership-war`, `route.reassert-storm`.
//!
//! One withdrawal of a static or DHCP route is information; the same finding becomes a flap when it repeats. Default routes have
//! their own detector. Records are bounded and given up when they have been quiet for an hour or the table is full.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::detect::link::kernel::{actor, interfaces, placed, process_advice, seconds, times, way};
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::bounded::{Bounded, Worth};
use crate::event::netlink::{is_routing_daemon, protocol_name};
use crate::event::{Event, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::routes::{Cause, Hops, Route, RouteChange, RouteDelta, TABLE_MAIN};

/// Three deletions in a minute are a flap; so are five within one half-life of route-flap damping (15 min, RFC 2439 §4.2).
const FAST: (usize, Duration) = (3, Duration::from_secs(60));
const SLOW: (usize, Duration) = (5, Duration::from_secs(900));
/// Times remembered of one prefix: what the slower rule needs.
const REMEMBERED: usize = 5;
/// Five changes of the next hop in a minute, each to other gateways: no protocol converges that way.
const NEXTHOP_CHANGES: usize = 5;
const NEXTHOP_WINDOW: Duration = Duration::from_secs(60);
/// Owners that take a route from each other three times in a minute.
const OWNER_CHANGES: usize = 3;
const OWNER_WINDOW: Duration = Duration::from_secs(60);
/// Thirty identical writes of one route in a minute: twice the fastest scan interval in use (BIRD's 2 s).
const REASSERTS: u32 = 30;
const REASSERT_WINDOW: Duration = Duration::from_secs(60);
/// A flap is over when the route was quiet for this long.
const QUIET: Duration = Duration::from_secs(60);
/// A record that was quiet for this long starts anew.
const FORGET: Duration = Duration::from_secs(3_600);
/// Next-hop tracking reacts within this time: FRR took 73 ms (measured), BIRD's device scan has 2 s.
const RESOLVED: Duration = Duration::from_secs(3);
/// Deletions remembered for that.
const MAX_LATEST: usize = 64;
/// Prefixes watched at once: only those that changed alone lately.
const MAX_WATCHED: usize = 65_536;

type Id = (u32, Prefix);

#[derive(Clone, Default)]
struct Record {
    touched: Timestamp,
    /// The last deletions that may not be in a finding yet.
    removals: Vec<Event>,
    missing: bool,
    flap: Option<FindingKey>,
    nexthops: Vec<Event>,
    churn: Option<FindingKey>,
    shrunk: Option<(FindingKey, Timestamp)>,
    owner: Option<u8>,
    owners: Vec<Event>,
    war: Option<FindingKey>,
    reasserts: u32,
    reasserts_since: Timestamp,
    storm: Option<FindingKey>,
}

#[derive(Clone)]
pub(super) struct Prefixes {
    records: Bounded<Id, Record>,
    /// When each flapping route will have been quiet.
    quiet: BTreeSet<(Timestamp, Id)>,
    /// The latest deletions of routes that no routing daemon owns, oldest first: BGP next hops may have been resolved by them.
    latest: Vec<Deletion>,
}

/// A deletion that may take other routes along.
#[derive(Clone)]
struct Deletion {
    at: Timestamp,
    prefix: Prefix,
    hops: Hops,
    key: FindingKey,
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes {
            records: Bounded::new(MAX_WATCHED),
            quiet: BTreeSet::new(),
            latest: Vec::new(),
        }
    }
}

impl Prefixes {
    fn record(&mut self, id: Id, at: Timestamp) -> &mut Record {
        // In a flood the quietest that no finding speaks of gives way, and those that were removed again and again go last.
        let record = self.records.at_least(id, |_, record| {
            let told = record.flap.is_some() || record.churn.is_some() || record.war.is_some();
            if at.since(record.touched) > FORGET || !told && record.removals.len() < 2 {
                Worth::Spent
            } else {
                Worth::Kept
            }
        });
        if at.since(record.touched) > FORGET {
            *record = Record::default();
        }
        record.touched = at;
        record
    }

    /// A change that is not part of a mass change.
    pub(super) fn changed(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        if delta.key.prefix.is_default() {
            return;
        }
        match delta.change {
            RouteChange::Removed => self.removed(delta, net, board),
            RouteChange::Added => self.returned(delta, board),
            RouteChange::Replaced => self.replaced(delta, net, board),
            RouteChange::Reasserted => {}
        }
        self.owned(delta, net, board);
    }

    fn removed(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(old) = &delta.old else { return };
        // Another metric or owner still serves the prefix: nothing is withdrawn.
        if delta.key.table == TABLE_MAIN
            && net
                .routes
                .of(TABLE_MAIN, delta.key.prefix)
                .any(|(key, r)| *key != delta.key && r.since < delta.at)
        {
            return;
        }
        let id = (delta.key.table, delta.key.prefix);
        let event = placed(delta.at, delta.locator);
        let record = self.record(id, delta.at);
        record.removals.push(event.clone());
        record.missing = true;
        let flaps = within(&record.removals, FAST) || within(&record.removals, SLOW);
        let single = !is_routing_daemon(old.protocol) && delta.key.table == TABLE_MAIN;
        let fresh = record.flap.filter(|_| {
            record
                .removals
                .iter()
                .rev()
                .nth(1)
                .is_some_and(|last| delta.at.since(last.at) <= SLOW.1)
        });
        let key = match fresh {
            Some(key) => {
                board.update(key, |finding| finding.again(&event));
                key
            }
            None if flaps || single => {
                let subject = Subject::Prefix(delta.key.prefix);
                let mut told = if flaps {
                    record.removals.as_slice()
                } else {
                    std::slice::from_ref(&event)
                }
                .iter();
                let Some(first) = told.next() else { return };
                let kind = Kind::RouteWithdrawn;
                let mut finding = Finding::new(kind, Severity::Info, subject, first);
                told.for_each(|removal| finding.again(removal));
                board.raise(finding)
            }
            None => {
                if record.removals.len() > REMEMBERED {
                    record.removals.remove(0);
                }
                return;
            }
        };
        record.flap = Some(key);
        while record.removals.len() > REMEMBERED {
            record.removals.remove(0);
        }
        let no_way = net.routes.lookup(delta.key.prefix.addr()).is_none();
        let instead = net
            .routes
            .lookup(delta.key.prefix.addr())
            .map(|(covering, route)| format!("{} {}", covering.prefix, way(net, route)));
        board.update(key, |finding| {
            if flaps {
                finding.kind = Kind::RouteFlap;
                finding.severity = finding.severity.max(Severity::Warning);
            }
            // One withdrawal with another way left is a change, no outage.
            finding.broken.subject = flaps || no_way;
            finding.broken.last_path = no_way;
            describe(finding, delta, old, net);
            let table = match delta.key.table {
                TABLE_MAIN => String::new(),
                table => format!(" in table {table}"),
            };
            finding.explain = format!(
                "Route {} of {} ({}){table} was deleted {}{}.",
                delta.key.prefix,
                protocol_name(old.protocol),
                way(net, old),
                times(finding.count, finding.first, delta.at),
                match instead {
                    Some(instead) => format!("; without it traffic follows {instead}"),
                    None => "; without it there is no way".to_owned(),
                },
            );
        });
        self.quiet.insert((delta.at + QUIET, id));
        if single {
            if self.latest.len() >= MAX_LATEST {
                self.latest.remove(0);
            }
            self.latest.push(Deletion {
                at: delta.at,
                prefix: delta.key.prefix,
                hops: old.hops.clone(),
                key,
            });
        }
    }

    /// Many routes of a routing daemon went at `at`: the deletion shortly before that shared their way is no lone one. Next-hop
    /// tracking withdraws what a route resolved without a BGP message.
    pub(super) fn took_along(
        &self,
        at: Timestamp,
        gateways: &BTreeSet<IpAddr>,
        gone: &BTreeSet<Prefix>,
        owner: u8,
        board: &mut Board,
    ) {
        let resolver = self.latest.iter().rev().find(|deletion| {
            let shared = |gw: IpAddr| gateways.contains(&gw);
            deletion.at <= at
                && at.since(deletion.at) <= RESOLVED
                && deletion
                    .hops
                    .iter()
                    .filter_map(|hop| hop.gateway)
                    .any(shared)
                && !gone.contains(&deletion.prefix)
        });
        let Some(deletion) = resolver else { return };
        board.update(deletion.key, |finding| {
            finding.severity = finding.severity.max(Severity::Warning);
            finding.affected.routes.extend(gone.iter().copied());
            finding.explain.push_str(&format!(
                " {} routes of {} that shared its way went {} later.",
                gone.len(),
                protocol_name(owner),
                seconds(at.since(deletion.at)),
            ));
        });
    }

    fn returned(&mut self, delta: &RouteDelta, board: &mut Board) {
        let id = (delta.key.table, delta.key.prefix);
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut record.missing, false) {
            return;
        }
        let Some(key) = record.flap else { return };
        let event = placed(delta.at, delta.locator);
        board.update(key, |finding| {
            finding.recovered(delta.at);
            finding.support(&event);
            finding.broken = Default::default();
            if finding.kind == Kind::RouteWithdrawn {
                finding.ended = Some(delta.at);
                if let Some(last) = finding.occurrences.last() {
                    let after = seconds(delta.at.since(last.at));
                    finding.explain = format!("{} It came back after {after}.", finding.explain);
                }
            }
        });
    }

    fn replaced(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let (Some(old), Some(new)) = (&delta.old, &delta.new) else {
            return;
        };
        let (from, to): (BTreeSet<_>, BTreeSet<_>) =
            (old.gateways().collect(), new.gateways().collect());
        let event = placed(delta.at, delta.locator);
        if !to.is_empty() && to.is_subset(&from) && to.len() < from.len() {
            let record = self.record((delta.key.table, delta.key.prefix), delta.at);
            let again = record
                .shrunk
                .filter(|(_, last)| delta.at.since(*last) <= SLOW.1);
            let key = match again {
                Some((key, _)) => {
                    board.update(key, |finding| finding.again(&event));
                    key
                }
                None => {
                    let subject = Subject::Prefix(delta.key.prefix);
                    let kind = Kind::RouteEcmpShrunk;
                    board.raise(Finding::new(kind, Severity::Info, subject, &event))
                }
            };
            record.shrunk = Some((key, delta.at));
            board.update(key, |finding| {
                describe(finding, delta, old, net);
                finding.explain = format!(
                    "Multipath route {} shrank from {} to {} next hops {}.",
                    delta.key.prefix,
                    old.hops.len(),
                    new.hops.len(),
                    times(finding.count, finding.first, delta.at),
                );
            });
            return;
        }
        if from.is_empty() || to.is_empty() || !from.is_disjoint(&to) {
            return;
        }
        let record = self.record((delta.key.table, delta.key.prefix), delta.at);
        record
            .nexthops
            .retain(|change| delta.at.since(change.at) <= NEXTHOP_WINDOW);
        if record.nexthops.is_empty() {
            record.churn = None;
        }
        record.nexthops.push(event.clone());
        let kind = Kind::RouteNexthopChurn;
        let key = count(
            &mut record.churn,
            &mut record.nexthops,
            NEXTHOP_CHANGES,
            kind,
            delta,
            board,
        );
        if let Some(key) = key {
            board.update(key, |finding| {
                describe(finding, delta, old, net);
                describe(finding, delta, new, net);
                finding.explain = format!(
                    "The next hop of {} ({}) changed {}, now {}.",
                    delta.key.prefix,
                    protocol_name(new.protocol),
                    times(finding.count, finding.first, delta.at),
                    way(net, new),
                );
            });
        }
    }

    /// Who owns the prefix now, and whether that goes back and forth.
    fn owned(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(new) = &delta.new else { return };
        let record = self.record((delta.key.table, delta.key.prefix), delta.at);
        let before = delta.old.as_ref().map(|old| old.protocol).or(record.owner);
        record.owner = Some(new.protocol);
        let Some(before) = before.filter(|before| *before != new.protocol) else {
            return;
        };
        record
            .owners
            .retain(|change| delta.at.since(change.at) <= OWNER_WINDOW);
        if record.owners.is_empty() {
            record.war = None;
        }
        record.owners.push(placed(delta.at, delta.locator));
        let kind = Kind::RouteOwnershipWar;
        let key = count(
            &mut record.war,
            &mut record.owners,
            OWNER_CHANGES,
            kind,
            delta,
            board,
        );
        if let Some(key) = key {
            board.update(key, |finding| {
                describe(finding, delta, new, net);
                finding.explain = format!(
                    "{} and {} take {} from each other: {}.",
                    protocol_name(before),
                    protocol_name(new.protocol),
                    delta.key.prefix,
                    times(finding.count, finding.first, delta.at),
                );
            });
        }
    }

    /// The same route was written again.
    pub(super) fn reasserted(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let Some(new) = &delta.new else { return };
        let record = self.record((delta.key.table, delta.key.prefix), delta.at);
        if record.reasserts == 0 || delta.at.since(record.reasserts_since) > REASSERT_WINDOW {
            record.reasserts = 0;
            record.reasserts_since = delta.at;
            record.storm = None;
        }
        record.reasserts = record.reasserts.saturating_add(1);
        if record.reasserts < REASSERTS {
            return;
        }
        let event = placed(delta.at, delta.locator);
        let writes = u64::from(record.reasserts);
        let key = *record.storm.get_or_insert_with(|| {
            let subject = Subject::Prefix(delta.key.prefix);
            let kind = Kind::RouteReassertStorm;
            // A process that repeats itself costs CPU and log space, no packet.
            board.raise(Finding::new(kind, Severity::Info, subject, &event))
        });
        board.update(key, |finding| {
            finding.support(&event);
            finding.count = writes;
            finding.actor = Some(actor(net, delta.by, Some(new.protocol)));
            super::writers::name(finding, net, delta.by, new, delta.key.table);
            finding.explain = format!(
                "Route {} of {} was written {writes} times within a minute without a change.",
                delta.key.prefix,
                protocol_name(new.protocol),
            );
        });
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Timestamp, board: &mut Board) {
        while let Some((at, id)) = self.quiet.first().copied().filter(|(at, _)| *at <= now) {
            self.quiet.remove(&(at, id));
            let Some(record) = self.records.get(&id) else {
                continue;
            };
            let last = record.removals.last().map(|event| event.at);
            let over = last.is_some_and(|last| last + QUIET <= at) && !record.missing;
            if let (true, Some(key)) = (over, record.flap) {
                board.update(key, |finding| {
                    finding.ended = finding.ended.or(Some(finding.last));
                });
            }
        }
    }
}

/// Raises a finding once enough changes are together, and counts on from there.
fn count(
    known: &mut Option<FindingKey>,
    changes: &mut Vec<Event>,
    enough: usize,
    kind: Kind,
    delta: &RouteDelta,
    board: &mut Board,
) -> Option<FindingKey> {
    let last = changes.last()?.clone();
    if let Some(key) = *known {
        board.update(key, |finding| finding.again(&last));
    } else if changes.len() >= enough {
        let mut told = changes.iter();
        let subject = Subject::Prefix(delta.key.prefix);
        let mut finding = Finding::new(kind, Severity::Warning, subject, told.next()?);
        told.for_each(|change| finding.again(change));
        *known = Some(board.raise(finding));
    }
    if changes.len() > enough {
        changes.remove(0);
    }
    *known
}

/// Whether the last `n` events lie within `window`.
fn within(events: &[Event], (n, window): (usize, Duration)) -> bool {
    let first = events.len().checked_sub(n).and_then(|i| events.get(i));
    match (first, events.last()) {
        (Some(first), Some(last)) => last.at.since(first.at) <= window,
        _ => false,
    }
}

fn describe(finding: &mut Finding, delta: &RouteDelta, route: &Route, net: &NetState) {
    if delta.cause != Cause::Notified {
        finding.fidelity = finding.fidelity.max(Fidelity::Inferred);
    }
    // Batches of several processes close in another order than they began.
    finding.first = finding.first.min(delta.at);
    finding.touch(Touch::Prefix(delta.key.prefix));
    for gateway in route.gateways() {
        finding.touch(Touch::Gateway(gateway));
    }
    for name in interfaces(net, route) {
        finding.touch(Touch::Interface(name));
    }
    finding.actor = Some(actor(net, delta.by, Some(route.protocol)));
    super::writers::name(finding, net, delta.by, route, delta.key.table);
    let prefix = delta.key.prefix;
    finding.affected.routes.insert(prefix);
    finding.advice = vec![
        format!("ip route show table all {prefix}"),
        "ip monitor route label".to_owned(),
    ];
    if delta.by != 0 {
        finding.advice.push(process_advice(net, delta.by));
    }
}
