//! The routes of one RIB: a hash table of slots over a slab of (packed key, cold record), measured at 75 octets a prefix.
//!
//! Slots are never reused while the RIB lives, so that a detector may keep one. Unicast IPv4 and IPv6 keys are packed; everything else
//! keeps its whole key.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashTable;

use super::attributes::AttrId;
use crate::event::Prefix;
use crate::event::bgp::{Nlri, Safi};

/// A route's place in its RIB. The two highest bits tell the slab.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Slot(pub u32);

impl Slot {
    /// The slab says it: a route of IPv4 or IPv6 unicast, without a distinguisher.
    pub const fn is_unicast(self) -> bool {
        self.0 >> SLAB_SHIFT < 2
    }
}

const SLAB_SHIFT: u32 = 30;
const SLOT_MASK: u32 = (1 << SLAB_SHIFT) - 1;

/// The cold record of a route: 32 octets.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Cold {
    /// What is announced now; `NONE` when withdrawn.
    pub attrs: AttrId,
    /// What was announced before that.
    pub before: AttrId,
    /// Epoch of the RIB in which it was last announced.
    pub epoch: u32,
    /// Last change, in tenths of a second since the RIB's birth.
    pub last: u32,
    /// First sight, likewise.
    pub first: u32,
    /// Saturating counts.
    pub withdrawals: u16,
    pub announcements: u16,
    pub duplicates: u16,
    pub changes: u16,
    /// Its hot record plus one; 0 where there is none.
    pub hot: u32,
}

/// IPv4 unicast.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
struct Key4 {
    addr: u32,
    path_id: u32,
    len: u8,
}

/// IPv6 unicast. Octets, so that it needs no alignment.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
struct Key6 {
    addr: [u32; 4],
    path_id: u32,
    len: u8,
}

#[derive(Clone)]
struct Slab<K> {
    index: HashTable<u32>,
    rows: Vec<(K, Cold)>,
}

