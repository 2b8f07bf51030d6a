//! BGP-4 messages (RFC 4271 and its extensions), from packets, MRT or BMP.
//!
//! `Update` is the hot one: the decoder fills one reusable `Update`, and `state` interns its attributes once.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::frame::{Frame, Mac};
use super::{Prefix, WireText};

/// A BGP message on a session, with who sent it to whom.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BgpEvent {
    /// The frame that completed the message; default (all `None`) for MRT.
    pub frame: Frame,
    pub session: Direction,
    pub message: BgpMessage,
}

/// Who speaks to whom.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct Direction {
    pub from: IpAddr,
    pub to: IpAddr,
    /// TCP ports (from, to); 0 where unknown (MRT).
    pub from_port: u16,
    pub to_port: u16,
    /// AS numbers where the carrier tells them (MRT), else 0.
    pub from_as: u32,
    pub to_as: u32,
}

/// A BGP message.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BgpMessage {
    Open(Box<Open>),
    Update(Box<Update>),
    Notification(Notification),
    Keepalive,
    RouteRefresh {
        family: Family,
        /// 0 normal, 1 begin, 2 end of refresh (RFC 7313).
        subtype: u8,
    },
    /// MRT BGP4MP_STATE_CHANGE: old and new FSM state (1 Idle … 6 Established).
    StateChange {
        old: u16,
        new: u16,
    },
    /// MRT TABLE_DUMP(_V2): an entry of a table as it was, not a message. Only `announced` of the update is used.
    TableEntry(Box<Update>),
    /// Another type code.
    Unknown(u8),
}

/// Address family and subsequent address family.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct Family {
    pub afi: u16,
    pub safi: u8,
}

impl Family {
    pub const IPV4_UNICAST: Family = Family { afi: 1, safi: 1 };
    pub const IPV6_UNICAST: Family = Family { afi: 2, safi: 1 };
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.afi, self.safi) {
            (1, 1) => f.write_str("IPv4 unicast"),
            (2, 1) => f.write_str("IPv6 unicast"),
            (1, 2) => f.write_str("IPv4 multicast"),
            (2, 2) => f.write_str("IPv6 multicast"),
            (1, 4) => f.write_str("IPv4 labeled"),
            (2, 4) => f.write_str("IPv6 labeled"),
            (1, 128) => f.write_str("VPNv4"),
            (2, 128) => f.write_str("VPNv6"),
            (25, 70) => f.write_str("EVPN"),
            (1, 133) => f.write_str("IPv4 FlowSpec"),
            (2, 133) => f.write_str("IPv6 FlowSpec"),
            (afi, safi) => write!(f, "AFI {afi} SAFI {safi}"),
        }
    }
}

/// An OPEN message.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct Open {
    pub version: u8,
    /// My AS: from the 4-octet capability where there is one.
    pub asn: u32,
    /// Hold time offered, seconds.
    pub hold_time: u16,
    /// BGP identifier as an IPv4-like number.
    pub router_id: u32,
    pub four_octet_as: bool,
    pub families: Vec<Family>,
    /// ADD-PATH (RFC 7911): family and 1 receive, 2 send, 3 both.
    pub add_path: Vec<(Family, u8)>,
    pub extended_messages: bool,
    pub route_refresh: bool,
    pub enhanced_route_refresh: bool,
    pub graceful_restart: Option<GracefulRestart>,
    /// LLGR (RFC 9494): family and stale time in seconds.
    pub long_lived: Vec<(Family, u32)>,
    /// FQDN capability (draft-walton): host name.
    pub host_name: Option<WireText>,
    /// BGP role (RFC 9234).
    pub role: Option<u8>,
    /// Extended next hop (RFC 8950): NLRI AFI, SAFI, next hop AFI.
    pub extended_next_hop: Vec<(u16, u16, u16)>,
    /// Capability codes in wire order.
    pub capabilities: Vec<u8>,
}

/// Graceful restart capability (RFC 4724, RFC 8538).
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct GracefulRestart {
    pub restarting: bool,
    /// The N bit: NOTIFICATIONs start a graceful restart too.
    pub notification: bool,
    /// Seconds.
    pub restart_time: u16,
    /// Family and whether its forwarding state was kept.
    pub families: Vec<(Family, bool)>,
}

