//! Link layers: from the bytes of a captured frame to the network layer below it, with what the link layer says about it.
//!
//! Owns link types, VLAN tags and the cooked headers; knows nothing of IP (`frame/ip.rs` does) and keeps no state. Every read
//! is checked: a frame that ends early is [`Link::Short`], whatever its link type.

pub mod ip;
pub mod prefilter;

use crate::event::frame::{Frame, Mac};
pub use crate::event::link_type as linktype;
use linktype::Start;

/// EtherTypes that are understood.
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    pub const PPPOE_SESSION: u16 = 0x8864;
    pub const QINQ: u16 = 0x88a8;
    /// QinQ before 802.1ad, still common.
    pub const QINQ_OLD: u16 = 0x9100;
}

/// Most VLAN tags that are followed: service, customer and one more; what is behind a fourth is unknown to us.
const MAX_TAGS: usize = 3;
/// Most MPLS labels that are followed: service stacks have three or four.
const MAX_LABELS: usize = 8;
/// Values below are 802.3 lengths, not types (IEEE 802.3 clause 3.2.6).
const FIRST_ETHERTYPE: u16 = 0x0600;
/// `ARPHRD_NETLINK`: the device is nlmon.
const ARPHRD_NETLINK: u16 = 824;
/// `NETLINK_ROUTE`, the one netlink family that tells about routes.
const NETLINK_ROUTE: u16 = 0;
/// `PACKET_OUTGOING`: sent by the capturing host (`linux/if_packet.h`).
const PACKET_OUTGOING: u16 = 4;
/// Linux cooked header, version 1, and netlink's, which has its layout.
const SLL_HEADER: usize = 16;
/// Linux cooked header, version 2.
const SLL2_HEADER: usize = 20;

/// What a frame holds.
#[derive(Debug)]
pub enum Link<'a> {
    /// A network layer packet.
    Network {
        /// EtherType of `payload`.
        ethertype: u16,
        payload: &'a [u8],
        /// Octets in front of `payload`.
        header: usize,
        frame: Frame,
    },
    /// rtnetlink messages, in the byte order of the host that captured them.
    Netlink(&'a [u8]),
    /// It ends inside its headers.
    Short,
    /// Understood, but nothing for us: LLC, another netlink family, PPP control.
    Foreign,
    /// The link type is not understood.
    UnknownLinkType,
}

/// Reads the link layer of one frame.
pub fn link(link_type: u16, bytes: &[u8]) -> Link<'_> {
    read(link_type, bytes).unwrap_or(Link::Short)
}

/// `None` when the frame ends early.
fn read(link_type: u16, bytes: &[u8]) -> Option<Link<'_>> {
    Some(match link_type {
        linktype::ETHERNET => {
            let frame = Frame {
                eth_dst: Some(mac(bytes, 0)?),
                eth_src: Some(mac(bytes, 6)?),
                ..Frame::default()
            };
            typed(be16(bytes, 12)?, bytes, 14, frame)?
        }
        linktype::LINUX_SLL => {
            let kind = be16(bytes, 0)?;
            let hardware = be16(bytes, 2)?;
            let frame = Frame {
                eth_src: cooked_mac(bytes, 6, be16(bytes, 4)?),
                outgoing: Some(kind == PACKET_OUTGOING),
                ..Frame::default()
            };
            cooked(hardware, be16(bytes, 14)?, bytes, SLL_HEADER, frame)?
        }
        linktype::LINUX_SLL2 => {
            let frame = Frame {
                eth_src: cooked_mac(bytes, 12, u16::from(*bytes.get(11)?)),
                outgoing: Some(u16::from(*bytes.get(10)?) == PACKET_OUTGOING),
                ifindex: Some(be32(bytes, 4)?),
                ..Frame::default()
            };
            cooked(be16(bytes, 8)?, be16(bytes, 0)?, bytes, SLL2_HEADER, frame)?
        }
        linktype::NETLINK => netlink(be16(bytes, 14)?, bytes.get(SLL_HEADER..)?),
        linktype::RAW | linktype::RAW_BSD | linktype::RAW_OPENBSD => raw(bytes)?,
        linktype::IPV4 => network(ethertype::IPV4, bytes, 0, Frame::default())?,
        linktype::IPV6 => network(ethertype::IPV6, bytes, 0, Frame::default())?,
        linktype::NULL | linktype::LOOP => loopback(bytes)?,
        linktype::C_HDLC => typed(be16(bytes, 2)?, bytes, 4, Frame::default())?,
        linktype::PPP | linktype::PPP_HDLC if linktype::is_cisco_hdlc(bytes) => {
            typed(be16(bytes, 2)?, bytes, 4, Frame::default())?
        }
        linktype::PPP | linktype::PPP_HDLC => ppp(bytes, 0, Frame::default())?,
        _ => enveloped(link_type, bytes)?,
    })
}

/// What is in an envelope. Its own word on addresses and direction goes before that of the frame inside, which has less of both.
fn enveloped(link_type: u16, bytes: &[u8]) -> Option<Link<'_>> {
    let Some(found) = linktype::inside(link_type, bytes) else {
        return Some(Link::UnknownLinkType);
    };
    let around = Frame {
        eth_dst: found.dst.map(Mac),
        eth_src: found.src.map(Mac),
        vlans: [found.vlan, None, None],
        outgoing: found.outgoing,
        ifindex: found.ifindex,
        ..Frame::default()
    };
    match found.start {
        Start::Short => None,
        Start::Foreign => Some(Link::Foreign),
        Start::Ether(kind, at) => typed(kind, bytes, at, around),
        Start::Link(kind, at) => {
            let rest = bytes.get(at..)?;
            // Taken off to the last: no envelope is left, so this goes no deeper.
            match read(kind, rest)? {
                Link::Network {
                    ethertype,
                    payload,
                    header,
                    frame,
                } => Some(Link::Network {
                    ethertype,
                    payload,
                    header: header + at,
                    frame: Frame {
                        eth_dst: around.eth_dst.or(frame.eth_dst),
                        eth_src: around.eth_src.or(frame.eth_src),
                        outgoing: around.outgoing.or(frame.outgoing),
                        ifindex: around.ifindex.or(frame.ifindex),
                        ..frame
                    },
                }),
                other => Some(other),
            }
        }
    }
}

