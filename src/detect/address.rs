//! TODO-REPLACED-BY-OWNER: detectors of the address family.

use super::{Detector, Settings};

/// Adds this family's detectors.
pub fn register(_settings: &Settings, _detectors: &mut Vec<Box<dyn Detector>>) {}
