//! Copies of the engines on the way, so that going back does not begin at the begin: from a copy the files are read up to where it was made
//! (which costs little) and judged from there on (which costs most).
//!
//! Copies stand evenly: when there are too many, or they weigh too much, every other one goes and the distance doubles. So few are made, and
//! wherever one goes back to, at most a small part of the recording is judged again.

use super::run::Run;
use crate::engine::rooms::Rooms;
use crate::event::Timestamp;
use crate::output::log::{Log, MAX_LINES};

/// Copies at most: going back judges a sixteenth of the recording on average, and what the log needs besides.
const MOST: usize = 32;
/// Octets that copies may take: a screen over files is a guest on somebody's laptop.
const BUDGET: usize = 256 << 20;
/// Items between copies at first: what an engine judges in some milliseconds, below what anybody notices.
const APART: u64 = 16_384;

/// How far to go.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Goal {
    Until(Timestamp),
    /// So many events in all.
    Events(u64),
}

/// A moment to go back to.
struct Checkpoint {
    items: u64,
    reached: Timestamp,
    events: u64,
    weight: usize,
    rooms: Rooms,
    /// The log as it goes on, without its entries.
    log: Log,
}

impl Checkpoint {
    /// Whether a run to `goal` passes it.
    fn is_before(&self, goal: Goal) -> bool {
        match goal {
            Goal::Until(at) => self.reached <= at,
            // A run ends with the item that reaches the count, and this may stand behind it.
            Goal::Events(count) => self.events < count,
        }
    }
}

/// The copies, in the order of time.
pub struct Checkpoints {
    kept: Vec<Checkpoint>,
    /// Items between two of them.
    apart: u64,
    /// Entries of the log that have to be there when the goal is reached.
    lines: u64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints::every(APART, MAX_LINES as u64)
    }
}

impl Checkpoints {
    /// A copy every so many items; the log is whole for so many lines back.
    pub fn every(apart: u64, lines: u64) -> Checkpoints {
        Checkpoints {
            kept: Vec::new(),
            apart,
            lines,
        }
    }

    /// Copies the engines if it is time to. Where they were copied before, they are not again.
    pub fn pass(&mut self, run: &Run, log: &Log) {
        if run.ended || run.items == 0 || !run.items.is_multiple_of(self.apart) {
            return;
        }
        if self.kept.last().is_some_and(|last| last.items >= run.items) {
            return;
        }
        let weight = run.weight();
        let all = self
            .kept
            .iter()
            .fold(weight, |sum, c| sum.saturating_add(c.weight));
        if self.kept.len() >= MOST || all > BUDGET {
            self.apart = self.apart.saturating_mul(2);
            let apart = self.apart;
            self.kept
                .retain(|checkpoint| checkpoint.items.is_multiple_of(apart));
            if !run.items.is_multiple_of(apart) {
                return;
            }
            let left = self
                .kept
                .iter()
                .fold(weight, |sum, c| sum.saturating_add(c.weight));
            // Engines of the size of the budget: the next ones are larger still.
            if left > BUDGET {
                return;
            }
        }
        self.kept.push(Checkpoint {
            items: run.items,
            reached: run.reached,
            events: run.events(),
            weight,
            rooms: run.rooms.clone(),
            log: log.seed(),
        });
    }

    /// The copy to begin at so that at `goal` the log is whole.
    fn before(&self, goal: Goal) -> Option<&Checkpoint> {
        let passed = self.kept.iter().take_while(|c| c.is_before(goal));
        let begin = self.gone_at(goal);
        let whole = |c: &&Checkpoint| c.log.is_whole() || c.log.written() <= begin;
        passed.filter(whole).last()
    }

    /// Entries of the log that are gone when `goal` is reached, as far as the copies tell.
    fn gone_at(&self, goal: Goal) -> u64 {
        let passed = self.kept.iter().take_while(|c| c.is_before(goal));
        let written = passed.last().map_or(0, |c| c.log.written());
        written.saturating_sub(self.lines)
    }

    /// The item from which a run to `goal` begins, if a copy stands there.
    pub fn nearest(&self, goal: Goal) -> Option<u64> {
        self.before(goal).map(|checkpoint| checkpoint.items)
    }

    /// Puts the engines and the log back to where a run to `goal` can begin; false where there is no such place. The run's inputs stand at
    /// or before it.
    pub fn put_back(&self, goal: Goal, run: &mut Run, log: &mut Log) -> bool {
        let Some(checkpoint) = self.before(goal) else {
            return false;
        };
        if !run.skip_to(checkpoint.items) {
            return false;
        }
        run.rooms = checkpoint.rooms.clone();
        run.reached = checkpoint.reached;
        *log = checkpoint.log.seed();
        log.lazy = false;
        // What is gone from the log before the goal is reached need not be written out.
        log.from = match log.is_whole() {
            true => 0,
            false => self.gone_at(goal),
        };
        true
    }
}

#[cfg(test)]
impl Checkpoints {
    /// The items after which copies were made.
    pub fn places(&self) -> Vec<u64> {
        self.kept
            .iter()
            .map(|checkpoint| checkpoint.items)
            .collect()
    }
}
