//! Counting until it is enough for a finding, counting on in the finding, and ending it when it is quiet: what the detectors share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::{Board, Finding, FindingKey};
use crate::event::{Event, Locator, Timestamp};

/// Subjects watched by one detector at once. Senders are free to invent subjects; the oldest quiet ones make room, then new ones are
/// not watched. A thousand suffering clients of one host need no thousand-and-first finding.
pub const MAX_WATCHED: usize = 1024;
/// Occurrences kept before a finding exists: no threshold is higher.
const MAX_PENDING: usize = 64;

/// A bounded table of what is watched, by subject.
#[derive(Clone)]
pub struct Watched<K, V> {
    entries: BTreeMap<K, (Timestamp, V)>,
    purged: Timestamp,
    /// Entries silent for this long are forgotten when room is needed.
    stale: Duration,
}

impl<K: Ord + Clone, V: Default> Watched<K, V> {
    /// Entries are forgotten after `stale` without a touch.
    pub fn new(stale: Duration) -> Watched<K, V> {
        Watched {
            entries: BTreeMap::new(),
            purged: Timestamp::MIN,
            stale,
        }
    }

    /// The entry of `key`, made if there is room.
    pub fn at(&mut self, key: K, now: Timestamp) -> Option<&mut V> {
        if self.entries.len() >= MAX_WATCHED && !self.entries.contains_key(&key) {
            let stale = self.stale;
            // A purge walks the table; once in an eighth of the time after which entries go stale is enough.
            if now.since(self.purged) < stale / 8 {
                return None;
            }
            self.purged = now;
            self.entries
                .retain(|_, (last, _)| now.since(*last) <= stale);
            if self.entries.len() >= MAX_WATCHED {
                return None;
            }
        }
        let (last, value) = self
            .entries
            .entry(key)
            .or_insert_with(|| (now, V::default()));
        *last = now;
        Some(value)
    }

    /// The entry of `key`, if there is one.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Entries in the order of their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries
            .iter_mut()
            .map(|(key, (_, value))| (key, value))
    }
}

/// Occurrences of one thing at one subject.
#[derive(Clone, Default)]
pub struct Hits {
    pending: Vec<(Timestamp, Locator)>,
    /// The finding, once there were enough.
    pub key: Option<FindingKey>,
    last: Timestamp,
}

/// What a hit did.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Hit {
    /// Not enough yet.
    Waits,
    /// It made the finding.
    Raised(FindingKey),
    /// It counts in the finding.
    Counted(FindingKey),
}

impl Hits {
    /// Counts `event`. The finding is raised, with all occurrences so far, at the `enough`th within `window`; after `window` without
    /// an occurrence the next one starts anew.
    pub fn hit(
        &mut self,
        event: &Event,
        window: Duration,
        enough: usize,
        board: &mut Board,
        make: impl FnOnce(Timestamp) -> Finding,
    ) -> Hit {
        if event.at.since(self.last) > window {
            self.key = None;
        }
        self.last = event.at;
        if let Some(key) = self.key {
            board.update(key, |finding| finding.again(event));
            return Hit::Counted(key);
        }
        self.pending.retain(|(at, _)| event.at.since(*at) <= window);
        if self.pending.len() == MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push((event.at, event.locator));
        if self.pending.len() < enough {
            return Hit::Waits;
        }
        let pending = std::mem::take(&mut self.pending);
        let first = pending.first().map_or(event.at, |(at, _)| *at);
        let mut finding = make(first);
        for (nth, (at, locator)) in pending.into_iter().enumerate() {
            if nth > 0 {
                finding.again_at(at);
            }
            finding.evidence.add(locator);
        }
        let key = board.raise(finding);
        self.key = Some(key);
        Hit::Raised(key)
    }
}

impl Hit {
    /// The finding, if there is one.
    pub fn key(self) -> Option<FindingKey> {
        match self {
            Hit::Waits => None,
            Hit::Raised(key) | Hit::Counted(key) => Some(key),
        }
    }
}

/// Ends findings that are quiet for long enough.
#[derive(Clone, Default)]
pub struct Quiet {
    ends: BTreeSet<(Timestamp, FindingKey)>,
    of: BTreeMap<FindingKey, Timestamp>,
}

impl Quiet {
    /// The finding ends at `end`, unless it is told again before.
    pub fn until(&mut self, key: FindingKey, end: Timestamp) {
        if let Some(old) = self.of.insert(key, end) {
            self.ends.remove(&(old, key));
        }
        self.ends.insert((end, key));
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Ends what is due.
    pub fn expire(&mut self, now: Timestamp, board: &mut Board) {
        while let Some(&(at, key)) = self.ends.first()
            && at <= now
        {
            self.ends.remove(&(at, key));
            self.of.remove(&key);
            board.update(key, |finding| {
                finding.recovered(finding.last);
                finding.ended = Some(at);
            });
        }
    }
}
