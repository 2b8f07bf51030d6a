//! Loss and damage as events (law 4): what we did not see, and what we saw but could not read.

use serde::Serialize;

use super::{Timestamp, WireText};

/// Something between the wire and us was lost, or a clock moved.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Gap {
    /// What happened.
    pub kind: GapKind,
    /// Begin of the time in which something may be missing.
    pub from: Timestamp,
    /// End of it.
    pub to: Timestamp,
    /// How much was lost (packets, messages or octets, as the kind says), where known.
    pub lost: Option<u64>,
    /// One sentence for the reader.
    pub detail: WireText,
}

/// Kinds of loss.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapKind {
    /// The capture's own drop counters (pcapng interface statistics, live pcap).
    CaptureDrops,
    /// ENOBUFS on a netlink socket.
    NetlinkOverrun,
    /// The input ended inside a record, or bytes in it could not be read.
    DamagedInput,
    /// Octets of a TCP stream are missing from the capture.
    TcpLoss,
    /// A BMP or BGP feed of ours was cut.
    FeedLost,
    /// The source's clock stepped by more than a second.
    ClockStep,
    /// A table of ours is full; entries were not tracked.
    StateFull,
}

/// Bytes that do not decode as what they claim to be. Counted, shown, and never fatal.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Malformed {
    /// The protocol whose rules are broken.
    pub protocol: Protocol,
    /// What is wrong, in a few words.
    pub why: WireText,
    /// Its first octets.
    pub head: Vec<u8>,
}

/// Protocols that are decoded.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Frame,
    Ip,
    Tcp,
    Netlink,
    Arp,
    Nd,
    Dhcp4,
    Dhcp6,
    Bgp,
    Bmp,
    Bfd,
    Mrt,
    Rtr,
}
