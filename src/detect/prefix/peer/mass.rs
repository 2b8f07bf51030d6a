//! Mass withdrawals: a large part of a peer's table goes while the session stays up. Peers that lose the same prefixes at once share
//! one finding: the failure lies where their paths meet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::finding::MAX_PREFIXES;
use crate::detect::session::drain;
use crate::detect::{Board, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::attributes::AttrId;
use crate::state::rib::table::Slot;
use crate::state::rib::{RibId, RibKind, RouteChange, RouteDelta};

use super::{Scene, about, name_peer, plural, prefixes};

/// D7: withdrawals within the window, at least so many, and so large a part of the table.
const LEAST: u32 = 50;
const SHARE_PERCENT: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// An operator's own tables are smaller than [`LEAST`]: what counts there is that nearly all goes that a peer, or an AS behind it,
/// announced. Fewer than ten go with one rack or one customer's change.
const WHOLE_LEAST: u32 = 10;
const WHOLE_PERCENT: u32 = 80;
/// Routes looked through for what an AS still announces.
const WHOLE_TABLE: usize = 4096;
/// Paths looked at for the AS they have in common.
const PATHS: usize = 64;
/// Rounds between two updates of the finding.
const MAX_ROUNDS: usize = 64;
/// Open mass withdrawals.
const MAX_OPEN: usize = 64;
/// A mass withdrawal is watched for its recovery this long.
const WATCH: Duration = Duration::from_secs(600);
/// Between two updates of a finding.
const REFRESH: Duration = Duration::from_millis(500);

/// Recent withdrawals of one RIB.
#[derive(Clone, Default)]
pub(super) struct Window {
    since: Option<(Timestamp, Locator)>,
    count: u32,
    /// Distinct routes; an oscillating few are no mass.
    slots: hashbrown::HashSet<Slot, foldhash::fast::RandomState>,
    table: u32,
    /// The open mass withdrawal it belongs to, with the RIB's last withdrawal.
    open: Option<u32>,
    /// So many must go before somebody looks again whether that was all of an AS's routes.
    next_look: u32,
}

/// Whose routes went nearly all.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Whole {
    Peer,
    As(u32),
}

#[derive(Clone)]
struct Mass {
    key: FindingKey,
    first: Timestamp,
    last: Timestamp,
    ribs: BTreeMap<RibId, Timestamp>,
    prefixes: BTreeSet<Prefix>,
    /// How many routes of each RIB are away, and the most that were: of large tables not every prefix is remembered.
    away: BTreeMap<RibId, (u64, u64)>,
    /// Rounds after the first that are not in the finding yet: when it began, and when the one before was over.
    rounds: Vec<(Timestamp, Locator, Option<Timestamp>)>,
    returned: BTreeSet<Prefix>,
    /// AS numbers that every path seen so far has, in path order of the first one.
    common: Option<Vec<u32>>,
    paths: usize,
    recovered: Option<Timestamp>,
    dirty: bool,
    /// What made it a mass withdrawal although it is small.
    whole: Option<Whole>,
    /// Most of what went was marked with GRACEFUL_SHUTDOWN before.
    drained: bool,
    /// Its prefixes flap: their own finding says more, and this one was taken back.
    flaps: bool,
}

/// The open ones.
#[derive(Clone, Default)]
pub(super) struct Masses {
    open: BTreeMap<u32, Mass>,
    next: u32,
    refresh_at: Option<Timestamp>,
}

impl Masses {
    pub fn covers(&self, id: RibId, now: Timestamp) -> bool {
        !self.open.is_empty()
            // A small table that goes again and again flaps: few findings say so.
            && self.open.values().any(|mass| {
                mass.whole.is_none() && mass.ribs
                    .get(&id)
                    .is_some_and(|last| now.since(*last) <= WINDOW)
            })
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.refresh_at
    }

