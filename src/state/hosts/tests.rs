//! The table's bounds, and what counts as a claim.

use std::net::Ipv4Addr;

use super::*;
use crate::event::lan::Arp;
use crate::event::source::Unit;
use crate::event::{InputId, Locator};

fn gratuitous(seconds: i64, mac: Mac, addr: Ipv4Addr) -> Event {
    Event {
        at: Timestamp(seconds * 1_000_000_000),
        origin_at: None,
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: 1,
            offset: 0,
        },
        kind: EventKind::Arp(Box::new(Arp {
            frame: Frame {
                eth_src: Some(mac),
                eth_dst: Some(Mac::BROADCAST),
                ..Frame::default()
            },
            op: 2,
            sender_mac: mac,
            sender_ip: addr,
            target_mac: mac,
            target_ip: addr,
        })),
    }
}

fn apply(hosts: &mut Hosts, event: &Event) -> Vec<HostDelta> {
    let mut out = Vec::new();
    let EventKind::Arp(arp) = &event.kind else {
        return out;
    };
    let scope = Scope::of(event, &arp.frame);
    hosts.apply(event, scope, &mut Machines::default(), &mut out);
    out
}

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

#[test]
fn claims_are_first_same_changed_and_back() {
    let mut hosts = Hosts::default();
    let addr = Ipv4Addr::new(192, 0, 2, 1);
    let changes: Vec<HostChange> = [(0, 1), (1, 1), (2, 2), (3, 1)]
        .iter()
        .map(|(at, n)| apply(&mut hosts, &gratuitous(*at, mac(*n), addr))[0].change)
        .collect();
    assert_eq!(changes[..2], [HostChange::First, HostChange::Same]);
    assert!(
        matches!(changes[2], HostChange::Changed { from, back: false, .. } if from == mac(1)),
        "{changes:?}"
    );
    assert!(matches!(changes[3], HostChange::Changed { from, back: true, .. } if from == mac(2)));
}

#[test]
fn one_sender_cannot_fill_the_table() {
    let mut hosts = Hosts::default();
    for n in 0..5000u32 {
        let addr = Ipv4Addr::from(0x0a00_0001 + n);
        apply(&mut hosts, &gratuitous(0, mac(7), addr));
    }
    assert_eq!(hosts.len(), bounds::MAX_OF_SENDER);
    assert_eq!(hosts.refused, 5000 - bounds::MAX_OF_SENDER as u64);
}

#[test]
fn a_flood_of_invented_hosts_does_not_flush_confirmed_ones() {
    let mut hosts = Hosts::default();
    let known: Vec<Ipv4Addr> = (0..200).map(|n| Ipv4Addr::from(0xc000_0200 + n)).collect();
    for at in [0, 61] {
        for (n, addr) in known.iter().enumerate() {
            apply(&mut hosts, &gratuitous(at, mac(n as u32), *addr));
        }
    }
    for n in 0..20_000u32 {
        let addr = Ipv4Addr::from(0x0a00_0001 + n);
        apply(&mut hosts, &gratuitous(62, mac(1_000_000 + n), addr));
    }
    assert!(hosts.len() <= bounds::MAX_TENTATIVE + known.len());
    let scope = Scope {
        source: SourceId(0),
        ifindex: None,
        vlans: [None; 3],
    };
    for addr in known {
        assert!(hosts.get(scope, addr.into()).is_some());
    }
}

#[test]
fn a_fifth_mac_takes_the_place_of_the_quietest_but_not_of_the_first() {
    let mut hosts = Hosts::default();
    let addr = Ipv4Addr::new(192, 0, 2, 1);
    for n in 0..9 {
        apply(&mut hosts, &gratuitous(n.into(), mac(n), addr));
    }
    let scope = Scope {
        source: SourceId(0),
        ifindex: None,
        vlans: [None; 3],
    };
    let host = hosts.get(scope, addr.into()).unwrap();
    assert_eq!(host.uses.len(), MAX_MACS);
    assert_eq!(host.uses[0].mac, mac(0));
    assert_eq!(host.current().unwrap().mac, mac(8));
}
