//! Whose turn it is: those who look on must not slow those who capture, however much they ask.
//!
//! While items wait, screens and clients get a fixed part of the run's time; while none do, all of it.

use std::time::{Duration, Instant};

/// After so long a service so many times as long is left to the items: a quarter for questions. A screen's question costs a millisecond,
/// its dearest (frames that lie far back) some hundred: the kernel's buffers bridge that, and a client that asks on and on cannot
/// repeat it.
const REST: u32 = 3;

/// The account of time spent on questions.
#[derive(Default)]
pub struct Fair {
    rests_until: Option<Instant>,
}

impl Fair {
    /// Whether questions may be served although items wait.
    pub fn allows(&self) -> bool {
        self.rests_until.is_none_or(|until| clock() >= until)
    }

    /// Does work for who asks, and writes down what it cost.
    pub fn serve<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = clock();
        let result = work();
        self.spent(begun.elapsed());
        result
    }

    fn spent(&mut self, time: Duration) {
        let rest = time.saturating_mul(REST);
        // Less than a clock can tell apart is free.
        if rest >= Duration::from_micros(1) {
            self.rests_until = clock().checked_add(rest);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is shared out is the time of the machine"
)]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_dear_question_the_items_have_their_turn() {
        let mut fair = Fair::default();
        assert!(fair.allows());
        fair.spent(Duration::from_secs(1000));
        assert!(!fair.allows());
        assert_eq!(fair.serve(|| 7), 7);
    }
}
