//! `prefix.zombie`: a prefix stays in a neighbor's announcements although everybody else who had it by the same way withdrew it.
//!
//! A backup path is no zombie: what remains must be older than the first withdrawal, unchanged since, and come from the origin by the same
//! first hop as the withdrawn ones. Source: Fontugne, Bautista, Petrie et al., "BGP Zombies: an Analysis of Beacons Stuck Routes" (PAM 2019):
//! routes that remain 90 minutes after the withdrawal while nearly all peers withdrew.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;

use super::weather::Weather;
use crate::detect::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch,
};
use crate::event::bgp::Nlri;
use crate::event::{Classes, Locator, Prefix, Timestamp};
use crate::state::rib::attributes::AttrId;
use crate::state::rib::{Rib, RibKind, RouteChange};
use crate::state::sessions::State;
use crate::state::{NetState, Observation};

/// D21, inside one network: path hunting lasts up to 180 s (MRAI 30 s over long paths), a graceful restart 120 s.
const INTERNAL: Duration = Duration::from_secs(300);
/// PAM 2019: routes still there 90 minutes after the withdrawal are stuck.
const STUCK: Duration = Duration::from_secs(90 * 60);
/// Fewer neighbors than this that had the prefix prove nothing: of two, one may simply have another way.
const LEAST: usize = 3;
/// For other people's prefixes: 90 % of at least 10 neighbors must have withdrawn (RIPE Labs).
const LEAST_FOREIGN: usize = 10;
const SHARE_PERCENT: usize = 90;
/// Prefixes waited for at once; in a storm beyond them nothing is asked.
const MAX_WAITING: usize = 16_384;
/// Open findings.
const MAX_OPEN: usize = 256;

#[derive(Copy, Clone)]
struct Withdrawal {
    at: Timestamp,
    locator: Locator,
}

/// Where a route comes from: the origin and the neighbor that has it from there. `None` for shorter paths.
fn first_hop(net: &NetState, attrs: AttrId) -> Option<(u32, u32)> {
    let path = &net.rib.attributes(attrs)?.as_path;
    let origin = path.origin()?;
    let before = path
        .segments()
        .flat_map(|(_, numbers)| numbers.iter().copied())
        .filter(|asn| *asn != origin)
        .last()?;
    Some((origin, before))
}

/// Detects stuck routes.
#[derive(Clone)]
pub(super) struct Zombies {
    weather: Weather,
    waiting: HashMap<Prefix, Withdrawal, foldhash::fast::RandomState>,
    checks: BTreeMap<(Timestamp, Prefix), Withdrawal>,
    open: BTreeMap<Prefix, FindingKey>,
}

impl Zombies {
    pub fn new(weather: Weather) -> Zombies {
        Zombies {
            weather,
            waiting: HashMap::default(),
            checks: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }
}

/// Copies of what neighbors announce; policies and best-path choices of the router behind are no stuck routes.
fn counts(kind: RibKind) -> bool {
    matches!(kind, RibKind::Packets | RibKind::BmpPre | RibKind::Mrt)
}

impl Detector for Zombies {
    fn name(&self) -> &'static str {
        "stuck routes"
    }

