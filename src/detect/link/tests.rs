//! Links against their benign twins.

use super::*;
use crate::detect::route::lab::Lab;
use crate::event::EventKind;
use crate::event::netlink::{Action, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, LinkEvent};
use crate::state::routes::testing::{address_event, link_event, route_event};

const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

fn link(lab: &mut Lab, ms: i64, name: &str, flags: u32) {
    lab.at(ms, EventKind::Link(Box::new(link_event(3, name, flags))));
}

fn uplink(name: &str) -> Lab {
    let mut lab = Lab::new();
    link(&mut lab, 0, name, UP);
    let address = address_event(Action::New, 3, "192.0.2.2", 30);
    lab.at(0, EventKind::Address(Box::new(address)));
    let route = route_event(Action::New, "198.51.100.0/24", 186, &["192.0.2.1@3"]);
    lab.at(0, EventKind::Route(Box::new(route)));
    lab
}

#[test]
fn one_loss_is_a_loss_and_the_second_makes_the_same_finding_a_flap() {
    let mut lab = uplink("eth1");
    link(&mut lab, 1_000, "eth1", IFF_UP);
    assert_eq!(lab.findings(Kind::LinkCarrierLost).len(), 1);
    assert!(lab.findings(Kind::LinkCarrierLost)[0].broken.subject);
    link(&mut lab, 2_000, "eth1", UP);
    link(&mut lab, 5_000, "eth1", IFF_UP);
    link(&mut lab, 6_000, "eth1", UP);
    assert!(lab.findings(Kind::LinkCarrierLost).is_empty());
    let flaps = lab.findings(Kind::LinkFlap);
    assert_eq!(
        (flaps.len(), flaps[0].count, flaps[0].evidence.total),
        (1, 2, 4)
    );
    assert_eq!(
        (flaps[0].reason, flaps[0].severity),
        (Some(Reason::Carrier), Severity::Warning)
    );
    assert_eq!(flaps[0].ended, Some(Timestamp(6_000_000_000)));
    assert!(!flaps[0].broken.subject);
    for touch in [
        Touch::Interface("eth1".into()),
        Touch::OnLink("192.0.2.0/30".parse().unwrap()),
        Touch::Gateway("192.0.2.1".parse().unwrap()),
    ] {
        assert!(flaps[0].touches.contains(&touch), "{touch:?}");
    }
}

#[test]
fn two_losses_far_apart_are_two_losses() {
    let mut lab = uplink("eth1");
    for ms in [1_000, 400_000] {
        link(&mut lab, ms, "eth1", IFF_UP);
        link(&mut lab, ms + 500, "eth1", UP);
    }
    let lost = lab.findings(Kind::LinkCarrierLost);
    assert_eq!((lost.len(), lost[0].count), (1, 2));
    assert!(lab.findings(Kind::LinkFlap).is_empty());
}

#[test]
fn an_operator_setting_an_unrouted_link_down_is_information() {
    let mut lab = Lab::new();
    link(&mut lab, 0, "eth5", UP);
    link(&mut lab, 10, "eth5", 0);
    let found = lab.findings(Kind::LinkAdminDown);
    assert_eq!(
        (found[0].severity, found[0].reason),
        (Severity::Info, Some(Reason::Admin))
    );
}

#[test]
fn container_interfaces_come_and_go_quietly() {
    let mut lab = uplink("veth0a1b2c");
    for ms in [100, 300, 500, 700] {
        link(&mut lab, ms, "veth0a1b2c", IFF_UP);
        link(&mut lab, ms + 100, "veth0a1b2c", UP);
    }
    assert!(lab.board.iter().all(|(_, f)| f.severity == Severity::Info));
}

#[test]
fn a_capture_that_ends_makes_no_finding_and_a_removed_link_is_one() {
    let mut lab = uplink("eth1");
    link(&mut lab, 100, "eth1", UP);
    assert_eq!(lab.board.iter().count(), 0);
    link(&mut lab, 200, "eth1", 0);
    let gone = LinkEvent {
        action: Action::Del,
        ..link_event(3, "eth1", 0)
    };
    lab.at(202, EventKind::Link(Box::new(gone)));
    let found = lab.findings(Kind::LinkRemoved);
    assert_eq!((found.len(), found[0].count), (1, 1));
}

#[test]
fn losses_that_only_the_counter_saw_are_counted_as_compressed() {
    let mut lab = Lab::new();
    let counted = |flags, losses| {
        EventKind::Link(Box::new(LinkEvent {
            carrier_down_count: Some(losses),
            ..link_event(3, "eth1", flags)
        }))
    };
    lab.at(0, counted(UP, 1));
    lab.at(10, counted(UP, 4));
    let found = lab.findings(Kind::LinkFlap);
    assert_eq!(
        (found[0].count, found[0].fidelity),
        (3, Fidelity::Compressed)
    );
    assert!(!found[0].broken.subject);
}
