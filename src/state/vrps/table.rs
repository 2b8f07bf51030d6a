//! The set of VRPs, and the question which of them cover a prefix.
//!
//! One row for each (prefix, length, maximum length, AS), chained by prefix; rows say in bits which caches hold them. A lookup asks a hash
//! index once for each length at which something near the prefix exists: two to five probes, 0.2 µs, in a table of today's 500,000 VRPs,
//! which takes 30 octets each. No length is too short or too long for it, and nothing is rebuilt when VRPs come and go.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::event::Prefix;
use crate::event::rtr::Vrp;

/// Rows of both families: more than twice what all RPKI repositories together validate to (some 850,000 in 2026).
pub const MAX_VRPS: usize = 2_000_000;
/// Rows of one prefix: a /8 of a hosting market has some dozens; a chain is walked at each insertion.
const MAX_OF_PREFIX: usize = 512;
/// No row.
const NONE: u32 = u32::MAX;
/// Buckets by the first 16 bits of a prefix.
const BUCKETS: usize = 1 << 16;

/// A set of caches, a bit for each.
pub type Caches = u16;

/// What the two families' address bits have in common.
trait Key: Copy + Eq + Hash {
    /// The first `len` bits of a left-aligned address.
    fn of(bits: u128, len: u8) -> Self;
    fn bits(self) -> u128;
}

fn masked(bits: u128, len: u8) -> u128 {
    match len {
        0 => 0,
        len => bits & (u128::MAX << (128 - u32::from(len.min(128)))),
    }
}

impl Key for u32 {
    fn of(bits: u128, len: u8) -> u32 {
        (masked(bits, len) >> 96) as u32
    }

    fn bits(self) -> u128 {
        u128::from(self) << 96
    }
}

/// Two halves: a `u128` would align rows to 16 octets.
impl Key for [u64; 2] {
    fn of(bits: u128, len: u8) -> [u64; 2] {
        let bits = masked(bits, len);
        [(bits >> 64) as u64, bits as u64]
    }

    fn bits(self) -> u128 {
        u128::from(self[0]) << 64 | u128::from(self[1])
    }
}

/// A VRP, and who holds it.
#[derive(Copy, Clone)]
struct Row<K> {
    key: K,
    asn: u32,
    /// The next row of the same prefix.
    next: u32,
    /// Caches whose data in force have it.
    active: Caches,
    /// Caches that have it by what they said last, in force or not yet.
    said: Caches,
    len: u8,
    max_len: u8,
}

/// A row's place.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct RowId(u32);

const V6: u32 = 1 << 31;

#[derive(Clone)]
struct Family<K> {
    /// First row of each prefix.
    index: HashTable<u32>,
    rows: Vec<Row<K>>,
    free: Vec<u32>,
    /// Lengths in use below each first 16 bits; a shorter prefix is in all buckets that it covers. Bits are never cleared: one too many
    /// costs a probe.
    near: Vec<u64>,
    /// Lengths from 32 on (IPv6), by a hash of the first 32 bits.
    far: Vec<u128>,
}

impl<K> Default for Family<K> {
    fn default() -> Family<K> {
        Family {
            index: HashTable::new(),
            rows: Vec::new(),
            free: Vec::new(),
            near: Vec::new(),
            far: Vec::new(),
        }
    }
}

/// The longest length in `near`: all of IPv4.
const NEAR: u8 = 32;

fn far_bucket(bits: u128) -> usize {
    // Fibonacci hashing: the multiplier is 2^32 over the golden ratio.
    (((bits >> 96) as u32).wrapping_mul(0x9e37_79b9) >> 16) as usize
}

impl<K: Key> Family<K> {
    fn hash(hasher: &foldhash::fast::RandomState, key: K, len: u8) -> u64 {
        hasher.hash_one((key, len))
    }

    fn head(&self, hasher: &foldhash::fast::RandomState, key: K, len: u8) -> Option<u32> {
        self.index
            .find(Self::hash(hasher, key, len), |at| self.is(*at, key, len))
            .copied()
    }

