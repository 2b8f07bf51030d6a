//! `route.foreign-delete`: somebody deletes the routes of a routing daemon that another process installed.
//!
//! The signature of systemd-networkd and others that "manage foreign routes" when they restart or renew a lease, of a second daemon on the
//! same table, and of an operator's loop. A daemon writes through one netlink socket, so a sender is a stranger when
//! - another sender is known to install that owner's routes, or
//! - several senders delete in turn, each its own few: that is one process for each command, or
//! - another sender puts the same route back at once while the owner's other routes stay: the owner lives and did not mean it.
//!
//! Rounds of one trouble are one finding, its occurrences the rounds. No link may have changed at the same time: then routes go anyhow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::finding::MAX_PREFIXES;
use crate::detect::link::kernel::{actor, interfaces, list, placed, process_advice, seconds};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::{is_routing_daemon, protocol_name};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::routes::{Cause, RouteChange, RouteDelta, RouteKey};
use crate::state::{NetState, Observation};

/// Five routes within a second are a sweep; one or two are an operator, and a note.
const SWEEP: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);
/// The same again and again is no accident, however few routes it is.
const ROUNDS: u64 = 3;
/// So many processes that delete in turn are commands of a shell: a daemon has one socket for routes, and two while it is replaced.
const SENDERS: usize = 3;
/// A link that changed this recently explains deletions.
const LINK: Duration = Duration::from_secs(2);
/// Rounds further apart than this are two stories: BIRD's scans, the slowest reader of the table in use, come every 60 s by default.
const FORGET: Duration = Duration::from_secs(600);
/// `RTPROT_KEEPALIVED`, `RTPROT_OVN`: no routing protocols, but daemons with one process too.
const OTHER_DAEMONS: [u8; 2] = [18, 84];
/// Processes that write routes, remembered for each owner; more than a few are scripts.
const MAX_WRITERS: usize = 4;
/// Strangers told apart; beyond it they are many.
const MAX_STRANGERS: usize = 64;
/// Deletions that wait for a proof.
const MAX_PENDING: usize = 64;
/// Routes looked through for one that the owner kept: one is enough, and a table without any ends the search.
const MAX_LOOKED: usize = 4096;
/// Prefixes named.
const MAX_SUBJECTS: usize = 16;

#[derive(Clone, Default)]
pub(super) struct ForeignDetector {
    owners: BTreeMap<u8, Owner>,
    last_link: Option<Timestamp>,
}

/// What is known of the routes of one protocol number.
#[derive(Clone, Default)]
struct Owner {
    /// Processes that installed such routes.
    writers: BTreeSet<u32>,
    /// Deletions by senders of which nothing is known yet, oldest first.
    pending: Vec<RouteDelta>,
    sweep: Option<Sweep>,
}

/// Deletions by strangers, round after round.
#[derive(Clone)]
struct Sweep {
    key: FindingKey,
    strangers: BTreeSet<u32>,
    prefixes: BTreeSet<Prefix>,
    /// Not back yet.
    missing: BTreeSet<RouteKey>,
    deleted: u64,
    first: Timestamp,
    last: Timestamp,
    /// The latest write of the owner's, by whom: who only writes after it took everything over is the owner's next life.
    written: Option<Timestamp>,
    /// From a round's first deletion until all was back, the last time.
    repaired: Option<Duration>,
    round: Timestamp,
    in_round: usize,
}

impl Detector for ForeignDetector {
    fn name(&self) -> &'static str {
        "route.foreign-delete"
    }

    fn wants(&self) -> Classes {
        Classes::ROUTE.and(Classes::LINK)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if !seen.changes.links.is_empty() {
            self.last_link = Some(seen.event.at);
        }
        for delta in &seen.changes.routes {
            if delta.cause != Cause::Notified {
                continue;
            }
            let Some(route) = delta.new.as_ref().or(delta.old.as_ref()) else {
                continue;
            };
            let protocol = route.protocol;
            if !is_routing_daemon(protocol) && !OTHER_DAEMONS.contains(&protocol) {
                // Somebody else's route for the same prefix: what was deleted has a successor.
                self.replaced(delta, net, board);
                continue;
            }
            if delta.by == 0 {
                continue;
            }
            let owner = self.owners.entry(protocol).or_default();
            if delta.change == RouteChange::Removed {
                let link = self.last_link.is_some_and(|at| delta.at.since(at) <= LINK);
                if !link && !owner.writers.contains(&delta.by) {
                    owner.deleted(protocol, delta, net, board);
                }
            } else {
                owner.wrote(protocol, delta, net, board);
            }
        }
    }
}

