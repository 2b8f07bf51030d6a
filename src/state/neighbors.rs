//! STUB, replaced by its owner.

use super::links::Links;
use crate::event::{Event, Timestamp};
/// A change in this table.
#[derive(Clone, Debug)]
pub struct NeighborDelta;

/// The table.
#[derive(Default)]
pub struct Neighbors;

impl Neighbors {
    /// Applies an event.
    pub fn apply(&mut self, _event: &Event, _links: &Links, _out: &mut Vec<NeighborDelta>) {}

    /// Earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<NeighborDelta>) {}
}
