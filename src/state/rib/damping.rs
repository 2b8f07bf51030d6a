//! Route flap damping in observe mode: what a router with damping on would do to a route, without doing it.
//!
//! FRR's arithmetic to the digit (`bgpd/bgp_damp.c`): integer penalties, decay by a precomputed array in whole steps of 5 s since the
//! last update of the record, a ceiling of reuse · 2^(max suppress / half-life). Measured against FRR 8.4: equal at every poll up to the
//! first reuse check. Other vendors' profiles use the same machine with their own figures.

use std::time::Duration;

use crate::event::Timestamp;

/// FRR `DELTA_T`: decay happens in steps of this many seconds.
const STEP: i64 = 5;
/// Profiles computed for each route.
pub const PROFILES: usize = 4;

/// What adds penalty.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Blow {
    Withdrawal,
    /// Announced again after a withdrawal.
    Reannouncement,
    AttributeChange,
}

/// A vendor's or document's figures.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: &'static str,
    withdrawal: u32,
    reannouncement: u32,
    attribute_change: u32,
    pub suppress: u32,
    pub reuse: u32,
    ceiling: u32,
    /// Factor after i steps; beyond its end nothing is left (FRR: `bgp_damp_decay` returns 0).
    decay: Vec<f64>,
}

impl Profile {
    /// A profile with these limits; half-life and longest suppression in seconds.
    pub fn new(
        name: &'static str,
        blows: [u32; 3],
        suppress: u32,
        reuse: u32,
        half_life: u32,
        max_suppress: u32,
    ) -> Profile {
        let half_life = half_life.max(1);
        let ceiling =
            (f64::from(reuse) * (f64::from(max_suppress) / f64::from(half_life)).exp2()) as u32;
        let steps = (f64::from(max_suppress) / STEP as f64).ceil() as usize;
        // FRR's own expression, so that rounding agrees to the last digit.
        let factor = (1.0 / (f64::from(half_life) / STEP as f64) * 0.5f64.ln()).exp();
        let mut decay = vec![1.0; steps.max(1)];
        for at in 1..decay.len() {
            decay[at] = decay[at - 1] * factor;
        }
        let [withdrawal, reannouncement, attribute_change] = blows;
        Profile {
            name,
            withdrawal,
            reannouncement,
            attribute_change,
            suppress,
            reuse,
            ceiling,
            decay,
        }
    }

    /// The profiles that are shown: FRR's and Cisco's defaults, Juniper's, and RFC 7196 §6's recommendation.
    pub fn all() -> [Profile; PROFILES] {
        const HALF_LIFE: u32 = 15 * 60;
        const HOUR: u32 = 60 * 60;
        // RFC 7196 §6: the largest penalty must be at least 50,000: the time in which that decays to 750, 91 min.
        const RFC7196_MAX: u32 = 5460;
        [
            Profile::new("frr", [1000, 0, 500], 2000, 750, HALF_LIFE, HOUR),
            Profile::new("cisco", [1000, 0, 500], 2000, 750, HALF_LIFE, HOUR),
            Profile::new("juniper", [1000, 1000, 500], 3000, 750, HALF_LIFE, HOUR),
            Profile::new("rfc7196", [1000, 0, 500], 6000, 750, HALF_LIFE, RFC7196_MAX),
        ]
    }

    fn decayed(&self, penalty: u32, steps: i64) -> u32 {
        match usize::try_from(steps) {
            Ok(0) => penalty,
            Ok(at) => self
                .decay
                .get(at)
                .map_or(0, |factor| (f64::from(penalty) * factor) as u32),
            Err(_) => penalty, // the clock went back
        }
    }
}

/// The record of one route under one profile.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Penalty {
    value: u32,
    /// Whole seconds of its last update, as FRR's clock counts.
    updated: i64,
    suppressed: bool,
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000_000_000)
}

