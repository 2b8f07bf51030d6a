//! What a finding is about, and what it touches: the keys by which causes and effects are joined.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::event::frame::Mac;
use crate::event::{Prefix, text};

/// A subject, printed `type:value` as the JSON contract says.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Subject {
    /// Interface name.
    Link(Box<str>),
    Address(IpAddr),
    Neighbor(IpAddr),
    Nexthop(IpAddr),
    Prefix(Prefix),
    /// A BGP or BFD peer's address; link-local ones with `%interface`.
    Peer(IpAddr, Option<Box<str>>),
    /// Originating AS.
    Origin(u32),
    /// Another AS on the path.
    As(u32),
    /// A router (RA source, BMP sender).
    Router(IpAddr),
    Server(IpAddr),
    /// A DHCP client: lower-case MAC or DUID.
    Client(Box<str>),
    Mac(Mac),
    /// One of our own feeds.
    Source(Box<str>),
}

impl Subject {
    /// The address of a peer.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Subject::Peer(addr, _) => Some(*addr),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Link(name) => write!(f, "link:{}", text::sanitized(name)),
            Subject::Address(addr) => write!(f, "address:{addr}"),
            Subject::Neighbor(addr) => write!(f, "neighbor:{addr}"),
            Subject::Nexthop(addr) => write!(f, "nexthop:{addr}"),
            Subject::Prefix(prefix) => write!(f, "prefix:{prefix}"),
            Subject::Peer(addr, None) => write!(f, "peer:{addr}"),
            Subject::Peer(addr, Some(name)) => write!(f, "peer:{addr}%{}", text::sanitized(name)),
            Subject::Origin(asn) => write!(f, "origin:AS{asn}"),
            Subject::As(asn) => write!(f, "as:AS{asn}"),
            Subject::Router(addr) => write!(f, "router:{addr}"),
            Subject::Server(addr) => write!(f, "server:{addr}"),
            Subject::Client(id) => write!(f, "client:{}", text::sanitized(id)),
            Subject::Mac(mac) => write!(f, "mac:{mac}"),
            Subject::Source(name) => write!(f, "source:{}", text::sanitized(name)),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A key that a cause and its effect have in common. A finding lists all that it touches; a rule names the type that must meet.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Touch {
    /// An interface of the analysed host, by name (packets on it, addresses of it, routes through it).
    Interface(Box<str>),
    /// A prefix that is on-link there; meets every [`Touch::Peer`], [`Touch::Address`] and [`Touch::Gateway`] inside it.
    OnLink(Prefix),
    /// An address of one of our or the observed hosts.
    Address(IpAddr),
    /// A BGP or BFD peer (either end of the session).
    Peer(IpAddr),
    /// A gateway or BGP next hop.
    Gateway(IpAddr),
    /// A routed prefix; rules say whether equality or covering counts.
    Prefix(Prefix),
    /// An AS: neighbor, origin or common transit.
    As(u32),
    /// A link-layer address.
    Mac(Mac),
    /// A BGP identifier: groups the IPv4 and IPv6 sessions of one neighbor.
    RouterId(u32),
    /// A DHCP server or RA router by IP address.
    Server(IpAddr),
    /// A DHCP client by MAC or DUID text.
    Client(Box<str>),
    /// A feed of ours (BMP router, capture interface).
    Feed(Box<str>),
}
