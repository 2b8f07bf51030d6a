//! STUB, replaced by its owner.

use super::links::{LinkDelta, Links};
use crate::event::{Event, Timestamp};
/// A change in this table.
#[derive(Clone, Debug)]
pub struct AddressDelta;

/// The table.
#[derive(Default)]
pub struct Addresses;

impl Addresses {
    /// Applies an event.
    pub fn apply(
        &mut self,
        _event: &Event,
        _links: &Links,
        _link_deltas: &[LinkDelta],
        _out: &mut Vec<AddressDelta>,
    ) {
    }

    /// Earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<AddressDelta>) {}
}
