//! STUB, replaced by its owner.

use crate::event::{Event, Timestamp};

/// A change in this table.
#[derive(Clone, Debug)]
pub struct SessionDelta;

/// The table.
#[derive(Default)]
pub struct Sessions;

impl Sessions {
    /// Applies an event.
    pub fn apply(&mut self, _event: &Event, _out: &mut Vec<SessionDelta>) {}

    /// Earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<SessionDelta>) {}
}