    fn is(&self, at: u32, key: K, len: u8) -> bool {
        self.rows
            .get(at as usize)
            .is_some_and(|row| row.len == len && row.key == key)
    }

    /// Rows of one prefix.
    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = (u32, &Row<K>)> {
        let mut at = head.unwrap_or(NONE);
        std::iter::from_fn(move || {
            let found = (at, self.rows.get(at as usize)?);
            at = found.1.next;
            Some(found)
        })
    }

    fn find_or_insert(
        &mut self,
        hasher: &foldhash::fast::RandomState,
        vrp: &Vrp,
        room: bool,
    ) -> Option<u32> {
        let len = vrp.prefix.len();
        let key = K::of(vrp.prefix.bits(), len);
        let head = self.head(hasher, key, len);
        let mut length = 0;
        let known = self
            .chain(head)
            .inspect(|_| length += 1)
            .find(|(_, row)| row.asn == vrp.asn && row.max_len == vrp.max_len)
            .map(|(at, _)| at);
        if known.is_some() || !room || length >= MAX_OF_PREFIX {
            return known;
        }
        let row = Row {
            key,
            asn: vrp.asn,
            next: NONE,
            active: 0,
            said: 0,
            len,
            max_len: vrp.max_len,
        };
        let at = match self.free.pop() {
            Some(at) => {
                *self.rows.get_mut(at as usize)? = row;
                at
            }
            None => {
                let at = u32::try_from(self.rows.len()).ok().filter(|at| *at < V6)?;
                self.rows.push(row);
                at
            }
        };
        match head.and_then(|head| self.rows.get_mut(head as usize)) {
            // Behind the head, so that the index need not change.
            Some(first) => {
                let second = std::mem::replace(&mut first.next, at);
                self.rows.get_mut(at as usize)?.next = second;
            }
            None => {
                let rows = &self.rows;
                self.index
                    .insert_unique(Self::hash(hasher, key, len), at, |at| {
                        rows.get(*at as usize)
                            .map_or(0, |row| Self::hash(hasher, row.key, row.len))
                    });
                self.note_length(vrp.prefix.bits(), len);
            }
        }
        Some(at)
    }

    fn note_length(&mut self, bits: u128, len: u8) {
        if len > NEAR {
            if self.far.is_empty() {
                self.far = vec![0; BUCKETS];
            }
            if let Some(lengths) = self.far.get_mut(far_bucket(bits)) {
                *lengths |= 1 << (len - 1).min(127);
            }
            return;
        }
        if self.near.is_empty() {
            self.near = vec![0; BUCKETS];
        }
        let first = (bits >> 112) as usize;
        let many = 1usize << 16u8.saturating_sub(len);
        for lengths in self.near.iter_mut().skip(first).take(many) {
            *lengths |= 1 << len;
        }
    }

    /// Takes a row out that nobody holds.
    fn remove(&mut self, hasher: &foldhash::fast::RandomState, at: u32) {
        let Some(row) = self.rows.get(at as usize).copied() else {
            return;
        };
        let Some(head) = self.head(hasher, row.key, row.len) else {
            return;
        };
        if head == at {
            let hash = Self::hash(hasher, row.key, row.len);
            if let Ok(mut entry) = self.index.find_entry(hash, |found| *found == at) {
                if row.next == NONE {
                    entry.remove();
                } else {
                    *entry.get_mut() = row.next;
                }
            }
        } else {
            let before = self
                .chain(Some(head))
                .find(|(_, before)| before.next == at)
                .map(|(before, _)| before);
            if let Some(before) = before.and_then(|before| self.rows.get_mut(before as usize)) {
                before.next = row.next;
            }
        }
        if let Some(row) = self.rows.get_mut(at as usize) {
            row.next = NONE;
            row.max_len = 0;
            row.len = u8::MAX;
        }
        self.free.push(at);
    }

