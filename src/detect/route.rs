//! `route.*`: what happens to the kernel's routes.

#[cfg(test)]
pub(crate) mod lab;

use super::{Detector, Settings};

/// Adds this family's detectors.
pub fn register(_settings: &Settings, _detectors: &mut Vec<Box<dyn Detector>>) {}
