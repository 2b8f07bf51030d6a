//! The ledger of facts: what an expert would look up afterwards, kept by class and subject, with time, frame and actor.
//!
//! Causes, rejections and explanations are questions to it (law 14). It answers with a witness, with "looked and was not, from then to
//! then", or with "was not watched": gaps, evicted facts and inputs that never showed this class of event are no observation of absence.
//! A new class is a variant of [`What`] with its arm in [`What::class`] and [`What::keys`], and a line in `learn` that records it.
//!
//! Bounded: each class has a ring of its own, so that a flood of one class displaces nothing of the others, and a storm within one class
//! is counted instead of kept. No BGP UPDATE and no prefix of a table makes a fact.

mod fact;
mod learn;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

pub use fact::{CLASSES, Channel, Class, DhcpChange, Fact, Key, LinkLoss, RouteWay, What};
use watch::Watches;

use crate::event::bgp::BgpMessage;
use crate::event::{EventKind, Timestamp};

/// Facts kept of one class. A fault's window is minutes at most; two thousand facts of one class inside it are a storm of which the
/// middle tells nothing new.
pub const MAX_FACTS: usize = 2048;
/// Facts of one class kept within [`STORM`]; the rest is counted, and the time is marked as one about which absence cannot be stated.
/// The kernel deletes 60,000 routes in a second (measured); nobody names more than a few of them.
pub const MAX_BURST: u32 = 128;
/// See [`MAX_BURST`].
pub const STORM: Duration = Duration::from_secs(1);
/// Storms remembered for each class; older ones grow together with the next.
const MAX_STORMS: usize = 32;

/// What the ledger knows about a question.
#[derive(Copy, Clone, Debug)]
pub enum Answer<'a> {
    /// It happened: the latest such fact inside the window.
    Seen(&'a Fact),
    /// It was watched from `since` until `until` without a hole, and it did not happen.
    LookedAndNot { since: Timestamp, until: Timestamp },
    /// Nobody looked, or not all of the time: nothing can be said.
    NotWatched,
}

/// The facts of one class.
#[derive(Clone, Default)]
struct Ring {
    facts: VecDeque<Fact>,
    /// Number of the first fact in `facts`; numbers are never used again.
    first: u64,
    /// Facts older than this were displaced.
    horizon: Option<Timestamp>,
    /// When the running second of [`MAX_BURST`] began, and how many facts it had.
    burst: Option<(Timestamp, u32)>,
    /// Times in which facts were counted only.
    storms: VecDeque<(Timestamp, Timestamp)>,
    by_key: HashMap<Key, VecDeque<u64>, RandomState>,
}

/// The ledger.
#[derive(Clone)]
pub struct Ledger {
    rings: Vec<Ring>,
    watches: Watches,
    now: Timestamp,
    /// Facts that were counted and not kept.
    pub uncounted: u64,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            rings: vec![Ring::default(); CLASSES],
            watches: Watches::default(),
            now: Timestamp::MIN,
            uncounted: 0,
        }
    }
}

impl Ledger {
    /// Whether events of this kind can make facts or tell that somebody watches. Keeps the hot path free: an UPDATE is none.
    pub(super) fn wants(kind: &EventKind) -> bool {
        match kind {
            EventKind::Bgp(bgp) => !matches!(bgp.message, BgpMessage::Update(_)),
            EventKind::Bmp(_)
            | EventKind::Tcp(_)
            | EventKind::Rtr(_)
            | EventKind::Malformed(_)
            | EventKind::Annotation(_)
            | EventKind::Mdb(_)
            | EventKind::Actor(_) => false,
            _ => true,
        }
    }

    /// Notes a fact.
    pub fn record(&mut self, fact: Fact) {
        self.now = self.now.max(fact.at);
        let class = fact.what.class();
        let Some(ring) = self.rings.get_mut(class as usize) else {
            return;
        };
        if !fact.what.is_weighty() && !ring.has_room(fact.at) {
            self.uncounted += 1;
            return;
        }
        if ring.facts.len() >= MAX_FACTS {
            ring.drop_first();
        }
        let number = ring.first + ring.facts.len() as u64;
        for key in fact.what.keys() {
            ring.by_key.entry(key).or_default().push_back(number);
        }
        ring.facts.push_back(fact);
    }

