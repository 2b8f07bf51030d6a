//! What the layers below a message said: link addresses, VLANs, IP addresses.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

/// An EUI-48 link-layer address. Prints lower-case with colons.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// All octets zero.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 6]
    }

    /// The group bit: multicast or broadcast.
    pub fn is_group(&self) -> bool {
        self.0[0] & 1 != 0
    }

    /// First-hop redundancy protocols' virtual addresses: VRRP and CARP (00:00:5e:00:01/02, RFC 9568 §7.3), HSRP v1/v2, GLBP (Cisco).
    pub fn is_virtual_router(&self) -> bool {
        matches!(
            self.0,
            [0, 0, 0x5e, 0, 1 | 2, _]
                | [0, 0, 0x0c, 7, 0xac, _]
                | [0, 0, 0x0c, 0x9f, 0xf0..=0xff, _]
                | [0, 7, 0xb4, 0, ..]
                | [0, 5, 0x73, 0xa0, ..]
        )
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Parses six octets in hex with colons or hyphens between.
impl std::str::FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        let bad = || format!("{text:?} is not a MAC address: write it like 02:00:5e:00:53:01");
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| {
                (1..=2).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_hexdigit())
            });
            *octet = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(bad)?;
        }
        parts
            .next()
            .is_none()
            .then_some(Mac(octets))
            .ok_or_else(bad)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a transport checksum field says.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Checksum {
    Right,
    Wrong,
    /// Holds the sum over the pseudo header alone: left to the hardware.
    Unfinished,
    /// Not used (0 in UDP over IPv4), the datagram is cut, or the host sent it itself: nothing can be said.
    #[default]
    Absent,
}

/// The frame that carried a message.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct Frame {
    /// Link-layer source, where the link type has one.
    pub eth_src: Option<Mac>,
    /// Link-layer destination, where the link type has one (cooked captures have none).
    pub eth_dst: Option<Mac>,
    /// VLAN ids from the outermost; unused ones are `None`.
    pub vlans: [Option<u16>; 3],
    /// IP source.
    pub ip_src: Option<IpAddr>,
    /// IP destination.
    pub ip_dst: Option<IpAddr>,
    /// TTL or hop limit.
    pub hop_limit: Option<u8>,
    /// Sent by the capturing host itself (cooked captures and live ones know).
    pub outgoing: Option<bool>,
    /// Interface index, where a cooked capture (SLL2) carries one.
    pub ifindex: Option<u32>,
}