impl<K> Default for Slab<K> {
    fn default() -> Slab<K> {
        Slab {
            index: HashTable::new(),
            rows: Vec::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Slab<K> {
    fn find(&self, key: &K, hasher: &foldhash::fast::RandomState) -> Option<u32> {
        let rows = &self.rows;
        self.index
            .find(hasher.hash_one(key), |at| {
                rows.get(*at as usize).is_some_and(|(k, _)| k == key)
            })
            .copied()
    }

    fn find_or_insert(
        &mut self,
        key: K,
        hasher: &foldhash::fast::RandomState,
        room: bool,
    ) -> Option<(u32, bool)> {
        let rows = &self.rows;
        let entry = self.index.entry(
            hasher.hash_one(key),
            |at| rows.get(*at as usize).is_some_and(|(k, _)| *k == key),
            |at| {
                rows.get(*at as usize)
                    .map_or(0, |(k, _)| hasher.hash_one(k))
            },
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => Some((*found.get(), false)),
            hashbrown::hash_table::Entry::Vacant(gap) => {
                if !room || self.rows.len() as u32 >= SLOT_MASK {
                    return None;
                }
                let at = self.rows.len() as u32;
                gap.insert(at);
                self.rows.push((key, Cold::default()));
                Some((at, true))
            }
        }
    }
}

/// Routes of one RIB.
#[derive(Clone, Default)]
pub struct Table {
    v4: Slab<Key4>,
    v6: Slab<Key6>,
    other: Slab<Nlri>,
}

/// A key, packed.
#[derive(Clone)]
enum Packed {
    V4(Key4),
    V6(Key6),
    Other(Nlri),
}

fn pack(nlri: &Nlri) -> Packed {
    if nlri.safi != Safi::Unicast || nlri.rd != 0 || nlri.extra != 0 {
        return Packed::Other(*nlri);
    }
    let bits = nlri.prefix.bits();
    let (path_id, len) = (nlri.path_id, nlri.prefix.len());
    if nlri.prefix.is_ipv6() {
        let word = |shift: u32| (bits >> shift) as u32;
        Packed::V6(Key6 {
            addr: [word(96), word(64), word(32), word(0)],
            path_id,
            len,
        })
    } else {
        Packed::V4(Key4 {
            addr: (bits >> 96) as u32,
            path_id,
            len,
        })
    }
}

impl Table {
    /// The slot of a key, if there is one.
    pub fn find(&self, nlri: &Nlri, hasher: &foldhash::fast::RandomState) -> Option<Slot> {
        match pack(nlri) {
            Packed::V4(key) => self.v4.find(&key, hasher).map(Slot),
            Packed::V6(key) => self
                .v6
                .find(&key, hasher)
                .map(|at| Slot(at | 1 << SLAB_SHIFT)),
            Packed::Other(key) => self
                .other
                .find(&key, hasher)
                .map(|at| Slot(at | 2 << SLAB_SHIFT)),
        }
    }

    /// The slot of a key, made if there is room; whether it is new.
    pub fn find_or_insert(
        &mut self,
        nlri: &Nlri,
        hasher: &foldhash::fast::RandomState,
        room: bool,
    ) -> Option<(Slot, bool)> {
        let (slab, (at, new)) = match pack(nlri) {
            Packed::V4(key) => (0, self.v4.find_or_insert(key, hasher, room)?),
            Packed::V6(key) => (1, self.v6.find_or_insert(key, hasher, room)?),
            Packed::Other(key) => (2, self.other.find_or_insert(key, hasher, room)?),
        };
        Some((Slot(at | slab << SLAB_SHIFT), new))
    }

    /// The record in a slot.
    pub fn cold(&self, slot: Slot) -> Option<&Cold> {
        let at = (slot.0 & SLOT_MASK) as usize;
        match slot.0 >> SLAB_SHIFT {
            0 => self.v4.rows.get(at).map(|(_, cold)| cold),
            1 => self.v6.rows.get(at).map(|(_, cold)| cold),
            _ => self.other.rows.get(at).map(|(_, cold)| cold),
        }
    }

    /// The record in a slot, to change.
    pub fn cold_mut(&mut self, slot: Slot) -> Option<&mut Cold> {
        let at = (slot.0 & SLOT_MASK) as usize;
        match slot.0 >> SLAB_SHIFT {
            0 => self.v4.rows.get_mut(at).map(|(_, cold)| cold),
            1 => self.v6.rows.get_mut(at).map(|(_, cold)| cold),
            _ => self.other.rows.get_mut(at).map(|(_, cold)| cold),
        }
    }

    /// The key in a slot.
    pub fn nlri(&self, slot: Slot) -> Option<Nlri> {
        let at = (slot.0 & SLOT_MASK) as usize;
        match slot.0 >> SLAB_SHIFT {
            0 => self.v4.rows.get(at).map(|(key, _)| unpack4(key)),
            1 => self.v6.rows.get(at).map(|(key, _)| unpack6(key)),
            _ => self.other.rows.get(at).map(|(key, _)| *key),
        }
    }

    /// Every record, IPv4 first, each slab in the order in which its keys were first seen.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Nlri, &Cold)> {
        let v4 = self
            .v4
            .rows
            .iter()
            .enumerate()
            .map(|(at, (key, cold))| (Slot(at as u32), unpack4(key), cold));
        let v6 = self
            .v6
            .rows
            .iter()
            .enumerate()
            .map(|(at, (key, cold))| (Slot(at as u32 | 1 << SLAB_SHIFT), unpack6(key), cold));
        let other = self
            .other
            .rows
            .iter()
            .enumerate()
            .map(|(at, (key, cold))| (Slot(at as u32 | 2 << SLAB_SHIFT), *key, cold));
        v4.chain(v6).chain(other)
    }

    /// At most `most` records in the order of [`Table::iter`], from the `from`th on, at the cost of those.
    pub fn part(&self, from: usize, most: usize) -> impl Iterator<Item = (Slot, &Cold)> {
        let (v4, v6) = (self.v4.rows.len(), self.v6.rows.len());
        (from..self.len().min(from.saturating_add(most))).filter_map(move |at| {
            let slot = if at < v4 {
                Slot(at as u32)
            } else if at < v4 + v6 {
                Slot((at - v4) as u32 | 1 << SLAB_SHIFT)
            } else {
                Slot((at - v4 - v6) as u32 | 2 << SLAB_SHIFT)
            };
            Some((slot, self.cold(slot)?))
        })
    }

    /// Keys ever seen.
    pub fn len(&self) -> usize {
        self.v4.rows.len() + self.v6.rows.len() + self.other.rows.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Marks every attribute set that a record names.
    pub fn mark(&self, used: &mut [bool]) {
        let mut mark = |cold: &Cold| {
            for id in [cold.attrs, cold.before] {
                if let Some(flag) = used.get_mut(id.0 as usize) {
                    *flag = true;
                }
            }
        };
        self.v4.rows.iter().for_each(|(_, cold)| mark(cold));
        self.v6.rows.iter().for_each(|(_, cold)| mark(cold));
        self.other.rows.iter().for_each(|(_, cold)| mark(cold));
    }
}

fn unpack4(key: &Key4) -> Nlri {
    Nlri {
        path_id: key.path_id,
        ..Nlri::unicast(Prefix::new(IpAddr::V4(Ipv4Addr::from(key.addr)), key.len))
    }
}

fn unpack6(key: &Key6) -> Nlri {
    let [a, b, c, d] = key.addr.map(u128::from);
    let addr = Ipv6Addr::from(a << 96 | b << 64 | c << 32 | d);
    Nlri {
        path_id: key.path_id,
        ..Nlri::unicast(Prefix::new(IpAddr::V6(addr), key.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_to_their_budget() {
        assert!(size_of::<Cold>() <= 32);
        assert!(size_of::<(Key4, Cold)>() <= 44);
        assert!(size_of::<(Key6, Cold)>() <= 56);
    }

    #[test]
    fn keys_of_every_family_come_back_as_they_were() {
        let hasher = foldhash::fast::RandomState::default();
        let mut table = Table::default();
        let plain = |text: &str| Nlri::unicast(text.parse().unwrap());
        let keys = [
            plain("192.0.2.0/24"),
            Nlri {
                path_id: 7,
                ..plain("192.0.2.0/24")
            },
            plain("2001:db8:1::/48"),
            Nlri {
                rd: 9,
                safi: Safi::Vpn,
                ..plain("192.0.2.0/24")
            },
        ];
        for key in &keys {
            let (slot, new) = table.find_or_insert(key, &hasher, true).unwrap();
            assert!(new);
            assert_eq!(table.nlri(slot), Some(*key));
        }
        for key in &keys {
            let slot = table.find(key, &hasher).unwrap();
            assert_eq!(
                table.find_or_insert(key, &hasher, true),
                Some((slot, false))
            );
        }
        assert_eq!(table.len(), 4);
        assert!(
            table
                .find_or_insert(&plain("198.51.100.0/24"), &hasher, false)
                .is_none()
        );
    }
}
