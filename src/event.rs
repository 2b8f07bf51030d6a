//! The vocabulary of the crate: plain data about what was seen, free of I/O, clocks and foreign crates' types.
//!
//! Everything that flows from `decode` to the screen is written in these words. An [`Event`] is one decoded fact; events are
//! borrowed by the stages behind `decode` (the decoder reuses their buffers), so a stage copies what it wants to keep.

pub mod annotation;
pub mod bfd;
pub mod bgp;
pub mod bmp;
pub mod bounded;
pub mod dhcp4;
pub mod dhcp6;
pub mod frame;
pub mod lan;
pub mod link_type;
pub mod loss;
pub mod mrt_type;
pub mod netlink;
pub mod ports;
pub mod prefix;
pub mod rtr;
pub mod source;
pub mod tcp;
pub mod text;
pub mod time;
pub mod vrrp;

pub use prefix::{Prefix, PrefixSet};
pub use source::{InputId, Locator, OwnFeed, SourceId, SourceInfo, SourceKind};
pub use text::WireText;
pub use time::Timestamp;

use serde::Serialize;

/// One decoded fact, with the time at which it was observed and the place where its bytes can be found again.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When the host or capture point saw it: the only time that orders anything.
    pub at: Timestamp,
    /// What a remote clock claimed (BMP per-peer header): shown, never ordered by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_at: Option<Timestamp>,
    /// The ordered source it came from.
    pub source: SourceId,
    /// Input and frame (or record and offset), for evidence.
    pub locator: Locator,
    /// The fact.
    pub kind: EventKind,
}

/// What was seen. Large facts are boxed so that an event stays small.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A source (interface of a capture, netlink socket, BMP connection, MRT file) is about to be used. Always precedes its events.
    Source(Box<SourceInfo>),
    /// rtnetlink link notification or dump entry.
    Link(Box<netlink::LinkEvent>),
    /// rtnetlink address notification or dump entry.
    Address(Box<netlink::AddressEvent>),
    /// rtnetlink route notification or dump entry.
    Route(Box<netlink::RouteEvent>),
    /// rtnetlink neighbor (ARP, ND cache) notification or dump entry.
    Neighbor(Box<netlink::NeighborEvent>),
    /// rtnetlink policy rule notification or dump entry.
    Rule(Box<netlink::RuleEvent>),
    /// rtnetlink nexthop object notification or dump entry.
    Nexthop(Box<netlink::NexthopEvent>),
    /// Settings of an interface that decide what becomes of packets.
    Netconf(Box<netlink::NetconfEvent>),
    /// A bridge port's multicast group.
    Mdb(Box<netlink::MdbEvent>),
    /// End of one rtnetlink dump (`NLMSG_DONE`): what was not repeated in it is gone.
    DumpDone(netlink::DumpDone),
    /// The process behind a netlink port.
    Actor(Box<netlink::Actor>),
    /// ARP packet.
    Arp(Box<lan::Arp>),
    /// ICMPv6 router/neighbor discovery or redirect message.
    Nd(Box<lan::Nd>),
    /// DHCPv4 (or BOOTP) message.
    Dhcp4(Box<dhcp4::Dhcp4>),
    /// DHCPv6 message, relay chain unwrapped.
    Dhcp6(Box<dhcp6::Dhcp6>),
    /// BGP message, from packets or MRT.
    Bgp(Box<bgp::BgpEvent>),
    /// BMP message.
    Bmp(Box<bmp::BmpEvent>),
    /// VRRP advertisement.
    Vrrp(Box<vrrp::Vrrp>),
    /// BFD control packet.
    Bfd(Box<bfd::Bfd>),
    /// RTR message: what an RPKI cache tells a router.
    Rtr(Box<rtr::RtrEvent>),
    /// A fact about a TCP connection that carries BGP (or BMP): open, close, reset, retransmission, stall.
    Tcp(Box<tcp::TcpEvent>),
    /// Something was lost between the wire and us.
    Gap(Box<loss::Gap>),
    /// Bytes that do not decode as what they claim to be.
    Malformed(Box<loss::Malformed>),
    /// An operator said that something changed.
    Annotation(Box<annotation::Annotation>),
    /// Nothing came in: a deadline of the model fired (its changes are in the observation). Its locator has number 0 and is no evidence.
    Deadline,
}

