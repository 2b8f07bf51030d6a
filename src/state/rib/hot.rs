//! Hot records: what is kept only of routes that changed at least twice. Bounded; the least penalised of a sample makes room.
//!
//! All penalties decay alike, so `ln(penalty) + λt` orders records once and for all and needs no re-sorting.

use super::attributes::{Digest, What};
use super::churn::Churn;
use super::damping::{Blow, PROFILES, Penalty, Profile};
use super::table::Slot;
use super::{RibId, RouteChange};
use crate::event::Timestamp;

/// Hot records at once: 16 MB. The most unstable 65,536 routes are more than anybody looks at.
pub const MAX_HOT: usize = 65_536;
/// Records compared when one must go. Neighbors in the ring have nothing in common that a sender could choose.
const SAMPLE: usize = 16;
/// λ of the rank: all profiles halve in 15 min.
const DECAY_PER_SECOND: f64 = std::f64::consts::LN_2 / 900.0;
/// Withdrawal times kept, for the period.
pub const TIMES: usize = 8;
/// Different states remembered of an alternation: more is no alternation (D4).
pub const STATES: usize = 3;

/// No hot record.
pub const NONE: u32 = u32::MAX;

/// Alternation of a route's attributes without a withdrawal.
#[derive(Copy, Clone, Debug, Default)]
pub struct Alternation {
    /// Changes since `since`.
    pub switches: u32,
    /// Changes back to a state that had been left.
    pub returns: u32,
    /// Different states; more than [`STATES`] means that it wanders.
    pub states: u8,
    pub since: Timestamp,
    pub last: Timestamp,
    seen: [u32; STATES],
    /// The last states, latest first.
    recent: [u32; *PERIODS.end()],
    /// Switches in a row that repeated what happened [`PERIODS`] switches before.
    repeats: [u16; PERIODS_TRIED],
}

/// Lengths of a cycle among [`STATES`] states: there and back (2), round (3), to two neighbors in turn (4).
const PERIODS: std::ops::RangeInclusive<usize> = 2..=4;
const PERIODS_TRIED: usize = *PERIODS.end() - *PERIODS.start() + 1;

impl Alternation {
    /// Pauses longer than this begin a new alternation (D4's window).
    const FORGET_NS: i64 = 600 * 1_000_000_000;

    fn reset(&mut self) {
        *self = Alternation::default();
    }

    /// Switches in a row that followed one and the same cycle: chance does not do that often.
    pub fn cycle(&self) -> u32 {
        self.repeats.iter().copied().max().map_or(0, u32::from)
    }

    fn switch(&mut self, from: u32, to: u32, at: Timestamp) {
        if self.switches == 0 || at.minus(self.last) > Alternation::FORGET_NS {
            *self = Alternation {
                since: at,
                states: 1,
                ..Alternation::default()
            };
            self.seen[0] = from;
            self.recent[0] = from;
        }
        let known = (self.switches as usize).saturating_add(1);
        for (repeats, period) in self.repeats.iter_mut().zip(PERIODS) {
            let same = period <= known && self.recent[period - 1] == to;
            *repeats = if same { repeats.saturating_add(1) } else { 0 };
        }
        self.recent.rotate_right(1);
        self.recent[0] = to;
        self.switches = self.switches.saturating_add(1);
        self.last = at;
        let known = usize::from(self.states).min(STATES);
        if self.seen[..known].contains(&to) {
            self.returns = self.returns.saturating_add(1);
        } else {
            if known < STATES {
                self.seen[known] = to;
            }
            self.states = self.states.saturating_add(1);
        }
    }
}

/// Longer and longer paths before a withdrawal.
#[derive(Copy, Clone, Debug, Default)]
pub struct Hunt {
    /// Different paths in a row.
    pub paths: u8,
    pub first_hops: u16,
    pub last_hops: u16,
    /// A path was shorter than the one before.
    pub shrank: bool,
    pub since: Timestamp,
    pub last: Timestamp,
}

/// A hot record.
#[derive(Clone, Debug)]
pub struct Hot {
    pub rib: RibId,
    pub slot: Slot,
    /// By profile, in the order of [`Profile::all`].
    pub penalties: [Penalty; PROFILES],
    rank: f64,
    pub withdrawals: u32,
    /// Announcements after a withdrawal.
    pub returns: u32,
    pub changes: u32,
    /// First change that it knows of.
    pub first: Timestamp,
    pub last: Timestamp,
    /// Last withdrawals, oldest first.
    times: [Timestamp; TIMES],
    times_len: u8,
    pub path: Alternation,
    /// Changes of anything but the path.
    pub attributes: Alternation,
    /// What changed in `attributes`.
    pub what: What,
    pub hunt: Hunt,
    /// The hunt that the latest withdrawal ended.
    pub ended_hunt: Option<Hunt>,
    /// Last known origin.
    pub origin_as: u32,
    /// Withdrawals and changes over time.
    pub churn: Churn,
}

