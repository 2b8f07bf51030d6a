//! Several link-layer addresses of one machine.
//!
//! A host with two ports in one subnet answers every question that both ports hear from both (ARP flux: Linux `arp_ignore` is 0, any port
//! answers for any address of the host). The sign: the *same pair* answers together for more than one address, within the time in which one
//! kernel handles two copies of a broadcast. Two hosts with one address between them share that one only.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::event::Timestamp;
use crate::event::frame::Mac;
use crate::state::hosts::Scope;

/// Both answers come within this time: 1 to 2 µs were measured between two ports of one kernel. Independent hosts differ by tens of µs and more,
/// but may be as quick, so the time alone proves nothing.
const AT_ONCE: Duration = Duration::from_micros(200);
/// Addresses that the pair answers for together.
const ADDRESSES: usize = 2;
/// Addresses remembered of a pair, and pairs.
const MAX_ADDRESSES: usize = 8;
const MAX_PAIRS: usize = 256;

/// Two addresses that answered one question.
#[derive(Clone, Default, Debug)]
struct Pair {
    addresses: SmallVec<[IpAddr; 2]>,
}

/// The pairs.
#[derive(Clone, Default, Debug)]
pub struct Machines {
    pairs: BTreeMap<(Scope, Mac, Mac), Pair>,
}

impl Machines {
    /// `a` answered a question about `addr`, and `b` the same one `after` it.
    pub(in crate::state) fn answered(
        &mut self,
        scope: Scope,
        (a, at): (Mac, Timestamp),
        (b, then): (Mac, Timestamp),
        addr: IpAddr,
    ) {
        if a == b || then.since(at) > AT_ONCE {
            return;
        }
        let key = (scope, a.min(b), a.max(b));
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            return; // a flood of invented pairs; who is known stays known
        }
        let pair = self.pairs.entry(key).or_default();
        if pair.addresses.len() < MAX_ADDRESSES && !pair.addresses.contains(&addr) {
            pair.addresses.push(addr);
        }
    }

    /// For how many addresses the two answer together, where that makes them one machine.
    pub fn together(&self, scope: Scope, a: Mac, b: Mac) -> Option<usize> {
        let pair = self.pairs.get(&(scope, a.min(b), a.max(b)))?;
        Some(pair.addresses.len()).filter(|count| *count >= ADDRESSES)
    }

    /// The addresses that the two answer for together.
    pub fn addresses(&self, scope: Scope, a: Mac, b: Mac) -> &[IpAddr] {
        let pair = self.pairs.get(&(scope, a.min(b), a.max(b)));
        pair.map_or(&[], |pair| pair.addresses.as_slice())
    }
}
