//! The clock of one file: turns recorded stamps into times that its sources can be ordered by.
//!
//! A source's stamps go backwards only by jitter or because the host's clock was stepped (law 2). After a backward step the file's
//! times are shifted so that time goes on from where it was: freezing it would turn an hour of renewals into a storm. The shift ends
//! by itself as soon as the recorded stamps have caught up.

use crate::event::Timestamp;

/// A stamp further behind its source's last one than this is a clock step; less is jitter (queues, several CPUs, whole seconds).
pub const STEP: i64 = 1_000_000_000;

/// A backward step of the clock.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Step {
    /// By how many nanoseconds.
    pub back: i64,
    /// The stamp fits what the source said before its last record (or that was its first): that record's stamp was wild, the
    /// clock may be fine.
    pub lone: bool,
    /// The time of the record before the last, [`Timestamp::MIN`] if there was none.
    pub before: Timestamp,
}

#[derive(Copy, Clone)]
struct SourceClock {
    last: Timestamp,
    before: Timestamp,
}

/// The clock of one file.
pub struct Clock {
    offset: i64,
    newest: Timestamp,
    sources: Vec<SourceClock>,
    /// A new source may start this far behind the others.
    window: i64,
}

impl Clock {
    /// `window`: how far sources may lag behind each other, in nanoseconds.
    pub fn new(window: i64) -> Clock {
        Clock {
            offset: 0,
            newest: Timestamp::MIN,
            sources: Vec::new(),
            window,
        }
    }

    /// The newest time so far.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// The time for a record of `source` stamped `raw`, and the step if there was one.
    pub fn read(&mut self, source: usize, raw: Timestamp) -> (Timestamp, Option<Step>) {
        if source >= self.sources.len() {
            let fresh = SourceClock {
                last: Timestamp::MIN,
                before: Timestamp::MIN,
            };
            self.sources.resize(source.saturating_add(1), fresh);
        }
        let Some(clock) = self.sources.get_mut(source) else {
            return (raw, None);
        };
        let shifted = Timestamp(raw.0.saturating_add(self.offset));
        let fresh = clock.last == Timestamp::MIN;
        let mut at = if self.offset == 0 {
            raw
        } else if fresh {
            // Which of the two it is by, nobody says: the nearer one.
            let far = |t: Timestamp| t.minus(self.newest).unsigned_abs();
            if far(raw) <= far(shifted) {
                raw
            } else {
                shifted
            }
        } else if raw >= clock.last {
            raw
        } else {
            shifted
        };
        let late = if fresh {
            self.newest != Timestamp::MIN
                && at < Timestamp(self.newest.0.saturating_sub(self.window))
        } else {
            at < Timestamp(clock.last.0.saturating_sub(STEP))
        };
        let mut step = None;
        if late {
            let expected = if fresh { self.newest } else { clock.last };
            step = Some(Step {
                back: expected.minus(at),
                lone: !fresh && at >= clock.before,
                before: clock.before,
            });
            self.offset = self.newest.minus(raw);
            at = self.newest;
        }
        clock.before = clock.last;
        clock.last = clock.last.max(at);
        self.newest = self.newest.max(at);
        (at, step)
    }

    /// Takes back what the record before the last of `source` did to the clock, after a lone wild stamp: the next
    /// [`read`](Self::read) sees the clock as it was before it.
    pub fn forget_wild(&mut self, source: usize, before: Timestamp, offset: i64) {
        if let Some(clock) = self.sources.get_mut(source) {
            *clock = SourceClock {
                last: before,
                before: Timestamp::MIN,
            };
        }
        self.offset = offset;
        self.newest = self
            .sources
            .iter()
            .map(|clock| clock.last)
            .max()
            .unwrap_or(Timestamp::MIN);
    }

    /// The shift in force, in nanoseconds.
    pub fn offset(&self) -> i64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn at(clock: &mut Clock, source: usize, seconds: i64) -> (i64, bool) {
        let (at, step) = clock.read(source, Timestamp(seconds * S));
        (at.0 / S, step.is_some())
    }

    #[test]
    fn after_a_step_back_time_goes_on_at_its_pace_until_the_stamps_catch_up() {
        let mut clock = Clock::new(2 * S);
        assert_eq!(at(&mut clock, 0, 5000), (5000, false));
        assert_eq!(at(&mut clock, 0, 5010), (5010, false));
        assert_eq!(at(&mut clock, 0, 1410), (5010, true));
        assert_eq!(at(&mut clock, 0, 1420), (5020, false));
        assert_eq!(at(&mut clock, 0, 5025), (5025, false));
        assert_eq!(at(&mut clock, 0, 5026), (5026, false));
    }

    #[test]
    fn interfaces_of_one_host_step_together_and_are_told_once() {
        let mut clock = Clock::new(2 * S);
        at(&mut clock, 1, 4990);
        at(&mut clock, 0, 5000);
        assert_eq!(at(&mut clock, 0, 1400), (5000, true));
        assert_eq!(at(&mut clock, 1, 4991), (4991, false));
        assert_eq!(at(&mut clock, 1, 1401), (5001, false));
        assert_eq!(at(&mut clock, 2, 1402), (5002, false));
    }

    #[test]
    fn extreme_stamps_do_not_overflow() {
        let mut clock = Clock::new(2 * S);
        for raw in [i64::MAX, i64::MIN, 0, i64::MIN + 1, i64::MAX - 1] {
            clock.read(0, Timestamp(raw));
            clock.read(1, Timestamp(raw));
        }
    }
}
