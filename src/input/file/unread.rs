//! What the frames are that nothing was read from, by name: for a file in which nothing else was.
//!
//! A capture of a web server holds thousands of frames that are rightly passed over; to list them beside what was read would be noise. But a file of
//! which *nothing* was read must not look like a quiet network, so as long as no frame has passed, each is looked at a little closer.

use std::collections::BTreeMap;

use super::bytes::be16;
use crate::event::link_type as link;
use link::Start;

/// Kinds that are counted apart; what comes after is counted together.
const MAX_KINDS: usize = 32;
/// Kinds that the note lists.
const LISTED: usize = 6;
/// VLAN tags that are looked through, as in the filter.
const MAX_TAGS: usize = 3;

/// What a frame holds.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Kind {
    /// A frame of this link type that holds no packet: control, management, encrypted.
    Link(u16),
    EtherType(u16),
    /// 802.3 with LLC: spanning tree, CDP, IS-IS.
    Llc,
    Ip(u8),
    /// The lesser port, which is the server's.
    Tcp(u16),
    Udp(u16),
    Cut,
    /// Of kinds that came after [`MAX_KINDS`].
    Others,
}

/// The counts of one file.
#[derive(Default)]
pub struct Unread(BTreeMap<Kind, u64>);

impl Unread {
    /// Counts a frame that did not pass.
    pub fn add(&mut self, link_type: u16, frame: &[u8]) {
        let kind = classify(link_type, frame).unwrap_or(Kind::Cut);
        let kind = if self.0.len() >= MAX_KINDS && !self.0.contains_key(&kind) {
            Kind::Others
        } else {
            kind
        };
        let count = self.0.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// Something passed: the file is not unread.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The sentence for the reader, if frames were counted.
    pub fn note(&self) -> Option<String> {
        let total: u64 = self.0.values().sum();
        if total == 0 {
            return None;
        }
        let mut kinds: Vec<(Kind, u64)> = self.0.iter().map(|(kind, n)| (*kind, *n)).collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let mut list: Vec<String> = kinds
            .iter()
            .take(LISTED)
            .map(|(kind, count)| format!("{count} {}", name(*kind)))
            .collect();
        let rest: u64 = kinds.iter().skip(LISTED).map(|(_, count)| count).sum();
        if rest > 0 {
            list.push(format!("{rest} of other kinds"));
        }
        let frames = match total {
            1 => "its one frame holds nothing".to_owned(),
            _ => format!("none of its {total} frames holds anything"),
        };
        Some(format!("{frames} that is read here: {}", list.join(", ")))
    }
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Link(link_type) => {
            format!(
                "{} without a packet in the clear",
                link::described(link_type)
            )
        }
        Kind::EtherType(number) => match ether_type(number) {
            Some(name) => name.to_owned(),
            None => format!("EtherType 0x{number:04x}"),
        },
        Kind::Llc => "802.2 LLC".to_owned(),
        Kind::Ip(number) => match protocol(number) {
            Some(name) => name.to_owned(),
            None => format!("IP protocol {number}"),
        },
        Kind::Tcp(port) => format!("TCP port {port}"),
        Kind::Udp(port) => format!("UDP port {port}"),
        Kind::Cut => "cut inside their headers".to_owned(),
        Kind::Others => "of other kinds".to_owned(),
    }
}

/// IANA and IEEE registries, as far as they are met on a network's wires.
fn ether_type(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0800 => "IPv4 (broken)",
        0x0806 => "ARP",
        0x86dd => "IPv6 (broken)",
        0x8035 => "RARP or SLARP",
        0x8100 | 0x88a8 | 0x9100 => "VLAN tags in VLAN tags",
        0x8137 => "IPX",
        0x8809 => "slow protocols (LACP)",
        0x8847 | 0x8848 => "MPLS",
        0x8863 | 0x8864 => "PPPoE",
        0x888e => "802.1X",
        0x88cc => "LLDP",
        0x88e5 => "MACsec (encrypted)",
        0x88f7 => "PTP",
        0x8902 => "CFM",
        0x9000 => "loopback test",
        _ => return None,
    })
}