/// The well-known community GRACEFUL_SHUTDOWN (RFC 8326 §4): the speaker is about to go, others shall use other paths.
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// An UPDATE, all families and both encodings folded together.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Update {
    pub withdrawn: Vec<Nlri>,
    pub announced: Vec<Nlri>,
    pub attributes: Attributes,
    /// End-of-RIB marker of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What RFC 7606 makes of errors in it; the worst one decides.
    pub errors: Vec<UpdateError>,
    /// One of the routes that its errors took away: what it was about.
    pub lost: Option<Nlri>,
    /// Families that were present but are not decoded to keys (FlowSpec, …), with their NLRI's octets.
    pub other_families: Vec<(Family, u32)>,
    /// Octets of the whole message.
    pub size: u16,
    /// AS size or ADD-PATH were inferred, because no OPEN was seen.
    pub inferred: bool,
}

impl Update {
    /// Empties it, keeping buffers.
    pub fn clear(&mut self) {
        self.withdrawn.clear();
        self.announced.clear();
        self.attributes.clear();
        self.end_of_rib = None;
        self.errors.clear();
        self.lost = None;
        self.other_families.clear();
        self.size = 0;
        self.inferred = false;
    }
}

/// A route key: what a withdraw names.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct Nlri {
    /// The prefix; for EVPN type 2 the host address (or the MAC as a /48 of `::`), for type 3 the originating router, for type 5 the prefix.
    pub prefix: Prefix,
    /// Path identifier where ADD-PATH is in use, else 0.
    pub path_id: u32,
    /// Route distinguisher, VPN and EVPN families only, else 0.
    pub rd: u64,
    /// For EVPN, what else is in the key: the Ethernet tag, for type 2 behind the MAC (see [`Nlri::mac`]). Else 0.
    pub extra: u64,
    pub safi: Safi,
}

impl Nlri {
    /// Whether `prefix` is one that packets can be sent to; of EVPN's types 2 and 3 it is a host's MAC or address, or a VTEP.
    pub const fn is_prefix(&self) -> bool {
        !matches!(self.safi, Safi::Evpn2 | Safi::Evpn3)
    }

    /// The MAC of an EVPN MAC/IP route.
    pub fn mac(&self) -> Option<Mac> {
        let [a, b, c, d, e, f, _, _] = self.extra.to_be_bytes();
        (self.safi == Safi::Evpn2).then_some(Mac([a, b, c, d, e, f]))
    }

    /// `extra` of an EVPN MAC/IP route. Tags are VLANs or VNIs, nearly always 0 (RFC 7432 §6): their halves are folded, and two that collide share a slot.
    pub fn evpn_mac(mac: [u8; 6], tag: u32) -> u64 {
        let [a, b, c, d, e, f] = mac;
        let folded = tag >> 16 ^ tag & 0xffff;
        u64::from_be_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(folded)
    }

    /// A plain unicast key.
    pub const fn unicast(prefix: Prefix) -> Nlri {
        Nlri {
            prefix,
            path_id: 0,
            rd: 0,
            extra: 0,
            safi: Safi::Unicast,
        }
    }
}

/// A route distinguisher as everybody writes it (RFC 4364 §4.2): `65000:11` (type 0), `192.0.2.1:100` (type 1), `4200000000:1` (type 2).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Rd(pub u64);

impl fmt::Display for Rd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, low) = ((self.0 >> 48) as u16, self.0 as u32);
        match kind {
            0 => write!(f, "{}:{low}", (self.0 >> 32) as u16),
            1 => write!(
                f,
                "{}:{}",
                std::net::Ipv4Addr::from((self.0 >> 16) as u32),
                low as u16
            ),
            2 => write!(f, "{}:{}", (self.0 >> 16) as u32, low as u16),
            other => write!(f, "type {other}:{:012x}", self.0 & 0xffff_ffff_ffff),
        }
    }
}

/// Families whose NLRI are decoded to keys.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Safi {
    Unicast,
    Multicast,
    Labeled,
    Vpn,
    Evpn2,
    Evpn3,
    Evpn5,
}

