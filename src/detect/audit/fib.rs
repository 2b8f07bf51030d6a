//! `route.fib-missing` and `route.fib-stale`: BGP has a route that the kernel lacks, or the kernel keeps one that BGP lost.
//!
//! Missing needs proof that the daemon wanted the route in the kernel: it was there as the daemon's, and somebody else took it (the kernel
//! itself, another process), while the announcement stayed as it was; or it is a best route (BMP Loc-RIB) among many that are there. What
//! the daemon itself removes follows its policy. Stale needs proof that BGP lost it: its announcement was seen, and seen to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Host, Role, established};
use crate::detect::route::writers;
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::{Hop, is_routing_daemon, protocol_name};
use crate::event::{Event, Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::attributes::AttrId;
use crate::state::rib::{Rib, RibEvent, RibId, RouteChange, RouteDelta as RibDelta};
use crate::state::routes::{Cause, RouteChange as KernelChange, RouteDelta, TABLE_MAIN};

/// D41: FRR installs within milliseconds and waits at most 1 s for the kernel (suppress-fib-pending); BIRD's next scan may take longer, so
/// what is missing is looked at again after [`CONFIRM`].
const GRACE: Duration = Duration::from_secs(5);
/// BIRD's default scan time is 60 s; Calico sets 2 s. A route that the next scan brings back was late, not missing: that long it is
/// information, and after it a warning.
const CONFIRM: Duration = Duration::from_secs(65);
/// D42: a withdrawn route leaves the kernel within a second or two (C7); 10 s are beyond every hold-down but graceful restart.
const STALE: Duration = Duration::from_secs(10);
/// Without a time in the OPEN: FRR's, Calico's and Cilium's restart time.
const RESTART: Duration = Duration::from_secs(120);
/// Questions open at once; in a storm beyond them nothing is asked.
const MAX_OPEN: usize = 65_536;
/// Processes that write routes, remembered for each protocol.
const MAX_WRITERS: usize = 4;
/// A best route is only missed where so many others were found in the kernel, and at least this share (percent) of those asked for.
const OTHERS: u32 = 10;
const OTHERS_PERCENT: u32 = 90;
/// Prefixes named in one finding.
const MAX_SUBJECTS: usize = 16;

/// Something to look up in the kernel.
#[derive(Copy, Clone)]
struct Question {
    prefix: Prefix,
    since: Timestamp,
    locator: Locator,
    what: What,
    /// Whose route the kernel lost, and through which interface it led.
    owner: Option<(u8, u32)>,
}

#[derive(Copy, Clone, Eq, PartialEq)]
enum What {
    /// The kernel lost it; does BGP still have it?
    Lost { again: bool },
    /// It is a best route; has the kernel got it?
    Best,
    /// A neighbor withdrew it; is it gone from the kernel?
    Withdrawn(RibId),
}

/// A lost session's routes, asked about when graceful restart is over.
#[derive(Copy, Clone)]
struct SessionLoss {
    rib: RibId,
    since_epoch: u32,
    at: Timestamp,
    locator: Locator,
}

/// One of the two findings, and the prefixes it is about.
#[derive(Clone, Default)]
struct Open {
    key: Option<FindingKey>,
    prefixes: BTreeSet<Prefix>,
}

#[derive(Clone, Default)]
pub(super) struct Fib {
    questions: BTreeMap<Timestamp, VecDeque<Question>>,
    open_questions: usize,
    losses: BTreeMap<(Timestamp, RibId), SessionLoss>,
    writers: BTreeMap<u8, BTreeSet<u32>>,
    best_found: u32,
    best_asked: u32,
    missing: Open,
    stale: Open,
}

impl Fib {
    fn ask(&mut self, at: Timestamp, question: Question) {
        if self.open_questions < MAX_OPEN {
            self.open_questions += 1;
            self.questions.entry(at).or_default().push_back(question);
        }
    }

    /// A change of the kernel's table.
    pub fn route(&mut self, delta: &RouteDelta, board: &mut Board) {
        if delta.key.table != TABLE_MAIN {
            return;
        }
        let prefix = delta.key.prefix;
        if delta.change != KernelChange::Removed {
            let Some(route) = &delta.new else { return };
            if is_routing_daemon(route.protocol) {
                if delta.by != 0 {
                    let writers = self.writers.entry(route.protocol).or_default();
                    writers.insert(delta.by);
                    if writers.len() > MAX_WRITERS {
                        writers.pop_first();
                    }
                }
                self.missing.over(prefix, delta.at, board);
            }
            if delta.change == KernelChange::Replaced {
                self.stale.over(prefix, delta.at, board);
            }
            return;
        }
        self.stale.over(prefix, delta.at, board);
        let Some(old) = delta
            .old
            .as_ref()
            .filter(|old| is_routing_daemon(old.protocol))
        else {
            return;
        };
        // What the daemon removes is its decision; of whom nothing is known, nothing is said.
        let foreign = match delta.cause {
            Cause::Notified if delta.by != 0 => {
                let known = self.writers.get(&old.protocol);
                known.is_some_and(|pids| !pids.contains(&delta.by))
            }
            _ => true,
        };
        if foreign {
            let question = Question {
                prefix,
                since: delta.at,
                locator: delta.locator,
                what: What::Lost { again: false },
                owner: Some((
                    old.protocol,
                    old.hops.iter().find_map(|hop| hop.ifindex).unwrap_or(0),
                )),
            };
            self.ask(delta.at + GRACE, question);
        }
    }

    /// A change of what a neighbor announces.
    pub fn inbound(&mut self, id: RibId, delta: &RibDelta, prefix: Prefix, event: &Event) {
        if delta.change == RouteChange::Withdrawn && delta.old.is_some() {
            let question = Question {
                prefix,
                since: event.at,
                locator: event.locator,
                what: What::Withdrawn(id),
                owner: None,
            };
            self.ask(event.at + STALE, question);
        }
    }

    /// A change of this host's best routes.
    pub fn best(&mut self, delta: &RibDelta, prefix: Prefix, event: &Event) {
        if delta.new.is_some() && delta.change != RouteChange::Duplicate {
            let question = Question {
                prefix,
                since: event.at,
                locator: event.locator,
                what: What::Best,
                owner: None,
            };
            self.ask(event.at + GRACE, question);
        }
    }

    /// A session of this host was lost with its routes.
    pub fn rib_event(&mut self, event: &RibEvent, seen: &Event, host: &mut Host, net: &NetState) {
        let RibEvent::Lost {
            rib,
            since_epoch,
            retained,
            ..
        } = event
        else {
            return;
        };
        let Some(table) = net.rib.get(*rib) else {
            return;
        };
        if host.role(*rib, table, net) != Role::Inbound || self.losses.len() >= MAX_OPEN {
            return;
        }
        let open = net
            .sessions
            .get(table.session)
            .and_then(|s| s.ends[table.sender & 1].open.as_ref());
        // Long-lived graceful restart (RFC 9494) keeps stale routes for hours or days, on purpose.
        if open.is_some_and(|open| !open.long_lived.is_empty()) {
            return;
        }
        let restart = open
            .and_then(|open| open.graceful_restart.as_ref())
            .map(|gr| Duration::from_secs(u64::from(gr.restart_time)));
        // Without an OPEN nobody knows whether the routes are kept.
        let wait = match (retained, open.is_some()) {
            (false, true) => STALE,
            _ => STALE + restart.unwrap_or(RESTART),
        };
        let loss = SessionLoss {
            rib: *rib,
            since_epoch: *since_epoch,
            at: seen.at,
            locator: seen.locator,
        };
        self.losses.insert((seen.at + wait, *rib), loss);
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        let question = self.questions.first_key_value().map(|(at, _)| *at);
        let loss = self.losses.first_key_value().map(|((at, _), _)| *at);
        question.into_iter().chain(loss).min()
    }

    pub fn expire(&mut self, now: Timestamp, host: &Host, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.questions.first_entry().filter(|e| *e.key() <= now) {
            for question in entry.remove() {
                self.open_questions = self.open_questions.saturating_sub(1);
                if !host.paths && net.routes.has_baseline(question.prefix.is_ipv6()) {
                    self.answer(question, now, host, net, board);
                }
            }
        }
        while let Some(entry) = self.losses.first_entry().filter(|e| e.key().0 <= now) {
            let loss = entry.remove();
            let Some(rib) = net
                .rib
                .get(loss.rib)
                .filter(|_| !host.paths && host.talks(net))
            else {
                continue;
            };
            let peer = net
                .sessions
                .get(rib.session)
                .map(|s| s.ends[rib.sender & 1].addr);
            let lost: Vec<Prefix> = net
                .rib
                .lost(loss.rib, loss.since_epoch)
                .take(MAX_OPEN)
                .collect();
            for prefix in lost {
                self.is_stale(prefix, peer, (loss.at, loss.locator), now, host, net, board);
            }
        }
    }

    fn answer(
        &mut self,
        question: Question,
        now: Timestamp,
        host: &Host,
        net: &NetState,
        board: &mut Board,
    ) {
        let prefix = question.prefix;
        match question.what {
            What::Withdrawn(id) => {
                let peer = net
                    .rib
                    .get(id)
                    .and_then(|rib| Some(net.sessions.get(rib.session)?.ends[rib.sender & 1].addr));
                self.is_stale(
                    prefix,
                    peer,
                    (question.since, question.locator),
                    now,
                    host,
                    net,
                    board,
                );
            }
            What::Best => {
                let held = host.holding(net, Role::Best, prefix).next();
                let Some(attrs) = held.and_then(|(_, _, attrs)| net.rib.attributes(attrs)) else {
                    return;
                };
                // The host's own routes come from the kernel, they do not go there.
                if attrs.as_path.is_empty() && attrs.next_hop.is_none_or(|nh| nh.is_unspecified()) {
                    return;
                }
                self.best_asked += 1;
                if net.routes.best(prefix).is_some() {
                    self.best_found += 1;
                    return;
                }
                let installs = self.best_found >= OTHERS
                    && self.best_found * 100 >= self.best_asked.saturating_mul(OTHERS_PERCENT);
                if installs && resolves(attrs.next_hop, net) {
                    self.missing_since(question, Severity::Warning, attrs.next_hop, net, board);
                }
            }
            What::Lost { again } => {
                if net.routes.best(prefix).is_some() {
                    return;
                }
                // Still announced as it was when the kernel lost it, by a neighbor that is up and reachable.
                let unchanged = host
                    .holding(net, Role::Inbound, prefix)
                    .find(|(id, rib, _)| {
                        let slot = net
                            .rib
                            .lookup(*id, &crate::event::bgp::Nlri::unicast(prefix));
                        let cold = slot.and_then(|(slot, _)| rib.cold(slot));
                        established(net, rib.session)
                            && cold.is_some_and(|cold| rib.last_change(cold) <= question.since)
                    });
                let Some((_, _, attrs)) = unchanged else {
                    return;
                };
                let nexthop = net.rib.attributes(attrs).and_then(|a| a.next_hop);
                if !resolves(nexthop, net) {
                    return;
                }
                if again {
                    self.missing_since(question, Severity::Warning, nexthop, net, board);
                } else {
                    self.missing_since(question, Severity::Info, nexthop, net, board);
                    let what = What::Lost { again: true };
                    self.ask(question.since + CONFIRM, Question { what, ..question });
                }
            }
        }
    }

    fn missing_since(
        &mut self,
        question: Question,
        severity: Severity,
        nexthop: Option<IpAddr>,
        net: &NetState,
        board: &mut Board,
    ) {
        let new = self.missing.prefixes.insert(question.prefix);
        let count = self.missing.prefixes.len();
        let Some(key) = self.missing.key(
            Kind::RouteFibMissing,
            question.prefix,
            question.since,
            board,
        ) else {
            return;
        };
        board.update(key, |finding| {
            about(finding, question.prefix, nexthop);
            if let Some((protocol, ifindex)) = question.owner {
                writers::name_batch(finding, net, 0, protocol, &[net.links.name(ifindex)]);
            }
            finding.evidence.add(question.locator);
            if new && count > 1 {
                finding.count += 1;
            }
            finding.severity = finding.severity.max(severity);
            finding.broken.subject = true;
            finding.ended = None;
            finding.explain = format!(
                "BGP still has {} and the next hop is reachable, but the kernel has had no such route since {}",
                named(finding, count),
                finding.first
            );
            finding.advice = vec![
                format!("ip route show table all {}", question.prefix),
                format!("vtysh -c 'show ip route {}' # or birdc show route for {} all", question.prefix, question.prefix),
            ];
        });
    }

    #[allow(clippy::too_many_arguments)] // one route, who lost it, and when
    fn is_stale(
        &mut self,
        prefix: Prefix,
        peer: Option<IpAddr>,
        (since, locator): (Timestamp, Locator),
        now: Timestamp,
        host: &Host,
        net: &NetState,
        board: &mut Board,
    ) {
        let (Some((_, route)), Some(peer)) = (net.routes.best(prefix), peer) else {
            return;
        };
        if !is_routing_daemon(route.protocol) || route.since >= since {
            return;
        }
        if host.holding(net, Role::Inbound, prefix).next().is_some()
            || host.holding(net, Role::Best, prefix).next().is_some()
        {
            return;
        }
        // Each of its hops leads to a neighbor that withdrew it: another one, whose table was sent before we looked, cannot be its reason.
        let leads = route.hops.iter().all(|hop| {
            host.ribs(net, Role::Inbound)
                .any(|(id, rib)| withdrawn(prefix, hop, id, rib, net))
        });
        if !leads || route.hops.is_empty() {
            return;
        }
        let new = self.stale.prefixes.insert(prefix);
        let count = self.stale.prefixes.len();
        let (protocol, route) = (protocol_name(route.protocol), route.clone());
        let Some(key) = self.stale.key(Kind::RouteFibStale, prefix, since, board) else {
            return;
        };
        board.update(key, |finding| {
            about(finding, prefix, Some(peer));
            writers::name(finding, net, 0, &route, TABLE_MAIN);
            finding.evidence.add(locator);
            finding.last = finding.last.max(since);
            if new && count > 1 {
                finding.count += 1;
            }
            finding.severity = Severity::Warning;
            finding.broken.subject = true;
            finding.ended = None;
            finding.explain = format!(
                "the kernel keeps {} of {protocol} via {peer}, which no BGP session of this host has announced for {:.0} s: traffic follows a \
                 route that is gone",
                named(finding, count),
                now.since(since).as_secs_f64()
            );
            finding.advice = vec![
                format!("ip route show table all {prefix}"),
                format!("vtysh -c 'show bgp {prefix}' # or birdc show route for {prefix} all"),
            ];
        });
    }
}

impl Open {
    /// The finding, raised when there is none. A finding whose prefixes were all repaired stays as it is; the next one is its own.
    fn key(
        &mut self,
        kind: Kind,
        prefix: Prefix,
        since: Timestamp,
        board: &mut Board,
    ) -> Option<FindingKey> {
        if self.key.is_none() {
            let mut finding = Finding::at(kind, Severity::Info, Subject::Prefix(prefix), since);
            finding.fidelity = Fidelity::Inferred;
            self.key = Some(board.raise(finding));
        }
        self.key
    }

    /// This prefix is in order again.
    fn over(&mut self, prefix: Prefix, at: Timestamp, board: &mut Board) {
        if self.prefixes.remove(&prefix)
            && self.prefixes.is_empty()
            && let Some(key) = self.key.take()
        {
            board.update(key, |finding| {
                finding.recovered(at);
                finding.ended = Some(at);
                finding.broken.subject = false;
            });
        }
    }
}

fn about(finding: &mut Finding, prefix: Prefix, nexthop: Option<IpAddr>) {
    if finding.subjects.len() < MAX_SUBJECTS {
        finding.also(Subject::Prefix(prefix));
        finding.touch(Touch::Prefix(prefix));
    }
    if let Some(nexthop) = nexthop.filter(|_| finding.touches.len() < MAX_SUBJECTS * 2) {
        finding.touch(Touch::Gateway(nexthop));
    }
    finding.affected.prefix(prefix);
    finding.affected.routes.insert(prefix);
}

fn named(finding: &Finding, count: usize) -> String {
    let first = match finding.subjects.first() {
        Some(Subject::Prefix(prefix)) => prefix.to_string(),
        _ => String::new(),
    };
    match count {
        0 | 1 => first,
        n => format!("{first} and {} more", n - 1),
    }
}

/// Whether a neighbor announced a prefix, ended that, and is where a hop of the kernel's route leads.
fn withdrawn(prefix: Prefix, hop: &Hop, id: RibId, rib: &Rib, net: &NetState) -> bool {
    let nlri = crate::event::bgp::Nlri::unicast(prefix);
    let (Some(session), Some((slot, now))) =
        (net.sessions.get(rib.session), net.rib.lookup(id, &nlri))
    else {
        return false;
    };
    let peer = session.ends[rib.sender & 1].addr;
    // A lost session's routes stand in its table as they were.
    let before = if now.is_some() {
        now
    } else {
        rib.cold(slot).map_or(AttrId::NONE, |cold| cold.before)
    };
    let was = net.rib.attributes(before);
    let towards = net.addresses.interface_of(peer);
    hop.gateway.is_some_and(|gateway| {
        gateway == peer
            || was.is_some_and(|a| [a.next_hop, a.next_hop_link_local].contains(&Some(gateway)))
            || is_link_local(gateway) && hop.ifindex.is_some() && hop.ifindex == towards
    })
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// Whether the kernel knows a way to a next hop; link-local ones are always on-link.
fn resolves(nexthop: Option<IpAddr>, net: &NetState) -> bool {
    nexthop.is_some_and(|nh| {
        is_link_local(nh)
            || net
                .routes
                .lookup(nh)
                .is_some_and(|(key, route)| !key.prefix.is_default() && !route.hops.is_empty())
    })
}
