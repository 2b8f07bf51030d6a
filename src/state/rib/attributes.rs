//! Path attributes, each set stored once and named by a small id.
//!
//! Ids of sets that no route uses any more are swept when the table has grown by half; a route keeps only ids, and comparing two
//! routes is comparing two digests of one cache line.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::event::bgp::Attributes;

/// Sets stored at once. RIPE RIS sees about 1.5 M distinct sets over all of a collector's peers; a flood ends here.
pub const MAX_SETS: usize = 4_000_000;
/// No sweep below this many sets: a small table is not worth the walk.
const SWEEP_FLOOR: usize = 65_536;

/// Name of an attribute set; 0 is "none" (withdrawn). Valid until the route that led to it changes.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct AttrId(pub u32);

impl AttrId {
    /// No attributes: the route is withdrawn, or they are unknown.
    pub const NONE: AttrId = AttrId(0);

    /// Whether it names a set.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// What of two sets can differ, as hashes: one cache line together with its neighbor.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Digest {
    /// AS path.
    pub path: u32,
    /// Originating AS, 0 where the path has none.
    pub origin_as: u32,
    /// Next hops.
    pub next_hop: u32,
    pub med: u32,
    pub local_pref: u32,
    /// All kinds of communities.
    pub communities: u32,
    /// Everything else.
    pub other: u32,
    /// Path length as best-path selection counts it.
    pub hops: u16,
    /// MED and local preference are present (bits 0 and 1).
    present: u16,
}

/// Which attributes changed, as bits.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct What(pub u8);

impl What {
    pub const PATH: What = What(1);
    pub const ORIGIN_AS: What = What(1 << 1);
    pub const NEXT_HOP: What = What(1 << 2);
    pub const MED: What = What(1 << 3);
    pub const LOCAL_PREF: What = What(1 << 4);
    pub const COMMUNITIES: What = What(1 << 5);
    pub const OTHER: What = What(1 << 6);

    /// Whether all of `bits` are set.
    pub fn has(self, bits: What) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Names of what changed, for sentences.
    pub fn names(self) -> String {
        let all = [
            (What::PATH, "AS path"),
            (What::ORIGIN_AS, "origin AS"),
            (What::NEXT_HOP, "next hop"),
            (What::MED, "MED"),
            (What::LOCAL_PREF, "local preference"),
            (What::COMMUNITIES, "communities"),
            (What::OTHER, "other attributes"),
        ];
        let named: Vec<&str> = all
            .into_iter()
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, name)| name)
            .collect();
        named.join(", ")
    }
}

impl Digest {
    fn of(attributes: &Attributes, hasher: &foldhash::quality::RandomState) -> Digest {
        fn h(hasher: &foldhash::quality::RandomState, value: impl Hash) -> u32 {
            hasher.hash_one(value) as u32
        }
        let a = attributes;
        Digest {
            path: h(hasher, &a.as_path.0),
            origin_as: a.origin_as().unwrap_or(0),
            next_hop: h(hasher, (a.next_hop, a.next_hop_link_local)),
            med: a.med.unwrap_or(0),
            local_pref: a.local_pref.unwrap_or(0),
            communities: if a.communities.is_empty()
                && a.extended_communities.is_empty()
                && a.large_communities.is_empty()
            {
                0
            } else {
                h(
                    hasher,
                    (
                        &a.communities,
                        &a.extended_communities,
                        &a.large_communities,
                        &a.ipv6_extended_communities,
                    ),
                )
            },
            other: h(
                hasher,
                (
                    a.origin,
                    a.atomic_aggregate,
                    a.aggregator,
                    a.originator_id,
                    &a.cluster_list,
                    a.otc,
                    a.aigp,
                    &a.unknown,
                ),
            ),
            hops: a.as_path.hops().min(usize::from(u16::MAX)) as u16,
            present: u16::from(a.med.is_some()) | u16::from(a.local_pref.is_some()) << 1,
        }
    }

    /// What differs between two sets.
    pub fn differences(&self, other: &Digest) -> What {
        let bit = |differs: bool, what: What| if differs { what.0 } else { 0 };
        What(
            bit(self.path != other.path, What::PATH)
                | bit(self.origin_as != other.origin_as, What::ORIGIN_AS)
                | bit(self.next_hop != other.next_hop, What::NEXT_HOP)
                | bit(
                    self.med != other.med || (self.present ^ other.present) & 1 != 0,
                    What::MED,
                )
                | bit(
                    self.local_pref != other.local_pref || (self.present ^ other.present) & 2 != 0,
                    What::LOCAL_PREF,
                )
                | bit(self.communities != other.communities, What::COMMUNITIES)
                | bit(self.other != other.other, What::OTHER),
        )
    }
}

