//! ARP and IPv6 neighbor discovery messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::frame::{Frame, Mac};
use super::{Prefix, WireText};

/// An Ethernet/IPv4 ARP packet (RFC 826).
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Arp {
    pub frame: Frame,
    /// 1 request, 2 reply.
    pub op: u16,
    pub sender_mac: Mac,
    pub sender_ip: Ipv4Addr,
    pub target_mac: Mac,
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Gratuitous: the sender announces its own address (RFC 5227 §1.1, either op).
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip && !self.sender_ip.is_unspecified()
    }

    /// An address probe: sender 0.0.0.0 (RFC 5227 §2.1.1).
    pub fn is_probe(&self) -> bool {
        self.op == 1 && self.sender_ip.is_unspecified()
    }
}

/// A neighbor discovery message (RFC 4861).
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Nd {
    pub frame: Frame,
    pub message: NdMessage,
    /// Source and target link-layer address options.
    pub source_mac: Option<Mac>,
    pub target_mac: Option<Mac>,
    /// Rules broken that make a receiver discard it or that no honest node breaks.
    pub flaws: Vec<NdFlaw>,
}

/// The message itself.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NdMessage {
    RouterSolicitation,
    RouterAdvertisement(Box<RouterAdvertisement>),
    NeighborSolicitation {
        target: Ipv6Addr,
    },
    NeighborAdvertisement {
        target: Ipv6Addr,
        router: bool,
        solicited: bool,
        overriding: bool,
    },
    Redirect {
        target: Ipv6Addr,
        destination: Ipv6Addr,
    },
}

/// A router advertisement with the options that matter for routes.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct RouterAdvertisement {
    pub cur_hop_limit: u8,
    /// M flag: addresses by DHCPv6.
    pub managed: bool,
    /// O flag: other configuration by DHCPv6.
    pub other: bool,
    /// Router preference (RFC 4191): -1 low, 0 medium, 1 high; `None` for the reserved value.
    pub preference: Option<i8>,
    /// Router lifetime in seconds; 0 means "not a default router".
    pub lifetime: u16,
    pub reachable_ms: u32,
    pub retrans_ms: u32,
    pub mtu: Option<u32>,
    pub prefixes: Vec<PrefixInformation>,
    /// Route information (RFC 4191): prefix, preference, lifetime in seconds.
    pub routes: Vec<(Prefix, i8, u32)>,
    /// Recursive DNS servers (RFC 8106): lifetime in seconds, addresses.
    pub rdnss: Vec<(u32, Vec<Ipv6Addr>)>,
    /// DNS search list (RFC 8106).
    pub search: Vec<WireText>,
    /// Captive portal's address (RFC 8910).
    pub captive: Option<WireText>,
    /// PREF64 (RFC 8781): prefix, lifetime in seconds.
    pub pref64: Option<(Prefix, u16)>,
    /// Option types in wire order.
    pub options: Vec<u8>,
}

/// A prefix information option.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct PrefixInformation {
    pub prefix: Prefix,
    pub on_link: bool,
    pub autonomous: bool,
    /// Seconds; `u32::MAX` is forever.
    pub valid: u32,
    pub preferred: u32,
}

/// Broken rules of RFC 4861 §6.1, §7.1, RFC 6980.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NdFlaw {
    /// Hop limit is not 255: it was routed.
    HopLimit,
    /// An advertisement or redirect from a source that is not link-local.
    SourceNotLinkLocal,
    /// ICMP code is not 0.
    Code,
    /// Shorter than its fixed part, or an option runs past the end or has length 0.
    Truncated,
    /// The ICMPv6 checksum is wrong (not judged on frames the host sent itself).
    Checksum,
    /// It came in fragments or behind extension headers (RFC 6980, RFC 7113).
    Evasive,
}

/// The addresses of a neighbor discovery message as generic addresses, for joins.
impl Nd {
    /// IP source of the frame.
    pub fn source(&self) -> Option<IpAddr> {
        self.frame.ip_src
    }
}
