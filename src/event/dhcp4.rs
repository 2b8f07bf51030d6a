//! DHCPv4 and BOOTP messages (RFC 2131, RFC 2132), by our own bounded walk over the options.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::frame::{Checksum, Frame, Mac};
use super::{Prefix, WireText};

/// A DHCPv4 message with the options that matter, in typed form.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Dhcp4 {
    pub frame: Frame,
    pub src_port: u16,
    pub dst_port: u16,
    /// Of the UDP datagram.
    #[serde(skip)]
    pub checksum: Checksum,
    /// 1 request, 2 reply.
    pub op: u8,
    pub htype: u8,
    /// As sent: may exceed 16 in hostile packets.
    pub hlen: u8,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    pub broadcast: bool,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    /// The first `min(hlen, 16)` octets of chaddr.
    pub chaddr: Vec<u8>,
    /// Option 53; `None` for BOOTP.
    pub message_type: Option<MessageType>,
    /// Option 61, raw.
    pub client_id: Option<Vec<u8>>,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
    /// Option 50.
    pub requested_ip: Option<Ipv4Addr>,
    /// Option 51, seconds; `u32::MAX` is forever.
    pub lease_time: Option<u32>,
    /// Option 58, seconds.
    pub t1: Option<u32>,
    /// Option 59, seconds.
    pub t2: Option<u32>,
    /// Option 1.
    pub subnet_mask: Option<Ipv4Addr>,
    /// Option 3.
    pub routers: Vec<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Options 121, 249 (Microsoft's copy) and 33: prefix and gateway, with the option's code.
    pub routes: Vec<(u8, Prefix, Ipv4Addr)>,
    /// Option 12.
    pub host_name: Option<WireText>,
    /// Option 60.
    pub vendor_class: Option<WireText>,
    /// Option 77.
    pub user_class: Option<WireText>,
    /// Option 81's name.
    pub fqdn: Option<WireText>,
    /// Option 15.
    pub domain: Option<WireText>,
    /// Option 56.
    pub message: Option<WireText>,
    /// Option 55 in wire order: the client's fingerprint.
    pub parameters: Vec<u8>,
    /// Option 82.
    pub relay_agent: Option<RelayAgent>,
    /// Option 93's first architecture (PXE).
    pub architecture: Option<u16>,
    /// Option 108 (RFC 8925), seconds.
    pub ipv6_only_wait: Option<u32>,
    /// Boot file name and server name fields or options 66/67, where present.
    pub boot_file: Option<WireText>,
    pub boot_server: Option<WireText>,
    /// Option codes in wire order (main field, then file, then sname when overloaded), without pad and end.
    pub options: Vec<u8>,
    /// Every rule the packet breaks.
    pub flaws: Vec<Dhcp4Flaw>,
    /// Text fields that could act on a terminal: option codes (0 for the sname field, 255 for the file field).
    pub hostile_text: Vec<u8>,
}

impl Dhcp4 {
    /// The client's hardware address where it is Ethernet-like.
    pub fn client_mac(&self) -> Option<Mac> {
        (self.htype == 1 || self.htype == 6)
            .then(|| <[u8; 6]>::try_from(self.chaddr.as_slice()).ok().map(Mac))
            .flatten()
    }

    /// It passed a relay: giaddr is set.
    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }
}

/// Option 53.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MessageType {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
    ForceRenew,
    LeaseQuery,
    LeaseUnassigned,
    LeaseUnknown,
    LeaseActive,
    /// Another code.
    #[serde(untagged)]
    Other(u8),
}

impl From<u8> for MessageType {
    fn from(code: u8) -> MessageType {
        match code {
            1 => MessageType::Discover,
            2 => MessageType::Offer,
            3 => MessageType::Request,
            4 => MessageType::Decline,
            5 => MessageType::Ack,
            6 => MessageType::Nak,
            7 => MessageType::Release,
            8 => MessageType::Inform,
            9 => MessageType::ForceRenew,
            10 => MessageType::LeaseQuery,
            11 => MessageType::LeaseUnassigned,
            12 => MessageType::LeaseUnknown,
            13 => MessageType::LeaseActive,
            other => MessageType::Other(other),
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MessageType::Discover => "DISCOVER",
            MessageType::Offer => "OFFER",
            MessageType::Request => "REQUEST",
            MessageType::Decline => "DECLINE",
            MessageType::Ack => "ACK",
            MessageType::Nak => "NAK",
            MessageType::Release => "RELEASE",
            MessageType::Inform => "INFORM",
            MessageType::ForceRenew => "FORCERENEW",
            MessageType::LeaseQuery => "LEASEQUERY",
            MessageType::LeaseUnassigned => "LEASEUNASSIGNED",
            MessageType::LeaseUnknown => "LEASEUNKNOWN",
            MessageType::LeaseActive => "LEASEACTIVE",
            MessageType::Other(code) => return write!(f, "type {code}"),
        })
    }
}

/// Option 82 (RFC 3046), raw.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct RelayAgent {
    /// Sub-option 1.
    pub circuit_id: Option<WireText>,
    /// Sub-option 2.
    pub remote_id: Option<WireText>,
    /// Sub-option 5 (RFC 3527).
    pub link_selection: Option<Ipv4Addr>,
    /// Sub-option 11 (RFC 5107).
    pub server_id_override: Option<Ipv4Addr>,
}

/// Rules a DHCPv4 packet can break; `knowledge` of what each client does with it lives in the detector.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcp4Flaw {
    /// Shorter than the fixed part of 236 octets.
    Truncated,
    /// The magic cookie is missing or wrong (a BOOTP packet without vendor area is no flaw).
    BadCookie,
    /// hlen exceeds 16, or is not 6 on Ethernet.
    HardwareLength,
    /// op is neither 1 nor 2.
    BadOp,
    /// op does not fit the message type's direction.
    WrongDirection,
    /// A DHCP message (cookie and options) without option 53.
    NoMessageType,
    /// Option 53 has an unknown value.
    UnknownMessageType,
    /// An option's length runs past the end of its field.
    OptionOverrun,
    /// No END option.
    NoEnd,
    /// Non-zero octets behind END.
    AfterEnd,
    /// An option has a length its definition forbids.
    OptionLength,
    /// An option that must occur once occurs again with other content and not adjacent (RFC 3396 §5: receivers disagree).
    DuplicateOption,
    /// Option 52 has an invalid value or occurs inside an overloaded field.
    BadOverload,
    /// Option 121/249/33 does not parse (mask over 32, cut route).
    BadRoutes,
    /// Option 82 does not parse.
    BadRelayAgent,
    /// chaddr is all zero or a group address on Ethernet.
    BadHardwareAddress,
    /// UDP length and IP length disagree.
    UdpLength,
    /// It came in IP fragments.
    Fragmented,
    /// A wrong UDP checksum (not judged on frames the host sent itself).
    Checksum,
    /// T1 behind T2, or T2 behind the end of the lease (RFC 2131 §4.4.5), or a lease of no time: clients put their own times in place.
    BadLifetimes,
    /// A FORCERENEW without authentication (RFC 3203 §6, RFC 6704): clients drop it.
    NotAuthenticated,
}

impl Dhcp4Flaw {
    /// Every receiver reads the packet alike; what is wrong is what it says.
    pub fn is_readable(self) -> bool {
        matches!(self, Dhcp4Flaw::BadLifetimes | Dhcp4Flaw::NotAuthenticated)
    }
}