/// Event classes as bits, for detectors to register what they want to see.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Classes(pub u32);

impl Classes {
    pub const SOURCE: Classes = Classes(1);
    pub const LINK: Classes = Classes(1 << 1);
    pub const ADDRESS: Classes = Classes(1 << 2);
    pub const ROUTE: Classes = Classes(1 << 3);
    pub const NEIGHBOR: Classes = Classes(1 << 4);
    pub const RULE: Classes = Classes(1 << 5);
    pub const NEXTHOP: Classes = Classes(1 << 6);
    pub const DUMP_DONE: Classes = Classes(1 << 7);
    pub const ARP: Classes = Classes(1 << 8);
    pub const ND: Classes = Classes(1 << 9);
    pub const DHCP4: Classes = Classes(1 << 10);
    pub const DHCP6: Classes = Classes(1 << 11);
    pub const BGP: Classes = Classes(1 << 12);
    pub const BMP: Classes = Classes(1 << 13);
    pub const BFD: Classes = Classes(1 << 14);
    pub const TCP: Classes = Classes(1 << 15);
    pub const GAP: Classes = Classes(1 << 16);
    pub const MALFORMED: Classes = Classes(1 << 17);
    /// Deadlines of the model; detectors get them whenever they changed something, without asking.
    pub const DEADLINE: Classes = Classes(1 << 18);
    pub const ACTOR: Classes = Classes(1 << 19);
    pub const RTR: Classes = Classes(1 << 20);
    pub const ANNOTATION: Classes = Classes(1 << 21);
    pub const NETCONF: Classes = Classes(1 << 22);
    pub const MDB: Classes = Classes(1 << 23);
    pub const VRRP: Classes = Classes(1 << 24);
    /// Every class.
    pub const ALL: Classes = Classes((1 << 25) - 1);

    /// The union of two sets.
    pub const fn and(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }

    /// Whether the sets meet.
    pub const fn meets(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }
}

impl Event {
    /// The event that accompanies what a deadline of the model changed.
    pub const fn deadline(at: Timestamp) -> Event {
        let locator = Locator {
            input: InputId(u16::MAX),
            unit: source::Unit::Record,
            number: 0,
            offset: 0,
        };
        Event {
            at,
            origin_at: None,
            source: SourceId(u32::MAX),
            locator,
            kind: EventKind::Deadline,
        }
    }
}

impl EventKind {
    /// The class bit of this event.
    pub const fn class(&self) -> Classes {
        match self {
            EventKind::Source(_) => Classes::SOURCE,
            EventKind::Link(_) => Classes::LINK,
            EventKind::Address(_) => Classes::ADDRESS,
            EventKind::Route(_) => Classes::ROUTE,
            EventKind::Neighbor(_) => Classes::NEIGHBOR,
            EventKind::Rule(_) => Classes::RULE,
            EventKind::Nexthop(_) => Classes::NEXTHOP,
            EventKind::Netconf(_) => Classes::NETCONF,
            EventKind::Mdb(_) => Classes::MDB,
            EventKind::DumpDone(_) => Classes::DUMP_DONE,
            EventKind::Actor(_) => Classes::ACTOR,
            EventKind::Arp(_) => Classes::ARP,
            EventKind::Nd(_) => Classes::ND,
            EventKind::Dhcp4(_) => Classes::DHCP4,
            EventKind::Dhcp6(_) => Classes::DHCP6,
            EventKind::Bgp(_) => Classes::BGP,
            EventKind::Bmp(_) => Classes::BMP,
            EventKind::Vrrp(_) => Classes::VRRP,
            EventKind::Bfd(_) => Classes::BFD,
            EventKind::Rtr(_) => Classes::RTR,
            EventKind::Tcp(_) => Classes::TCP,
            EventKind::Gap(_) => Classes::GAP,
            EventKind::Malformed(_) => Classes::MALFORMED,
            EventKind::Annotation(_) => Classes::ANNOTATION,
            EventKind::Deadline => Classes::DEADLINE,
        }
    }
}
