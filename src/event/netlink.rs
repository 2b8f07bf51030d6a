//! rtnetlink facts: links, addresses, routes, neighbors, rules, nexthop objects.

use std::net::IpAddr;

use serde::Serialize;

use super::Prefix;
use super::frame::Mac;

/// What the message header says about the notification.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct Meta {
    /// `nlmsg_pid`: 0 is the kernel itself, anything else the port of the process whose request caused this. 0 in dumps, where the header
    /// names who asked.
    pub pid: u32,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// Part of a dump (`NLM_F_MULTI`): describes what is, not what changed.
    pub dump: bool,
    /// `NLM_F_REPLACE` was set: an existing object was replaced.
    pub replace: bool,
    /// Network namespace id, where the socket listens to several.
    pub nsid: Option<i32>,
}

/// Appeared or changed (`RTM_NEW…`), or went (`RTM_DEL…`).
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    New,
    Del,
}

/// `RTM_NEWLINK`/`RTM_DELLINK` of family AF_UNSPEC (AF_INET6 and AF_BRIDGE copies lack most attributes: those fields are `None`).
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct LinkEvent {
    pub meta: Meta,
    pub action: Action,
    /// Address family of the message (0 = AF_UNSPEC, 7 = AF_BRIDGE, 10 = AF_INET6).
    pub family: u8,
    pub ifindex: u32,
    /// Interface name, sanitised; empty where the message has none.
    pub name: Box<str>,
    /// `IFF_*`.
    pub flags: u32,
    /// `IFLA_OPERSTATE` (RFC 2863: 2 down, 5 dormant, 6 up …).
    pub operstate: Option<u8>,
    /// `IFLA_CARRIER`.
    pub carrier: Option<bool>,
    /// `IFLA_CARRIER_CHANGES`.
    pub carrier_changes: Option<u32>,
    /// `IFLA_CARRIER_UP_COUNT`.
    pub carrier_up_count: Option<u32>,
    /// `IFLA_CARRIER_DOWN_COUNT`.
    pub carrier_down_count: Option<u32>,
    /// Bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// `IFLA_LINK`: peer or lower device.
    pub lower: Option<u32>,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    /// `IFLA_INFO_KIND`: veth, bridge, bond, vlan … (sanitised).
    pub link_kind: Option<Box<str>>,
}

/// `IFF_UP`.
pub const IFF_UP: u32 = 0x1;
/// `IFF_LOOPBACK`.
pub const IFF_LOOPBACK: u32 = 0x8;
/// `IFF_RUNNING`.
pub const IFF_RUNNING: u32 = 0x40;
/// `IFF_LOWER_UP`: the driver signals carrier.
pub const IFF_LOWER_UP: u32 = 0x1_0000;

/// `RTM_NEWADDR`/`RTM_DELADDR`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct AddressEvent {
    pub meta: Meta,
    pub action: Action,
    pub ifindex: u32,
    /// The local address (`IFA_LOCAL`, else `IFA_ADDRESS`).
    pub addr: IpAddr,
    pub prefix_len: u8,
    /// `IFA_F_*` (0x08 DAD failed, 0x20 deprecated, 0x40 tentative, 0x80 permanent …).
    pub flags: u32,
    pub scope: u8,
    /// Preferred lifetime in seconds; `u32::MAX` is forever.
    pub preferred: Option<u32>,
    /// Valid lifetime in seconds; `u32::MAX` is forever.
    pub valid: Option<u32>,
    /// `IFA_PROTO`.
    pub protocol: Option<u8>,
}

/// One next hop of a route.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default, Serialize)]
pub struct Hop {
    pub gateway: Option<IpAddr>,
    pub ifindex: Option<u32>,
    /// Weight, 1 for a plain route.
    pub weight: u16,
    /// `RTNH_F_*` (1 dead, 4 onlink, 16 linkdown).
    pub flags: u8,
}

