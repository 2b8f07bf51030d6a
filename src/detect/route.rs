//! `route.*`: what happens to the kernel's routes, and to whom.
//!
//! Each file judges one kind of trouble: the default route, routes that vanish silently, many routes at once, single prefixes, routes
//! that take another's traffic, and processes that delete what is not theirs. Who owns a route is its `rtm_protocol`.

mod churn;
mod connected;
mod default;
mod foreign;
#[cfg(test)]
pub(crate) mod lab;
mod prefixes;
mod rules;
mod shadow;
mod silent;
pub(in crate::detect) mod writers;

use super::{Detector, Settings};

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(default::DefaultDetector::default()));
    detectors.push(Box::new(silent::SilentDetector::default()));
    detectors.push(Box::new(churn::ChurnDetector::default()));
    detectors.push(Box::new(shadow::ShadowDetector::default()));
    detectors.push(Box::new(foreign::ForeignDetector::default()));
    detectors.push(Box::new(connected::Connected::default()));
    detectors.push(Box::new(rules::RuleDetector::default()));
}

#[cfg(test)]
mod tests;