fn network(ethertype: u16, bytes: &[u8], header: usize, frame: Frame) -> Option<Link<'_>> {
    Some(Link::Network {
        ethertype,
        payload: bytes.get(header..)?,
        header,
        frame,
    })
}

/// What follows a field with an EtherType: VLAN tags, PPPoE or the network layer.
fn typed(mut kind: u16, bytes: &[u8], mut at: usize, mut frame: Frame) -> Option<Link<'_>> {
    // A switch's tag may have taken the place of the first.
    let taken = frame.vlans.iter().flatten().count();
    for slot in taken..MAX_TAGS {
        if !matches!(
            kind,
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD
        ) {
            break;
        }
        frame.vlans[slot] = Some(be16(bytes, at)? & 0x0fff);
        kind = be16(bytes, at + 2)?;
        at += 4;
    }
    match kind {
        // Version, type, code, session id and length, then PPP (RFC 2516 §4).
        ethertype::PPPOE_SESSION => ppp(bytes, at + 6, frame),
        ethertype::MPLS | ethertype::MPLS_UPSTREAM => labeled(bytes, at, frame),
        0..FIRST_ETHERTYPE => snapped(bytes, at, frame),
        _ => network(kind, bytes, at, frame),
    }
}

/// Behind an 802.3 length: LLC, and with SNAP an EtherType.
fn snapped(bytes: &[u8], at: usize, frame: Frame) -> Option<Link<'_>> {
    match linktype::snap(bytes, at) {
        Some(found) => match found.start {
            Start::Ether(kind @ (ethertype::IPV4 | ethertype::IPV6 | ethertype::ARP), at) => {
                network(kind, bytes, at, frame)
            }
            _ => Some(Link::Foreign),
        },
        None => Some(Link::Foreign),
    }
}

/// Behind MPLS labels (RFC 3032 §2.1) only the first nibble says what follows.
fn labeled(bytes: &[u8], at: usize, frame: Frame) -> Option<Link<'_>> {
    for label in 0..MAX_LABELS {
        let at = at + label * 4;
        if be32(bytes, at)? & 0x100 != 0 {
            return match bytes.get(at + 4)? >> 4 {
                4 => network(ethertype::IPV4, bytes, at + 4, frame),
                6 => network(ethertype::IPV6, bytes, at + 4, frame),
                _ => Some(Link::Foreign),
            };
        }
    }
    Some(Link::Foreign)
}

fn cooked(hardware: u16, kind: u16, bytes: &[u8], at: usize, frame: Frame) -> Option<Link<'_>> {
    if hardware == ARPHRD_NETLINK {
        return Some(netlink(kind, bytes.get(at..)?));
    }
    typed(kind, bytes, at, frame)
}

fn netlink(family: u16, messages: &[u8]) -> Link<'_> {
    if family == NETLINK_ROUTE {
        Link::Netlink(messages)
    } else {
        Link::Foreign
    }
}

fn raw(bytes: &[u8]) -> Option<Link<'_>> {
    match bytes.first()? >> 4 {
        4 => network(ethertype::IPV4, bytes, 0, Frame::default()),
        6 => network(ethertype::IPV6, bytes, 0, Frame::default()),
        _ => Some(Link::Foreign),
    }
}

/// BSD loopback: the address family as a 32-bit number, in the byte order of the host that captured it (`NULL`) or of the network
/// (`LOOP`). Families are small numbers, so the order shows itself. IPv6's differs: 24 NetBSD and OpenBSD, 28 FreeBSD, 30 Darwin, 10 Linux.
fn loopback(bytes: &[u8]) -> Option<Link<'_>> {
    let family = be32(bytes, 0)?;
    let family = if family > 0xffff {
        family.swap_bytes()
    } else {
        family
    };
    match family {
        2 => network(ethertype::IPV4, bytes, 4, Frame::default()),
        10 | 24 | 28 | 30 => network(ethertype::IPV6, bytes, 4, Frame::default()),
        _ => Some(Link::Foreign),
    }
}

/// PPP, with or without HDLC's address and control octets, with a protocol field of two octets or compressed to one (RFC 1661 §6.5).
fn ppp(bytes: &[u8], mut at: usize, frame: Frame) -> Option<Link<'_>> {
    if bytes.get(at..at + 2)? == [0xff, 0x03] {
        at += 2;
    }
    let first = *bytes.get(at)?;
    let protocol = if first & 1 == 1 {
        at += 1;
        u16::from(first)
    } else {
        at += 2;
        be16(bytes, at - 2)?
    };
    match protocol {
        0x0021 => network(ethertype::IPV4, bytes, at, frame),
        0x0057 => network(ethertype::IPV6, bytes, at, frame),
        // MPLS unicast and multicast (RFC 3032 §4.2).
        0x0281 | 0x0283 => labeled(bytes, at, frame),
        _ => Some(Link::Foreign),
    }
}

fn cooked_mac(bytes: &[u8], at: usize, len: u16) -> Option<Mac> {
    if len == 6 { mac(bytes, at) } else { None }
}

fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    Some(Mac(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