    fn wants(&self) -> Classes {
        Classes::BGP.and(Classes::BMP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let rib = &seen.changes.rib;
        if rib.routes.is_empty() || net.rib.iter().nth(LEAST - 1).is_none() {
            return;
        }
        let Some(of) = rib
            .rib
            .and_then(|id| net.rib.get(id))
            .filter(|of| counts(of.kind))
        else {
            return;
        };
        for delta in &rib.routes {
            let withdrawn = delta.change == RouteChange::Withdrawn;
            if !withdrawn && self.open.is_empty() {
                continue;
            }
            let Some(nlri) = of
                .nlri(delta.slot)
                .filter(|nlri| nlri.path_id == 0 && delta.slot.is_unicast())
            else {
                continue;
            };
            if !self.open.is_empty()
                && let Some(key) = self.open.remove(&nlri.prefix)
            {
                // The rest was withdrawn, or the prefix is announced again: over.
                board.update(key, |finding| {
                    finding.support(seen.event);
                    finding.recovered(seen.event.at);
                    finding.ended = Some(seen.event.at);
                    finding.broken.subject = false;
                });
            }
            if withdrawn
                && self.waiting.len() < MAX_WAITING
                && !self.waiting.contains_key(&nlri.prefix)
            {
                let withdrawal = Withdrawal {
                    at: seen.event.at,
                    locator: seen.event.locator,
                };
                self.waiting.insert(nlri.prefix, withdrawal);
                self.checks
                    .insert((seen.event.at + INTERNAL, nlri.prefix), withdrawal);
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.checks.first_key_value().map(|((at, _), _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.checks.first_entry().filter(|e| e.key().0 <= now) {
            let (_, prefix) = *entry.key();
            let withdrawal = entry.remove();
            match self.look(prefix, withdrawal, now, net, board) {
                Some(again) if again > now => {
                    self.checks.insert((again, prefix), withdrawal);
                }
                _ => {
                    self.waiting.remove(&prefix);
                }
            }
        }
    }
}

impl Zombies {
    /// Looks who still has it. When to look again: when the last withdrawal is long enough ago, or when it would be a zombie by the measure
    /// for other people's prefixes.
    fn look(
        &mut self,
        prefix: Prefix,
        withdrawal: Withdrawal,
        now: Timestamp,
        net: &NetState,
        board: &mut Board,
    ) -> Option<Timestamp> {
        let nlri = Nlri::unicast(prefix);
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for (id, rib) in net.rib.iter().filter(|(_, rib)| counts(rib.kind)) {
            let up = net
                .sessions
                .get(rib.session)
                .is_some_and(|s| s.state == State::Established && s.feed.is_none());
            let Some((slot, attrs)) = net.rib.lookup(id, &nlri).filter(|_| up) else {
                continue;
            };
            let Some(cold) = rib.cold(slot) else { continue };
            if attrs.is_some() {
                left.push((rib, attrs, rib.last_change(cold)));
            } else {
                gone.push((rib, cold.before, rib.last_change(cold)));
            }
        }
        let total = gone.len() + left.len();
        if left.is_empty() || total < LEAST || left.len() > (total / 10).max(1) {
            return None;
        }
        let ways: Vec<_> = left
            .iter()
            .filter_map(|(_, attrs, _)| first_hop(net, *attrs))
            .collect();
        let older = left.iter().all(|(_, _, last)| *last < withdrawal.at);
        if !older || ways.len() != left.len() {
            return None;
        }
        let same = |before: AttrId| {
            first_hop(net, before).is_some_and(|way| ways.iter().all(|w| *w == way))
        };
        let known = gone
            .iter()
            .filter(|(_, before, _)| before.is_some())
            .count();
        let alike = gone.iter().filter(|(_, before, _)| same(*before)).count();
        if known == 0 || alike * 100 < known * SHARE_PERCENT {
            return None;
        }
        // Withdrawals travel for a while (path hunting): counted from the last one.
        let settled = gone.iter().map(|(_, _, last)| *last + INTERNAL).max();
        if let Some(at) = settled.filter(|at| *at > now) {
            return (at <= withdrawal.at + STUCK).then_some(at);
        }
        let origin = ways.first().map_or(0, |(origin, _)| *origin);
        let ours = self.weather.is_ours(prefix, origin);
        let widely = total >= LEAST_FOREIGN && gone.len() * 100 >= total * SHARE_PERCENT;
        let long = now.since(withdrawal.at) >= STUCK;
        let stands_out = ours || (widely && long);
        if !stands_out {
            return widely.then_some(withdrawal.at + STUCK);
        }
        if self.open.contains_key(&prefix) || self.open.len() >= MAX_OPEN {
            return None;
        }
        let severity = if ours {
            Severity::Warning
        } else {
            self.weather.severity(net, prefix, origin)
        };
        let finding = stuck(
            prefix,
            origin,
            severity,
            withdrawal,
            &left,
            gone.len(),
            now,
            net,
        );
        self.open.insert(prefix, board.raise(finding));
        None
    }
}

#[allow(clippy::too_many_arguments)] // the words of one finding
fn stuck(
    prefix: Prefix,
    origin: u32,
    severity: Severity,
    withdrawal: Withdrawal,
    left: &[(&Rib, AttrId, Timestamp)],
    gone: usize,
    now: Timestamp,
    net: &NetState,
) -> Finding {
    let mut finding = Finding::at(
        Kind::PrefixZombie,
        severity,
        Subject::Prefix(prefix),
        withdrawal.at,
    );
    finding.evidence.add(withdrawal.locator);
    finding.fidelity = Fidelity::Inferred;
    finding.also(Subject::Origin(origin));
    finding.touch(Touch::Prefix(prefix));
    finding.affected.prefix(prefix);
    finding.broken.subject = true;
    let mut names = Vec::new();
    for (rib, _, _) in left {
        if let Some(session) = net.sessions.get(rib.session) {
            let addr = session.ends[rib.sender & 1].addr;
            finding.also(Subject::Peer(addr, None));
            finding.touch(Touch::Peer(addr));
            names.push(addr.to_string());
        }
    }
    names.sort();
    finding.explain = format!(
        "{} still announces {prefix} of AS{origin} as it did before {gone} other neighbors, which had it by the same way, withdrew it {:.0} s ago",
        names.join(", "),
        now.since(withdrawal.at).as_secs_f64()
    );
    finding.advice = vec![format!(
        "vtysh -c 'show bgp {prefix}' # or birdc show route for {prefix} all"
    )];
    finding
}

#[cfg(test)]
mod tests;
