//! DHCPv6 messages (RFC 8415), relay chains unwrapped.

use std::fmt;
use std::net::Ipv6Addr;

use serde::Serialize;

use super::frame::{Checksum, Frame};
use super::{Prefix, WireText};

/// A DHCP unique identifier, raw. Prints as colon-separated hex.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Duid(pub Box<[u8]>);

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Duid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The innermost message and the relays it passed, from the outermost.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Dhcp6 {
    pub frame: Frame,
    pub src_port: u16,
    pub dst_port: u16,
    /// Of the UDP datagram.
    #[serde(skip)]
    pub checksum: Checksum,
    pub relays: Vec<Relay>,
    /// Message type code of the innermost message (1 SOLICIT … 13 RELAY-REPL where no inner message could be read).
    pub message_type: u8,
    pub xid: u32,
    pub client: Option<Duid>,
    pub server: Option<Duid>,
    pub addresses: Vec<IaAddress>,
    pub prefixes: Vec<IaPrefix>,
    /// Status codes at any level: code and text.
    pub status: Vec<(u16, WireText)>,
    /// Option request option: the client's fingerprint.
    pub requested: Vec<u16>,
    pub vendor_class: Option<WireText>,
    /// The enterprise number in front of the vendor class.
    pub enterprise: Option<u32>,
    pub fqdn: Option<WireText>,
    pub rapid_commit: bool,
    pub preference: Option<u8>,
    pub elapsed_ms: Option<u32>,
    pub dns: Vec<Ipv6Addr>,
    /// Has an authentication option (11): only then is a RECONFIGURE acceptable.
    pub authenticated: bool,
    /// Option codes of the innermost message in wire order, top level.
    pub options: Vec<u16>,
    pub flaws: Vec<Dhcp6Flaw>,
    /// Codes of text options that could act on a terminal.
    pub hostile_text: Vec<u16>,
}

impl Dhcp6 {
    /// The message's name as RFC 8415 §7.3 writes it.
    pub fn name(&self) -> &'static str {
        match self.message_type {
            1 => "SOLICIT",
            2 => "ADVERTISE",
            3 => "REQUEST",
            4 => "CONFIRM",
            5 => "RENEW",
            6 => "REBIND",
            7 => "REPLY",
            8 => "RELEASE",
            9 => "DECLINE",
            10 => "RECONFIGURE",
            11 => "INFORMATION-REQUEST",
            12 => "RELAY-FORW",
            13 => "RELAY-REPL",
            36 => "ADDR-REG-INFORM",
            37 => "ADDR-REG-REPLY",
            _ => "UNKNOWN",
        }
    }
}

/// One relay's envelope.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Relay {
    pub hop_count: u8,
    pub link_address: Ipv6Addr,
    pub peer_address: Ipv6Addr,
    pub interface_id: Option<WireText>,
    pub remote_id: Option<WireText>,
}

/// An address in an IA_NA or IA_TA.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct IaAddress {
    pub iaid: u32,
    pub addr: Ipv6Addr,
    /// Seconds; `u32::MAX` is forever.
    pub preferred: u32,
    pub valid: u32,
    pub t1: u32,
    pub t2: u32,
}

/// A delegated prefix in an IA_PD.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct IaPrefix {
    pub iaid: u32,
    pub prefix: Prefix,
    /// Seconds; `u32::MAX` is forever.
    pub preferred: u32,
    pub valid: u32,
    pub t1: u32,
    pub t2: u32,
}

/// Rules a DHCPv6 packet can break.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcp6Flaw {
    /// Shorter than its fixed part.
    Truncated,
    /// An option runs past the end of its container.
    OptionOverrun,
    /// An option is shorter than its fixed part or otherwise not of its length.
    OptionLength,
    /// More than 8 relay envelopes (RFC 8415 §7.6 HOP_COUNT_LIMIT), or options nested beyond what the RFC defines.
    TooDeep,
    /// A relay message without option 9, or with two.
    NoRelayMessage,
    /// A client message without client identifier where the RFC demands one, or the like (RFC 8415 §16).
    MissingIdentifier,
    /// preferred > valid, or T1 > T2 (RFC 8415 §21.4, §21.6).
    BadLifetimes,
    /// Unknown message type.
    UnknownMessageType,
    /// A RECONFIGURE without authentication (RFC 8415 §16.11): clients drop it.
    NotAuthenticated,
    /// DUID of length 0 or over 130 octets (RFC 8415 §11.1).
    BadDuid,
}
