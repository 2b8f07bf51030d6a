//! What each observer believes about a session, and which loss it has already reported.

use std::time::Duration;

use super::Observer;
use crate::event::Timestamp;

/// Observers of one loss may report it this much apart, besides the hold time by which two ends' timers can differ: FRR sends BMP in
/// batches, packets and BMP come through different captures.
const REPORT_LAG: Duration = Duration::from_secs(10);

/// One observer's belief.
#[derive(Copy, Clone, Debug, Default)]
pub struct View {
    /// It saw this session at all.
    pub seen: bool,
    /// It believes the session to be up.
    pub up: bool,
    /// Since when it believes so.
    pub up_since: Option<Timestamp>,
    /// It has told about the current loss; nothing more is expected of it until it says up.
    pub told: bool,
    /// Ordinal of the last loss that it told about or that came before it said up.
    settled: u32,
}

impl View {
    /// It says up; every loss so far is behind it.
    pub fn up(&mut self, at: Timestamp, downs: u32) {
        if !self.up {
            self.up_since = Some(at);
        }
        self.seen = true;
        self.up = true;
        self.told = false;
        self.settled = downs;
    }

    /// It says down; `loss` is the ordinal of the loss it tells about.
    pub fn down(&mut self, _at: Timestamp, loss: u32) {
        self.seen = true;
        self.up = false;
        self.told = true;
        self.settled = loss;
    }

    /// Whether a report at `at` tells about the loss at `down_at` that others already told, rather than about a new one.
    pub fn reports_known_loss(
        &self,
        downs: u32,
        down_at: Option<Timestamp>,
        at: Timestamp,
        lag: Duration,
    ) -> bool {
        // Without an up in between this is the same loss again (FRR repeats Peer Down at each failed reconnect).
        if self.seen && self.told && !self.up {
            return true;
        }
        let pending = self.settled < downs
            && self
                .up_since
                .is_none_or(|up| down_at.is_none_or(|down| up <= down));
        pending && down_at.is_some_and(|down| at.since(down) <= lag + REPORT_LAG)
    }
}

/// Every observer's belief.
#[derive(Copy, Clone, Debug, Default)]
pub struct Views([View; 3]);

impl Views {
    /// One observer's.
    pub fn of(&self, observer: Observer) -> &View {
        &self.0[observer as usize]
    }

    /// One observer's, to change.
    pub fn of_mut(&mut self, observer: Observer) -> &mut View {
        &mut self.0[observer as usize]
    }

    /// Nobody else saw the session.
    pub fn none_but(&self, observer: Observer) -> bool {
        Observer::ALL
            .into_iter()
            .all(|o| o == observer || !self.of(o).seen)
    }
}