fn protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IP in IP",
        41 => "IPv6 in IPv4",
        46 => "RSVP",
        47 => "GRE",
        50 => "ESP (encrypted)",
        58 => "ICMPv6",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        115 => "L2TP",
        132 => "SCTP",
        _ => return None,
    })
}

/// What a frame holds; `None` where it ends early. Not as deep as the filter: what hides behind labels is told by their name.
fn classify(link_type: u16, frame: &[u8]) -> Option<Kind> {
    match link_type {
        link::ETHERNET => ether(be16(frame, 12)?, frame, 14),
        link::LINUX_SLL => ether(be16(frame, 14)?, frame, 16),
        link::LINUX_SLL2 => ether(be16(frame, 0)?, frame, 20),
        link::RAW | link::RAW_BSD | link::RAW_OPENBSD | link::IPV4 | link::IPV6 => ip(frame),
        link::NULL | link::LOOP => ip(frame.get(4..)?),
        link::C_HDLC => ether(be16(frame, 2)?, frame, 4),
        link::PPP | link::PPP_HDLC if link::is_cisco_hdlc(frame) => {
            ether(be16(frame, 2)?, frame, 4)
        }
        other => match link::inside(other, frame)?.start {
            Start::Ether(kind, at) => ether(kind, frame, at),
            Start::Link(inner, at) if !link::is_envelope(inner) => {
                classify(inner, frame.get(at..)?)
            }
            Start::Short => None,
            _ => Some(Kind::Link(other)),
        },
    }
    .or_else(|| {
        (link_type == link::PPP || link_type == link::PPP_HDLC).then_some(Kind::Link(link_type))
    })
}

fn ether(mut kind: u16, frame: &[u8], mut at: usize) -> Option<Kind> {
    for _ in 0..MAX_TAGS {
        if !matches!(kind, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        kind = be16(frame, at + 2)?;
        at += 4;
    }
    match kind {
        0x0800 | 0x86dd => ip(frame.get(at..)?),
        // IEEE 802.3 clause 3.2.6: below it is a length.
        0..0x0600 => Some(Kind::Llc),
        other => Some(Kind::EtherType(other)),
    }
}

fn ip(packet: &[u8]) -> Option<Kind> {
    let (protocol, at) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, usize::from(packet.first()? & 0xf) * 4),
        6 => (*packet.get(6)?, 40),
        _ => return Some(Kind::EtherType(0x0800)),
    };
    let port = || Some(be16(packet, at)?.min(be16(packet, at + 2)?));
    Some(match protocol {
        6 => Kind::Tcp(port()?),
        17 => Kind::Udp(port()?),
        other => Kind::Ip(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_by_name_the_most_frequent_first() {
        let mut unread = Unread::default();
        let lldp = [&[2; 12][..], &[0x88, 0xcc, 0, 0]].concat();
        let bpdu = [&[2; 12][..], &[0, 38, 0x42, 0x42, 3]].concat();
        unread.add(1, &lldp);
        unread.add(1, &bpdu);
        unread.add(1, &lldp);
        unread.add(1, &[2; 9]);
        let mut web = vec![
            0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        web.extend([0xc0, 0, 1, 0xbb]);
        unread.add(101, &web);
        assert_eq!(
            unread.note().unwrap(),
            "none of its 5 frames holds anything that is read here: 2 LLDP, 1 802.2 LLC, 1 TCP port 443, 1 cut inside their headers"
        );
        unread.clear();
        assert_eq!(unread.note(), None);
    }

    #[test]
    fn many_kinds_are_counted_together() {
        let mut unread = Unread::default();
        for port in 0..200u16 {
            let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
            packet.resize(40, 1);
            packet.extend((1000 + port).to_be_bytes());
            packet.extend([0xff; 2]);
            unread.add(229, &packet);
        }
        assert!(unread.0.len() <= MAX_KINDS + 1);
        let beacon = [&[0x80, 0][..], &[0; 40]].concat();
        let mut wireless = Unread::default();
        wireless.add(105, &beacon);
        assert_eq!(
            wireless.note().unwrap(),
            "its one frame holds nothing that is read here: 1 IEEE802_11 (105) without a packet in the clear"
        );
    }
}
