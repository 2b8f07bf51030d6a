//! From `netlink-packet-route`'s types to the crate's own vocabulary. No foreign type leaves this file.
//!
//! The kernel omits what is default (no destination is 0.0.0.0/0, no table attribute means the header's); here it is filled in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteVia,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};

use crate::event::frame::Mac;
use crate::event::netlink::{
    Action, AddressEvent, Hop, LinkEvent, Meta, NeighborEvent, RouteEvent, RuleEvent,
};
use crate::event::text::sanitized;
use crate::event::{EventKind, Prefix};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `RTA_CACHEINFO` counts `rta_expires` in ticks of `USER_HZ` (100 on every Linux architecture in use).
const USER_HZ: u32 = 100;

/// The event of a parsed message; `None` for families that are not followed (multicast routing, MPLS).
pub(super) fn event(message: RouteNetlinkMessage, meta: Meta, action: Action) -> Option<EventKind> {
    use RouteNetlinkMessage as M;
    match message {
        M::NewLink(m) | M::DelLink(m) => Some(EventKind::Link(Box::new(link(m, meta, action)))),
        M::NewAddress(m) | M::DelAddress(m) => {
            address(m, meta, action).map(|e| EventKind::Address(Box::new(e)))
        }
        M::NewRoute(m) | M::DelRoute(m) => {
            route(m, meta, action).map(|e| EventKind::Route(Box::new(e)))
        }
        M::NewNeighbour(m) | M::DelNeighbour(m) => {
            Some(EventKind::Neighbor(Box::new(neighbor(m, meta, action))))
        }
        M::NewRule(m) | M::DelRule(m) => {
            rule(m, meta, action).map(|e| EventKind::Rule(Box::new(e)))
        }
        _ => None,
    }
}

fn link(message: LinkMessage, meta: Meta, action: Action) -> LinkEvent {
    let header = message.header;
    let mut link = LinkEvent {
        meta,
        action,
        family: header.interface_family.into(),
        ifindex: header.index,
        name: Box::default(),
        flags: header.flags.bits(),
        operstate: None,
        carrier: None,
        carrier_changes: None,
        carrier_up_count: None,
        carrier_down_count: None,
        master: None,
        lower: None,
        mac: None,
        mtu: None,
        link_kind: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = sanitized(&name).into(),
            LinkAttribute::OperState(state) => link.operstate = Some(state.into()),
            LinkAttribute::Carrier(carrier) => link.carrier = Some(carrier != 0),
            LinkAttribute::CarrierChanges(n) => link.carrier_changes = Some(n),
            LinkAttribute::CarrierUpCount(n) => link.carrier_up_count = Some(n),
            LinkAttribute::CarrierDownCount(n) => link.carrier_down_count = Some(n),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::Address(octets) => link.mac = mac(&octets),
            LinkAttribute::Mtu(mtu) => link.mtu = Some(mtu),
            LinkAttribute::LinkInfo(infos) => {
                link.link_kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(sanitized(&kind.to_string()).into()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn address(message: AddressMessage, meta: Meta, action: Action) -> Option<AddressEvent> {
    let header = message.header;
    let (mut local, mut peer) = (None, None);
    let mut flags = u32::from(header.flags.bits());
    let (mut preferred, mut valid, mut protocol) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(addr),
            AddressAttribute::Address(addr) => peer = Some(addr),
            AddressAttribute::Flags(all) => flags = all.bits(),
            AddressAttribute::CacheInfo(info) => {
                preferred = Some(info.ifa_preferred);
                valid = Some(info.ifa_valid);
            }
            AddressAttribute::Protocol(p) => protocol = Some(p.into()),
            _ => {}
        }
    }
    Some(AddressEvent {
        meta,
        action,
        ifindex: header.index,
        addr: local.or(peer)?,
        prefix_len: header.prefix_len,
        flags,
        scope: header.scope.into(),
        preferred,
        valid,
        protocol,
    })
}

fn route(message: RouteMessage, meta: Meta, action: Action) -> Option<RouteEvent> {
    let header = message.header;
    let unspecified = unspecified(header.address_family.into())?;
    let mut route = RouteEvent {
        meta,
        action,
        table: u32::from(header.table),
        prefix: Prefix::new(unspecified, header.destination_prefix_length),
        metric: 0,
        tos: header.tos,
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        kind: header.kind.into(),
        flags: header.flags.bits(),
        prefsrc: None,
        hops: Vec::new(),
        nhid: None,
        expires: None,
    };
    // The low octet of rtm_flags holds the RTNH_F_* flags of a route with one hop.
    let mut single = Hop {
        weight: 1,
        flags: (route.flags & 0xff) as u8,
        ..Hop::default()
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(addr) => {
                route.prefix = Prefix::new(ip(&addr)?, header.destination_prefix_length);
            }
            RouteAttribute::Table(table) => route.table = table,
            RouteAttribute::Priority(metric) => route.metric = metric,
            RouteAttribute::PrefSource(addr) => route.prefsrc = ip(&addr),
            RouteAttribute::Gateway(addr) => single.gateway = ip(&addr),
            RouteAttribute::Via(via) => single.gateway = via_ip(&via),
            RouteAttribute::Oif(index) => single.ifindex = Some(index),
            RouteAttribute::MultiPath(hops) => route.hops = hops.iter().map(hop).collect(),
            RouteAttribute::NhId(id) => route.nhid = Some(id),
            RouteAttribute::CacheInfo(info) => {
                // Negative ticks: already expired, the garbage collector has not come by yet.
                let ticks = (info.expires as i32).max(0) as u32;
                route.expires = (info.expires != 0).then_some(ticks / USER_HZ);
            }
            RouteAttribute::Expires(seconds) => route.expires = Some(seconds),
            _ => {}
        }
    }
    if route.hops.is_empty() && (single.gateway.is_some() || single.ifindex.is_some()) {
        route.hops.push(single);
    }
    Some(route)
}

fn hop(next: &RouteNextHop) -> Hop {
    let gateway = next
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(addr) => ip(addr),
            RouteAttribute::Via(via) => via_ip(via),
            _ => None,
        });
    Hop {
        gateway,
        ifindex: (next.interface_index != 0).then_some(next.interface_index),
        // rtnh_hops is the weight less one.
        weight: u16::from(next.hops) + 1,
        flags: next.flags.bits(),
    }
}

