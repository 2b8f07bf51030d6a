//! IP addresses of the analysed host's interfaces.
//!
//! A `NEWADDR` for an address that is there is a refresh of its lifetime and makes no delta. Addresses of a removed interface go
//! with it. Times of expiry come from the lifetimes in the messages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::links::{LinkDelta, Links};
use crate::event::netlink::{Action, AddressEvent, Dumped};
use crate::event::{Event, EventKind, Locator, Prefix, Timestamp};

/// Addresses tracked at once: a load balancer with a /16 of service addresses.
pub const MAX_ADDRESSES: usize = 65_536;
/// `IFA_F_TEMPORARY`.
const IFA_F_TEMPORARY: u32 = 0x01;
/// `IFA_F_PERMANENT`.
const IFA_F_PERMANENT: u32 = 0x80;
/// `IFA_F_DADFAILED`.
pub const IFA_F_DADFAILED: u32 = 0x08;
/// The kernel checks lifetimes by a timer with whole-second slack (addrconf_verify, check_lifetime).
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// An address of an interface.
#[derive(Clone, Debug)]
pub struct Address {
    pub prefix_len: u8,
    /// `IFA_F_*`.
    pub flags: u32,
    /// `rtm_scope`: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// When it expires, if it does.
    pub valid_until: Option<Timestamp>,
    pub since: Timestamp,
    generation: u32,
}

/// What happened to an address.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum AddressChange {
    Added,
    Removed,
    /// Duplicate address detection failed.
    DadFailed,
}

/// A change of an address.
#[derive(Clone, Debug)]
pub struct AddressDelta {
    pub at: Timestamp,
    pub locator: Locator,
    pub ifindex: u32,
    pub addr: IpAddr,
    pub prefix_len: u8,
    pub scope: u8,
    pub change: AddressChange,
    /// `nlmsg_pid`: 0 is the kernel (but see `unnamed`).
    pub by: u32,
    /// Removed by the kernel because its valid lifetime ran out.
    pub expired: bool,
    /// Removed: no other address of its family is left on the interface.
    pub last: bool,
    /// Not notified: it went with its interface, or a dump lacked it.
    pub inferred: bool,
    /// Removed by a process that nobody names: Linux notifies about IPv6 addresses with port 0 whoever asked (net/ipv6/addrconf.c,
    /// `inet6_ifa_notify`), and removes none of its own accord that is permanent, but with its link.
    pub unnamed: bool,
    /// A temporary IPv6 address (RFC 8981), which the kernel makes and drops by itself.
    pub temporary: bool,
}

impl AddressDelta {
    /// The prefix that was on-link by this address.
    pub fn on_link(&self) -> Prefix {
        Prefix::new(self.addr, self.prefix_len)
    }
}

/// `IFA_F_TEMPORARY`: on an IPv4 address the same bit says that it is a secondary one (linux/if_addr.h).
fn is_temporary(addr: IpAddr, flags: u32) -> bool {
    addr.is_ipv6() && flags & IFA_F_TEMPORARY != 0
}

/// The table.
#[derive(Clone, Default)]
pub struct Addresses {
    addresses: BTreeMap<(u32, IpAddr), Address>,
    generation: u32,
    dump: Option<u32>,
    /// Families (IPv4, IPv6) that the running dump listed.
    dumped: [bool; 2],
    /// Addresses that were not taken because the table was full.
    pub refused: u64,
}

