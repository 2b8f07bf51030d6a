//! How long to wait before trying again: exponential with full jitter, so that a hundred hosts whose receiver comes back do not all knock
//! at once (Brooker, "Exponential Backoff and Jitter", AWS 2015: full jitter does the least work of the variants measured there).

use std::time::Duration;

/// The first wait is up to this.
pub const BASE: Duration = Duration::from_secs(1);
/// No wait is longer: a receiver that is back hears of what it missed within two minutes.
pub const CAP: Duration = Duration::from_secs(120);
/// What a receiver may ask for (Retry-After) at most: a typo there must not silence us for a day.
pub const MOST_ASKED: Duration = Duration::from_secs(900);

/// Failures in a row.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Another failure: how long to wait. `random` is any number, `asked` what the receiver wants.
    pub fn failed(&mut self, random: u64, asked: Option<Duration>) -> Duration {
        let most = BASE
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(CAP);
        self.failures = (self.failures + 1).min(16); // 2^16 s is far behind the cap
        let jittered = most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
        match asked {
            // Not before it wants us, and not all at the same time either.
            Some(asked) => asked.min(MOST_ASKED) + jittered.min(BASE),
            None => jittered,
        }
    }

    /// It worked.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// A number that nobody can tell beforehand; each hasher of the standard library begins with one.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap_and_are_spread_over_all_of_it() {
        let mut backoff = Backoff::default();
        let longest: Vec<u64> = (0..9)
            .map(|_| backoff.failed(u64::MAX, None).as_secs_f64().round() as u64)
            .collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(backoff.failed(0, None), Duration::ZERO);
        backoff.worked();
        assert!(backoff.failed(u64::MAX / 2, None) <= Duration::from_millis(500));
    }

    #[test]
    fn a_receiver_that_names_a_time_is_left_alone_until_then_but_not_for_a_day() {
        let mut backoff = Backoff::default();
        let asked = Some(Duration::from_secs(30));
        let wait = backoff.failed(u64::MAX, asked);
        assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(31));
        let day = Some(Duration::from_secs(86_400));
        assert!(backoff.failed(u64::MAX, day) <= MOST_ASKED + BASE);
    }
}