impl ForeignDetector {
    /// A route that nobody's daemon owns takes the place of one that was deleted.
    fn replaced(&mut self, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        if delta.change != RouteChange::Added {
            return;
        }
        for (protocol, owner) in &mut self.owners {
            let Some(sweep) = &mut owner.sweep else {
                continue;
            };
            let before = sweep.missing.len();
            sweep
                .missing
                .retain(|key| key.table != delta.key.table || key.prefix != delta.key.prefix);
            if sweep.missing.len() < before {
                sweep.returned(*protocol, delta, &owner.writers, net, board);
            }
        }
    }
}

impl Owner {
    /// A route of the owner's was written.
    fn wrote(&mut self, protocol: u8, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let lived = |deletion: &RouteDelta| {
            deletion.key == delta.key
                && delta.at.since(deletion.at) <= WINDOW
                && net
                    .routes
                    .iter()
                    .take(MAX_LOOKED)
                    .any(|(_, r)| r.protocol == protocol && r.since < deletion.at)
        };
        let by = delta.by;
        let proven = self.pending.iter().any(|d| d.by != by && lived(d));
        self.pending.retain(|deletion| deletion.by != by);
        if let Some(sweep) = &mut self.sweep {
            // Who took everything over and writes from now on is the owner's next life, where the former one was not heard of since.
            let heir = sweep.strangers.contains(&by)
                && sweep.strangers.len() == 1
                && sweep.written.is_none();
            if heir {
                board.retract(sweep.key);
                self.sweep = None;
            } else if !sweep.strangers.contains(&by) {
                sweep.written = Some(delta.at);
            }
        }
        self.writers.insert(by);
        if self.writers.len() > MAX_WRITERS {
            self.writers.pop_first();
        }
        if proven {
            for deletion in std::mem::take(&mut self.pending) {
                self.tell(protocol, &deletion, net, board);
            }
        }
        if let Some(sweep) = &mut self.sweep
            && sweep.missing.remove(&delta.key)
        {
            sweep.returned(protocol, delta, &self.writers, net, board);
        }
    }

    /// A route of the owner's was deleted by somebody who is not known to write them.
    fn deleted(&mut self, protocol: u8, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let known = !self.writers.is_empty()
            || self
                .sweep
                .as_ref()
                .is_some_and(|sweep| delta.at.since(sweep.last) <= FORGET);
        if known {
            return self.tell(protocol, delta, net, board);
        }
        self.pending
            .retain(|deletion| delta.at.since(deletion.at) <= WINDOW);
        if self.pending.len() >= MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(delta.clone());
        let senders: BTreeSet<u32> = self.pending.iter().map(|d| d.by).collect();
        // Each deletes its own few: a sender of most of them is the daemon, and the others may be, too.
        if senders.len() >= SENDERS && senders.len() * 2 > self.pending.len() {
            for deletion in std::mem::take(&mut self.pending) {
                self.tell(protocol, &deletion, net, board);
            }
        }
    }

    fn tell(&mut self, protocol: u8, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        let event = placed(delta.at, delta.locator);
        let old = self
            .sweep
            .as_ref()
            .is_some_and(|sweep| delta.at.since(sweep.last) > FORGET);
        if old {
            self.sweep = None;
        }
        let sweep = match &mut self.sweep {
            Some(sweep) => {
                let next = delta.at.since(sweep.last) > WINDOW;
                if next {
                    sweep.round = delta.at;
                    sweep.in_round = 0;
                }
                board.update(sweep.key, |finding| match next {
                    true => finding.again(&event),
                    false => finding.support(&event),
                });
                sweep
            }
            None => {
                let subject = Subject::Prefix(delta.key.prefix);
                let kind = Kind::RouteForeignDelete;
                let finding = Finding::new(kind, Severity::Info, subject, &event);
                self.sweep.insert(Sweep {
                    key: board.raise(finding),
                    strangers: BTreeSet::new(),
                    prefixes: BTreeSet::new(),
                    missing: BTreeSet::new(),
                    deleted: 0,
                    first: delta.at,
                    last: delta.at,
                    written: None,
                    repaired: None,
                    round: delta.at,
                    in_round: 0,
                })
            }
        };
        sweep.last = delta.at;
        sweep.deleted += 1;
        sweep.in_round += 1;
        if sweep.strangers.len() < MAX_STRANGERS {
            sweep.strangers.insert(delta.by);
        }
        if sweep.prefixes.len() < MAX_PREFIXES {
            sweep.prefixes.insert(delta.key.prefix);
        }
        if sweep.missing.len() < MAX_PREFIXES {
            sweep.missing.insert(delta.key);
        }
        // Of several installers the latest number stands for all: they are one daemon's, before and after a restart.
        let installer = self.writers.last().copied().unwrap_or(0);
        let sweep = &*sweep;
        board.update(sweep.key, |finding| {
            if finding.subjects.len() < MAX_SUBJECTS {
                finding.also(Subject::Prefix(delta.key.prefix));
                finding.touch(Touch::Prefix(delta.key.prefix));
            }
            finding.affected.routes.insert(delta.key.prefix);
            if sweep.in_round >= SWEEP || finding.count >= ROUNDS {
                finding.severity = Severity::Warning;
            }
            super::writers::manager(finding, net, delta.by);
            super::writers::renewal(finding, net, finding.first);
            for route in delta.old.iter() {
                super::writers::name(finding, net, installer, route, delta.key.table);
                route
                    .gateways()
                    .for_each(|gateway| finding.touch(Touch::Gateway(gateway)));
                for name in interfaces(net, route) {
                    finding.touch(Touch::Interface(name));
                }
            }
            finding.ended = None;
            finding.actor = Some(sweep.actor(net));
            sweep.describe(finding, protocol, &self.writers, net);
        });
    }
}