impl Penalty {
    /// Takes a blow at `at`.
    pub fn strike(&mut self, profile: &Profile, blow: Blow, at: Timestamp) {
        let now = seconds(at);
        let penalty = profile.decayed(self.value, (now - self.updated) / STEP);
        let add = match blow {
            Blow::Withdrawal => profile.withdrawal,
            Blow::Reannouncement => profile.reannouncement,
            Blow::AttributeChange => profile.attribute_change,
        };
        if blow == Blow::Reannouncement && add == 0 {
            // `bgp_damp_update`: decay, perhaps leave suppression; a record at or below half the reuse limit is freed.
            if self.suppressed && penalty < profile.reuse {
                self.suppressed = false;
            }
            if penalty * 2 > profile.reuse {
                self.value = penalty;
                self.updated = now;
            } else {
                *self = Penalty::default();
            }
            return;
        }
        if self.suppressed && penalty < profile.reuse {
            self.suppressed = false; // its reuse check came before this blow
        }
        self.value = penalty.saturating_add(add).min(profile.ceiling);
        self.updated = now;
        self.suppressed |= self.value >= profile.suppress;
    }

    /// Its figure of merit at `at`.
    pub fn value(&self, profile: &Profile, at: Timestamp) -> u32 {
        profile.decayed(self.value, (seconds(at) - self.updated) / STEP)
    }

    /// Whether the route would be suppressed at `at`.
    pub fn suppressed(&self, profile: &Profile, at: Timestamp) -> bool {
        self.suppressed && self.value(profile, at) >= profile.reuse
    }

    /// When it would be used again, if it is suppressed. FRR looks every 10 s or so, and may be up to 20 s later.
    pub fn reuse_at(&self, profile: &Profile, now: Timestamp) -> Option<Timestamp> {
        if !self.suppressed(profile, now) {
            return None;
        }
        let steps = (0..=profile.decay.len() as i64)
            .find(|steps| profile.decayed(self.value, *steps) < profile.reuse)?;
        Some(Timestamp::from_parts(self.updated, 0) + Duration::from_secs((steps * STEP) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(1_000_000 + seconds, 0)
    }

    #[test]
    fn flaps_within_a_step_add_up_without_decay_and_suppress_at_the_limit() {
        let frr = &Profile::all()[0];
        let mut p = Penalty::default();
        for (second, expected, suppressed) in [(0, 1000, false), (2, 2000, true), (4, 3000, true)] {
            p.strike(frr, Blow::Withdrawal, at(second));
            assert_eq!(
                (p.value(frr, at(second)), p.suppressed(frr, at(second))),
                (expected, suppressed)
            );
            p.strike(frr, Blow::Reannouncement, at(second + 1));
        }
    }

    #[test]
    fn decay_goes_in_steps_of_five_seconds_and_ends_at_the_longest_suppression() {
        // The figures of FRR's own records with half-life 1 min, reuse 750, suppress 2000, longest suppression 4 min.
        let profile = Profile::new("test", [1000, 0, 500], 2000, 750, 60, 240);
        let mut p = Penalty::default();
        p.strike(&profile, Blow::Withdrawal, at(0));
        assert_eq!(p.value(&profile, at(4)), 1000);
        assert_eq!(p.value(&profile, at(5)), 943);
        assert_eq!(p.value(&profile, at(10)), 890);
        for n in 0..20 {
            p.strike(&profile, Blow::Withdrawal, at(10 + n));
        }
        assert_eq!(p.value(&profile, at(29)), 12_000);
        assert_eq!(
            p.value(&profile, at(29 + 239)),
            (12_000.0 * (-47.0f64 * 5.0 / 60.0).exp2()) as u32
        );
        assert_eq!(p.value(&profile, at(29 + 240)), 0);
        let reuse = p.reuse_at(&profile, at(29)).unwrap();
        assert!(p.value(&profile, reuse) < 750 && !p.suppressed(&profile, reuse));
    }

    #[test]
    fn attribute_changes_count_half_and_juniper_counts_announcements() {
        let [frr, _, juniper, _] = &Profile::all();
        let (mut a, mut b) = (Penalty::default(), Penalty::default());
        for blow in [
            Blow::AttributeChange,
            Blow::Withdrawal,
            Blow::Reannouncement,
        ] {
            a.strike(frr, blow, at(0));
            b.strike(juniper, blow, at(0));
        }
        assert_eq!(a.value(frr, at(0)), 1500);
        assert_eq!(b.value(juniper, at(0)), 2500);
    }
}
