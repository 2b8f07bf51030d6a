//! Which packets can matter at all: a few comparisons on the bytes at hand, before anything is copied.
//!
//! Rejects only what no decoder would use. In doubt (fragments, unknown framing) a packet passes. BMP runs on any port and is
//! recognised by content; everything to and from that station's port then passes: the flow whole, and the connections after it.

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::bytes::{be16, be32};
use super::detect::is_bmp_header;
pub use crate::event::link_type as link;
use crate::event::ports;
use link::Start;

/// BMP stations (address and port) known at most; real captures have one or two. The oldest is forgotten first.
const MAX_STATIONS: usize = 4096;

/// `ARPHRD_NETLINK`: cooked captures of an nlmon device.
const ARPHRD_NETLINK: u16 = 824;

/// VLAN tags that are looked through: two are QinQ, a third is seen at providers.
const MAX_TAGS: usize = 3;

/// MPLS labels that are looked through.
const MAX_LABELS: usize = 8;

/// IPv6 extension headers that are looked through; a longer chain passes.
const MAX_EXTENSIONS: usize = 8;

/// The filter, with the BMP stations of one file.
#[derive(Default)]
pub struct Prefilter {
    stations: HashSet<u64>,
    oldest: VecDeque<u64>,
}

impl Prefilter {
    /// Whether a packet of this link type can matter.
    pub fn passes(&mut self, link_type: u16, data: &[u8]) -> bool {
        match link_type {
            link::ETHERNET => match be16(data, 12) {
                Some(ether_type) => self.ether(ether_type, data, 14),
                None => false,
            },
            link::LINUX_SLL => match be16(data, 14) {
                Some(_) if be16(data, 2) == Some(ARPHRD_NETLINK) => true,
                Some(protocol) => self.ether(protocol, data, 16),
                None => false,
            },
            link::LINUX_SLL2 => match be16(data, 0) {
                Some(_) if be16(data, 8) == Some(ARPHRD_NETLINK) => true,
                Some(protocol) => self.ether(protocol, data, 20),
                None => false,
            },
            link::RAW | link::RAW_BSD | link::RAW_OPENBSD | link::IPV4 | link::IPV6 => {
                self.ip(data)
            }
            // Address family in either byte order; the version nibble says the same.
            link::NULL | link::LOOP => self.ip(data.get(4..).unwrap_or_default()),
            link::C_HDLC => match be16(data, 2) {
                Some(ether_type) => self.ether(ether_type, data, 4),
                None => false,
            },
            link::PPP | link::PPP_HDLC if link::is_cisco_hdlc(data) => match be16(data, 2) {
                Some(ether_type) => self.ether(ether_type, data, 4),
                None => false,
            },
            link::PPP | link::PPP_HDLC => {
                let at = if data.starts_with(&[0xff, 0x03]) {
                    2
                } else {
                    0
                };
                self.ppp(data.get(at..).unwrap_or_default())
            }
            link::NETLINK | link::UPPER_PDU => true,
            _ => match link::inside(link_type, data).map(|found| found.start) {
                Some(Start::Ether(ether_type, at)) => self.ether(ether_type, data, at),
                // The envelopes are off: this goes no deeper.
                Some(Start::Link(inner, at)) if !link::is_envelope(inner) => {
                    self.passes(inner, data.get(at..).unwrap_or_default())
                }
                _ => false,
            },
        }
    }

