//! Link types (`LINKTYPE_*`, the tcpdump group's registry): their numbers, their names, and what is inside those that are envelopes.
//!
//! One table for the filter over files and the decoders, as [`ports`](super::ports) is for ports. Envelopes (radiotap, PPI, pktap, NFLOG, the
//! tags of a switch's CPU port …) are taken off here, with what they say about the frame; every read is checked, nothing is kept.

mod names;
mod wireless;

pub use names::{described, name};

pub const NULL: u16 = 0;
pub const ETHERNET: u16 = 1;
pub const SLIP: u16 = 8;
pub const PPP: u16 = 9;
/// Raw IP as some BSDs and old libpcap number it (`DLT_RAW`).
pub const RAW_BSD: u16 = 12;
pub const RAW_OPENBSD: u16 = 14;
pub const PPP_HDLC: u16 = 50;
pub const PPP_ETHER: u16 = 51;
pub const ATM_RFC1483: u16 = 100;
pub const RAW: u16 = 101;
pub const C_HDLC: u16 = 104;
pub const IEEE802_11: u16 = 105;
pub const FRELAY: u16 = 107;
pub const LOOP: u16 = 108;
pub const ENC: u16 = 109;
pub const LINUX_SLL: u16 = 113;
pub const IEEE802_11_PRISM: u16 = 119;
pub const IEEE802_11_RADIOTAP: u16 = 127;
pub const IEEE802_11_AVS: u16 = 163;
pub const JUNIPER_ETHER: u16 = 178;
pub const PPI: u16 = 192;
pub const PPP_WITH_DIR: u16 = 204;
pub const C_HDLC_WITH_DIR: u16 = 205;
pub const FRELAY_WITH_DIR: u16 = 206;
pub const IPV4: u16 = 228;
pub const IPV6: u16 = 229;
pub const NFLOG: u16 = 239;
/// Exported PDUs: annotations in recordings.
pub const UPPER_PDU: u16 = super::annotation::LINK_TYPE;
pub const NETLINK: u16 = 253;
pub const PKTAP: u16 = 258;
pub const LINUX_SLL2: u16 = 276;
pub const DSA_TAG_BRCM: u16 = 281;
pub const DSA_TAG_BRCM_PREPEND: u16 = 282;
pub const DSA_TAG_DSA: u16 = 284;
pub const DSA_TAG_EDSA: u16 = 285;

/// Envelopes in envelopes that are followed: PPI or pktap around radiotap around 802.11 are three.
const MAX_ENVELOPES: usize = 4;
/// Attributes of an NFLOG header that are looked at; the kernel writes about a dozen (linux/netfilter/nfnetlink_log.h).
const MAX_NFLOG: usize = 64;

/// Where the simpler frame in an envelope begins, and what the envelope says about it.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Inside {
    pub start: Start,
    /// Link addresses, as far as they are told.
    pub dst: Option<[u8; 6]>,
    pub src: Option<[u8; 6]>,
    pub vlan: Option<u16>,
    /// Sent by the capturing host.
    pub outgoing: Option<bool>,
    pub ifindex: Option<u32>,
}

/// What begins where.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Start {
    /// A frame of this link type.
    Link(u16, usize),
    /// The payload of an EtherType (VLAN tags, too).
    Ether(u16, usize),
    /// It ends inside its headers.
    #[default]
    Short,
    /// Nothing that holds IP or ARP: management frames, encrypted ones, audit of another kind.
    Foreign,
}

/// Whether frames of this link type are read.
pub fn is_known(link_type: u16) -> bool {
    is_envelope(link_type)
        || matches!(
            link_type,
            NULL | ETHERNET
                | PPP
                | RAW_BSD
                | RAW_OPENBSD
                | PPP_HDLC
                | RAW
                | C_HDLC
                | LOOP
                | LINUX_SLL
                | IPV4
                | IPV6
                | UPPER_PDU
                | NETLINK
                | LINUX_SLL2
        )
}