    /// Whether something of this class happened to this subject in the window, both ends included.
    pub fn ask(&self, class: Class, key: &Key, from: Timestamp, to: Timestamp) -> Answer<'_> {
        match self.within(class, key, from, to).next() {
            Some(fact) => Answer::Seen(fact),
            None => self.looked(class, from, to),
        }
    }

    /// The same for several classes at once: the first witness of any of them, and absence only where all of them were watched.
    pub fn ask_any(
        &self,
        classes: &[Class],
        key: &Key,
        from: Timestamp,
        to: Timestamp,
    ) -> Answer<'_> {
        let mut whole = Answer::NotWatched;
        for (at, class) in classes.iter().enumerate() {
            whole = match (self.ask(*class, key, from, to), whole) {
                (Answer::Seen(fact), _) => return Answer::Seen(fact),
                (Answer::NotWatched, _) => Answer::NotWatched,
                (found, _) if at == 0 => found,
                (
                    Answer::LookedAndNot { since, until },
                    Answer::LookedAndNot { since: a, until: b },
                ) => Answer::LookedAndNot {
                    since: since.max(a),
                    until: until.min(b),
                },
                (Answer::LookedAndNot { .. }, other) => other,
            };
        }
        whole
    }

    /// How well this class was watched in the window, whatever happened in it.
    pub fn looked(&self, class: Class, from: Timestamp, to: Timestamp) -> Answer<'_> {
        let (Some(ring), Some((began, until))) = (
            self.rings.get(class as usize),
            self.watches.span(class.channel()),
        ) else {
            return Answer::NotWatched;
        };
        let since = from.max(began).max(ring.horizon.unwrap_or(Timestamp::MIN));
        let until = to.min(until);
        let holed = ring.storms.iter().any(|(a, b)| *a <= until && *b >= since)
            || self.watches.holed(class.channel(), since, until);
        if since >= until || holed {
            Answer::NotWatched
        } else {
            Answer::LookedAndNot { since, until }
        }
    }

    /// Facts of a class about a subject inside the window, the latest first.
    pub fn within<'a>(
        &'a self,
        class: Class,
        key: &Key,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &'a Fact> + use<'a> {
        self.about(class, key)
            .filter(move |fact| fact.at >= from && fact.at <= to)
    }

    /// All facts of a class about a subject, the latest noted first.
    pub fn about<'a>(
        &'a self,
        class: Class,
        key: &Key,
    ) -> impl Iterator<Item = &'a Fact> + use<'a> {
        let ring = self.rings.get(class as usize);
        let numbers = ring.and_then(|ring| ring.by_key.get(key));
        numbers
            .into_iter()
            .flatten()
            .rev()
            .filter_map(move |number| ring?.get(*number))
    }

    /// All facts of a class, the latest noted first.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Fact> {
        let ring = self.rings.get(class as usize);
        ring.into_iter().flat_map(|ring| ring.facts.iter().rev())
    }

    /// The latest fact of a class about a subject at or before `to`.
    pub fn last(&self, class: Class, key: &Key, to: Timestamp) -> Option<&Fact> {
        self.about(class, key).find(|fact| fact.at <= to)
    }

    /// Facts held.
    pub fn len(&self) -> usize {
        self.rings.iter().map(|ring| ring.facts.len()).sum()
    }

    /// Nothing was noted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ring {
    fn get(&self, number: u64) -> Option<&Fact> {
        self.facts.get(number.checked_sub(self.first)? as usize)
    }

    /// Lets the oldest fact go. Its numbers are the first ones of their lists, so nothing is searched.
    fn drop_first(&mut self) {
        let Some(fact) = self.facts.pop_front() else {
            return;
        };
        self.horizon = self.horizon.max(Some(fact.at));
        for key in fact.what.keys() {
            if let Some(numbers) = self.by_key.get_mut(&key) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.first += 1;
    }

    /// Counts a fact; `false` once the running second had its share.
    fn has_room(&mut self, at: Timestamp) -> bool {
        let (began, count) = match self.burst {
            Some((began, count)) if at < began + STORM => (began, count + 1),
            _ => (at, 1),
        };
        self.burst = Some((began, count));
        if count <= MAX_BURST {
            return true;
        }
        match self.storms.back_mut() {
            Some((from, to)) if at <= *to + STORM => {
                *from = (*from).min(at);
                *to = (*to).max(at);
            }
            _ => {
                if self.storms.len() >= MAX_STORMS
                    && let (Some((from, _)), Some(next)) =
                        (self.storms.pop_front(), self.storms.front_mut())
                {
                    next.0 = from;
                }
                self.storms.push_back((at, at));
            }
        }
        false
    }
}
