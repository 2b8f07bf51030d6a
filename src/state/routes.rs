//! STUB, replaced by its owner.

use super::addresses::{AddressDelta, Addresses};
use super::links::{LinkDelta, Links};
use crate::event::{Event, Timestamp};
/// A change in this table.
#[derive(Clone, Debug)]
pub struct RouteDelta;

/// The table.
#[derive(Default)]
pub struct Routes;

impl Routes {
    /// Applies an event.
    pub fn apply(
        &mut self,
        _event: &Event,
        _links: &Links,
        _addresses: &Addresses,
        _link_deltas: &[LinkDelta],
        _address_deltas: &[AddressDelta],
        _out: &mut Vec<RouteDelta>,
    ) {
    }

    /// Earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<RouteDelta>) {}
}
