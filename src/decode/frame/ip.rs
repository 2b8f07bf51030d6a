//! The network layer: IPv4 and IPv6 headers with their extension headers, up to the transport payload or a fragment of it.
//!
//! Headers are read by etherparse, one at a time through its checked constructors. Its whole-packet slices are not used on
//! purpose: they parse on behind the fragment header of a later fragment, where there is only data (0.21), and they hide the identification.

use std::net::IpAddr;

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice,
};

use super::ethertype;

/// IP protocol numbers that are understood.
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const VRRP: u8 = 112;
}

/// Most extension headers that are followed. RFC 8200 §4.1 has use for seven; a chain of sixteen is an evasion, and a bound on our work.
const MAX_EXTENSIONS: usize = 16;

/// An IP packet, or a fragment of one.
#[derive(Copy, Clone, Debug)]
pub struct Packet<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub hop_limit: u8,
    /// IPv4 identification (also of whole packets): a retransmitted segment gets a new one, a copy of one frame keeps it.
    pub id: u16,
    pub content: Content<'a>,
    /// Octets of the payload that the capture did not keep.
    pub missing: usize,
}

/// What is behind the headers.
#[derive(Copy, Clone, Debug)]
pub enum Content<'a> {
    /// A transport payload.
    Whole(Transport<'a>),
    /// A part of one.
    Fragment(Fragment<'a>),
}

/// A transport payload.
#[derive(Copy, Clone, Debug)]
pub struct Transport<'a> {
    pub protocol: u8,
    pub payload: &'a [u8],
    /// Behind extension headers, atomic fragment headers (RFC 6946) among them.
    pub extended: bool,
}

/// A part of a payload.
#[derive(Copy, Clone, Debug)]
pub struct Fragment<'a> {
    pub id: u32,
    /// What the first fragment begins with.
    pub protocol: u8,
    /// In octets.
    pub offset: u32,
    pub more: bool,
    pub payload: &'a [u8],
}

/// Why a packet was not read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Trouble {
    /// It ends inside its headers.
    Short,
    /// Its headers contradict themselves.
    Broken(&'static str),
}

/// Reads the packet behind `ethertype` (IPv4 or IPv6). `wire` is the length of `bytes` before the capture cut it.
pub fn packet(ethertype: u16, bytes: &[u8], wire: usize) -> Result<Packet<'_>, Trouble> {
    if ethertype == ethertype::IPV4 {
        v4(bytes, wire)
    } else {
        v6(bytes, wire)
    }
}

fn v4(bytes: &[u8], wire: usize) -> Result<Packet<'_>, Trouble> {
    let first = *bytes.first().ok_or(Trouble::Short)?;
    if first >> 4 != 4 || first & 0xf < 5 {
        return Err(Trouble::Broken("not an IPv4 header"));
    }
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| Trouble::Short)?;
    let header_len = header.slice().len();
    // Segmentation offload leaves 0 in the length of packets above 64 KiB: then the frame's own length counts.
    let total = match usize::from(header.total_len()) {
        0 => wire,
        total if total < header_len => {
            return Err(Trouble::Broken("total length below the header's"));
        }
        total => total,
    };
    let (payload, missing) = cut(bytes, header_len, total);
    let protocol = header.protocol().0;
    let content = if header.is_fragmenting_payload() {
        Content::Fragment(Fragment {
            id: u32::from(header.identification()),
            protocol,
            offset: u32::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
            payload,
        })
    } else {
        Content::Whole(v4_transport(protocol, payload)?)
    };
    Ok(Packet {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        hop_limit: header.ttl(),
        id: header.identification(),
        content,
        missing,
    })
}

/// A whole IPv4 payload; the authentication header is the one extension that IPv4 has.
pub fn v4_transport(protocol: u8, payload: &[u8]) -> Result<Transport<'_>, Trouble> {
    let mut transport = Transport {
        protocol,
        payload,
        extended: false,
    };
    if protocol == protocol::AUTHENTICATION {
        let header = IpAuthHeaderSlice::from_slice(payload).map_err(|_| Trouble::Short)?;
        transport = Transport {
            protocol: header.next_header().0,
            payload: payload.get(header.slice().len()..).unwrap_or_default(),
            extended: true,
        };
    }
    Ok(transport)
}

fn v6(bytes: &[u8], wire: usize) -> Result<Packet<'_>, Trouble> {
    let first = *bytes.first().ok_or(Trouble::Short)?;
    if first >> 4 != 6 {
        return Err(Trouble::Broken("not an IPv6 header"));
    }
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Trouble::Short)?;
    let header_len = header.slice().len();
    // 0 is a jumbogram or left by segmentation offload: the frame's own length counts.
    let total = match usize::from(header.payload_length()) {
        0 => wire,
        len => header_len + len,
    };
    let (payload, missing) = cut(bytes, header_len, total);
    Ok(Packet {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        hop_limit: header.hop_limit(),
        id: 0,
        content: v6_content(header.next_header().0, payload, false)?,
        missing,
    })
}

/// Walks IPv6 extension headers. `reassembled`: `payload` is a datagram put together, in which no fragment may hide again.
pub fn v6_content(first: u8, payload: &[u8], reassembled: bool) -> Result<Content<'_>, Trouble> {
    let mut transport = Transport {
        protocol: first,
        payload,
        extended: reassembled,
    };
    for _ in 0..MAX_EXTENSIONS {
        let (next, len) = match transport.protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                let header = Ipv6RawExtHeaderSlice::from_slice(transport.payload)
                    .map_err(|_| Trouble::Short)?;
                (header.next_header().0, header.slice().len())
            }
            protocol::AUTHENTICATION => {
                let header =
                    IpAuthHeaderSlice::from_slice(transport.payload).map_err(|_| Trouble::Short)?;
                (header.next_header().0, header.slice().len())
            }
            protocol::FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(transport.payload)
                    .map_err(|_| Trouble::Short)?;
                let rest = transport
                    .payload
                    .get(header.slice().len()..)
                    .unwrap_or_default();
                if header.is_fragmenting_payload() {
                    if reassembled {
                        return Err(Trouble::Broken("a fragment inside fragments"));
                    }
                    return Ok(Content::Fragment(Fragment {
                        id: header.identification(),
                        protocol: header.next_header().0,
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                        payload: rest,
                    }));
                }
                (header.next_header().0, header.slice().len())
            }
            _ => return Ok(Content::Whole(transport)),
        };
        transport = Transport {
            protocol: next,
            payload: transport.payload.get(len..).unwrap_or_default(),
            extended: true,
        };
    }
    Err(Trouble::Broken("too many extension headers"))
}

/// The payload between the header's end and `total`, as far as captured, and how much of it is missing.
fn cut(bytes: &[u8], header: usize, total: usize) -> (&[u8], usize) {
    let end = total.min(bytes.len());
    (
        bytes.get(header..end).unwrap_or_default(),
        total.saturating_sub(end.max(header)),
    )
}
