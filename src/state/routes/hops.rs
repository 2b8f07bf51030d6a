//! Interned next-hop sets: a million routes share a handful of them.
//!
//! A set lives as long as a route or a delta holds it; the table's own handles of dead sets are swept when the table has doubled.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::event::netlink::Hop;

/// `RTNH_F_ONLINK`: the only next-hop flag that is configuration; the others mirror the link's state, which `links` knows.
const RTNH_F_ONLINK: u8 = 4;

/// Sets held before the first sweep: cheap to hold, and more than a quiet host has.
const MIN_SWEEP: usize = 64;

/// A shared, ordered set of next hops.
pub type Hops = Arc<[Hop]>;

/// The sets in use. The hasher is seeded; iteration order never becomes visible (only ordered sets leave).
#[derive(Clone, Default)]
pub(super) struct HopSets {
    sets: HashSet<Hops, foldhash::fast::RandomState>,
    /// Sweep when this many sets are held.
    sweep_at: usize,
}

impl HopSets {
    /// The shared copy of a set.
    pub(super) fn intern(&mut self, hops: &[Hop]) -> Hops {
        let mut hops: smallvec::SmallVec<[Hop; 4]> = hops.iter().copied().collect();
        for hop in &mut hops {
            hop.flags &= RTNH_F_ONLINK;
        }
        hops.sort_unstable();
        if let Some(known) = self.sets.get(hops.as_slice()) {
            return known.clone();
        }
        if self.sets.len() >= self.sweep_at {
            self.sets.retain(in_use);
            self.sweep_at = (self.sets.len() * 2).max(MIN_SWEEP);
        }
        let set: Hops = Arc::from(hops.as_slice());
        self.sets.insert(set.clone());
        set
    }

    /// Gateways of the sets in use, through one interface or through any.
    pub(super) fn gateways(&self, ifindex: Option<u32>) -> BTreeSet<IpAddr> {
        self.hops()
            .filter(|hop| ifindex.is_none() || hop.ifindex == ifindex)
            .filter_map(|hop| hop.gateway)
            .collect()
    }

    /// Whether a set in use has this gateway.
    pub(super) fn has_gateway(&self, addr: IpAddr) -> bool {
        self.hops().any(|hop| hop.gateway == Some(addr))
    }

    /// Identities of the sets with a hop through this interface.
    pub(super) fn through(&self, ifindex: u32) -> BTreeSet<usize> {
        self.sets
            .iter()
            .filter(|set| in_use(set) && set.iter().any(|hop| hop.ifindex == Some(ifindex)))
            .map(identity)
            .collect()
    }

    fn hops(&self) -> impl Iterator<Item = &Hop> {
        self.sets
            .iter()
            .filter(|set| in_use(set))
            .flat_map(|set| set.iter())
    }
}

/// Somebody besides the table holds it.
fn in_use(set: &Hops) -> bool {
    Arc::strong_count(set) > 1
}

/// Identity of an interned set: equal for equal sets as long as both are held.
pub(super) fn identity(hops: &Hops) -> usize {
    Arc::as_ptr(hops).cast::<u8>() as usize
}
