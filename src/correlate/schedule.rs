//! Which case is due when: thousands of open cases cost nothing until their own time has come.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Timestamp;

/// Cases by number, each with one time.
#[derive(Clone, Default)]
pub(super) struct Schedule {
    times: BTreeSet<(Timestamp, u32)>,
    of: BTreeMap<u32, Timestamp>,
}

impl Schedule {
    /// The case is due at `at`, whatever was said before.
    pub(super) fn set(&mut self, number: u32, at: Timestamp) {
        if let Some(before) = self.of.insert(number, at) {
            self.times.remove(&(before, number));
        }
        self.times.insert((at, number));
    }

    /// The case is due at `at`, unless it is due before.
    pub(super) fn not_later(&mut self, number: u32, at: Timestamp) {
        if self.of.get(&number).is_none_or(|before| at < *before) {
            self.set(number, at);
        }
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(at) = self.of.remove(&number) {
            self.times.remove(&(at, number));
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.of.contains_key(&number)
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Takes out what is due by `now`, in the order of numbers.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(&(at, number)) = self.times.first().filter(|(at, _)| *at <= now) {
            self.times.remove(&(at, number));
            self.of.remove(&number);
            due.push(number);
        }
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_one_time_and_those_due_come_in_the_order_of_their_numbers() {
        let mut schedule = Schedule::default();
        schedule.set(7, Timestamp(10));
        schedule.set(3, Timestamp(20));
        schedule.set(7, Timestamp(15));
        schedule.not_later(3, Timestamp(30));
        assert_eq!(schedule.next(), Some(Timestamp(15)));
        schedule.set(9, Timestamp(40));
        assert_eq!(schedule.due(Timestamp(20)), [3, 7]);
        assert!(schedule.contains(9) && !schedule.contains(3));
        schedule.remove(9);
        assert_eq!(schedule.next(), None);
    }
}
