//! Turns away, on a few octets, the frames that no decoder wants: in real captures they are 97 of 100, and the cost of a whole
//! capture is the cost of turning those away.
//!
//! It may let too much through but never too little: whatever looks odd (options, extension headers, fragments) passes.

use super::ip::protocol;
use super::{be16, ethertype};
use crate::decode::framing::looks_like_rtr;
use crate::decode::icmp;
use crate::event::ports;

/// First octet of a BMP common header: version 3 (RFC 7854 §4.1).
pub const BMP_VERSION: u8 = 3;
/// ICMPv6 types of neighbor discovery: 133 router solicitation … 137 redirect.
pub const ND_TYPES: std::ops::RangeInclusive<u8> = 133..=137;

/// TCP ports on which BMP or RTR was recognised: a bit for each. Set bits only widen what passes.
#[derive(Clone, Debug)]
pub struct Ports(Box<[u64; 1024]>);

impl Default for Ports {
    fn default() -> Ports {
        Ports(Box::new([0; 1024]))
    }
}

impl Ports {
    pub fn insert(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0
            .get(usize::from(port >> 6))
            .is_some_and(|word| word >> (port & 63) & 1 == 1)
    }
}

/// Whether a decoder may want this network layer packet.
pub fn wanted(ethertype: u16, packet: &[u8], bmp: &Ports) -> bool {
    match ethertype {
        ethertype::ARP => true,
        ethertype::IPV4 => v4(packet, bmp).unwrap_or(true),
        ethertype::IPV6 => v6(packet, bmp).unwrap_or(true),
        _ => false,
    }
}

fn v4(packet: &[u8], bmp: &Ports) -> Option<bool> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let kind = *packet.get(9)?;
    if be16(packet, 6)? & 0x3fff != 0 {
        // A fragment: its ports are elsewhere.
        return Some(matches!(kind, protocol::TCP | protocol::UDP));
    }
    match kind {
        protocol::TCP => {
            // Padding of a short frame is no payload.
            let end = usize::from(be16(packet, 2)?).max(header);
            tcp(packet.get(header..end).or(packet.get(header..))?, bmp)
        }
        protocol::UDP => udp(packet.get(header..)?),
        protocol::ICMP => Some(icmp::quotes_bgp(packet.get(header..)?, false)),
        protocol::AUTHENTICATION | protocol::VRRP => Some(true),
        _ => Some(false),
    }
}

fn v6(packet: &[u8], bmp: &Ports) -> Option<bool> {
    match *packet.get(6)? {
        protocol::TCP => tcp(packet.get(40..)?, bmp),
        protocol::UDP => udp(packet.get(40..)?),
        protocol::ICMPV6 => {
            let message = packet.get(40..)?;
            Some(ND_TYPES.contains(message.first()?) || icmp::quotes_bgp(message, true))
        }
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::FRAGMENT
        | protocol::AUTHENTICATION
        | protocol::VRRP
        | protocol::DESTINATION_OPTIONS => Some(true),
        _ => Some(false),
    }
}

fn tcp(segment: &[u8], bmp: &Ports) -> Option<bool> {
    let (src, dst) = (be16(segment, 0)?, be16(segment, 2)?);
    if src == ports::BGP || dst == ports::BGP || bmp.contains(src) || bmp.contains(dst) {
        return Some(true);
    }
    let payload = usize::from(*segment.get(12)? >> 4) * 4;
    let payload = segment.get(payload..)?;
    Some(payload.first() == Some(&BMP_VERSION) || looks_like_rtr(payload).is_some())
}

fn udp(datagram: &[u8]) -> Option<bool> {
    let (src, dst) = (be16(datagram, 0)?, be16(datagram, 2)?);
    Some(ports::is_udp_for_us(src, dst))
}