/// `RTNH_F_DEAD`.
pub const RTNH_F_DEAD: u8 = 1;
/// `RTNH_F_LINKDOWN`.
pub const RTNH_F_LINKDOWN: u8 = 16;

/// `RTM_NEWROUTE`/`RTM_DELROUTE`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct RouteEvent {
    pub meta: Meta,
    pub action: Action,
    /// Routing table (`RTA_TABLE`; 254 main, 255 local).
    pub table: u32,
    pub prefix: Prefix,
    /// Metric (`RTA_PRIORITY`).
    pub metric: u32,
    pub tos: u8,
    /// Who installed it (`rtm_protocol`).
    pub protocol: u8,
    pub scope: u8,
    /// `rtm_type` (1 unicast, 2 local, 6 blackhole …).
    pub kind: u8,
    /// `rtm_flags` (0x200 cloned, 0x4000 offload …).
    pub flags: u32,
    pub prefsrc: Option<IpAddr>,
    /// Next hops as the message lists them (the resolved ones too where a nexthop object is used and compat mode shows them).
    pub hops: Vec<Hop>,
    /// Nexthop object (`RTA_NH_ID`).
    pub nhid: Option<u32>,
    /// Seconds until it expires (`RTA_CACHEINFO` / `RTA_EXPIRES`), where it does.
    pub expires: Option<u32>,
}

/// `RTPROT_KERNEL`: connected routes.
pub const RTPROT_KERNEL: u8 = 2;

/// Who owns routes of this `rtm_protocol`, as far as numbers are assigned (/etc/iproute2/rt_protos) or known from the field.
pub fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        0 => "unspec",
        1 => "ICMP redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        // Assigned to mrouted; kube-router uses it.
        17 => "mrouted or kube-router",
        18 => "keepalived",
        42 => "babel",
        80 => "felix (Calico)",
        84 => "ovn",
        99 => "openr",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        191 => "nhrp",
        192 => "eigrp",
        195 => "pbr",
        196 => "zstatic",
        _ => return format!("protocol {protocol}"),
    };
    name.to_owned()
}

/// Whether routes of this protocol come from a routing daemon, whose changes follow what its peers say.
pub fn is_routing_daemon(protocol: u8) -> bool {
    matches!(
        protocol,
        8 | 11 | 12 | 14 | 17 | 42 | 99 | 186..=189 | 191 | 192
    )
}

/// `RTM_F_CLONED`: a cache entry, not a route.
pub const RTM_F_CLONED: u32 = 0x200;

/// `RTM_NEWNEIGH`/`RTM_DELNEIGH` of AF_INET and AF_INET6 (AF_BRIDGE forwarding entries have `family` 7 and no `addr`).
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct NeighborEvent {
    pub meta: Meta,
    pub action: Action,
    pub family: u8,
    pub ifindex: u32,
    pub addr: Option<IpAddr>,
    pub mac: Option<Mac>,
    /// `NUD_*` (1 incomplete, 2 reachable, 4 stale, 8 delay, 16 probe, 32 failed, 64 noarp, 128 permanent).
    pub state: u16,
    /// `NTF_*`.
    pub flags: u8,
}

/// `NUD_INCOMPLETE`.
pub const NUD_INCOMPLETE: u16 = 0x01;
/// `NUD_REACHABLE`.
pub const NUD_REACHABLE: u16 = 0x02;
/// `NUD_STALE`.
pub const NUD_STALE: u16 = 0x04;
/// `NUD_FAILED`.
pub const NUD_FAILED: u16 = 0x20;
/// `NUD_NOARP`.
pub const NUD_NOARP: u16 = 0x40;
/// `NUD_PERMANENT`.
pub const NUD_PERMANENT: u16 = 0x80;

/// `RTM_NEWRULE`/`RTM_DELRULE`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct RuleEvent {
    pub meta: Meta,
    pub action: Action,
    pub priority: u32,
    pub table: u32,
    pub src: Option<Prefix>,
    pub dst: Option<Prefix>,
    pub fwmark: Option<u32>,
    pub iif: Option<Box<str>>,
    pub oif: Option<Box<str>>,
    /// `FR_ACT_*` (1 to table, 6 blackhole …).
    pub act: u8,
    pub protocol: Option<u8>,
    pub ipv6: bool,
}