impl Addresses {
    /// Applies an event.
    pub fn apply(
        &mut self,
        event: &Event,
        _links: &Links,
        link_deltas: &[LinkDelta],
        out: &mut Vec<AddressDelta>,
    ) {
        for delta in link_deltas.iter().filter(|delta| delta.removed()) {
            let of_link = (delta.ifindex, IpAddr::from([0u8; 4]))..;
            let gone: Vec<IpAddr> = self
                .addresses
                .range(of_link)
                .take_while(|((ifindex, _), _)| *ifindex == delta.ifindex)
                .map(|((_, addr), _)| *addr)
                .collect();
            for addr in gone {
                self.remove(delta.ifindex, addr, event, 0, true, out);
            }
        }
        match &event.kind {
            EventKind::Address(address) => {
                if address.meta.dump {
                    if self.dump != Some(address.meta.seq) {
                        self.dump = Some(address.meta.seq);
                        self.generation = self.generation.wrapping_add(1);
                        self.dumped = [false; 2];
                    }
                    self.dumped[usize::from(address.addr.is_ipv6())] = true;
                }
                match address.action {
                    Action::New => self.learn(address, event, out),
                    Action::Del => {
                        let key = (address.ifindex, address.addr);
                        self.remove(key.0, key.1, event, address.meta.pid, false, out);
                    }
                }
            }
            EventKind::DumpDone(done) if done.what == Dumped::Addresses => {
                if self.dump.take() != Some(done.seq) {
                    if done.family.is_none() {
                        return;
                    }
                    // An empty list.
                    self.generation = self.generation.wrapping_add(1);
                    self.dumped = [false; 2];
                }
                let gone: Vec<(u32, IpAddr)> = self
                    .addresses
                    .iter()
                    .filter(|((_, addr), address)| {
                        (self.dumped[usize::from(addr.is_ipv6())] || done.complete(addr.is_ipv6()))
                            && address.generation != self.generation
                    })
                    .map(|(key, _)| *key)
                    .collect();
                for (ifindex, addr) in gone {
                    self.remove(ifindex, addr, event, 0, true, out);
                }
            }
            _ => {}
        }
    }

    fn learn(&mut self, seen: &AddressEvent, event: &Event, out: &mut Vec<AddressDelta>) {
        let valid_until = seen
            .valid
            .filter(|seconds| *seconds != u32::MAX)
            .map(|seconds| event.at + Duration::from_secs(u64::from(seconds)));
        let mut delta = AddressDelta {
            at: event.at,
            locator: event.locator,
            ifindex: seen.ifindex,
            addr: seen.addr,
            prefix_len: seen.prefix_len,
            scope: seen.scope,
            change: AddressChange::Added,
            by: seen.meta.pid,
            expired: false,
            last: false,
            inferred: seen.meta.dump,
            unnamed: false,
            temporary: is_temporary(seen.addr, seen.flags),
        };
        let key = (seen.ifindex, seen.addr);
        let failed = seen.flags & IFA_F_DADFAILED != 0;
        if let Some(address) = self.addresses.get_mut(&key) {
            let failed_before = address.flags & IFA_F_DADFAILED != 0;
            address.prefix_len = seen.prefix_len;
            address.flags = seen.flags;
            address.scope = seen.scope;
            address.valid_until = valid_until;
            address.generation = self.generation;
            if failed && !failed_before {
                delta.change = AddressChange::DadFailed;
                out.push(delta);
            }
            return;
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            self.refused += 1;
            return;
        }
        let address = Address {
            prefix_len: seen.prefix_len,
            flags: seen.flags,
            scope: seen.scope,
            valid_until,
            since: event.at,
            generation: self.generation,
        };
        self.addresses.insert(key, address);
        if !seen.meta.dump {
            out.push(delta.clone());
        }
        if failed {
            delta.change = AddressChange::DadFailed;
            out.push(delta);
        }
    }

    fn remove(
        &mut self,
        ifindex: u32,
        addr: IpAddr,
        event: &Event,
        by: u32,
        inferred: bool,
        out: &mut Vec<AddressDelta>,
    ) {
        let Some(address) = self.addresses.remove(&(ifindex, addr)) else {
            return;
        };
        let expired = by == 0
            && address
                .valid_until
                .is_some_and(|until| event.at + EXPIRY_SLACK >= until);
        let last = !self
            .on(ifindex)
            .any(|(other, _)| other.is_ipv6() == addr.is_ipv6());
        out.push(AddressDelta {
            at: event.at,
            locator: event.locator,
            ifindex,
            addr,
            prefix_len: address.prefix_len,
            scope: address.scope,
            change: AddressChange::Removed,
            by,
            expired,
            last,
            inferred,
            unnamed: by == 0
                && !inferred
                && addr.is_ipv6()
                && address.valid_until.is_none()
                && address.flags & (IFA_F_PERMANENT | IFA_F_DADFAILED) == IFA_F_PERMANENT,
            temporary: is_temporary(addr, address.flags),
        });
    }