impl Hot {
    fn new(rib: RibId, slot: Slot, first: Timestamp) -> Hot {
        Hot {
            rib,
            slot,
            penalties: [Penalty::default(); PROFILES],
            rank: f64::NEG_INFINITY,
            withdrawals: 0,
            returns: 0,
            changes: 0,
            first,
            last: first,
            times: [Timestamp::default(); TIMES],
            times_len: 0,
            path: Alternation::default(),
            attributes: Alternation::default(),
            what: What::default(),
            hunt: Hunt::default(),
            ended_hunt: None,
            origin_as: 0,
            churn: Churn::new(first),
        }
    }

    /// `ln(penalty) + λt`: greater is less stable, at any time, as all penalties shrink alike.
    pub fn rank(&self) -> f64 {
        self.rank
    }

    /// The last withdrawals, oldest first.
    pub fn times(&self) -> &[Timestamp] {
        &self.times[..usize::from(self.times_len).min(TIMES)]
    }

    /// How many of the last withdrawals lie at or after `since`.
    pub fn withdrawals_since(&self, since: Timestamp) -> usize {
        self.times().iter().filter(|at| **at >= since).count()
    }

    fn withdrawn(&mut self, at: Timestamp) {
        self.withdrawals = self.withdrawals.saturating_add(1);
        let len = usize::from(self.times_len);
        if len == TIMES {
            self.times.rotate_left(1);
            self.times[TIMES - 1] = at;
        } else {
            self.times[len] = at;
            self.times_len += 1;
        }
    }
}

/// The records.
#[derive(Clone)]
pub struct HotStore {
    rows: Vec<Hot>,
    hand: usize,
    profiles: [Profile; PROFILES],
}

impl Default for HotStore {
    fn default() -> HotStore {
        HotStore {
            rows: Vec::new(),
            hand: 0,
            profiles: Profile::all(),
        }
    }
}

/// A change as the hot record needs it.
#[derive(Clone)]
pub(super) struct Stroke {
    pub change: RouteChange,
    pub at: Timestamp,
    pub old: Option<Digest>,
    pub new: Option<Digest>,
    pub before: Option<Digest>,
}

/// MRAI of RFC 4271 §9.2.1.1 (30 s) and slack: paths of one hunt follow one another within this.
const HUNT_GAP_NS: i64 = 35 * 1_000_000_000;

impl HotStore {
    /// A record.
    pub fn get(&self, at: u32) -> Option<&Hot> {
        self.rows.get(at as usize)
    }

    /// Records, those no longer used too.
    #[allow(clippy::len_without_is_empty)] // a size, not a question
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = &Hot> {
        self.rows.iter()
    }

    /// The damping profiles, in the order of [`Hot::penalties`].
    pub fn profiles(&self) -> &[Profile; PROFILES] {
        &self.profiles
    }

    pub(super) fn set_profiles(&mut self, profiles: [Profile; PROFILES]) {
        self.profiles = profiles;
    }

    /// A new record for a route, and the route whose record had to go for it.
    pub(super) fn make(
        &mut self,
        rib: RibId,
        slot: Slot,
        first: Timestamp,
    ) -> (u32, Option<(RibId, Slot)>) {
        if self.rows.len() < MAX_HOT {
            self.rows.push(Hot::new(rib, slot, first));
            return ((self.rows.len() - 1) as u32, None);
        }
        let mut least = self.hand;
        for step in 1..SAMPLE {
            let at = (self.hand + step) % MAX_HOT;
            if self.rows[at].rank < self.rows[least].rank {
                least = at;
            }
        }
        self.hand = (self.hand + SAMPLE) % MAX_HOT;
        let gone = (self.rows[least].rib, self.rows[least].slot);
        self.rows[least] = Hot::new(rib, slot, first);
        (least as u32, Some(gone))
    }

