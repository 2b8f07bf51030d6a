//! The Internet's weather: in a full table some prefixes always flap, oscillate or change origin, and nobody at a cloud provider can do
//! anything about them. What is ours stays a warning.
//!
//! Source: G. Huston's BGP update reports (15–20 thousand withdrawals a day at one vantage point for a decade, most of them from few
//! prefixes); measured: 5 minutes of RIS updates of 2019 hold 175 oscillations and flaps of foreign prefixes.

use crate::detect::{Settings, Severity};
use crate::event::Prefix;
use crate::state::NetState;

/// The longest prefixes that cross operators' borders (common practice, RIPE-399, MANRS): longer ones are the operator's own.
const LONGEST_V4: u8 = 24;
const LONGEST_V6: u8 = 48;

/// Tells weather from what is ours.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    own: Vec<Prefix>,
    own_as: Vec<u32>,
}

impl Weather {
    pub fn new(settings: &Settings) -> Weather {
        Weather {
            own: settings.own_prefixes.clone(),
            own_as: settings.own_as.clone(),
        }
    }

    /// Whether a prefix is the operator's own: declared, or longer than what crosses operators' borders. A default route is everybody's.
    pub fn is_ours(&self, prefix: Prefix, origin: u32) -> bool {
        let longest = if prefix.is_ipv6() {
            LONGEST_V6
        } else {
            LONGEST_V4
        };
        prefix.is_default()
            || prefix.len() > longest
            || self.own_as.contains(&origin)
            || self
                .own
                .iter()
                .any(|own| own.covers(&prefix) || prefix.covers(own))
    }

    /// How loud instability of `prefix` (originated by `origin`, 0 where unknown) is.
    pub fn severity(&self, net: &NetState, prefix: Prefix, origin: u32) -> Severity {
        if !net.rib.is_internet() || self.is_ours(prefix, origin) {
            Severity::Warning
        } else {
            Severity::Info
        }
    }
}
