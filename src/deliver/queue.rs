//! What one sink still has to deliver, in order. Bounded; a newer revision takes the place of an older one that nobody would miss.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::notice::Stage;
use super::spool::Place;

/// Where the text of a notice is.
#[derive(Clone, Debug)]
pub enum Kept {
    Disk(Place),
    /// There is no spool, or it takes nothing at the moment.
    Memory(Arc<str>),
}

/// A notice that waits.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub id: Arc<str>,
    pub rev: u32,
    pub stage: Stage,
    /// Since when it waits, in this run.
    pub posted: Instant,
    pub kept: Kept,
}

/// Notices that wait for one receiver.
#[derive(Debug)]
pub struct Queue {
    /// `None`: gave way to a newer revision. Numbers only grow.
    waiting: VecDeque<(u64, Option<Entry>)>,
    /// The undelivered update of each id.
    updates: BTreeMap<Arc<str>, u64>,
    live: usize,
    bound: usize,
    /// Notices that found no room in all.
    pub dropped: u64,
    /// Notices that gave way in all.
    pub superseded: u64,
}

impl Queue {
    /// An empty queue for at most `bound` notices.
    pub fn new(bound: usize) -> Queue {
        Queue {
            waiting: VecDeque::new(),
            updates: BTreeMap::new(),
            live: 0,
            bound: bound.max(1),
            dropped: 0,
            superseded: 0,
        }
    }

    /// Adds a notice. Of the same id, an update that still waits gives way: whoever was away for two hours hears of the beginning and of
    /// how it stands, not of forty steps between. When there is no room the oldest goes.
    pub fn push(&mut self, entry: Entry) {
        if let Some(older) = self.updates.remove(&entry.id) {
            self.take(older);
            self.superseded += 1;
        }
        if entry.stage == Stage::Updated {
            self.updates.insert(Arc::clone(&entry.id), entry.number);
        }
        self.waiting.push_back((entry.number, Some(entry)));
        self.live += 1;
        while self.live > self.bound {
            if self.pop().is_none() {
                break;
            }
            self.dropped += 1;
        }
        // Holes are at most half of it.
        if self.waiting.len() > 2 * self.live + 16 {
            self.waiting.retain(|(_, entry)| entry.is_some());
        }
    }

    /// The next one to deliver.
    pub fn front(&self) -> Option<&Entry> {
        self.waiting.iter().find_map(|(_, entry)| entry.as_ref())
    }

    /// The one of that number is delivered, or never will be.
    pub fn done(&mut self, number: u64) {
        self.take(number);
        while matches!(self.waiting.front(), Some((_, None))) {
            self.waiting.pop_front();
        }
    }

    /// What is older than `number` is gone from the spool.
    pub fn lose_before(&mut self, number: u64) {
        while let Some(entry) = self.front() {
            if entry.number >= number || matches!(entry.kept, Kept::Memory(_)) {
                break;
            }
            self.pop();
            self.dropped += 1;
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let number = self.front()?.number;
        let entry = self.take(number);
        self.done(number);
        entry
    }

    fn take(&mut self, number: u64) -> Option<Entry> {
        let at = self.waiting.partition_point(|(of, _)| *of < number);
        let (of, entry) = self.waiting.get_mut(at)?;
        if *of != number {
            return None;
        }
        let entry = entry.take()?;
        self.live -= 1;
        if self.updates.get(&entry.id) == Some(&number) {
            self.updates.remove(&entry.id);
        }
        Some(entry)
    }

    /// Notices that wait.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, id: &str, stage: Stage) -> Entry {
        Entry {
            number,
            id: id.into(),
            rev: number as u32,
            stage,
            posted: crate::deliver::clerk::now(),
            kept: Kept::Memory("".into()),
        }
    }

    fn all(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop().map(|entry| entry.number)).collect()
    }

    #[test]
    fn after_an_outage_the_beginning_and_the_newest_state_are_told_and_the_end() {
        let mut queue = Queue::new(100);
        queue.push(entry(1, "a", Stage::Opened));
        for number in 2..=40 {
            queue.push(entry(number, "a", Stage::Updated));
        }
        queue.push(entry(41, "b", Stage::Opened));
        assert_eq!((queue.len(), queue.superseded), (3, 38));
        queue.push(entry(42, "a", Stage::Resolved));
        assert_eq!(all(&mut queue), [1, 41, 42]);
        assert!(queue.is_empty() && queue.dropped == 0);
    }

    #[test]
    fn an_opening_and_an_end_never_give_way() {
        let mut queue = Queue::new(100);
        for (number, stage) in [
            (1, Stage::Opened),
            (2, Stage::Resolved),
            (3, Stage::Opened),
            (4, Stage::Resolved),
        ] {
            queue.push(entry(number, "a", stage));
        }
        assert_eq!(all(&mut queue), [1, 2, 3, 4]);
    }

    #[test]
    fn a_full_queue_loses_its_oldest_and_counts_it() {
        let mut queue = Queue::new(3);
        for number in 1..=10 {
            queue.push(entry(number, &format!("i-{number}"), Stage::Opened));
        }
        assert_eq!(queue.dropped, 7);
        assert_eq!(all(&mut queue), [8, 9, 10]);
    }

    #[test]
    fn holes_do_not_grow_without_bound() {
        let mut queue = Queue::new(1000);
        queue.push(entry(1, "a", Stage::Opened));
        for number in 2..100_000 {
            queue.push(entry(number, "a", Stage::Updated));
        }
        assert_eq!(queue.len(), 2);
        assert!(queue.waiting.len() < 100);
    }
}