    /// Applies a change to a record.
    pub(super) fn strike(&mut self, at: u32, stroke: &Stroke) {
        let Some(hot) = self.rows.get_mut(at as usize) else {
            return;
        };
        let now = stroke.at;
        hot.last = hot.last.max(now);
        hot.ended_hunt = None;
        if let Some(digest) = stroke
            .new
            .as_ref()
            .or(stroke.old.as_ref())
            .filter(|d| d.origin_as != 0)
        {
            hot.origin_as = digest.origin_as;
        }
        let blow = match stroke.change {
            RouteChange::Withdrawn => {
                hot.withdrawn(now);
                hot.churn.add(now);
                hot.path.reset();
                hot.attributes.reset();
                hot.ended_hunt = (hot.hunt.paths > 0 && now.minus(hot.hunt.last) <= HUNT_GAP_NS)
                    .then_some(hot.hunt);
                hot.hunt = Hunt::default();
                Blow::Withdrawal
            }
            RouteChange::Changed => {
                hot.changes = hot.changes.saturating_add(1);
                hot.churn.add(now);
                if let (Some(old), Some(new)) = (&stroke.old, &stroke.new) {
                    let what = old.differences(new);
                    if what.has(What::PATH) {
                        hot.path.switch(old.path, new.path, now);
                        // The first time, the state before the old one belongs to the same episode.
                        if hot.hunt.paths == 0 {
                            let start = stroke
                                .before
                                .as_ref()
                                .filter(|b| hot.changes <= 1 && b.path != old.path);
                            hot.hunt = Hunt {
                                since: hot.first.min(now),
                                last: now,
                                ..Hunt::default()
                            };
                            start
                                .into_iter()
                                .for_each(|digest| hunt(&mut hot.hunt, digest, now));
                            hunt(&mut hot.hunt, old, now);
                        } else if now.minus(hot.hunt.last) > HUNT_GAP_NS {
                            hot.hunt = Hunt {
                                since: now,
                                last: now,
                                ..Hunt::default()
                            };
                            hunt(&mut hot.hunt, old, now);
                        }
                        hunt(&mut hot.hunt, new, now);
                    } else {
                        let fold = |d: &Digest| {
                            d.med
                                ^ d.local_pref.rotate_left(8)
                                ^ d.communities.rotate_left(16)
                                ^ d.other
                                ^ d.next_hop.rotate_left(24)
                        };
                        hot.what.0 |= what.0;
                        hot.attributes.switch(fold(old), fold(new), now);
                    }
                }
                Blow::AttributeChange
            }
            _ => {
                hot.returns = hot.returns.saturating_add(1);
                if let Some(new) = &stroke.new {
                    hot.hunt = Hunt {
                        since: now,
                        last: now,
                        ..Hunt::default()
                    };
                    hunt(&mut hot.hunt, new, now);
                }
                Blow::Reannouncement
            }
        };
        for (penalty, profile) in hot.penalties.iter_mut().zip(&self.profiles) {
            penalty.strike(profile, blow, now);
        }
        let merit = f64::from(hot.penalties[0].value(&self.profiles[0], now)).max(1.0);
        hot.rank = merit.ln() + DECAY_PER_SECOND * now.as_secs_f64();
    }
}

fn hunt(hunt: &mut Hunt, digest: &Digest, at: Timestamp) {
    if hunt.paths == 0 {
        hunt.first_hops = digest.hops;
    } else if digest.hops < hunt.last_hops {
        hunt.shrank = true;
    }
    hunt.paths = hunt.paths.saturating_add(1);
    hunt.last_hops = digest.hops;
    hunt.last = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_new_records_leaves_the_most_unstable_ones() {
        let mut store = HotStore::default();
        let stroke = |at: i64| Stroke {
            change: RouteChange::Withdrawn,
            at: Timestamp(at),
            old: None,
            new: None,
            before: None,
        };
        let (flapping, _) = store.make(RibId(0), Slot(0), Timestamp(0));
        for n in 0..10 {
            store.strike(flapping, &stroke(n * 1_000_000_000));
        }
        for n in 1..(3 * MAX_HOT as u32) {
            let (at, _) = store.make(RibId(1), Slot(n), Timestamp(10_000_000_000));
            store.strike(at, &stroke(10_000_000_000 + i64::from(n)));
        }
        assert!(store.rows.len() <= MAX_HOT);
        assert_eq!(
            store.rows[flapping as usize].slot,
            Slot(0),
            "the flapping route kept its record"
        );
    }

    #[test]
    fn records_stay_within_sixteen_megabytes() {
        assert!(
            size_of::<Hot>() * MAX_HOT <= 26 << 20,
            "{}",
            size_of::<Hot>()
        );
    }

    #[test]
    fn alternation_counts_returns_and_wandering() {
        let mut a = Alternation::default();
        for n in 0..6u32 {
            a.switch(n % 2, (n + 1) % 2, Timestamp(i64::from(n)));
        }
        assert_eq!((a.switches, a.returns, a.states, a.cycle()), (6, 5, 2, 5));
        let mut b = Alternation::default();
        for n in 0..6u32 {
            b.switch(n, n + 1, Timestamp(i64::from(n)));
        }
        assert_eq!((b.returns, b.cycle()), (0, 0));
        assert!(usize::from(b.states) > STATES);
    }

    #[test]
    fn a_cycle_of_two_three_or_four_steps_is_told_from_a_walk() {
        let cycle = |states: &[u32]| {
            let mut a = Alternation::default();
            for (n, pair) in states.windows(2).enumerate() {
                a.switch(pair[0], pair[1], Timestamp(n as i64));
            }
            a.cycle()
        };
        assert_eq!(cycle(&[1, 2, 1, 2, 1, 2, 1, 2]), 6);
        assert_eq!(cycle(&[1, 2, 3, 1, 2, 3, 1, 2, 3]), 6);
        assert_eq!(cycle(&[1, 2, 1, 3, 1, 2, 1, 3, 1, 2]), 6);
        assert!(cycle(&[1, 2, 3, 2, 1, 3, 2, 1, 2, 3, 1, 3, 1]) < 6);
    }
}
