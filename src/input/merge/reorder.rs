//! The bounded window in which records of one file are put in order.
//!
//! In-order records are appended to a queue and leave at its other end; only strays pay for a heap. What comes out never goes back in
//! time: a record later than the window gets the time of the last one released. Memory is bounded by records and octets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::event::Timestamp;

/// Capture time for which records wait for older ones. Interfaces of one dumpcap run are written up to 200 ms apart (seen in the
/// lab), a batch of a busy ring buffer up to its 1 s time-out; twice that.
pub const WINDOW: i64 = 2_000_000_000;

/// Records held at most; a busy capture then waits less than [`WINDOW`].
const MAX_HELD: usize = 1 << 16;

/// Octets held at most.
const MAX_OCTETS: usize = 16 << 20;

/// A buffer larger than this is not kept for reuse.
const REUSE: usize = 4096;

/// Where a record stands: time, then what breaks ties by content, then its place in the file.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub struct Key {
    pub at: Timestamp,
    /// Content of its source, see `file::Source`.
    pub tie: u128,
    pub sequence: u64,
    slot: usize,
}

/// A record that waits. `bytes` is reused.
#[derive(Default)]
struct Slot<T> {
    what: Option<T>,
    bytes: Vec<u8>,
}

/// The window.
pub struct Reorder<T> {
    ordered: VecDeque<Key>,
    strays: BinaryHeap<Reverse<Key>>,
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    octets: usize,
    released: Timestamp,
    /// Records that came too late for the window.
    late: u64,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Reorder {
            ordered: VecDeque::new(),
            strays: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            octets: 0,
            released: Timestamp::MIN,
            late: 0,
        }
    }
}

impl<T> Reorder<T> {
    /// Takes a record in.
    pub fn push(&mut self, at: Timestamp, tie: u128, sequence: u64, what: T, bytes: &[u8]) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                what: None,
                bytes: Vec::new(),
            });
            self.slots.len() - 1
        });
        if let Some(place) = self.slots.get_mut(slot) {
            place.what = Some(what);
            place.bytes.clear();
            place.bytes.extend_from_slice(bytes);
        }
        self.octets = self.octets.saturating_add(bytes.len());
        self.late += u64::from(at < self.released);
        self.place(Key {
            at: at.max(self.released),
            tie,
            sequence,
            slot,
        });
    }

    fn place(&mut self, key: Key) {
        if self.ordered.back().is_none_or(|back| *back <= key) {
            self.ordered.push_back(key);
        } else {
            self.strays.push(Reverse(key));
        }
    }

    /// Takes the oldest record out if nothing older can come any more: it is at least [`WINDOW`] older than `newest`, or the
    /// window is full, or the input has ended.
    pub fn pop(&mut self, newest: Timestamp, ended: bool) -> Option<Key> {
        let from_strays = match (self.ordered.front(), self.strays.peek()) {
            (Some(front), Some(Reverse(stray))) => stray < front,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let oldest = if from_strays {
            self.strays.peek().map(|stray| stray.0)?
        } else {
            *self.ordered.front()?
        };
        let full = self.held() >= MAX_HELD || self.octets >= MAX_OCTETS;
        if !ended && !full && oldest.at.0 > newest.0.saturating_sub(WINDOW) {
            return None;
        }
        if from_strays {
            self.strays.pop();
        } else {
            self.ordered.pop_front();
        }
        self.released = self.released.max(oldest.at);
        Some(oldest)
    }

    /// What was stored under a key that [`pop`](Self::pop) gave, until [`release`](Self::release).
    pub fn get(&self, key: &Key) -> Option<(&T, &[u8])> {
        let slot = self.slots.get(key.slot)?;
        Some((slot.what.as_ref()?, &slot.bytes))
    }

    /// Makes the place of a popped record free again.
    pub fn release(&mut self, key: &Key) {
        let Some(slot) = self.slots.get_mut(key.slot) else {
            return;
        };
        if slot.what.take().is_some() {
            self.octets = self.octets.saturating_sub(slot.bytes.len());
            if slot.bytes.capacity() > REUSE {
                slot.bytes = Vec::new();
            }
            self.free.push(key.slot);
        }
    }

    /// Gives the newest record held another, older time, if it is the one with this sequence number.
    pub fn retime(&mut self, sequence: u64, at: Timestamp) -> bool {
        match self.ordered.back().copied() {
            Some(key) if key.sequence == sequence => {
                self.ordered.pop_back();
                self.place(Key {
                    at: at.max(self.released),
                    ..key
                });
                true
            }
            _ => false,
        }
    }

    /// Records held.
    pub fn held(&self) -> usize {
        self.ordered.len() + self.strays.len()
    }

    /// Records that came too late for the window and were given the time of the last one released.
    pub fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(window: &mut Reorder<u64>, newest: i64, ended: bool, out: &mut Vec<(i64, u64)>) {
        while let Some(key) = window.pop(Timestamp(newest), ended) {
            let (what, bytes) = window.get(&key).unwrap();
            assert_eq!(bytes, what.to_be_bytes());
            out.push((key.at.0, *what));
            window.release(&key);
        }
    }

    proptest! {
        #[test]
        fn times_never_decrease_and_nothing_is_lost(jitter in proptest::collection::vec(-5_000_000_000i64..5_000_000_000, 1..300)) {
            let mut window = Reorder::default();
            let (mut out, mut newest) = (Vec::new(), i64::MIN);
            for (index, jitter) in jitter.iter().enumerate() {
                let at = index as i64 * 300_000_000 + jitter;
                newest = newest.max(at);
                window.push(Timestamp(at), 0, index as u64, index as u64, &(index as u64).to_be_bytes());
                drain(&mut window, newest, false, &mut out);
            }
            drain(&mut window, newest, true, &mut out);
            prop_assert!(out.is_sorted_by_key(|(at, _)| *at));
            let mut seen: Vec<u64> = out.iter().map(|(_, what)| *what).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..jitter.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(window.held(), 0);
        }

        #[test]
        fn disorder_smaller_than_the_window_leaves_no_trace(jitter in proptest::collection::vec(0i64..WINDOW, 1..300)) {
            let mut window = Reorder::default();
            let (mut out, mut newest, mut all) = (Vec::new(), i64::MIN, Vec::new());
            for (index, jitter) in jitter.iter().enumerate() {
                let at = index as i64 * 10_000_000 - jitter;
                all.push((at, index as u64));
                newest = newest.max(at);
                window.push(Timestamp(at), 0, index as u64, index as u64, &(index as u64).to_be_bytes());
                drain(&mut window, newest, false, &mut out);
            }
            drain(&mut window, newest, true, &mut out);
            all.sort_unstable();
            prop_assert_eq!(window.late(), 0);
            prop_assert_eq!(out, all);
        }
    }

    #[test]
    fn a_full_window_releases_early_instead_of_growing() {
        let mut window = Reorder::default();
        for sequence in 0..200_000u64 {
            window.push(Timestamp(5), 0, sequence, sequence, &sequence.to_be_bytes());
            while let Some(key) = window.pop(Timestamp(5), false) {
                window.release(&key);
            }
            assert!(window.held() <= MAX_HELD);
        }
        assert!(window.slots.len() <= MAX_HELD + 1);
    }
}
