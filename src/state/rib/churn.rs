//! How often something happened over time, in a few octets: what a sparkline shows.
//!
//! Sixteen equal spans from the first time on; when the latest time leaves them, neighbors are joined and spans are twice as long. So the
//! whole history is there, however long, and nothing has to be forgotten or sorted.

use crate::event::Timestamp;

/// Spans: as many as a narrow column has room for.
pub const SPANS: usize = 16;
/// Shortest span, as a power of two of nanoseconds: 0.54 s, about the distance of two withdrawals in the fastest flap that a router sends
/// (an MRAI of zero and a link that bounces each second).
const LEAST: u8 = 29;
/// Longest span that is still doubled: 2^58 ns are nine years.
const MOST: u8 = 58;

/// Counts over time.
#[derive(Copy, Clone, Debug)]
pub struct Churn {
    from: Timestamp,
    /// Length of a span as a power of two of nanoseconds.
    span: u8,
    counts: [u8; SPANS],
}

impl Churn {
    /// Nothing since `from`.
    pub const fn new(from: Timestamp) -> Churn {
        Churn {
            from,
            span: LEAST,
            counts: [0; SPANS],
        }
    }

    fn index(&self, at: Timestamp) -> usize {
        usize::try_from(at.minus(self.from).max(0) >> self.span).unwrap_or(usize::MAX)
    }

    /// It happened.
    pub fn add(&mut self, at: Timestamp) {
        while self.index(at) >= SPANS && self.span < MOST {
            let mut joined = [0_u8; SPANS];
            for (to, pair) in joined.iter_mut().zip(self.counts.chunks(2)) {
                *to = pair.iter().fold(0, |sum, n| sum.saturating_add(*n));
            }
            self.counts = joined;
            self.span += 1;
        }
        let at = self.index(at).min(SPANS - 1);
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts from the first time up to `now` in `columns` equal parts, oldest first; what is quiet since shows as quiet.
    pub fn until(&self, now: Timestamp, columns: usize) -> Vec<u32> {
        let mut all = vec![0_u32; columns];
        let spans = self.index(now).saturating_add(1).max(1);
        for (at, count) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            // A span lies where its middle lies.
            let to = (2 * at + 1).saturating_mul(columns) / spans.saturating_mul(2).max(1);
            if let Some(sum) = all.get_mut(to.min(columns.saturating_sub(1))) {
                *sum = sum.saturating_add(u32::from(*count));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_whole_history_stays_however_long_it_gets() {
        let mut churn = Churn::new(Timestamp(0));
        for n in 0..100 {
            churn.add(Timestamp(n * 10 * SECOND));
        }
        let shown = churn.until(Timestamp(990 * SECOND), 8);
        assert_eq!(shown.iter().sum::<u32>(), 100);
        assert!(shown.iter().all(|n| *n >= 5), "{shown:?}");
    }

    #[test]
    fn what_is_quiet_since_shows_as_quiet() {
        let mut churn = Churn::new(Timestamp(0));
        (0..5).for_each(|n| churn.add(Timestamp(n * SECOND)));
        let shown = churn.until(Timestamp(100 * SECOND), 8);
        assert_eq!(shown, [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(churn.until(Timestamp(2 * SECOND), 0), Vec::<u32>::new());
    }

    #[test]
    fn times_that_go_back_or_far_ahead_are_counted() {
        let mut churn = Churn::new(Timestamp(5 * SECOND));
        churn.add(Timestamp(0));
        churn.add(Timestamp(i64::MAX));
        assert_eq!(churn.until(Timestamp(i64::MAX), 4).iter().sum::<u32>(), 2);
    }
}
