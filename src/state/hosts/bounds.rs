//! Who may have an address tracked: the bounds against senders who invent them.
//!
//! Two tiers. An address is *tentative* until the same MAC still claims it a minute later; tentative addresses have a pool of their own, a quota
//! for each sender, and replace each other at random, so that a flood can neither flush what is confirmed (as it could with plain
//! LRU) nor fill the table. Confirmed ones stay until the run ends or the table is full of confirmed ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Scope;
use crate::event::frame::Mac;

/// Addresses tracked in all. A /18 full of hosts; 16 k entries of some 200 octets are 3 MB.
pub const MAX_HOSTS: usize = 16_384;
/// Of these, tentative ones: a quarter, so that a flood leaves the rest alone.
pub const MAX_TENTATIVE: usize = MAX_HOSTS / 4;
/// Tentative addresses of one sender on one link. A node that announces the addresses of a load balancer after a fail-over has some hundred.
pub const MAX_OF_SENDER: usize = 256;
/// A claim repeated after this time makes an address confirmed: starvation and spoofing tools change addresses with each packet.
pub const CONFIRMED_AFTER: Duration = Duration::from_secs(60);

type Key = (Scope, IpAddr);

/// What became of a request for room.
#[derive(Clone)]
pub(super) enum Admission {
    Granted,
    /// Granted; this other address is dropped for it.
    InsteadOf(Key),
    Refused,
}

/// The tentative addresses.
#[derive(Clone, Default)]
pub(super) struct Tentative {
    pool: Vec<(Key, Mac)>,
    places: BTreeMap<Key, usize>,
    of_sender: BTreeMap<(Scope, Mac), usize>,
    /// State of the generator that picks victims. It starts the same in every run: same input, same output (law 13).
    random: u64,
}

impl Tentative {
    /// Asks for room for a new address when `tracked` are tracked in all.
    pub(super) fn admit(&mut self, key: Key, sender: Mac, tracked: usize) -> Admission {
        if self
            .of_sender
            .get(&(key.0, sender))
            .is_some_and(|count| *count >= MAX_OF_SENDER)
        {
            return Admission::Refused;
        }
        let full = self.pool.len() >= MAX_TENTATIVE || tracked >= MAX_HOSTS;
        let victim = if full { self.victim() } else { None };
        if full && victim.is_none() {
            return Admission::Refused; // everything is confirmed
        }
        if let Some(victim) = victim {
            self.confirm(&victim);
        }
        self.places.insert(key, self.pool.len());
        self.pool.push((key, sender));
        let count = self.of_sender.entry((key.0, sender)).or_default();
        *count = count.saturating_add(1);
        victim.map_or(Admission::Granted, Admission::InsteadOf)
    }

    /// Takes an address out of the pool: it is confirmed, or gone.
    pub(super) fn confirm(&mut self, key: &Key) {
        let Some(place) = self.places.remove(key) else {
            return;
        };
        if place >= self.pool.len() {
            return;
        }
        let ((scope, _), sender) = self.pool.swap_remove(place);
        if let Some((moved, _)) = self.pool.get(place) {
            self.places.insert(*moved, place);
        }
        if let Some(count) = self.of_sender.get_mut(&(scope, sender)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_sender.remove(&(scope, sender));
            }
        }
    }

    fn victim(&mut self) -> Option<Key> {
        // Weyl sequence through a mixer (splitmix64).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let len = u64::try_from(self.pool.len()).ok().filter(|len| *len > 0)?;
        let at = usize::try_from(z % len).ok()?;
        self.pool.get(at).map(|(key, _)| *key)
    }
}

/// How many addresses each MAC of a link claimed last. As many entries as addresses at most.
#[derive(Clone, Default)]
pub(super) struct Held {
    counts: BTreeMap<(Scope, Mac), usize>,
}

impl Held {
    /// An address changed hands.
    pub(super) fn moved(&mut self, scope: Scope, from: Option<Mac>, to: Option<Mac>) {
        if from == to {
            return;
        }
        if let Some(from) = from
            && let Some(count) = self.counts.get_mut(&(scope, from))
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&(scope, from));
            }
        }
        if let Some(to) = to {
            *self.counts.entry((scope, to)).or_default() += 1;
        }
    }

    pub(super) fn count(&self, scope: Scope, mac: Mac) -> usize {
        self.counts.get(&(scope, mac)).copied().unwrap_or_default()
    }
}
