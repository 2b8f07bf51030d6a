//! `dhcp.boot-storm` (info): many machines booted at once, and were served. It explains load; nothing is broken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::surge::{Newcomer, Surges};
use super::watch::{Quiet, Watched};
use super::{DHCP, heard_once};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Classes, Timestamp};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// New clients within a minute: half a rack.
const ENOUGH: usize = 20;
/// Part of them that must have got a lease (knowledge D5: 80 %), in tenths.
const SERVED_TENTHS: usize = 8;
/// No further client for this long: over.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Storm {
    key: Option<FindingKey>,
    last: Timestamp,
}

/// The detector.
#[derive(Clone)]
pub struct BootStorm {
    surges: Surges,
    storms: Watched<ScopeId, Storm>,
    checks: BTreeSet<(Timestamp, ScopeId)>,
    quiet: Quiet,
}

impl Default for BootStorm {
    fn default() -> BootStorm {
        BootStorm {
            surges: Surges::default(),
            storms: Watched::new(QUIET),
            checks: BTreeSet::new(),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for BootStorm {
    fn name(&self) -> &'static str {
        "dhcp.boot-storm"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, _board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        if let Some((surge, new)) = self.surges.observe(seen, heard, net)
            && new
            && surge.newcomers.len() >= ENOUGH
            && let Some(at) = surge.look_later(seen.event.at)
        {
            self.checks.insert((at, heard.scope));
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let checks = self.checks.first().map(|(at, _)| *at);
        [checks, self.quiet.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(&(at, scope)) = self.checks.first()
            && at <= now
        {
            self.checks.remove(&(at, scope));
            self.look(at, scope, net, board);
        }
        self.quiet.expire(now, board);
    }

    fn finish(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for (_, scope) in std::mem::take(&mut self.checks) {
            self.look(now, scope, net, board);
        }
    }
}

impl BootStorm {
    fn look(&mut self, now: Timestamp, scope: ScopeId, net: &NetState, board: &mut Board) {
        let Some(surge) = self.surges.scopes.get_mut(&scope) else {
            return;
        };
        surge.due = None;
        surge.forget(now);
        let all = surge.newcomers.len();
        let served = surge.granted();
        if all < ENOUGH || served * 10 < all * SERVED_TENTHS {
            return;
        }
        if !surge.invented().is_empty() {
            return; // `dhcp.starvation` judges those
        }
        // Machines speak for themselves; where most do not, one sender asks in their names, which is no boot either.
        let lent = |n: &&Newcomer| n.circuit.is_none() && n.sender.is_some() && n.sender != n.mac;
        if surge.newcomers.iter().filter(lent).count() * 2 > all {
            return;
        }
        let Some(storm) = self.storms.at(scope, now) else {
            return;
        };
        if now.since(storm.last) > QUIET {
            storm.key = None;
        }
        let fresh: Vec<_> = surge
            .newcomers
            .iter()
            .filter(|n| n.granted && (storm.key.is_none() || n.at > storm.last))
            .collect();
        let Some(newest) = fresh.last().map(|n| n.at) else {
            return;
        };
        let interface = surge.interface.clone();
        let server = net
            .leases
            .servers
            .of_scope(scope)
            .max_by_key(|server| server.acks)
            .and_then(|server| server.addr);
        let key = storm.key.unwrap_or_else(|| {
            let subject = match (interface.clone(), server) {
                (Some(Touch::Interface(name)), _) => Subject::Link(name),
                (_, Some(server)) => Subject::Server(server),
                _ => Subject::Source("dhcp".into()),
            };
            let first = fresh.first().map_or(now, |n| n.at);
            let mut f = Finding::at(Kind::DhcpBootStorm, Severity::Info, subject, first);
            f.count = 0;
            f.occurrences.clear();
            board.raise(f)
        });
        storm.key = Some(key);
        storm.last = newest;
        self.quiet.until(key, now + QUIET);
        let roms = surge.newcomers.iter().filter(|n| n.boots).count();
        board.update(key, |f| {
            for newcomer in fresh {
                f.again_at(newcomer.at);
                f.evidence.add(newcomer.locator);
            }
            if let Some(touch) = interface {
                f.touch(touch);
            }
            if let Some(server) = server {
                f.touch(Touch::Server(server));
            }
            if roms * 2 > all && f.explanations.is_empty() {
                f.explanations.push("network boot: PXE ROM, boot loader and system each ask for an address".into());
            }
            f.explain = format!(
                "{} new clients asked within {:.0} s and were served ({served} of the last {all}); {roms} of them boot from the network.",
                f.count,
                f.last.since(f.first).as_secs_f64().max(1.0),
            );
        });
    }
}