    /// Counts withdrawals of one UPDATE.
    pub fn withdrawn(
        &mut self,
        window: &mut Window,
        scene: &Scene<'_>,
        deltas: &[RouteDelta],
        count: u32,
        board: &mut Board,
    ) {
        let now = scene.event.at;
        if window
            .since
            .is_none_or(|(since, _)| now.since(since) > WINDOW)
        {
            *window = Window {
                since: Some((now, scene.event.locator)),
                table: scene.rib.present.saturating_add(count),
                ..Window::default()
            };
        }
        if let Some(mass) = window.open.and_then(|at| self.open.get_mut(&at)) {
            mass.ribs.insert(scene.id, now);
            mass.last = mass.last.max(now);
            if mass.recovered.is_some() && mass.rounds.len() < MAX_ROUNDS {
                mass.rounds.push((now, scene.event.locator, mass.recovered));
            }
            mass.recovered = None;
            for prefix in prefixes(scene, deltas, |change| change == RouteChange::Withdrawn) {
                mass.lost(prefix);
            }
            mass.went(scene.id, u64::from(count));
            mass.dirty = true;
            self.refresh_at.get_or_insert(now + REFRESH);
            return;
        }
        for delta in deltas
            .iter()
            .filter(|delta| delta.change == RouteChange::Withdrawn)
        {
            if window.slots.len() >= MAX_PREFIXES || window.slots.insert(delta.slot) {
                window.count = window.count.saturating_add(1);
            }
        }
        let threshold =
            LEAST.max((u64::from(window.table) * u64::from(SHARE_PERCENT) / 100) as u32);
        let whole = if window.count >= threshold {
            None
        } else if let Some(whole) = window.whole(scene) {
            Some(whole)
        } else {
            return;
        };
        let Some((since, locator)) = window.since else {
            return;
        };
        let lost: BTreeSet<Prefix> = window
            .slots
            .iter()
            .filter_map(|slot| scene.rib.prefix(*slot))
            .collect();
        let at = match self.companion(&lost, since) {
            Some(at) => at,
            None if self.open.len() >= MAX_OPEN => return,
            None => {
                let mut finding = about(Kind::PrefixMassWithdrawal, scene, since);
                finding.evidence.add(locator);
                // Of a collector's updates without its table nobody knows how much of the table that is: the Internet's weather.
                if scene.net.rib.is_internet()
                    && scene.rib.kind == RibKind::Mrt
                    && !scene.rib.complete
                {
                    finding.severity = Severity::Info;
                }
                let at = self.next;
                self.next += 1;
                let mass = Mass {
                    key: board.raise(finding),
                    first: since,
                    last: now,
                    ribs: BTreeMap::new(),
                    prefixes: BTreeSet::new(),
                    away: BTreeMap::new(),
                    rounds: Vec::new(),
                    returned: BTreeSet::new(),
                    common: None,
                    paths: 0,
                    recovered: None,
                    dirty: true,
                    whole,
                    drained: false,
                    flaps: false,
                };
                self.open.insert(at, mass);
                at
            }
        };
        window.open = Some(at);
        let Some(mass) = self.open.get_mut(&at) else {
            return;
        };
        mass.ribs.insert(scene.id, now);
        mass.first = mass.first.min(since);
        mass.last = mass.last.max(now);
        mass.recovered = None;
        for prefix in lost {
            mass.lost(prefix);
        }
        mass.went(scene.id, u64::from(window.count));
        // What the withdrawn routes were: the record keeps it.
        let mut slots: Vec<Slot> = window.slots.drain().collect();
        slots.sort_unstable();
        let (mut looked, mut marked) = (0usize, 0usize);
        for slot in slots.into_iter().take(PATHS) {
            if let Some(cold) = scene.rib.cold(slot) {
                mass.path(scene, cold.before);
                looked += 1;
                marked += usize::from(drain::is_marked(scene.net, cold.before));
            }
        }
        // Every peer that loses them must have been told.
        mass.drained = marked * 2 > looked && (mass.drained || mass.ribs.len() == 1);
        let receiver = scene.receiver;
        board.update(mass.key, |finding| {
            finding.first = finding.first.min(since);
            finding.evidence.add(locator);
            finding.support(scene.event);
            name_peer(finding, scene.sender);
            finding.touch(Touch::Peer(receiver));
        });
        mass.dirty = true;
        self.flush(now, scene.net, board);
    }

    /// Takes back what turns out to be a few prefixes that flap together.
    pub fn give_way(
        &mut self,
        scene: &Scene<'_>,
        flaps: impl Fn(&Prefix) -> bool,
        board: &mut Board,
    ) {
        let struck = |mass: &Mass| mass.ribs.get(&scene.id) == Some(&scene.event.at);
        for mass in self
            .open
            .values_mut()
            .filter(|mass| mass.whole.is_some() && !mass.flaps && struck(mass))
        {
            let flapping = mass.prefixes.iter().filter(|prefix| flaps(prefix)).count();
            if flapping * 2 >= mass.prefixes.len() {
                mass.flaps = true;
                board.retract(mass.key);
            }
        }
    }