/// Whether [`inside`] takes it off.
pub const fn is_envelope(link_type: u16) -> bool {
    matches!(
        link_type,
        SLIP | PPP_ETHER
            | ATM_RFC1483
            | IEEE802_11
            | FRELAY
            | ENC
            | IEEE802_11_PRISM
            | IEEE802_11_RADIOTAP
            | IEEE802_11_AVS
            | JUNIPER_ETHER
            | PPI
            | PPP_WITH_DIR
            | C_HDLC_WITH_DIR
            | FRELAY_WITH_DIR
            | NFLOG
            | PKTAP
            | DSA_TAG_BRCM
            | DSA_TAG_BRCM_PREPEND
            | DSA_TAG_DSA
            | DSA_TAG_EDSA
    )
}

/// Whether a frame of link type 9 or 50 is Cisco HDLC: the registry says so of 50 (first octet 0x0f unicast, 0x8f broadcast), and files that say
/// 9 exist; in PPP those octets would be compressed protocol numbers that nobody assigned (IANA, PPP DLL protocol numbers).
pub fn is_cisco_hdlc(bytes: &[u8]) -> bool {
    matches!(bytes, [0x0f | 0x8f, 0, ..])
}

/// Takes off the envelopes of a frame; `None` for a link type that is none.
pub fn inside(link_type: u16, bytes: &[u8]) -> Option<Inside> {
    if !is_envelope(link_type) {
        return None;
    }
    let mut found = Inside {
        start: Start::Link(link_type, 0),
        ..Inside::default()
    };
    for _ in 0..MAX_ENVELOPES {
        let Start::Link(kind, at) = found.start else {
            return Some(found);
        };
        if !is_envelope(kind) {
            return Some(found);
        }
        let next = bytes
            .get(at..)
            .and_then(|rest| one(kind, rest))
            .unwrap_or_default();
        found = Inside {
            start: match next.start {
                Start::Link(kind, more) => Start::Link(kind, at + more),
                Start::Ether(kind, more) => Start::Ether(kind, at + more),
                other => other,
            },
            dst: next.dst.or(found.dst),
            src: next.src.or(found.src),
            vlan: next.vlan.or(found.vlan),
            outgoing: next.outgoing.or(found.outgoing),
            ifindex: next.ifindex.or(found.ifindex),
        };
    }
    if matches!(found.start, Start::Link(kind, _) if is_envelope(kind)) {
        found.start = Start::Foreign;
    }
    Some(found)
}

/// One envelope; `None` where the frame ends early.
fn one(kind: u16, bytes: &[u8]) -> Option<Inside> {
    Some(match kind {
        // A pseudo-header of 16 octets: direction, and what was compressed.
        SLIP => Inside {
            outgoing: Some(*bytes.first()? == 1),
            ..link(RAW, 16)
        },
        // PPPoE (RFC 2516 §4) of the session stage: six octets, then PPP.
        PPP_ETHER => match bytes.get(1)? {
            0 => link(PPP, 6),
            _ => foreign(),
        },
        ATM_RFC1483 => snap(bytes, 0)?,
        IEEE802_11 => wireless::data(bytes, 0)?,
        IEEE802_11_RADIOTAP => wireless::radiotap(bytes)?,
        // 144 octets; monitors that write an AVS header under this number begin it with its magic.
        IEEE802_11_PRISM if be32(bytes, 0)? & 0xffff_f000 == 0x8021_1000 => avs(bytes)?,
        IEEE802_11_PRISM => link(IEEE802_11, 144),
        IEEE802_11_AVS => avs(bytes)?,
        FRELAY => frame_relay(bytes)?,
        // Address family, SPI and flags (OpenBSD enc(4)), then the packet as it was before encryption.
        ENC => link(RAW, 12),
        JUNIPER_ETHER => juniper(bytes)?,
        // Version, flags, length, DLT: the last two little-endian (CACE PPI specification §3).
        PPI => link(le16(bytes, 4)?, usize::from(le16(bytes, 2)?).max(8)),
        PPP_WITH_DIR => directed(bytes, PPP)?,
        C_HDLC_WITH_DIR => directed(bytes, C_HDLC)?,
        FRELAY_WITH_DIR => directed(bytes, FRELAY)?,
        NFLOG => nflog(bytes)?,
        PKTAP => pktap(bytes)?,
        DSA_TAG_BRCM_PREPEND => link(ETHERNET, 4),
        DSA_TAG_BRCM => tagged(bytes, 4, None)?,
        DSA_TAG_DSA => tagged(bytes, 4, Some(12))?,
        // 0xdada, two octets that are reserved, the tag.
        DSA_TAG_EDSA => tagged(bytes, 8, Some(16))?,
        _ => foreign(),
    })
}

