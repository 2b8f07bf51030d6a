//! A table with a bound that is never walked: what a sender can invent without end is kept in one of these.
//!
//! A table that searches a victim among all its entries costs a walk for every newcomer once it is full, and whoever can invent keys can
//! fill it (measured: 300,000 host routes stopped the engine for a minute). Here entries stand in the order in which they were touched
//! last. A newcomer looks at the oldest few only; those that must stay get a second chance at the end of the line, so that no entry is
//! looked at again before all others were.

use std::collections::BTreeMap;

/// Old entries that one newcomer looks at. A table in which this many in a row must stay is full of what is being told about.
const TRIES: usize = 8;

/// What the owner of a table says of an old entry that stands in a newcomer's way.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Worth {
    /// Nobody misses it.
    Spent,
    /// It must stay; the next one may go.
    Kept,
    /// It is too young to go, and so are all that follow.
    Fresh,
}

/// The table.
#[derive(Clone)]
pub struct Bounded<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// By the number of the last touch: time may be stepped backwards, the order of events may not.
    order: BTreeMap<u64, K>,
    touches: u64,
    limit: usize,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    /// An empty table of at most `limit` entries.
    pub fn new(limit: usize) -> Bounded<K, V> {
        Bounded {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            touches: 0,
            limit: limit.max(1),
        }
    }

    /// The entry of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The entry of `key`; not a touch.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (touch, value) = self.entries.remove(key)?;
        self.order.remove(&touch);
        Some(value)
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// All values, in the order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|(_, value)| value)
    }

    /// The entry of `key`, touched, and made where there is none. A full table asks what its oldest entries are worth; nothing is made
    /// when none of them gives way.
    pub fn at(&mut self, key: K, worth: impl Fn(&K, &V) -> Worth) -> Option<&mut V>
    where
        V: Default,
    {
        if !self.entries.contains_key(&key)
            && self.entries.len() >= self.limit
            && !self.make_room(worth)
        {
            return None;
        }
        Some(self.touch(key))
    }

    /// The same where a newcomer matters more than the oldest entry, whatever that is worth.
    pub fn at_least(&mut self, key: K, worth: impl Fn(&K, &V) -> Worth) -> &mut V
    where
        V: Default,
    {
        if !self.entries.contains_key(&key)
            && self.entries.len() >= self.limit
            && !self.make_room(worth)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.touch(key)
    }

    fn touch(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.touches += 1;
        let touch = self.touches;
        let (last, value) = match self.entries.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                // Moves its place in line without another copy of the key.
                if let Some(key) = self.order.remove(&known.0) {
                    self.order.insert(touch, key);
                }
                known
            }
            std::collections::btree_map::Entry::Vacant(new) => {
                self.order.insert(touch, new.key().clone());
                new.insert((touch, V::default()))
            }
        };
        *last = touch;
        value
    }

    fn make_room(&mut self, worth: impl Fn(&K, &V) -> Worth) -> bool {
        for _ in 0..TRIES {
            let Some((touch, key)) = self.order.pop_first() else {
                return false;
            };
            let Some((last, value)) = self.entries.get_mut(&key) else {
                continue;
            };
            match worth(&key, value) {
                Worth::Spent => {
                    self.entries.remove(&key);
                    return true;
                }
                Worth::Kept => {
                    self.touches += 1;
                    *last = self.touches;
                    self.order.insert(self.touches, key);
                }
                Worth::Fresh => {
                    self.order.insert(touch, key);
                    return false;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_entry_touched_longest_ago_gives_way() {
        let mut table: Bounded<u32, u32> = Bounded::new(3);
        for key in [1, 2, 3, 1] {
            *table.at(key, |_, _| Worth::Spent).unwrap() += 1;
        }
        table.at(4, |_, _| Worth::Spent).unwrap();
        let left: Vec<u32> = table.iter().map(|(key, _)| *key).collect();
        assert_eq!(left, [1, 3, 4]);
        assert_eq!(table.get(&1), Some(&2));
    }

    #[test]
    fn what_must_stay_stays_and_fresh_entries_refuse_the_newcomer() {
        let mut table: Bounded<u32, u32> = Bounded::new(3);
        for key in [1, 2, 3] {
            table.at(key, |_, _| Worth::Spent);
        }
        let keep = |key: &u32, _: &u32| if *key == 1 { Worth::Kept } else { Worth::Spent };
        table.at(4, keep);
        assert!(table.get(&1).is_some() && table.get(&2).is_none());
        assert!(table.at(5, |_, _| Worth::Fresh).is_none());
        assert_eq!(table.len(), 3);
        table.at_least(5, |_, _| Worth::Fresh);
        assert!(table.get(&5).is_some() && table.len() == 3);
    }

    #[test]
    fn no_newcomer_looks_at_more_than_a_few_entries_however_large_the_table() {
        for limit in [1_000, 4_000, 16_000] {
            let mut table: Bounded<u32, u32> = Bounded::new(limit);
            let looks = Cell::new(0);
            for key in 0..3 * limit as u32 {
                looks.set(0);
                table.at(key, |key, _| {
                    looks.set(looks.get() + 1);
                    if key % 5 == 0 {
                        Worth::Spent
                    } else {
                        Worth::Kept
                    }
                });
                assert!(looks.get() <= TRIES, "{} looks of {limit}", looks.get());
            }
            assert_eq!((table.len(), table.order.len()), (limit, limit));
        }
    }
}
