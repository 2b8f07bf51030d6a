//! STUB, replaced by its owner.

use super::sessions::{SessionDelta, Sessions};
use crate::event::{Event, Timestamp};

/// Changes of one event.
#[derive(Debug, Default)]
pub struct RibDeltas;

impl RibDeltas {
    pub fn clear(&mut self) {}
    pub fn is_empty(&self) -> bool {
        true
    }
}

/// The tables.
#[derive(Default)]
pub struct Ribs;

impl Ribs {
    pub fn apply(
        &mut self,
        _event: &Event,
        _sessions: &Sessions,
        _session_deltas: &[SessionDelta],
        _out: &mut RibDeltas,
    ) {
    }
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
    pub fn expire(&mut self, _now: Timestamp, _out: &mut RibDeltas) {}
}
