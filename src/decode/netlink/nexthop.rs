//! `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP` (linux/nexthop.h), which `netlink-packet-route` does not decode.
//!
//! Attributes are walked with every length checked; unknown ones are skipped, and a group has at most as many members as octets allow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attributes::{Walk, word};
use crate::event::EventKind;
use crate::event::netlink::{Action, Meta, NexthopEvent};

/// `struct nhmsg`: family, scope, protocol, reserved, flags.
const HEADER: usize = 8;
/// `struct nexthop_grp`: id, weight - 1, weight's high octet (since Linux 6.12), reserved.
const MEMBER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

/// Decodes the payload behind the netlink header.
pub(super) fn decode(
    payload: &[u8],
    meta: Meta,
    action: Action,
) -> Result<EventKind, &'static str> {
    let (header, rest) = payload
        .split_first_chunk::<HEADER>()
        .ok_or("nexthop message shorter than its header")?;
    let [_, _, protocol, _, f0, f1, f2, f3] = *header;
    let mut nexthop = NexthopEvent {
        meta,
        action,
        id: 0,
        group: Vec::new(),
        gateway: None,
        ifindex: None,
        blackhole: false,
        protocol,
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
    };
    for attribute in Walk::new(rest, "nexthop attribute runs over its message") {
        let (kind, value) = attribute?;
        match kind {
            NHA_ID => nexthop.id = word(value).ok_or("nexthop id is not four octets")?,
            NHA_OIF => nexthop.ifindex = word(value),
            NHA_BLACKHOLE => nexthop.blackhole = true,
            NHA_GATEWAY => nexthop.gateway = address(value),
            NHA_GROUP => nexthop.group = value.chunks_exact(MEMBER).filter_map(member).collect(),
            _ => {}
        }
    }
    if nexthop.id == 0 {
        return Err("nexthop without an id");
    }
    Ok(EventKind::Nexthop(Box::new(nexthop)))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let octets = <[u8; 16]>::try_from(value).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}

fn member(entry: &[u8]) -> Option<(u32, u16)> {
    let [i0, i1, i2, i3, low, high, ..] = *entry else {
        return None;
    };
    let weight = u16::from_le_bytes([low, high]).saturating_add(1);
    Some((u32::from_ne_bytes([i0, i1, i2, i3]), weight))
}