/// Path attributes, decoded. Semantically equal attributes compare equal whatever their order on the wire.
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default, Serialize)]
pub struct Attributes {
    /// 0 IGP, 1 EGP, 2 incomplete; `None` where the message has none.
    pub origin: Option<u8>,
    /// AS_PATH with AS4_PATH merged (RFC 6793 §4.2.3), flattened: see [`AsPath`].
    pub as_path: AsPath,
    /// NEXT_HOP or the first MP_REACH next hop.
    pub next_hop: Option<IpAddr>,
    /// Link-local next hop of an MP_REACH with two.
    pub next_hop_link_local: Option<IpAddr>,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub atomic_aggregate: bool,
    pub aggregator: Option<(u32, IpAddr)>,
    /// In wire order.
    pub communities: Vec<u32>,
    pub extended_communities: Vec<[u8; 8]>,
    pub ipv6_extended_communities: Vec<[u8; 20]>,
    pub large_communities: Vec<[u32; 3]>,
    pub originator_id: Option<u32>,
    pub cluster_list: Vec<u32>,
    /// Only-to-customer (RFC 9234).
    pub otc: Option<u32>,
    pub aigp: Option<u64>,
    /// Other attributes: type code and a hash of flags and value, so that a change in one is seen.
    pub unknown: Vec<(u8, u64)>,
}

impl Attributes {
    /// Empties it, keeping buffers.
    pub fn clear(&mut self) {
        self.origin = None;
        self.as_path.0.clear();
        self.next_hop = None;
        self.next_hop_link_local = None;
        self.med = None;
        self.local_pref = None;
        self.atomic_aggregate = false;
        self.aggregator = None;
        self.communities.clear();
        self.extended_communities.clear();
        self.ipv6_extended_communities.clear();
        self.large_communities.clear();
        self.originator_id = None;
        self.cluster_list.clear();
        self.otc = None;
        self.aigp = None;
        self.unknown.clear();
    }

    /// The sequence number of a MAC that moved, and whether it is pinned where it is (MAC Mobility extended community, RFC 7432 §7.7).
    pub fn mac_mobility(&self) -> Option<(u32, bool)> {
        self.extended_communities.iter().find_map(|value| {
            let [6, 0, flags, _, sequence @ ..] = *value else {
                return None;
            };
            Some((u32::from_be_bytes(sequence), flags & 1 != 0))
        })
    }

    /// Local parts of the route targets (RFC 4360 §4; type 0, 1 and 2): AS numbers in front differ from leaf to leaf where each has its own AS, the
    /// service behind them does not.
    pub fn route_targets(&self) -> impl Iterator<Item = u32> {
        self.extended_communities
            .iter()
            .filter_map(|value| match *value {
                [0, 2, _, _, local @ ..] => Some(u32::from_be_bytes(local)),
                [1 | 2, 2, _, _, _, _, high, low] => {
                    Some(u32::from(u16::from_be_bytes([high, low])))
                }
                _ => None,
            })
    }

    /// The AS that originated the route: the last of the path when it is part of a sequence.
    pub fn origin_as(&self) -> Option<u32> {
        self.as_path.origin()
    }
}

/// An AS path as a flat sequence of words: a segment header (type in the high bit half, count in the low) before each segment's numbers.
/// One buffer instead of a vector of vectors; see [`AsPath::segments`].
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct AsPath(pub Vec<u32>);

/// Segment types of RFC 4271 §4.3 and RFC 5065.
pub const AS_SET: u8 = 1;
pub const AS_SEQUENCE: u8 = 2;
pub const AS_CONFED_SEQUENCE: u8 = 3;
pub const AS_CONFED_SET: u8 = 4;

impl AsPath {
    /// Appends a segment header; `count` numbers must follow.
    pub fn push_segment(&mut self, kind: u8, count: usize) {
        self.0.push(u32::from(kind) << 16 | count as u32 & 0xffff);
    }