    /// Behind an EtherType (or an IEEE 802.3 length) at `at`.
    fn ether(&mut self, mut ether_type: u16, data: &[u8], mut at: usize) -> bool {
        for _ in 0..=MAX_TAGS {
            match ether_type {
                0x0800 | 0x86dd => return self.ip(data.get(at..).unwrap_or_default()),
                0x0806 => return true,
                // 802.1Q, 802.1ad and the older numbers for outer tags.
                0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
                    let Some(next) = be16(data, at + 2) else {
                        return false;
                    };
                    ether_type = next;
                    at += 4;
                }
                // PPPoE session stage (RFC 2516 §4): six octets, then a PPP protocol.
                0x8864 => return self.ppp(data.get(at + 6..).unwrap_or_default()),
                0x8847 | 0x8848 => return self.mpls(data.get(at..).unwrap_or_default()),
                // 802.3 with LLC/SNAP and an Ethernet type; Linux cooked captures say 4 for "802.2 LLC".
                0..=1500
                    if data
                        .get(at..)
                        .is_some_and(|llc| llc.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0])) =>
                {
                    let Some(next) = be16(data, at + 6) else {
                        return false;
                    };
                    ether_type = next;
                    at += 8;
                }
                _ => return false,
            }
        }
        true // more tags than anyone needs: let the decoder say so
    }

    fn ppp(&mut self, data: &[u8]) -> bool {
        match data {
            // IPv4, IPv6, MPLS; the first octet may be compressed away (RFC 1661 §6.5).
            [0x00, 0x21 | 0x57, rest @ ..] | [0x21 | 0x57, rest @ ..] => self.ip(rest),
            [0x02, 0x81 | 0x83, rest @ ..] => self.mpls(rest),
            _ => false,
        }
    }

    fn mpls(&mut self, data: &[u8]) -> bool {
        for label in 0..MAX_LABELS {
            match be32(data, label * 4) {
                Some(entry) if entry & 0x100 != 0 => {
                    return self.ip(data.get(label * 4 + 4..).unwrap_or_default());
                }
                Some(_) => {}
                None => return false,
            }
        }
        true
    }

    fn ip(&mut self, data: &[u8]) -> bool {
        match data.first().map(|octet| octet >> 4) {
            Some(4) => self.ipv4(data),
            Some(6) => self.ipv6(data),
            _ => false,
        }
    }

    fn ipv4(&mut self, data: &[u8]) -> bool {
        let (Some(&first), Some(total), Some(fragment), Some(&protocol)) =
            (data.first(), be16(data, 2), be16(data, 6), data.get(9))
        else {
            return false;
        };
        let header = usize::from(first & 0x0f) * 4;
        if header >= 20 && protocol == ICMP {
            // Errors that quote a TCP segment: unreachable and time exceeded (RFC 792). The decoder looks at its ports.
            let quoted = data.get(header + 8 + 9) == Some(&TCP);
            return quoted && matches!(data.get(header), Some(3 | 11));
        }
        if header < 20 || !matches!(protocol, TCP | UDP | AUTHENTICATION | VRRP) {
            return false;
        }
        // A fragment's ports may be in another packet: more-fragments flag or an offset.
        if fragment & 0x3fff != 0 || matches!(protocol, AUTHENTICATION | VRRP) {
            return true;
        }
        // Ethernet pads short packets. A length of 0 is segmentation offload, one too small for any ports is the decoder's to judge.
        let end = match usize::from(total) {
            total if total < header + LEAST_TRANSPORT => data.len(),
            total => total.min(data.len()),
        };
        self.transport(
            protocol,
            data.get(header..end).unwrap_or_default(),
            data.get(12..20).unwrap_or_default(),
        )
    }

    fn ipv6(&mut self, data: &[u8]) -> bool {
        let (Some(&first_next), Some(length)) = (data.get(6), be16(data, 4)) else {
            return false;
        };
        let end = match usize::from(length) {
            length if length < LEAST_TRANSPORT => data.len(),
            length => (40 + length).min(data.len()),
        };
        let (mut next, mut at) = (first_next, 40);
        for _ in 0..MAX_EXTENSIONS {
            match next {
                TCP | UDP => {
                    return self.transport(
                        next,
                        data.get(at..end).unwrap_or_default(),
                        data.get(8..40).unwrap_or_default(),
                    );
                }
                VRRP => return true,
                // All but echo: neighbor discovery is 133 to 137, and errors are rare.
                ICMPV6 => return !matches!(data.get(at), None | Some(128 | 129)),
                HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => {
                    let Some(&[after, length]) = data.get(at..at + 2).and_then(|d| d.first_chunk())
                    else {
                        return false;
                    };
                    next = after;
                    at += usize::from(length) * 8 + 8;
                }
                // RFC 4302 §2.2: in 4-octet units, minus 2.
                AUTHENTICATION => {
                    let Some(&[after, length]) = data.get(at..at + 2).and_then(|d| d.first_chunk())
                    else {
                        return false;
                    };
                    next = after;
                    at += usize::from(length) * 4 + 8;
                }
                FRAGMENT => {
                    let (Some(&after), Some(place)) = (data.get(at), be16(data, at + 2)) else {
                        return false;
                    };
                    // Offset or more-fragments flag; an atomic fragment (RFC 6946) has neither.
                    if place & 0xfff9 != 0 {
                        return true;
                    }
                    next = after;
                    at += 8;
                }
                _ => return false,
            }
        }
        true
    }

    fn transport(&mut self, protocol: u8, data: &[u8], addresses: &[u8]) -> bool {
        let (Some(source), Some(destination)) = (be16(data, 0), be16(data, 2)) else {
            return false;
        };
        if protocol == UDP {
            return ports::is_udp_for_us(source, destination);
        }
        if source == ports::BGP || destination == ports::BGP {
            return true;
        }
        let Some(&offset) = data.get(12) else {
            return false;
        };
        let payload = data.get(usize::from(offset >> 4) * 4..).unwrap_or_default();
        let (from, to) = addresses.split_at(addresses.len() / 2);
        // RTR's stations are the caches: the router asks them, and the rest is theirs.
        if offset >> 4 >= 5
            && let Some(from_cache) = is_rtr_header(payload)
        {
            self.remember(if from_cache {
                endpoint(from, source)
            } else {
                endpoint(to, destination)
            });
            return true;
        }
        // The router sends, whoever opened the connection.
        if offset >> 4 >= 5 && is_bmp_header(payload) {
            self.remember(endpoint(to, destination));
            return true;
        }
        !self.stations.is_empty()
            && (self.stations.contains(&endpoint(to, destination))
                || self.stations.contains(&endpoint(from, source)))
    }

    fn remember(&mut self, station: u64) {
        if !self.stations.insert(station) {
            return;
        }
        self.oldest.push_back(station);
        if self.oldest.len() > MAX_STATIONS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.stations.remove(&oldest);
        }
    }
}