/// The store.
#[derive(Clone, Default)]
pub struct AttributeStore {
    index: HashTable<u32>,
    /// Slot 0 is unused.
    sets: Vec<Attributes>,
    digests: Vec<Digest>,
    hashes: Vec<u64>,
    free: Vec<u32>,
    hasher: foldhash::quality::RandomState,
    live_after_sweep: usize,
    /// Public AS numbers that originate routes, until there are [`PUBLIC_ORIGINS`].
    origins: std::collections::BTreeSet<u32>,
}

/// So many public origins are the Internet's: an operator's own network has one, and its customers' a few dozen. RIS and RouteViews show them
/// within a second; laboratories and private networks use private numbers.
pub const PUBLIC_ORIGINS: usize = 128;

/// Whether an AS number is not private (RFC 6996), for documentation (RFC 5398), reserved (RFC 7300, RFC 7607) or AS_TRANS (RFC 6793).
pub fn is_public(asn: u32) -> bool {
    !matches!(asn, 0 | 23_456 | 64_496..=65_551 | 4_200_000_000..)
}

impl AttributeStore {
    /// The id of a set, stored if it is new. `NONE` when the store is full.
    pub fn intern(&mut self, attributes: &Attributes) -> AttrId {
        let hash = self.hasher.hash_one(attributes);
        let hashes = &self.hashes;
        // Equal hashes are taken for equal sets: comparing the sets themselves costs a fifth of a whole MRT run in cache misses. The hash
        // has 64 bits and a random seed, so a sender cannot aim at a collision, and among a million sets one happens by chance with a
        // probability of 3 in 100 million.
        let same = |at: &u32| hashes.get(*at as usize) == Some(&hash);
        if let Some(at) = self.index.find(hash, same) {
            return AttrId(*at);
        }
        if self.index.len() >= MAX_SETS {
            return AttrId::NONE;
        }
        if self.sets.is_empty() {
            self.sets.push(Attributes::default());
            self.digests.push(Digest::default());
            self.hashes.push(0);
        }
        let digest = Digest::of(attributes, &self.hasher);
        if self.origins.len() < PUBLIC_ORIGINS && is_public(digest.origin_as) {
            self.origins.insert(digest.origin_as);
        }
        let at = match self.free.pop() {
            Some(at) => {
                self.sets[at as usize] = attributes.clone();
                self.digests[at as usize] = digest;
                self.hashes[at as usize] = hash;
                at
            }
            None => {
                self.sets.push(attributes.clone());
                self.digests.push(digest);
                self.hashes.push(hash);
                (self.sets.len() - 1) as u32
            }
        };
        let hashes = &self.hashes;
        self.index
            .insert_unique(hash, at, |at| hashes[*at as usize]);
        AttrId(at)
    }

    /// A set by its id.
    pub fn get(&self, id: AttrId) -> Option<&Attributes> {
        if id.is_some() {
            self.sets.get(id.0 as usize)
        } else {
            None
        }
    }

    /// The digest of a set.
    pub fn digest(&self, id: AttrId) -> Option<&Digest> {
        if id.is_some() {
            self.digests.get(id.0 as usize)
        } else {
            None
        }
    }

    /// Whether as many public AS numbers originate routes as only the Internet has.
    pub fn is_public(&self) -> bool {
        self.origins.len() >= PUBLIC_ORIGINS
    }

    /// Sets stored now.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Nothing stored.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether it has grown enough since the last sweep to be worth one.
    pub fn wants_sweep(&self) -> bool {
        self.index.len() >= SWEEP_FLOOR
            && self.index.len() >= self.live_after_sweep + self.live_after_sweep / 2
    }

    /// Drops every set that is not marked in `used` (by id).
    pub fn sweep(&mut self, used: &[bool]) {
        for at in 1..self.sets.len() {
            if used.get(at).copied().unwrap_or(false) {
                continue;
            }
            let hash = self.hashes[at];
            if let Ok(entry) = self.index.find_entry(hash, |found| *found as usize == at) {
                entry.remove();
                self.sets[at] = Attributes::default();
                self.free.push(at as u32);
            }
        }
        self.live_after_sweep = self.index.len();
    }

    /// Room for marks.
    pub fn id_space(&self) -> usize {
        self.sets.len()
    }
}
