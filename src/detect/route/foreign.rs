//! `route.foreign-delete`: a process deletes the routes of a routing daemon that another process installed.
//!
//! The signature of systemd-networkd and others that "manage foreign routes" when they restart or renew a lease. Only what is sure is
//! said: the installer must have been seen, and no link may have changed at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::link::kernel::{actor, interfaces, list, placed};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::{is_routing_daemon, protocol_name};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::routes::{Cause, RouteChange, RouteDelta};
use crate::state::{NetState, Observation};

/// Five routes within a second are a sweep; one or two are an operator.
const SWEEP: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);
/// A link that changed this recently explains deletions.
const LINK: Duration = Duration::from_secs(2);
/// `RTPROT_KEEPALIVED`, `RTPROT_OVN`: no routing protocols, but daemons with one process too.
const OTHER_DAEMONS: [u8; 2] = [18, 84];
/// Processes that write routes, remembered for each owner; more than a few are scripts.
const MAX_WRITERS: usize = 4;
/// Prefixes named.
const MAX_SUBJECTS: usize = 16;

#[derive(Clone, Default)]
pub(super) struct ForeignDetector {
    /// Processes that installed routes of each protocol.
    writers: BTreeMap<u8, BTreeSet<u32>>,
    sweeps: BTreeMap<(u8, u32), Sweep>,
    last_link: Option<Timestamp>,
}

#[derive(Clone)]
struct Sweep {
    deletions: Vec<RouteDelta>,
    key: Option<FindingKey>,
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
            if delta.by == 0 || delta.cause != Cause::Notified {
                continue;
            }
            let Some(route) = delta.new.as_ref().or(delta.old.as_ref()) else {
                continue;
            };
            let owner = route.protocol;
            if !is_routing_daemon(owner) && !OTHER_DAEMONS.contains(&owner) {
                continue;
            }
            if delta.change == RouteChange::Removed {
                let known = self.writers.get(&owner);
                if known.is_some_and(|pids| !pids.contains(&delta.by)) {
                    self.deleted(owner, delta, net, board);
                }
            } else {
                let writers = self.writers.entry(owner).or_default();
                writers.insert(delta.by);
                if writers.len() > MAX_WRITERS {
                    writers.pop_first();
                }
            }
        }
    }
}

impl ForeignDetector {
    fn deleted(&mut self, owner: u8, delta: &RouteDelta, net: &NetState, board: &mut Board) {
        if self.last_link.is_some_and(|at| delta.at.since(at) <= LINK) {
            return;
        }
        self.sweeps.retain(|_, sweep| {
            let last = sweep.deletions.last();
            last.is_some_and(|last| delta.at.since(last.at) <= WINDOW)
        });
        let sweep = self.sweeps.entry((owner, delta.by)).or_insert(Sweep {
            deletions: Vec::new(),
            key: None,
        });
        if sweep.deletions.len() >= MAX_SUBJECTS {
            sweep.deletions.remove(0);
        }
        sweep.deletions.push(delta.clone());
        let event = placed(delta.at, delta.locator);
        let key = match sweep.key {
            Some(key) => {
                board.update(key, |finding| finding.again(&event));
                key
            }
            None if sweep.deletions.len() >= SWEEP => {
                let mut deletions = sweep.deletions.iter();
                let Some(first) = deletions.next() else {
                    return;
                };
                let subject = Subject::Prefix(first.key.prefix);
                let kind = Kind::RouteForeignDelete;
                let begin = placed(first.at, first.locator);
                let mut finding = Finding::new(kind, Severity::Warning, subject, &begin);
                for deletion in deletions {
                    finding.again(&placed(deletion.at, deletion.locator));
                }
                let key = board.raise(finding);
                sweep.key = Some(key);
                key
            }
            None => return,
        };
        // Of several installers the latest number stands for all: they are one daemon's, before and after a restart.
        let installer = self
            .writers
            .get(&owner)
            .and_then(|pids| pids.last().copied())
            .unwrap_or(0);
        let prefixes: BTreeSet<Prefix> = sweep.deletions.iter().map(|d| d.key.prefix).collect();
        board.update(key, |finding| {
            for prefix in &prefixes {
                if finding.subjects.len() < MAX_SUBJECTS {
                    finding.also(Subject::Prefix(*prefix));
                    finding.touch(Touch::Prefix(*prefix));
                }
                finding.affected.routes.insert(*prefix);
            }
            super::writers::manager(finding, net, delta.by);
            super::writers::renewal(finding, net, finding.first);
            for route in delta.old.iter() {
                super::writers::name(finding, net, installer, route, delta.key.table);
                route.gateways().for_each(|gateway| finding.touch(Touch::Gateway(gateway)));
                for name in interfaces(net, route) {
                    finding.touch(Touch::Interface(name));
                }
            }
            finding.broken.subject = true;
            finding.actor = Some(actor(net, delta.by, None));
            finding.explain = format!(
                "{} deleted {} routes of {} that another process had installed: {}.",
                actor(net, delta.by, None),
                finding.count,
                protocol_name(owner),
                list(&prefixes, 4),
            );
            finding.advice = vec![
                format!("ps -fp {}", delta.by),
                "networkctl status --no-pager".to_owned(),
                "grep -r ManageForeignRoutes /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d".to_owned(),
            ];
        });
    }
}