    /// Calls `each` with every row in force that covers the prefix, until it says stop.
    #[inline]
    fn covering(
        &self,
        hasher: &foldhash::fast::RandomState,
        bits: u128,
        len: u8,
        mut each: impl FnMut(&Row<K>) -> bool,
    ) {
        let near = self
            .near
            .get((bits >> 112) as usize)
            .copied()
            .unwrap_or_default();
        let mut lengths = u128::from(near) & up_to(len.min(NEAR));
        if len > NEAR {
            // Bit n of `far` is length n + 1, so that 128 has one.
            let far = self.far.get(far_bucket(bits)).copied().unwrap_or_default();
            let mut far = far & (up_to(len) >> 1);
            while far != 0 {
                let length = far.trailing_zeros() as u8 + 1;
                far &= far - 1;
                if !self.probe(hasher, bits, length, &mut each) {
                    return;
                }
            }
        }
        while lengths != 0 {
            let length = lengths.trailing_zeros() as u8;
            lengths &= lengths - 1;
            if !self.probe(hasher, bits, length, &mut each) {
                return;
            }
        }
    }

    #[inline]
    fn probe(
        &self,
        hasher: &foldhash::fast::RandomState,
        bits: u128,
        length: u8,
        each: &mut impl FnMut(&Row<K>) -> bool,
    ) -> bool {
        let head = self.head(hasher, K::of(bits, length), length);
        self.chain(head)
            .all(|(_, row)| row.active == 0 || each(row))
    }
}

/// Bits 0 to `len`.
fn up_to(len: u8) -> u128 {
    match len {
        0..127 => (1 << (len + 1)) - 1,
        _ => u128::MAX,
    }
}

/// All VRPs.
#[derive(Clone, Default)]
pub struct Table {
    v4: Family<u32>,
    v6: Family<[u64; 2]>,
    hasher: foldhash::fast::RandomState,
    rows: usize,
    /// Rows that some cache has in force.
    active: usize,
    /// VRPs that found no room.
    pub refused: u64,
}

/// Runs a body on the family of a row.
macro_rules! with {
    ($table:expr, $id:expr, |$family:ident, $at:ident| $body:expr) => {
        if $id.0 & V6 != 0 {
            let ($family, $at) = (&mut $table.v6, $id.0 & !V6);
            $body
        } else {
            let ($family, $at) = (&mut $table.v4, $id.0);
            $body
        }
    };
}

impl Table {
    /// VRPs in force.
    pub fn len(&self) -> usize {
        self.active
    }

    /// None in force.
    pub fn is_empty(&self) -> bool {
        self.active == 0
    }

    /// A cache says that it has this VRP, or has it no longer. The row, if what it says changed.
    pub fn say(&mut self, cache: Caches, vrp: &Vrp, announce: bool) -> Option<RowId> {
        let room = announce && self.rows < MAX_VRPS;
        let (found, before) = if vrp.prefix.is_ipv6() {
            let before = self.v6.rows.len() - self.v6.free.len();
            (
                self.v6
                    .find_or_insert(&self.hasher, vrp, room)
                    .map(|at| RowId(at | V6)),
                before,
            )
        } else {
            let before = self.v4.rows.len() - self.v4.free.len();
            (
                self.v4.find_or_insert(&self.hasher, vrp, room).map(RowId),
                before,
            )
        };
        let Some(id) = found else {
            self.refused += u64::from(announce);
            return None;
        };
        with!(self, id, |family, at| {
            self.rows += (family.rows.len() - family.free.len()).saturating_sub(before);
            let row = family.rows.get_mut(at as usize)?;
            let old = row.said;
            row.said = if announce { old | cache } else { old & !cache };
            (row.said != old).then_some(id)
        })
    }

