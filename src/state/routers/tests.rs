//! Senders kept apart, and the bound.

use super::*;
use crate::event::frame::Frame;
use crate::event::lan::{Nd, NdFlaw};
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId};

fn advertisement(second: i64, router: &str, mac: u8, lifetime: u16) -> Event {
    let mac = Mac([2, 0, 0, 0, 0, mac]);
    Event {
        at: Timestamp(second * 1_000_000_000),
        origin_at: None,
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: 1,
            offset: 0,
        },
        kind: EventKind::Nd(Box::new(Nd {
            frame: Frame {
                eth_src: Some(mac),
                ip_src: Some(router.parse().unwrap()),
                ..Frame::default()
            },
            message: NdMessage::RouterAdvertisement(Box::new(RouterAdvertisement {
                lifetime,
                ..RouterAdvertisement::default()
            })),
            source_mac: Some(mac),
            target_mac: None,
            flaws: vec![],
        })),
    }
}

fn apply(routers: &mut Routers, event: &Event) -> Vec<RouterDelta> {
    let mut out = Vec::new();
    let EventKind::Nd(nd) = &event.kind else {
        return out;
    };
    routers.apply(event, Scope::of(event, &nd.frame), &mut out);
    out
}

#[test]
fn senders_in_one_name_are_kept_apart() {
    let mut routers = Routers::default();
    let first = apply(&mut routers, &advertisement(0, "fe80::1", 1, 1800));
    assert!(first[0].new_router && first[0].new_sender);
    let forged = apply(&mut routers, &advertisement(1, "fe80::1", 2, 0));
    assert_eq!(forged[0].lifetime, (Some(1800), 0));
    assert_eq!(forged[0].other_sender, Some(Mac([2, 0, 0, 0, 0, 1])));
    let router = routers.on_link(forged[0].scope).next().unwrap().1;
    assert_eq!(router.senders.len(), 2);
    assert_eq!(router.expires(), None);
    let again = apply(&mut routers, &advertisement(2, "fe80::1", 1, 1800));
    assert!(!again[0].new_sender);
    let router = routers
        .get(again[0].scope, "fe80::1".parse().unwrap())
        .unwrap();
    assert_eq!(router.expires(), Some(Timestamp(1_802_000_000_000)));
}

#[test]
fn what_receivers_discard_leaves_no_trace() {
    let mut routers = Routers::default();
    let mut event = advertisement(0, "fe80::1", 1, 1800);
    if let EventKind::Nd(nd) = &mut event.kind {
        nd.flaws.push(NdFlaw::HopLimit);
    }
    assert!(apply(&mut routers, &event).is_empty());
}

#[test]
fn a_flood_of_invented_routers_does_not_flush_an_established_one() {
    let mut routers = Routers::default();
    for second in 0..4 {
        apply(&mut routers, &advertisement(second, "fe80::1", 1, 1800));
    }
    for n in 2..2000u32 {
        apply(
            &mut routers,
            &advertisement(4, &format!("fe80::{n:x}"), 2, 1800),
        );
    }
    assert!(routers.routers.len() <= MAX_ROUTERS);
    let scope = Scope {
        source: SourceId(0),
        ifindex: None,
        vlans: [None; 3],
    };
    assert!(routers.get(scope, "fe80::1".parse().unwrap()).is_some());
}
