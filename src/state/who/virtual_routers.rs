//! Virtual routers (VRRP): who says to be master of which addresses, and how one follows the other.
//!
//! A master advertises every interval; a backup that hears it is silent, and takes over when it misses three (RFC 9568 §6.1, §6.4). So two
//! who advertise in turn, again and again, do not hear each other; two who follow each other are a fail-over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::event::frame::Mac;
use crate::event::vrrp::Vrrp;
use crate::event::{Locator, Timestamp};
use crate::state::hosts::Scope;

/// Virtual routers: each link has at most 255 of a family.
const MAX_GROUPS: usize = 1024;
/// Masters remembered of one: a group of more than a handful does not exist.
const MAX_MASTERS: usize = 4;
/// Virtual addresses looked up.
const MAX_ADDRESSES: usize = 4096;
/// Turns of two who both go on. Taking over a running master makes two: the new one speaks, the old one once more before it hears that, the new
/// one again. More do not hear each other.
const TURNS: u32 = 3;

/// A virtual router.
pub type GroupKey = (Scope, bool, u8);

/// One who advertises.
#[derive(Clone, Debug)]
pub struct Master {
    /// The source of its advertisements.
    pub addr: IpAddr,
    pub mac: Option<Mac>,
    pub priority: u8,
    pub version: u8,
    pub authentication: u8,
    pub interval: Duration,
    pub addresses: SmallVec<[IpAddr; 2]>,
    /// Since when it advertises without a pause, the first and the last frame of that.
    pub since: Timestamp,
    pub first: Locator,
    pub last: Timestamp,
    pub locator: Locator,
    /// It gave up with priority 0.
    pub resigned: bool,
}

impl Master {
    /// A backup takes over when it has heard nothing for so long (RFC 9568 §6.1: three intervals and a skew of less than one).
    pub fn down_after(&self) -> Duration {
        self.interval * 4
    }

    /// Whether it is a master at `at`.
    pub fn is_alive(&self, at: Timestamp) -> bool {
        !self.resigned && at.since(self.last) <= self.down_after()
    }

    /// Whether it has missed an advertisement, or gave up: somebody who speaks alone by now is the master.
    fn is_quiet(&self, at: Timestamp) -> bool {
        self.resigned || at.since(self.last) > self.interval + self.interval / 2
    }

    /// Whether a frame's source can be the master's: its own MAC or the virtual router's.
    pub fn speaks_as(&self, mac: Mac) -> bool {
        self.mac == Some(mac) || mac.is_virtual_router()
    }
}

/// A virtual router and those who say to be its master.
#[derive(Clone, Default, Debug)]
pub struct Group {
    pub masters: SmallVec<[Master; 2]>,
    /// Who is master, as backups see it.
    pub current: Option<IpAddr>,
    turns: u32,
}

impl Group {
    /// One who advertises.
    pub fn master(&self, addr: IpAddr) -> Option<&Master> {
        self.masters.iter().find(|master| master.addr == addr)
    }
}

/// What an advertisement changed.
#[derive(Copy, Clone, Debug)]
pub struct VrrpDelta {
    pub group: GroupKey,
    /// Its sender.
    pub by: IpAddr,
    pub change: VrrpChange,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum VrrpChange {
    /// The master goes on.
    Same,
    /// The first master that was seen.
    First,
    /// It took over from another.
    Took { from: IpAddr },
    /// It and another advertise in turn.
    Beside { other: IpAddr },
    /// It gave up.
    Resigned,
}

/// The table.
#[derive(Clone, Default, Debug)]
pub struct VirtualRouters {
    groups: BTreeMap<GroupKey, Group>,
    addresses: BTreeMap<(Scope, IpAddr), GroupKey>,
}

impl VirtualRouters {
    pub(in crate::state) fn apply(
        &mut self,
        scope: Scope,
        said: &Vrrp,
        at: Timestamp,
        locator: Locator,
        out: &mut Vec<VrrpDelta>,
    ) {
        let Some(addr) = said.frame.ip_src else {
            return;
        };
        let key = (scope, addr.is_ipv6(), said.vrid);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            return; // a flood of invented routers; those who are known stay known
        }
        let group = self.groups.entry(key).or_default();
        for virtual_address in &said.addresses {
            if self.addresses.len() < MAX_ADDRESSES {
                self.addresses.insert((scope, *virtual_address), key);
            }
        }
        let change = group.advertised(addr, said, at, locator);
        out.push(VrrpDelta {
            group: key,
            by: addr,
            change,
        });
    }

    /// A virtual router.
    pub fn get(&self, key: GroupKey) -> Option<&Group> {
        self.groups.get(&key)
    }

    /// Which virtual router has an address.
    pub fn key_of(&self, scope: Scope, addr: IpAddr) -> Option<GroupKey> {
        self.addresses.get(&(scope, addr)).copied()
    }

    /// The virtual router that has an address.
    pub fn of(&self, scope: Scope, addr: IpAddr) -> Option<&Group> {
        self.groups.get(self.addresses.get(&(scope, addr))?)
    }
}

impl Group {
    fn advertised(
        &mut self,
        addr: IpAddr,
        said: &Vrrp,
        at: Timestamp,
        locator: Locator,
    ) -> VrrpChange {
        let before = self.master(addr).cloned();
        // Who spoke since this one spoke last, and goes on.
        let between = before
            .as_ref()
            .filter(|own| own.is_alive(at))
            .and_then(|own| {
                let others = self.masters.iter().filter(|other| other.addr != addr);
                others
                    .filter(|other| other.is_alive(at) && other.last >= own.last)
                    .max_by_key(|other| other.last)
                    .map(|other| other.addr)
            });
        let alive = before.as_ref().is_some_and(|own| own.is_alive(at));
        let (since, first) = match &before {
            Some(own) if alive => (own.since, own.first),
            _ => (at, locator),
        };
        let master = Master {
            addr,
            mac: said.frame.eth_src,
            priority: said.priority,
            version: said.version,
            authentication: said.authentication,
            interval: Duration::from_millis(said.interval_ms.into()),
            addresses: said.addresses.iter().copied().collect(),
            since,
            first,
            last: at,
            locator,
            resigned: said.priority == 0,
        };
        match self.masters.iter_mut().find(|known| known.addr == addr) {
            Some(known) => *known = master,
            None => {
                if self.masters.len() == MAX_MASTERS {
                    let oldest = self.masters.iter().enumerate();
                    let oldest = oldest.min_by_key(|(_, known)| known.last);
                    if let Some(index) = oldest.map(|(index, _)| index) {
                        self.masters.remove(index);
                    }
                }
                self.masters.push(master);
            }
        }
        if said.priority == 0 {
            self.turns = 0;
            return VrrpChange::Resigned;
        }
        if let Some(other) = between {
            self.turns = self.turns.saturating_add(1);
            if self.turns >= TURNS {
                return VrrpChange::Beside { other };
            }
        } else {
            let mut others = self.masters.iter().filter(|other| other.addr != addr);
            if others.all(|other| other.is_quiet(at)) {
                self.turns = 0;
            }
        }
        match self.current {
            Some(current) if current == addr => VrrpChange::Same,
            Some(from) => {
                // The old master's silence: it has taken over.
                if self.master(from).is_none_or(|other| other.is_quiet(at)) {
                    self.current = Some(addr);
                    VrrpChange::Took { from }
                } else {
                    VrrpChange::Same
                }
            }
            None => {
                self.current = Some(addr);
                VrrpChange::First
            }
        }
    }
}
