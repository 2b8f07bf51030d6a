//! A fact and its subjects. Plain data: what happened, when, in which frame, by whom.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::event::frame::Mac;
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::leases::message::{ClientId, Config, ServerId};

/// Subjects by which facts are found.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Key {
    /// The class as a whole.
    Everything,
    /// An interface of the analysed host.
    Interface(u32),
    Address(IpAddr),
    Prefix(Prefix),
    /// A BGP or BFD session by its ends, the lesser first: see [`Key::pair`].
    Pair(IpAddr, IpAddr),
    Client(ClientId),
    Mac(Mac),
}

impl Key {
    /// A session by its ends in any order.
    pub fn pair(a: IpAddr, b: IpAddr) -> Key {
        Key::Pair(a.min(b), a.max(b))
    }
}

/// Kinds of facts.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(usize)]
pub enum Class {
    /// An interface stopped being usable, or became usable.
    LinkDown,
    LinkUp,
    /// An address of this host went, or came.
    AddressGone,
    AddressCame,
    /// A kernel route went, came, or was replaced.
    RouteGone,
    RouteCame,
    RouteReplaced,
    /// The kernel gave a neighbor up, or has it again.
    NeighborFailed,
    NeighborBack,
    BfdDown,
    BfdUp,
    BfdLate,
    SessionDown,
    SessionUp,
    SessionRefused,
    /// A message came late and the session survived.
    MessageLate,
    LeaseGranted,
    LeaseRenewed,
    LeaseEnded,
    LeaseReleased,
    LeaseRefused,
    AddressDeclined,
    /// A server's answers to a client changed in what decides where traffic goes.
    DhcpChanged,
    /// A router's advertisement with a lifetime, or with lifetime 0.
    RouterAdvertised,
    RouterWithdrew,
    /// A neighbor advertisement with, or of a router without, the R flag.
    RouterFlag,
    RouterFlagGone,
}

/// Number of classes.
pub const CLASSES: usize = Class::RouterFlagGone as usize + 1;

impl Class {
    /// Where such facts come from.
    pub const fn channel(self) -> Channel {
        match self {
            Class::LinkDown | Class::LinkUp => Channel::Links,
            Class::AddressGone | Class::AddressCame => Channel::Addresses,
            Class::RouteGone | Class::RouteCame | Class::RouteReplaced => Channel::Routes,
            Class::NeighborFailed | Class::NeighborBack => Channel::Neighbors,
            Class::BfdDown | Class::BfdUp | Class::BfdLate => Channel::Bfd,
            Class::SessionDown | Class::SessionUp | Class::SessionRefused | Class::MessageLate => {
                Channel::Bgp
            }
            Class::LeaseGranted
            | Class::LeaseRenewed
            | Class::LeaseEnded
            | Class::LeaseReleased
            | Class::LeaseRefused
            | Class::AddressDeclined
            | Class::DhcpChanged => Channel::Dhcp,
            Class::RouterAdvertised
            | Class::RouterWithdrew
            | Class::RouterFlag
            | Class::RouterFlagGone => Channel::Nd,
        }
    }
}

/// A stream of observations that is watched or not.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(usize)]
pub enum Channel {
    Links,
    Addresses,
    Routes,
    Neighbors,
    Dhcp,
    Nd,
    Bgp,
    Bfd,
}

impl Channel {
    /// All channels.
    pub const ALL: [Channel; 8] = [
        Channel::Links,
        Channel::Addresses,
        Channel::Routes,
        Channel::Neighbors,
        Channel::Dhcp,
        Channel::Nd,
        Channel::Bgp,
        Channel::Bfd,
    ];

    /// Told by rtnetlink; the others by packets.
    pub const fn is_kernel(self) -> bool {
        matches!(
            self,
            Channel::Links | Channel::Addresses | Channel::Routes | Channel::Neighbors
        )
    }
}

/// How an interface became unusable.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LinkLoss {
    Carrier,
    SetDown,
    Removed,
    /// Counted by the kernel and not notified.
    Counted,
}

/// A route's way, as far as a sentence needs it: its first hop.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RouteWay {
    pub table: u32,
    pub metric: u32,
    pub protocol: u8,
    pub kind: u8,
    pub ifindex: Option<u32>,
    pub gateway: Option<IpAddr>,
}

/// What a server's answers to one client changed in.
#[derive(Clone, Debug)]
pub struct DhcpChange {
    pub before: Config,
    pub after: Config,
}