    /// Puts in force (or takes back) what a cache said about a row. The VRP and whether it is in force now, if that changed.
    pub fn settle(&mut self, cache: Caches, id: RowId, commit: bool) -> Option<(Vrp, bool)> {
        let v6 = id.0 & V6 != 0;
        with!(self, id, |family, at| {
            let row = family
                .rows
                .get_mut(at as usize)
                .filter(|row| row.len != u8::MAX)?;
            let was = row.active != 0;
            if commit {
                row.active = row.active & !cache | row.said & cache;
            } else {
                row.said = row.said & !cache | row.active & cache;
            }
            let is = row.active != 0;
            let vrp = vrp_of(row, v6);
            let unused = row.said == 0 && !is;
            if unused {
                family.remove(&self.hasher, at);
                self.rows = self.rows.saturating_sub(1);
            }
            self.active = (self.active + usize::from(is)).saturating_sub(usize::from(was));
            (was != is).then_some((vrp, is))
        })
    }

    /// Forgets what a cache said (not what is in force).
    pub fn unsay_all(&mut self, cache: Caches) {
        for row in &mut self.v4.rows {
            row.said &= !cache;
        }
        for row in &mut self.v6.rows {
            row.said &= !cache;
        }
    }

    /// Rows that a cache has in force or said it has.
    pub fn of_cache(&self, cache: Caches) -> Vec<RowId> {
        let held = |active: Caches, said: Caches| (active | said) & cache != 0;
        let v4 = self.v4.rows.iter().enumerate();
        let v4 = v4
            .filter(|(_, row)| held(row.active, row.said))
            .map(|(at, _)| RowId(at as u32));
        let v6 = self.v6.rows.iter().enumerate();
        let v6 = v6
            .filter(|(_, row)| held(row.active, row.said))
            .map(|(at, _)| RowId(at as u32 | V6));
        v4.chain(v6).collect()
    }

    /// VRPs that a cache has in force.
    pub fn count(&self, cache: Caches) -> usize {
        let v4 = self.v4.rows.iter().filter(|row| row.active & cache != 0);
        let v6 = self.v6.rows.iter().filter(|row| row.active & cache != 0);
        v4.count() + v6.count()
    }

    /// Calls `each` with every VRP in force that covers `prefix` as (maximum length, AS), until it says stop.
    #[inline]
    pub fn covering(&self, prefix: &Prefix, mut each: impl FnMut(u8, u32) -> bool) {
        let (bits, len) = (prefix.bits(), prefix.len());
        if prefix.is_ipv6() {
            self.v6
                .covering(&self.hasher, bits, len, |row| each(row.max_len, row.asn));
        } else {
            self.v4
                .covering(&self.hasher, bits, len, |row| each(row.max_len, row.asn));
        }
    }

    /// The VRPs in force that cover `prefix`, ordered.
    pub fn list(&self, prefix: &Prefix) -> Vec<Vrp> {
        let mut found = Vec::new();
        let (bits, len) = (prefix.bits(), prefix.len());
        if prefix.is_ipv6() {
            self.v6.covering(&self.hasher, bits, len, |row| {
                found.push(vrp_of(row, true));
                true
            });
        } else {
            self.v4.covering(&self.hasher, bits, len, |row| {
                found.push(vrp_of(row, false));
                true
            });
        }
        found.sort_unstable();
        found
    }

    /// Octets of memory, for the measurement.
    pub fn octets(&self) -> usize {
        fn of<K>(family: &Family<K>) -> usize {
            family.rows.capacity() * size_of::<Row<K>>()
                + family.index.capacity() * 5
                + family.near.capacity() * 8
                + family.far.capacity() * 16
        }
        of(&self.v4) + of(&self.v6)
    }
}

