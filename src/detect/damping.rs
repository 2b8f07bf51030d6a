//! Damping in observe mode as the detectors use it. The arithmetic lives with the records it belongs to, in the model.

pub use crate::state::rib::damping::{Blow, PROFILES, Penalty, Profile};