    /// Addresses of an interface, in order.
    pub fn on(&self, ifindex: u32) -> impl Iterator<Item = (IpAddr, &Address)> {
        self.addresses
            .range((ifindex, IpAddr::from([0u8; 4]))..)
            .take_while(move |((index, _), _)| *index == ifindex)
            .map(|((_, addr), address)| (*addr, address))
    }

    /// The interface that has exactly this address.
    pub fn owner(&self, addr: IpAddr) -> Option<u32> {
        self.addresses
            .keys()
            .find(|(_, own)| *own == addr)
            .map(|(ifindex, _)| *ifindex)
    }

    /// The interface on which `addr` is on-link: the one with the longest prefix that holds it.
    pub fn interface_of(&self, addr: IpAddr) -> Option<u32> {
        self.addresses
            .iter()
            .filter(|((_, own), address)| Prefix::new(*own, address.prefix_len).contains(addr))
            .max_by_key(|(_, address)| address.prefix_len)
            .map(|((ifindex, _), _)| *ifindex)
    }

    /// All addresses with their interfaces, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, IpAddr, &Address)> {
        self.addresses
            .iter()
            .map(|((ifindex, addr), address)| (*ifindex, *addr, address))
    }

    /// Number of addresses.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// No address is known.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Earliest deadline: none; the kernel says when an address expires.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines: none.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<AddressDelta>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::routes::testing::{self, address_event};

    fn apply(table: &mut Addresses, at: i64, event: AddressEvent) -> Vec<AddressDelta> {
        let mut out = Vec::new();
        let event = testing::event(at, EventKind::Address(Box::new(event)));
        table.apply(&event, &Links::default(), &[], &mut out);
        out
    }

    #[test]
    fn a_refresh_is_no_change_and_an_expiry_is_known_as_one() {
        let mut table = Addresses::default();
        let leased = |action| AddressEvent {
            valid: Some(10),
            ..address_event(action, 5, "192.0.2.7", 24)
        };
        assert_eq!(apply(&mut table, 0, leased(Action::New)).len(), 1);
        assert!(apply(&mut table, 5_000_000_000, leased(Action::New)).is_empty());
        let gone = apply(&mut table, 15_200_000_000, leased(Action::Del));
        assert!(gone[0].expired && gone[0].last);
        assert_eq!(gone[0].on_link().to_string(), "192.0.2.0/24");
    }

    #[test]
    fn an_operators_removal_is_no_expiry() {
        let mut table = Addresses::default();
        apply(
            &mut table,
            0,
            address_event(Action::New, 5, "192.0.2.7", 24),
        );
        apply(
            &mut table,
            0,
            address_event(Action::New, 5, "192.0.2.8", 24),
        );
        let mut removal = address_event(Action::Del, 5, "192.0.2.7", 24);
        removal.meta.pid = 4321;
        let gone = apply(&mut table, 1, removal);
        assert!(!gone[0].expired && !gone[0].last);
        assert_eq!(gone[0].by, 4321);
    }

    #[test]
    fn the_longest_prefix_decides_where_an_address_is_on_link() {
        let mut table = Addresses::default();
        apply(
            &mut table,
            0,
            address_event(Action::New, 2, "192.0.2.1", 16),
        );
        apply(
            &mut table,
            0,
            address_event(Action::New, 3, "192.0.2.129", 25),
        );
        assert_eq!(table.interface_of("192.0.2.200".parse().unwrap()), Some(3));
        assert_eq!(table.interface_of("192.0.2.5".parse().unwrap()), Some(2));
        assert_eq!(table.interface_of("198.51.100.1".parse().unwrap()), None);
    }
}