fn vrp_of<K: Key>(row: &Row<K>, v6: bool) -> Vrp {
    let bits = row.key.bits();
    let prefix = if v6 {
        Prefix::v6(bits.to_be_bytes(), row.len)
    } else {
        Prefix::v4(((bits >> 96) as u32).to_be_bytes(), row.len)
    };
    Vrp {
        prefix,
        max_len: row.max_len,
        asn: row.asn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn vrp(text: &str, max_len: u8, asn: u32) -> Vrp {
        Vrp {
            prefix: text.parse().unwrap(),
            max_len,
            asn,
        }
    }

    #[test]
    fn rows_keep_to_their_budget() {
        assert_eq!(size_of::<Row<u32>>(), 20);
        assert_eq!(size_of::<Row<[u64; 2]>>(), 32);
    }

    #[test]
    fn what_two_caches_hold_goes_with_the_last_of_them() {
        let mut table = Table::default();
        let roa = vrp("192.0.2.0/24", 24, 64500);
        for cache in [1, 2] {
            let row = table.say(cache, &roa, true).unwrap();
            assert_eq!(table.settle(cache, row, true).is_some(), cache == 1);
        }
        let row = table.say(1, &roa, false).unwrap();
        assert_eq!(table.settle(1, row, true), None);
        assert_eq!(table.len(), 1);
        let row = table.say(2, &roa, false).unwrap();
        assert_eq!(table.settle(2, row, true), Some((roa, false)));
        assert_eq!((table.len(), table.rows), (0, 0));
        assert!(table.list(&roa.prefix).is_empty());
    }

    #[test]
    fn what_was_said_and_taken_back_was_never_in_force() {
        let mut table = Table::default();
        let roa = vrp("2001:db8::/32", 48, 64500);
        let row = table.say(1, &roa, true).unwrap();
        assert!(table.list(&roa.prefix).is_empty());
        assert_eq!(table.settle(1, row, false), None);
        assert_eq!(table.rows, 0);
    }

    /// As many as all RPKI held in 2024, spread as routes are: most are /24 and /48.
    #[test]
    fn half_a_million_vrps_take_less_than_24_mb() {
        let mut table = Table::default();
        for n in 0..500_000u32 {
            let (prefix, max_len) = if n % 5 == 0 {
                let bits = 0x2a00_u128 << 112 | u128::from(n) << 80;
                (Prefix::v6(bits.to_be_bytes(), 48), 48)
            } else {
                (Prefix::v4((n << 8 | 1 << 24).to_be_bytes(), 24), 24)
            };
            let roa = Vrp {
                prefix,
                max_len,
                asn: n % 80_000,
            };
            let row = table.say(1, &roa, true).unwrap();
            table.settle(1, row, true);
        }
        assert_eq!(table.len(), 500_000);
        assert!(table.octets() < 24 << 20, "{}", table.octets());
    }

    /// Against the definition: a set and a scan.
    #[test]
    fn covering_agrees_with_a_scan_of_everything() {
        let mut table = Table::default();
        let mut set = BTreeSet::new();
        let mut random = 0x2545_f491_4f6c_dd1du64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut any = |v6: bool| {
            // Few distinct bits, so that prefixes nest.
            let bits = u128::from(next() & 0x0303_0303_0303_0303) << 64 | u128::from(next() & 3);
            let len = (next() % if v6 { 129 } else { 33 }) as u8;
            if v6 {
                Prefix::v6(bits.to_be_bytes(), len)
            } else {
                Prefix::v4(((bits >> 96) as u32).to_be_bytes(), len)
            }
        };
        for round in 0..6000u32 {
            let prefix = any(round % 2 == 0);
            let roa = Vrp {
                prefix,
                max_len: prefix.len(),
                asn: round % 3,
            };
            let announce = round % 5 != 4;
            if let Some(row) = table.say(1, &roa, announce) {
                table.settle(1, row, true);
            }
            if announce {
                set.insert(roa);
            } else {
                set.remove(&roa);
            }
            if round % 7 == 0 {
                let asked = any(round % 3 == 0);
                let scan: Vec<Vrp> = set
                    .iter()
                    .filter(|v| v.prefix.covers(&asked))
                    .copied()
                    .collect();
                assert_eq!(table.list(&asked), scan, "{asked}");
            }
        }
        assert_eq!(table.len(), set.len());
    }
}