const fn link(kind: u16, at: usize) -> Inside {
    with(Start::Link(kind, at))
}

const fn foreign() -> Inside {
    with(Start::Foreign)
}

const fn with(start: Start) -> Inside {
    Inside {
        start,
        dst: None,
        src: None,
        vlan: None,
        outgoing: None,
        ifindex: None,
    }
}

/// One octet of direction in front: 0 received, else sent.
fn directed(bytes: &[u8], kind: u16) -> Option<Inside> {
    Some(Inside {
        outgoing: Some(*bytes.first()? != 0),
        ..link(kind, 1)
    })
}

/// Ethernet with `octets` of a switch's tag behind the addresses (Linux `net/dsa/tag_brcm.c`, `tag_dsa.c`). A DSA tag at `dsa` that took the place of
/// an 802.1Q tag holds its VLAN: bit 5 of the first octet says so; else the VLAN is the switch's own affair and was not on the wire.
fn tagged(bytes: &[u8], octets: usize, dsa: Option<usize>) -> Option<Inside> {
    let dst = *bytes.first_chunk()?;
    let src = *bytes.get(6..)?.first_chunk()?;
    let vlan = match dsa {
        Some(at) if bytes.get(at)? & 0x20 != 0 => Some(be16(bytes, at + 2)? & 0x0fff),
        _ => None,
    };
    Some(Inside {
        dst: Some(dst),
        src: Some(src),
        vlan,
        ..with(Start::Ether(be16(bytes, 12 + octets)?, 14 + octets))
    })
}

/// LLC and SNAP in front of an EtherType (RFC 1042); the second OUI is that of bridge tunnels (802.1H).
pub(crate) fn snap(bytes: &[u8], at: usize) -> Option<Inside> {
    let head: &[u8; 6] = bytes.get(at..)?.first_chunk()?;
    Some(match head {
        [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8] => with(Start::Ether(be16(bytes, at + 6)?, at + 8)),
        _ => foreign(),
    })
}

/// AVS (LINKTYPE 163): magic and length of the header, both big-endian.
fn avs(bytes: &[u8]) -> Option<Inside> {
    Some(link(
        IEEE802_11,
        usize::try_from(be32(bytes, 4)?).ok()?.max(8),
    ))
}

/// Frame Relay: a Q.922 address, then RFC 2427's control and NLPID, or Cisco's EtherType.
fn frame_relay(bytes: &[u8]) -> Option<Inside> {
    // The last octet of the address has the extension bit; two to four (Q.922 §3.2).
    let at = bytes.iter().take(4).position(|octet| octet & 1 == 1)? + 1;
    if at < 2 {
        return Some(foreign());
    }
    Some(match bytes.get(at..)? {
        [3, 0xcc | 0x8e, ..] => link(RAW, at + 2),
        // Padded to an even boundary.
        [3, 0, 0xcc | 0x8e, ..] => link(RAW, at + 3),
        [3, 0, 0x80, 0, 0, 0, ..] => with(Start::Ether(be16(bytes, at + 6)?, at + 8)),
        [3, 0x80, 0, 0, 0, ..] => with(Start::Ether(be16(bytes, at + 5)?, at + 7)),
        [0x08, 0x00, ..] | [0x86, 0xdd, ..] => with(Start::Ether(be16(bytes, at)?, at + 2)),
        [] | [_] => return None,
        _ => foreign(),
    })
}

