//! `RTM_NEWMDB` and `RTM_DELMDB` (linux/if_bridge.h), which `netlink-packet-route` does not decode: which group a bridge port listens to.
//!
//! A notification holds one entry; a dump's message holds many, of which each is an event.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attributes::Walk;
use crate::decode::Emit;
use crate::decode::Stamp;
use crate::event::EventKind;
use crate::event::frame::Mac;
use crate::event::netlink::{Action, Group, MdbEvent, Meta};

/// `struct br_port_msg`: family, padding, ifindex of the bridge.
const HEADER: usize = 8;
const MDBA_MDB: u16 = 1;
const MDBA_MDB_ENTRY: u16 = 1;
const MDBA_MDB_ENTRY_INFO: u16 = 1;
/// `struct br_mdb_entry`: ifindex, state, flags, VLAN, group (16 octets), its protocol; two octets of padding may follow.
const ENTRY: usize = 26;
/// `ETH_P_IP`, `ETH_P_IPV6`; 0 is a group by its MAC.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const RUNS_OVER: &str = "mdb attribute runs over its message";

/// Decodes the payload behind the netlink header.
pub(super) fn decode(
    payload: &[u8],
    meta: Meta,
    action: Action,
    stamp: &Stamp,
    emit: Emit<'_>,
) -> Result<(), &'static str> {
    let (header, rest) = payload
        .split_first_chunk::<HEADER>()
        .ok_or("mdb message shorter than its header")?;
    let [_, _, _, _, b0, b1, b2, b3] = *header;
    let bridge = u32::from_ne_bytes([b0, b1, b2, b3]);
    for table in Walk::new(rest, RUNS_OVER) {
        let (MDBA_MDB, entries) = table? else {
            continue;
        };
        for entry in Walk::new(entries, RUNS_OVER) {
            let (MDBA_MDB_ENTRY, infos) = entry? else {
                continue;
            };
            for info in Walk::new(infos, RUNS_OVER) {
                let (MDBA_MDB_ENTRY_INFO, info) = info? else {
                    continue;
                };
                let info = info
                    .first_chunk::<ENTRY>()
                    .ok_or("mdb entry shorter than its fields")?;
                let event = event(info, bridge, meta, action);
                emit(&stamp.event(EventKind::Mdb(Box::new(event))));
            }
        }
    }
    Ok(())
}

fn event(entry: &[u8; ENTRY], bridge: u32, meta: Meta, action: Action) -> MdbEvent {
    let [i0, i1, i2, i3, state, _, v0, v1, group @ .., p0, p1] = *entry;
    let [a, b, c, d, e, f, ..] = group;
    let group = match u16::from_be_bytes([p0, p1]) {
        ETH_P_IP => Group::Address(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        ETH_P_IPV6 => Group::Address(IpAddr::V6(Ipv6Addr::from(group))),
        _ => Group::Mac(Mac([a, b, c, d, e, f])),
    };
    MdbEvent {
        meta,
        action,
        bridge,
        port: u32::from_ne_bytes([i0, i1, i2, i3]),
        group,
        vlan: u16::from_ne_bytes([v0, v1]),
        permanent: state != 0,
    }
}