    /// Counts what comes back.
    pub fn announced(&mut self, scene: &Scene<'_>, deltas: &[RouteDelta]) {
        if self.open.is_empty() {
            return;
        }
        let now = scene.event.at;
        for mass in self
            .open
            .values_mut()
            .filter(|mass| mass.ribs.contains_key(&scene.id))
        {
            let back = deltas
                .iter()
                .filter(|delta| delta.change == RouteChange::Reannounced)
                .count();
            mass.came_back(scene.id, back as u64);
            for delta in deltas {
                let Some(prefix) = scene
                    .rib
                    .prefix(delta.slot)
                    .filter(|prefix| mass.prefixes.contains(prefix))
                else {
                    continue;
                };
                mass.path(scene, delta.new);
                mass.returned.insert(prefix);
            }
            // Half of it back: the rest may have moved elsewhere for good.
            if mass.recovered.is_none() && mass.returned.len() * 2 >= mass.prefixes.len() {
                mass.recovered = Some(now);
                mass.dirty = true;
            }
            self.refresh_at.get_or_insert(now + REFRESH);
        }
    }

    pub fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.flush(now, net, board);
        }
    }

    /// Brings findings up to date.
    pub fn flush(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.refresh_at = None;
        for mass in self.open.values_mut().filter(|mass| mass.dirty) {
            mass.dirty = false;
            if mass.flaps {
                continue;
            }
            mass.describe(net, board);
        }
        self.open.retain(|_, mass| now.since(mass.last) <= WATCH);
    }

    /// A mass withdrawal of another peer that shares most prefixes and began within the window.
    fn companion(&self, lost: &BTreeSet<Prefix>, since: Timestamp) -> Option<u32> {
        let near = |mass: &Mass| {
            mass.flaps
                || mass.first.since(since).max(since.since(mass.first)) <= WINDOW
                || (since >= mass.first && since <= mass.last)
        };
        self.open
            .iter()
            .rev()
            .find(|(_, mass)| {
                let shared = lost
                    .iter()
                    .filter(|prefix| mass.prefixes.contains(prefix))
                    .count();
                // Other family, same moment: one failure takes both.
                let other_family =
                    lost.first().map(Prefix::is_ipv6) != mass.prefixes.first().map(Prefix::is_ipv6);
                near(mass)
                    && (shared * 2 >= lost.len().min(mass.prefixes.len())
                        || other_family && !mass.flaps)
            })
            .map(|(at, _)| *at)
    }
}

impl Window {
    /// Whether what went is nearly all that the peer announced, or nearly all from behind one AS.
    fn whole(&mut self, scene: &Scene<'_>) -> Option<Whole> {
        // In the Internet's table a whole AS goes every minute, and a collector's updates without its table do not show what stays.
        let collector = scene.rib.kind == RibKind::Mrt && !scene.rib.complete;
        if self.count < WHOLE_LEAST || collector || scene.net.rib.is_internet() {
            return None;
        }
        let lost = u64::from(self.count);
        let nearly_all = |left: u64| lost * 100 >= (lost + left) * u64::from(WHOLE_PERCENT);
        if nearly_all(u64::from(scene.rib.present)) {
            return Some(Whole::Peer);
        }
        if self.count < self.next_look || scene.rib.known() > WHOLE_TABLE {
            return None;
        }
        // Four fifths of anything are passed by steps of a quarter.
        self.next_look = self.count + (self.count / 4).max(1);
        let mut common: Option<Vec<u32>> = None;
        let mut slots: Vec<Slot> = self.slots.iter().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            let path = path_of(scene, scene.rib.cold(slot)?.before)?;
            common = Some(match common {
                None => path,
                Some(common) => common
                    .into_iter()
                    .filter(|asn| path.contains(asn))
                    .collect(),
            });
        }
        let asn = *common?.last()?;
        let left = scene
            .rib
            .iter()
            .filter(|(_, _, cold)| {
                path_of(scene, scene.rib.current(cold)).is_some_and(|path| path.contains(&asn))
            })
            .count();
        nearly_all(left as u64).then_some(Whole::As(asn))
    }
}