    /// Segments as (type, AS numbers).
    pub fn segments(&self) -> impl Iterator<Item = (u8, &[u32])> {
        let mut rest: &[u32] = &self.0;
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first()?;
            let count = ((head & 0xffff) as usize).min(tail.len());
            let (numbers, after) = tail.split_at(count);
            rest = after;
            Some(((head >> 16) as u8, numbers))
        })
    }

    /// The originating AS: the last number, when the last segment is a sequence.
    pub fn origin(&self) -> Option<u32> {
        self.segments()
            .last()
            .filter(|(kind, _)| *kind == AS_SEQUENCE)
            .and_then(|(_, numbers)| numbers.last().copied())
    }

    /// The neighboring AS: the first number of the first plain sequence.
    pub fn first(&self) -> Option<u32> {
        self.segments()
            .find(|(kind, _)| *kind == AS_SEQUENCE)
            .and_then(|(_, numbers)| numbers.first().copied())
    }

    /// Path length as RFC 4271 §9.1.2.2 counts: a set is one, confederation segments are none.
    pub fn hops(&self) -> usize {
        self.segments()
            .map(|(kind, numbers)| match kind {
                AS_SEQUENCE => numbers.len(),
                AS_SET => 1,
                _ => 0,
            })
            .sum()
    }

    /// No segments.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As bgpdump and everybody else writes it: `65001 65002 {1,2} (65100 65101)`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, numbers)) in self.segments().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match kind {
                AS_SET => ("{", ",", "}"),
                AS_CONFED_SEQUENCE => ("(", " ", ")"),
                AS_CONFED_SET => ("[", ",", "]"),
                _ => ("", " ", ""),
            };
            f.write_str(open)?;
            for (n, number) in numbers.iter().enumerate() {
                write!(f, "{}{number}", if n == 0 { "" } else { separator })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl Serialize for AsPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An error in an UPDATE and what RFC 7606 makes of it.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct UpdateError {
    pub action: ErrorAction,
    /// Attribute type code, 0 for the message itself.
    pub attribute: u8,
    /// What is wrong, in a few words.
    pub why: &'static str,
}

/// RFC 7606 §2, mildest first.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorAction {
    AttributeDiscard,
    TreatAsWithdraw,
    AfiSafiDisable,
    SessionReset,
}

/// A NOTIFICATION.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Notification {
    pub code: u8,
    pub subcode: u8,
    /// Code and subcode inside a Hard Reset (RFC 8538 §3.1): the true reason.
    pub inner: Option<(u8, u8)>,
    /// Shutdown communication (RFC 9003).
    pub text: Option<WireText>,
    /// Family and limit of a maximum-prefix cease, where given (RFC 4486 §4).
    pub max_prefix: Option<(Family, u32)>,
    /// The data field's first octets.
    pub data: Vec<u8>,
}

impl Notification {
    /// The true code and subcode: the inner ones of a Hard Reset.
    pub fn cause(&self) -> (u8, u8) {
        self.inner.unwrap_or((self.code, self.subcode))
    }

    /// What IANA's registries "BGP Error (Notification) Codes" and "… Subcodes" call the cause; empty where they name nothing.
    pub fn meaning(&self) -> &'static str {
        match self.cause() {
            (1, 1) => "connection not synchronized",
            (1, 2) => "bad message length",
            (1, 3) => "bad message type",
            (1, _) => "message header error",
            (2, 1) => "unsupported version number",
            (2, 2) => "bad peer AS",
            (2, 3) => "bad BGP identifier",
            (2, 4) => "unsupported optional parameter",
            (2, 6) => "unacceptable hold time",
            (2, 7) => "unsupported capability",
            (2, 11) => "role mismatch",
            (2, _) => "OPEN message error",
            (3, 1) => "malformed attribute list",
            (3, 2) => "unrecognized well-known attribute",
            (3, 3) => "missing well-known attribute",
            (3, 4) => "attribute flags error",
            (3, 5) => "attribute length error",
            (3, 6) => "invalid ORIGIN attribute",
            (3, 8) => "invalid NEXT_HOP attribute",
            (3, 9) => "optional attribute error",
            (3, 10) => "invalid network field",
            (3, 11) => "malformed AS_PATH",
            (3, _) => "UPDATE message error",
            (4, _) => "hold timer expired",
            (5, _) => "finite state machine error",
            (6, 1) => "maximum number of prefixes reached",
            (6, 2) => "administrative shutdown",
            (6, 3) => "peer de-configured",
            (6, 4) => "administrative reset",
            (6, 5) => "connection rejected",
            (6, 6) => "other configuration change",
            (6, 7) => "connection collision resolution",
            (6, 8) => "out of resources",
            (6, 9) => "hard reset",
            (6, 10) => "BFD down",
            (7, _) => "ROUTE-REFRESH message error",
            (8, _) => "send hold timer expired",
            _ => "",
        }
    }
}