fn neighbor(message: NeighbourMessage, meta: Meta, action: Action) -> NeighborEvent {
    let header = message.header;
    let mut neighbor = NeighborEvent {
        meta,
        action,
        family: header.family.into(),
        ifindex: header.ifindex,
        addr: None,
        mac: None,
        state: header.state.into(),
        flags: header.flags.bits(),
    };
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => {
                neighbor.addr = Some(IpAddr::V4(a));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => {
                neighbor.addr = Some(IpAddr::V6(a));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => neighbor.mac = mac(&octets),
            _ => {}
        }
    }
    neighbor
}

fn rule(message: RuleMessage, meta: Meta, action: Action) -> Option<RuleEvent> {
    let header = message.header;
    let unspecified = unspecified(header.family.into())?;
    let mut rule = RuleEvent {
        meta,
        action,
        priority: 0,
        table: u32::from(header.table),
        src: None,
        dst: None,
        fwmark: None,
        iif: None,
        oif: None,
        act: header.action.into(),
        protocol: None,
        ipv6: unspecified.is_ipv6(),
    };
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Source(addr) => rule.src = Some(Prefix::new(addr, header.src_len)),
            RuleAttribute::Destination(addr) => rule.dst = Some(Prefix::new(addr, header.dst_len)),
            RuleAttribute::FwMark(mark) => rule.fwmark = Some(mark),
            RuleAttribute::Iifname(name) => rule.iif = Some(sanitized(&name).into()),
            RuleAttribute::Oifname(name) => rule.oif = Some(sanitized(&name).into()),
            RuleAttribute::Protocol(protocol) => rule.protocol = Some(protocol.into()),
            _ => {}
        }
    }
    Some(rule)
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

fn via_ip(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(a) => Some(IpAddr::V4(*a)),
        RouteVia::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

/// Link-layer addresses of other lengths (tunnels, InfiniBand) are not EUI-48 and are left out.
fn mac(octets: &[u8]) -> Option<Mac> {
    octets.try_into().ok().map(Mac)
}