/// The AS numbers of a path in order; nothing when the set is unknown or the path is empty.
fn path_of(scene: &Scene<'_>, attrs: AttrId) -> Option<Vec<u32>> {
    let path: Vec<u32> = scene
        .net
        .rib
        .attributes(attrs)?
        .as_path
        .segments()
        .flat_map(|(_, numbers)| numbers.iter().copied())
        .collect();
    (!path.is_empty()).then_some(path)
}

impl Mass {
    fn lost(&mut self, prefix: Prefix) {
        self.returned.remove(&prefix);
        if self.prefixes.len() < MAX_PREFIXES {
            self.prefixes.insert(prefix);
        }
    }

    fn went(&mut self, id: RibId, count: u64) {
        let (away, most) = self.away.entry(id).or_default();
        *away = away.saturating_add(count);
        *most = (*most).max(*away);
    }

    fn came_back(&mut self, id: RibId, count: u64) {
        if let Some((away, _)) = self.away.get_mut(&id) {
            *away = away.saturating_sub(count);
        }
    }

    /// Prefixes beyond the remembered ones: as many as one peer lost at once.
    fn more(&self) -> u64 {
        let most = self.away.values().map(|(_, most)| *most).max();
        if self.prefixes.len() < MAX_PREFIXES {
            return 0;
        }
        most.unwrap_or(0).saturating_sub(MAX_PREFIXES as u64)
    }

    fn path(&mut self, scene: &Scene<'_>, attrs: AttrId) {
        if self.paths >= PATHS * 4 {
            return;
        }
        let Some(path) = path_of(scene, attrs) else {
            return;
        };
        self.paths += 1;
        self.common = Some(match self.common.take() {
            None => path,
            Some(common) => common
                .into_iter()
                .filter(|asn| path.contains(asn))
                .collect(),
        });
    }

    fn describe(&mut self, net: &NetState, board: &mut Board) {
        // The one farthest along the path: behind it the paths part.
        let common = self
            .common
            .as_ref()
            .and_then(|common| common.last().copied());
        let more = self.more();
        let lost = self.prefixes.len() as u64 + more;
        let rounds = std::mem::take(&mut self.rounds);
        let peers = self
            .ribs
            .keys()
            .filter_map(|id| net.rib.get(*id))
            .map(|rib| (rib.session, rib.sender))
            .collect::<BTreeSet<_>>()
            .len();
        // Whether the receiver has another one is not the sender's to say: the kernel's table has a finding of its own.
        let default = match self.prefixes.iter().any(Prefix::is_default) {
            true => ", the default route among them,",
            false => "",
        };
        board.update(self.key, |finding| {
            for (at, locator, over) in rounds {
                if let Some(over) = over {
                    finding.recovered(over);
                }
                finding.again_at(at);
                finding.evidence.add(locator);
            }
            finding.last = finding.last.max(self.last);
            for prefix in &self.prefixes {
                finding.affected.prefix(*prefix);
            }
            finding.affected.more_prefixes = more;
            finding
                .subjects
                .retain(|subject| !matches!(subject, Subject::As(_)));
            if let Some(asn) = common {
                finding.also(Subject::As(asn));
                finding.touch(Touch::As(asn));
            }
            let meet = common
                .map(|asn| format!("; all their paths lead through AS{asn}"))
                .unwrap_or_default();
            let whole = match self.whole {
                None => String::new(),
                Some(Whole::Peer) => ", nearly all that they announced,".to_owned(),
                Some(Whole::As(asn)) => {
                    format!(", nearly all that they announced from behind AS{asn},")
                }
            };
            finding.explain = format!(
                "{} withdrew {lost} prefixes{default}{whole} {}in {:.1} s while the sessions stayed up{meet}",
                plural(peers, "peer"),
                match finding.count {
                    1 => String::new(),
                    n => format!("{n} times "),
                },
                self.last.since(self.first).as_secs_f64()
            );
            finding.planned = self.drained;
            finding.explanations = self
                .drained
                .then(|| drain::DRAINED.to_owned())
                .into_iter()
                .collect();
            finding.broken.subject = self.recovered.is_none();
            if let Some(at) = self.recovered {
                finding.recovered(at);
                finding.ended = Some(at);
                let began = finding.occurrences.last().map_or(self.first, |o| o.at);
                finding.explain.push_str(&format!(
                    "; most were back after {:.1} s",
                    at.since(began).as_secs_f64()
                ));
            }
        });
    }
}
