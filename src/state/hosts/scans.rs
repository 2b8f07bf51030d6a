//! Who asks for very many addresses in a short time: an inventory, an attack, or a router whose network is being swept.
//!
//! That alone breaks nothing and is nobody's finding. Beside a neighbor that stops answering it is worth naming, because caches of neighbors
//! overflow by it (RFC 6583; Linux drops entries above `gc_thresh3` = 1024).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Scope;
use crate::event::Timestamp;
use crate::event::bounded::{Bounded, Worth};
use crate::event::frame::Mac;

/// Different addresses asked for within [`WINDOW`] by one MAC (survey A4; Wireshark's ARP storm is 30 packets in 100 ms).
const MANY: usize = 100;
const WINDOW: Duration = Duration::from_secs(10);
/// Askers watched at once; a router and the handful of hosts that look around.
const MAX_ASKERS: usize = 64;

/// One asker's questions in the current window.
#[derive(Clone, Default)]
struct Asker {
    since: Timestamp,
    targets: BTreeSet<IpAddr>,
}

/// A scan.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Scan {
    pub by: Mac,
    /// When it was recognised last.
    pub at: Timestamp,
}

/// The table.
#[derive(Clone)]
pub(super) struct Scans {
    askers: Bounded<(Scope, Mac), Asker>,
    latest: Option<(Scope, Scan)>,
}

impl Default for Scans {
    fn default() -> Scans {
        Scans {
            askers: Bounded::new(MAX_ASKERS),
            latest: None,
        }
    }
}

impl Scans {
    pub(super) fn asked(&mut self, scope: Scope, by: Mac, target: IpAddr, at: Timestamp) {
        // Who asked much lately must not be pushed out by many who ask once.
        let worth = |_: &(Scope, Mac), asker: &Asker| match at.since(asker.since) <= WINDOW {
            true if asker.targets.len() > 1 => Worth::Kept,
            _ => Worth::Spent,
        };
        let Some(asker) = self.askers.at((scope, by), worth) else {
            return;
        };
        if at.since(asker.since) > WINDOW || asker.targets.is_empty() {
            asker.since = at;
            asker.targets.clear();
        }
        if asker.targets.len() < MANY {
            asker.targets.insert(target);
        }
        if asker.targets.len() == MANY {
            self.latest = Some((scope, Scan { by, at }));
        }
    }

    /// A scan on a link within `before` of `at`.
    pub(super) fn around(&self, at: Timestamp, before: Duration) -> Option<Scan> {
        let (_, scan) = self.latest?;
        (scan.at <= at && at.since(scan.at) <= before).then_some(scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourceId;

    #[test]
    fn a_hundred_addresses_in_ten_seconds_are_a_scan_and_one_address_a_hundred_times_is_none() {
        let scope = Scope {
            source: SourceId(1),
            ifindex: None,
            vlans: [None; 3],
        };
        let by = Mac([2, 0, 0, 0, 0, 1]);
        let target = |nth: u8| IpAddr::from([192, 0, 2, nth]);
        let mut scans = Scans::default();
        for nth in 0..200 {
            scans.asked(scope, by, target(1), Timestamp(i64::from(nth) * 10_000_000));
        }
        let window = Duration::from_secs(30);
        assert_eq!(scans.around(Timestamp(2_000_000_000), window), None);
        // Slowly: 100 s.
        for nth in 0..100 {
            scans.asked(
                scope,
                by,
                target(nth),
                Timestamp(i64::from(nth) * 1_000_000_000),
            );
        }
        assert_eq!(scans.around(Timestamp(100_000_000_000), window), None);
        for nth in 0..100 {
            scans.asked(
                scope,
                by,
                target(nth),
                Timestamp(200_000_000_000 + i64::from(nth)),
            );
        }
        let found = scans.around(Timestamp(201_000_000_000), window);
        assert_eq!(found.map(|scan| scan.by), Some(by));
        assert_eq!(scans.around(Timestamp(240_000_000_000), window), None);
    }
}