impl DhcpChange {
    /// The answer gives classless routes for the first time: a client that knows them ignores the gateway then (RFC 3442).
    pub fn begins_routes(&self) -> bool {
        self.before.routes.is_empty() && !self.after.routes.is_empty()
    }

    /// The default gateway that a client takes from this configuration: option 121 decides alone where it is present (RFC 3442 p. 5).
    pub fn gateway(config: &Config) -> Option<IpAddr> {
        if config.routes.is_empty() {
            return config.routers.first().copied();
        }
        let default = config.routes.iter().find(|(prefix, _)| prefix.is_default());
        default.map(|(_, gateway)| *gateway)
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    LinkDown {
        ifindex: u32,
        how: LinkLoss,
    },
    LinkUp {
        ifindex: u32,
    },
    AddressGone {
        ifindex: u32,
        addr: IpAddr,
        prefix_len: u8,
        /// Its valid lifetime ran out.
        expired: bool,
        /// No other of its family is left there.
        last: bool,
    },
    AddressCame {
        ifindex: u32,
        addr: IpAddr,
        prefix_len: u8,
    },
    RouteGone {
        prefix: Prefix,
        old: RouteWay,
        /// Not notified: implied by the kernel's rules, or missing in a dump.
        inferred: bool,
    },
    RouteCame {
        prefix: Prefix,
        new: RouteWay,
    },
    RouteReplaced {
        prefix: Prefix,
        old: RouteWay,
        new: RouteWay,
    },
    NeighborFailed {
        ifindex: u32,
        addr: IpAddr,
    },
    NeighborBack {
        ifindex: u32,
        addr: IpAddr,
    },
    BfdDown {
        a: IpAddr,
        b: IpAddr,
        diag: u8,
        admin: bool,
    },
    BfdUp {
        a: IpAddr,
        b: IpAddr,
    },
    BfdLate {
        a: IpAddr,
        b: IpAddr,
        gap: Duration,
    },
    SessionDown {
        a: IpAddr,
        b: IpAddr,
        vrf: u64,
        /// Code and subcode of the NOTIFICATION, where one was seen.
        notification: Option<(u8, u8)>,
    },
    SessionUp {
        a: IpAddr,
        b: IpAddr,
        vrf: u64,
    },
    SessionRefused {
        a: IpAddr,
        b: IpAddr,
        notification: Option<(u8, u8)>,
    },
    MessageLate {
        a: IpAddr,
        b: IpAddr,
        from: IpAddr,
        gap: Duration,
        hold: Duration,
    },
    LeaseGranted {
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
        until: Timestamp,
    },
    LeaseRenewed {
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
        until: Timestamp,
    },
    LeaseEnded {
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
    },
    LeaseReleased {
        client: ClientId,
        addr: Option<IpAddr>,
        /// Link-layer source of the frame, which may be somebody else's.
        sender: Option<Mac>,
    },
    LeaseRefused {
        client: ClientId,
        server: Option<ServerId>,
    },
    AddressDeclined {
        client: ClientId,
        addr: Option<IpAddr>,
    },
    DhcpChanged {
        client: ClientId,
        server: ServerId,
        addr: Option<IpAddr>,
        change: Box<DhcpChange>,
    },
    RouterAdvertised {
        router: Ipv6Addr,
        sender: Option<Mac>,
        lifetime: u16,
    },
    RouterWithdrew {
        router: Ipv6Addr,
        sender: Option<Mac>,
    },
    RouterFlag {
        router: Ipv6Addr,
        sender: Option<Mac>,
    },
    RouterFlagGone {
        router: Ipv6Addr,
        sender: Option<Mac>,
    },
}

/// A fact.
#[derive(Clone, Debug)]
pub struct Fact {
    pub at: Timestamp,
    /// The frame that shows it; number 0 where a deadline does.
    pub locator: Locator,
    /// The netlink port that asked for it, 0 for the kernel; `None` where nobody can be named.
    pub by: Option<u32>,
    pub what: What,
}

impl What {
    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            What::LinkDown { .. } => Class::LinkDown,
            What::LinkUp { .. } => Class::LinkUp,
            What::AddressGone { .. } => Class::AddressGone,
            What::AddressCame { .. } => Class::AddressCame,
            What::RouteGone { .. } => Class::RouteGone,
            What::RouteCame { .. } => Class::RouteCame,
            What::RouteReplaced { .. } => Class::RouteReplaced,
            What::NeighborFailed { .. } => Class::NeighborFailed,
            What::NeighborBack { .. } => Class::NeighborBack,
            What::BfdDown { .. } => Class::BfdDown,
            What::BfdUp { .. } => Class::BfdUp,
            What::BfdLate { .. } => Class::BfdLate,
            What::SessionDown { .. } => Class::SessionDown,
            What::SessionUp { .. } => Class::SessionUp,
            What::SessionRefused { .. } => Class::SessionRefused,
            What::MessageLate { .. } => Class::MessageLate,
            What::LeaseGranted { .. } => Class::LeaseGranted,
            What::LeaseRenewed { .. } => Class::LeaseRenewed,
            What::LeaseEnded { .. } => Class::LeaseEnded,
            What::LeaseReleased { .. } => Class::LeaseReleased,
            What::LeaseRefused { .. } => Class::LeaseRefused,
            What::AddressDeclined { .. } => Class::AddressDeclined,
            What::DhcpChanged { .. } => Class::DhcpChanged,
            What::RouterAdvertised { .. } => Class::RouterAdvertised,
            What::RouterWithdrew { .. } => Class::RouterWithdrew,
            What::RouterFlag { .. } => Class::RouterFlag,
            What::RouterFlagGone { .. } => Class::RouterFlagGone,
        }
    }

    /// The subjects by which it is found.
    pub fn keys(&self) -> SmallVec<[Key; 4]> {
        let mut keys: SmallVec<[Key; 4]> = match self {
            What::LinkDown { ifindex, .. } | What::LinkUp { ifindex } => {
                smallvec![Key::Interface(*ifindex)]
            }
            What::AddressGone { ifindex, addr, .. }
            | What::AddressCame { ifindex, addr, .. }
            | What::NeighborFailed { ifindex, addr }
            | What::NeighborBack { ifindex, addr } => {
                smallvec![Key::Interface(*ifindex), Key::Address(*addr)]
            }
            What::RouteGone {
                prefix, old: way, ..
            }
            | What::RouteCame { prefix, new: way } => route_keys(*prefix, [way, way]),
            What::RouteReplaced { prefix, old, new } => route_keys(*prefix, [old, new]),
            What::BfdDown { a, b, .. }
            | What::BfdUp { a, b }
            | What::BfdLate { a, b, .. }
            | What::SessionDown { a, b, .. }
            | What::SessionUp { a, b, .. }
            | What::SessionRefused { a, b, .. }
            | What::MessageLate { a, b, .. } => {
                smallvec![Key::pair(*a, *b), Key::Address(*a), Key::Address(*b)]
            }
            What::LeaseGranted { client, prefix, .. }
            | What::LeaseRenewed { client, prefix, .. }
            | What::LeaseEnded { client, prefix, .. } => {
                smallvec![Key::Client(client.clone()), Key::Address(prefix.addr())]
            }
            What::LeaseReleased { client, addr, .. }
            | What::AddressDeclined { client, addr }
            | What::DhcpChanged { client, addr, .. } => {
                let mut keys: SmallVec<[Key; 4]> = smallvec![Key::Client(client.clone())];
                keys.extend(addr.map(Key::Address));
                keys
            }
            What::LeaseRefused { client, .. } => smallvec![Key::Client(client.clone())],
            What::RouterAdvertised { router, sender, .. }
            | What::RouterWithdrew { router, sender }
            | What::RouterFlag { router, sender }
            | What::RouterFlagGone { router, sender } => {
                let mut keys: SmallVec<[Key; 4]> = smallvec![Key::Address((*router).into())];
                keys.extend(sender.map(Key::Mac));
                keys
            }
        };
        keys.push(Key::Everything);
        keys
    }

    /// Kept in a storm, too: a connected or default route decides where everything else goes.
    pub(super) fn is_weighty(&self) -> bool {
        let routing = |prefix: &Prefix, way: &RouteWay| {
            prefix.is_default() || way.protocol == crate::event::netlink::RTPROT_KERNEL
        };
        match self {
            What::RouteGone {
                prefix, old: way, ..
            }
            | What::RouteCame { prefix, new: way }
            | What::RouteReplaced {
                prefix, old: way, ..
            } => routing(prefix, way),
            _ => false,
        }
    }
}

fn route_keys(prefix: Prefix, ways: [&RouteWay; 2]) -> SmallVec<[Key; 4]> {
    let mut keys: SmallVec<[Key; 4]> = smallvec![Key::Prefix(prefix)];
    for ifindex in ways.into_iter().filter_map(|way| way.ifindex) {
        let key = Key::Interface(ifindex);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
