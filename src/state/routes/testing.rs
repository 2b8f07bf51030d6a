//! Hand-made rtnetlink events for the tests of the kernel's tables and detectors.

use crate::event::frame::Mac;
use crate::event::netlink::*;
use crate::event::source::Unit;
use crate::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};

pub(crate) fn event(at: i64, kind: EventKind) -> Event {
    Event {
        at: Timestamp(at),
        origin_at: None,
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: (at as u64).wrapping_add(1),
            offset: 0,
        },
        kind,
    }
}

pub(crate) fn dump_done(at: i64, what: Dumped, seq: u32) -> Event {
    event(
        at,
        EventKind::DumpDone(DumpDone {
            what,
            seq,
            family: None,
        }),
    )
}

pub(crate) fn link_event(ifindex: u32, name: &str, flags: u32) -> LinkEvent {
    LinkEvent {
        meta: Meta::default(),
        action: Action::New,
        family: 0,
        ifindex,
        name: name.into(),
        flags,
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
    }
}

pub(crate) fn address_event(
    action: Action,
    ifindex: u32,
    addr: &str,
    prefix_len: u8,
) -> AddressEvent {
    AddressEvent {
        meta: Meta::default(),
        action,
        ifindex,
        addr: addr.parse().unwrap(),
        prefix_len,
        flags: 0x80,
        scope: 0,
        preferred: None,
        valid: None,
        protocol: None,
    }
}

pub(crate) fn neighbor_event(
    ifindex: u32,
    addr: &str,
    state: u16,
    mac: Option<Mac>,
    pid: u32,
) -> NeighborEvent {
    NeighborEvent {
        meta: Meta {
            pid,
            ..Meta::default()
        },
        action: Action::New,
        family: 2,
        ifindex,
        addr: Some(addr.parse().unwrap()),
        mac,
        state,
        flags: 0,
    }
}

/// A route of the main table; `hops` are "gateway@ifindex" or "@ifindex".
pub(crate) fn route_event(action: Action, prefix: &str, protocol: u8, hops: &[&str]) -> RouteEvent {
    RouteEvent {
        meta: Meta {
            pid: 500,
            ..Meta::default()
        },
        action,
        table: 254,
        prefix: prefix.parse().unwrap(),
        metric: 20,
        tos: 0,
        protocol,
        scope: 0,
        kind: 1,
        flags: 0,
        prefsrc: None,
        hops: hops
            .iter()
            .map(|text| {
                let (gateway, ifindex) = text.split_once('@').unwrap();
                Hop {
                    gateway: (!gateway.is_empty()).then(|| gateway.parse().unwrap()),
                    ifindex: Some(ifindex.parse().unwrap()),
                    weight: 1,
                    flags: 0,
                }
            })
            .collect(),
        nhid: None,
        expires: None,
    }
}