/// `RTM_NEWNEXTHOP`/`RTM_DELNEXTHOP`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct NexthopEvent {
    pub meta: Meta,
    pub action: Action,
    pub id: u32,
    /// Members (id, weight) of a group; empty for a plain nexthop.
    pub group: Vec<(u32, u16)>,
    pub gateway: Option<IpAddr>,
    pub ifindex: Option<u32>,
    pub blackhole: bool,
    pub protocol: u8,
    pub flags: u32,
}

/// What a netconf message is about.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetconfOf {
    /// Every interface (`conf.all`).
    All,
    /// Interfaces to come (`conf.default`).
    Default,
    /// One interface, by its index.
    Link(u32),
}

/// `RTM_NEWNETCONF`/`RTM_DELNETCONF`: settings of an interface that decide what becomes of packets (sysctl net.ipv4.conf, net.ipv6.conf). A
/// notification holds what changed, a dump all that there is.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct NetconfEvent {
    pub meta: Meta,
    pub action: Action,
    pub ipv6: bool,
    pub of: NetconfOf,
    /// Packets for others are passed on.
    pub forwarding: Option<bool>,
    /// 0 off, 1 strict (RFC 3704), 2 loose.
    pub rp_filter: Option<u32>,
    pub mc_forwarding: Option<bool>,
    /// Proxy ARP, proxy ND.
    pub proxy_neigh: Option<bool>,
    /// Routes whose interface has no carrier are not used.
    pub ignore_linkdown: Option<bool>,
}

/// A multicast group.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Address(IpAddr),
    Mac(Mac),
}

/// An entry of `RTM_NEWMDB`/`RTM_DELMDB`: a bridge port that listens to a group.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct MdbEvent {
    pub meta: Meta,
    pub action: Action,
    /// Indexes of the bridge and of its port.
    pub bridge: u32,
    pub port: u32,
    pub group: Group,
    /// 0 without VLAN filtering.
    pub vlan: u16,
    /// Configured, not learnt.
    pub permanent: bool,
}

/// End of a dump.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct DumpDone {
    /// What the dump listed.
    pub what: Dumped,
    pub seq: u32,
    /// Address family that was asked for whole (0 is all), where the request was seen: what the dump lacks of it is gone, also when
    /// the list was empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<u8>,
}

impl DumpDone {
    /// Whether all of this family (true is IPv6) was listed.
    pub fn complete(&self, ipv6: bool) -> bool {
        self.family
            .is_some_and(|family| family == 0 || (family == AF_INET6) == ipv6)
    }
}

/// `AF_INET6`.
const AF_INET6: u8 = 10;

/// Tables that can be dumped.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dumped {
    Links,
    Addresses,
    Routes,
    Neighbors,
    Rules,
    Nexthops,
    Netconf,
    Mdb,
    /// The recording does not tell.
    Unknown,
}

/// Who is behind a netlink port (`nlmsg_pid`), as the live collector found it in /proc. In a recording it is a control message of type
/// [`NLMSG_ACTOR`] before the messages that it explains.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Actor {
    /// `nlmsg_pid`.
    pub pid: u32,
    /// The process's name (`/proc/PID/comm`), sanitised.
    pub name: Box<str>,
    /// Its id, where the port is another number: of a second socket, or a process in a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// Message type of an [`Actor`]: below `NLMSG_MIN_TYPE` (16) are control messages, of which the kernel uses 1 to 4 and rtmon 15.
/// Payload: [`ACTOR_MAGIC`], the port in host byte order, the name; where the process has another number, a NUL and that in decimal digits.
pub const NLMSG_ACTOR: u16 = 14;
/// Tells our message from whoever else may use its type.
pub const ACTOR_MAGIC: &[u8; 8] = b"flapscop";