/// Juniper's `monitor traffic` and sampling: magic, flags (1: received), and with flag 0x80 extensions behind their length.
fn juniper(bytes: &[u8]) -> Option<Inside> {
    const RECEIVED: u8 = 0x01;
    const NO_LINK_LAYER: u8 = 0x02;
    const EXTENSIONS: u8 = 0x80;
    let &[0x4d, 0x47, 0x43, flags] = bytes.first_chunk()? else {
        return Some(foreign());
    };
    let mut at = 4;
    if flags & EXTENSIONS != 0 {
        at += 2 + usize::from(be16(bytes, 4)?);
    }
    let inner = if flags & NO_LINK_LAYER != 0 {
        // A protocol number of four octets stands in place of the link layer.
        link(RAW, at + 4)
    } else {
        link(ETHERNET, at)
    };
    Some(Inside {
        outgoing: Some(flags & RECEIVED == 0),
        ..inner
    })
}

/// Linux's NFLOG: family, version, group, then attributes in the byte order of the host. The payload is the packet from the network layer on.
fn nflog(bytes: &[u8]) -> Option<Inside> {
    const PACKET_HEADER: u16 = 1;
    const IN_DEVICE: u16 = 4;
    const OUT_DEVICE: u16 = 5;
    const SOURCE_MAC: u16 = 8;
    const PAYLOAD: u16 = 9;
    /// `NF_INET_LOCAL_OUT`, `NF_INET_POST_ROUTING`.
    const LEAVING: std::ops::RangeInclusive<u8> = 3..=4;
    if *bytes.get(1)? != 0 {
        return Some(foreign());
    }
    let mut at = 4;
    let mut found = foreign();
    let mut ethertype = 0;
    for _ in 0..MAX_NFLOG {
        if bytes.len() < at + 4 {
            break;
        }
        // A length beyond the frame is one in the other order.
        let fits = |length: u16| (4..=bytes.len() - at).contains(&usize::from(length));
        let is_little = fits(le16(bytes, at)?);
        let read = if is_little { le16 } else { be16 };
        let length = usize::from(read(bytes, at)?);
        let kind = read(bytes, at + 2)? & 0x7fff;
        let Some(value) = bytes.get(at + 4..at + length) else {
            return None; // the capture cut it
        };
        match kind {
            PACKET_HEADER => {
                ethertype = be16(value, 0)?;
                found.outgoing = Some(LEAVING.contains(value.get(2)?));
            }
            IN_DEVICE => found.ifindex = be32(value, 0),
            OUT_DEVICE => found.ifindex = found.ifindex.or(be32(value, 0)),
            SOURCE_MAC => {
                let len = be16(value, 0)?;
                let src = value.get(4..).and_then(|mac| mac.first_chunk().copied());
                found.src = src.filter(|_| len == 6);
            }
            PAYLOAD => {
                found.start = match ethertype {
                    0 => Start::Link(RAW, at + 4),
                    kind => Start::Ether(kind, at + 4),
                };
            }
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
    Some(found)
}

/// Apple's pktap: length, type (1: a packet follows), DLT, interface name, flags; all little-endian (`bsd/net/pktap.h`).
fn pktap(bytes: &[u8]) -> Option<Inside> {
    const LEAST: u32 = 40;
    const RECEIVED: u32 = 1;
    const SENT: u32 = 2;
    let (length, kind) = (le32(bytes, 0)?, le32(bytes, 4)?);
    if length < LEAST || kind != 1 {
        return Some(foreign());
    }
    let dlt = u16::try_from(le32(bytes, 8)?).unwrap_or(u16::MAX);
    let flags = le32(bytes, 36)?;
    Some(Inside {
        outgoing: match flags & (RECEIVED | SENT) {
            RECEIVED => Some(false),
            SENT => Some(true),
            _ => None,
        },
        ..link(dlt, usize::try_from(length).ok()?)
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