impl Sweep {
    /// One of the deleted routes is there again.
    fn returned(
        &mut self,
        protocol: u8,
        delta: &RouteDelta,
        writers: &BTreeSet<u32>,
        net: &NetState,
        board: &mut Board,
    ) {
        let whole = self.missing.is_empty();
        if whole {
            self.repaired = Some(delta.at.since(self.round));
        }
        let sweep = &*self;
        board.update(sweep.key, |finding| {
            finding.last = finding.last.max(delta.at);
            if whole {
                finding.evidence.add(delta.locator);
                finding.recovered(delta.at);
                finding.ended = Some(delta.at);
            }
            sweep.describe(finding, protocol, writers, net);
        });
    }

    fn actor(&self, net: &NetState) -> String {
        match (self.strangers.len(), self.strangers.first()) {
            (0 | 1, by) => actor(net, by.copied().unwrap_or(0), None),
            (MAX_STRANGERS, _) => format!("{MAX_STRANGERS} processes and more"),
            (n, _) => format!("{n} processes"),
        }
    }

    fn describe(
        &self,
        finding: &mut Finding,
        protocol: u8,
        writers: &BTreeSet<u32>,
        net: &NetState,
    ) {
        let missing = self.missing.len();
        finding.broken.subject = missing > 0;
        let owner = protocol_name(protocol);
        let many = self.strangers.len() > 1;
        let routes = match self.prefixes.len() {
            1 => "1 route".to_owned(),
            n => format!("{n} routes"),
        };
        let whose = match writers.last() {
            Some(writer) if !many => {
                format!(", which {} had installed", actor(net, *writer, None))
            }
            _ => String::new(),
        };
        let each = if many && self.strangers.len() < MAX_STRANGERS && self.alone() {
            ", one for each route,"
        } else {
            ""
        };
        let rounds = match finding.count {
            1 => String::new(),
            n => format!(
                " in {n} rounds within {}",
                seconds(self.last.since(self.first))
            ),
        };
        let then = match (missing, self.repaired) {
            (0, Some(after)) => format!("; they were back {} later", seconds(after)),
            (0, None) => String::new(),
            (n, _) if n == self.prefixes.len() => "; nobody put them back".to_owned(),
            (n, _) => format!("; {n} of them are still missing"),
        };
        finding.explain = format!(
            "{}{each} deleted {routes} of {owner}{whose}{rounds}: {}{then}.",
            self.actor(net),
            list(&self.prefixes, 4),
        );
        finding.advice = self.advice(net, protocol);
    }

    /// Whether every stranger deleted one route.
    fn alone(&self) -> bool {
        self.strangers.len() as u64 == self.deleted
    }

    fn advice(&self, net: &NetState, protocol: u8) -> Vec<String> {
        let mut advice = Vec::new();
        let one = self.strangers.first().filter(|_| self.strangers.len() == 1);
        advice.extend(one.map(|port| process_advice(net, *port)));
        let manager = one.and_then(|pid| net.actors.name(*pid));
        if manager == Some("systemd-network") {
            advice.push("networkctl status --no-pager".to_owned());
            advice.push(
                "grep -r ManageForeignRoutes /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d"
                    .to_owned(),
            );
        }
        advice.push(format!("ip route show proto {protocol}"));
        advice.push("ip monitor route label".to_owned());
        advice
    }
}