/// Whether an RTR PDU (RFC 6810, RFC 8210, 8210bis) begins here, and then whether a cache sends its type. Looser than the decoder's look.
fn is_rtr_header(payload: &[u8]) -> Option<bool> {
    /// Longest PDU, as in the decoder.
    const LONGEST: u32 = 65_536;
    let &[0..=2, kind, _, _, a, b, c, d] = payload.first_chunk::<8>()? else {
        return None;
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let (least, most, from_cache) = match kind {
        0 => (12, 12, true),
        1 => (12, 12, false),
        2 => (8, 8, false),
        3 | 8 => (8, 8, true),
        4 => (20, 20, true),
        6 => (32, 32, true),
        7 => (12, 24, true),
        9..=11 => (12, LONGEST, true),
        _ => return None,
    };
    (least..=most).contains(&length).then_some(from_cache)
}

/// Octets of a UDP header.
const LEAST_TRANSPORT: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const VRRP: u8 = 112;
const MOBILITY: u8 = 135;

/// The key of an address and port. A collision makes a few packets more pass, so no seed is needed.
fn endpoint(address: &[u8], port: u16) -> u64 {
    let hash = address
        .iter()
        .chain(&port.to_be_bytes())
        .fold(FNV_BASIS, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(FNV_PRIME)
        });
    hash ^ hash >> 29 // FNV's upper bits are weak for short keys
}

/// FNV-1a, 64 bit: small, fixed, the same on every machine.
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// Its multiplier.
pub const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
#[path = "prefilter/tests.rs"]
mod tests;
