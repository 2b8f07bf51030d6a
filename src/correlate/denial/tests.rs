//! The sentences that deny, and when there must be none.

use std::time::Duration;

use super::*;
use crate::detect::{Severity, Subject};
use crate::event::EventKind;
use crate::event::netlink::{Action, AddressEvent, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, Meta};
use crate::state::Changes;
use crate::state::routes::testing::{address_event, event, link_event};

const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

fn at(seconds: i64) -> i64 {
    seconds * 1_000_000_000
}

/// A host with one interface and one address, watched from 0 to 100 s; what happens between is the caller's.
fn host(between: Vec<(i64, EventKind)>) -> NetState {
    let mut net = NetState::default();
    let mut changes = Changes::default();
    let first = vec![
        (0, EventKind::Link(Box::new(link_event(5, "eth0", UP)))),
        (
            0,
            EventKind::Address(Box::new(address_event(Action::New, 5, "192.0.2.7", 24))),
        ),
    ];
    let last = vec![(100, EventKind::Link(Box::new(link_event(9, "eth9", UP))))];
    for (seconds, kind) in first.into_iter().chain(between).chain(last) {
        net.apply(&event(at(seconds), kind), &mut changes);
    }
    net
}

fn link(flags: u32) -> EventKind {
    EventKind::Link(Box::new(link_event(5, "eth0", flags)))
}

fn gone() -> EventKind {
    EventKind::Address(Box::new(AddressEvent {
        meta: Meta {
            pid: 77,
            ..Meta::default()
        },
        ..address_event(Action::Del, 5, "192.0.2.7", 24)
    }))
}

fn lost_route() -> Finding {
    let mut finding = Finding::at(
        Kind::RouteSilentLoss,
        Severity::Warning,
        Subject::Link("eth0".into()),
        Timestamp(at(50)),
    );
    finding.touch(Touch::Interface("eth0".into()));
    finding.touch(Touch::Prefix("198.51.100.0/24".parse().unwrap()));
    finding
}

fn ask(look: Look, net: &NetState) -> Denial {
    look.ask(&lost_route(), Duration::from_secs(3), net)
}

#[test]
fn a_link_that_kept_its_carrier_is_said_to_have_kept_it_from_when_to_when() {
    let Denial::Denied(text) = ask(Look::Carrier, &host(Vec::new())) else {
        panic!("not denied");
    };
    assert_eq!(
        text,
        "eth0 kept its carrier and was not set down from 00:00:47.000 to 00:00:50.100"
    );
}

#[test]
fn a_link_that_went_inside_the_window_is_not_denied_and_one_long_before_is() {
    let inside = host(vec![(48, link(IFF_UP)), (49, link(UP))]);
    assert_eq!(ask(Look::Carrier, &inside), Denial::Seen(None));
    let before = host(vec![(20, link(IFF_UP)), (21, link(UP))]);
    assert!(matches!(ask(Look::Carrier, &before), Denial::Denied(_)));
}

#[test]
fn a_link_that_was_down_all_along_did_not_keep_its_carrier() {
    let down = host(vec![(20, link(IFF_UP)), (90, link(UP))]);
    assert_eq!(ask(Look::Carrier, &down), Denial::Unknown);
}

#[test]
fn a_removed_address_is_a_witness_and_no_denial() {
    let net = host(vec![(49, gone())]);
    let Denial::Seen(Some(witness)) = ask(Look::InterfaceAddress, &net) else {
        panic!("no witness");
    };
    assert!(
        witness.starts_with("192.0.2.7 of eth0 was removed at"),
        "{witness}"
    );
    let Denial::Denied(text) = ask(Look::InterfaceAddress, &host(Vec::new())) else {
        panic!("not denied");
    };
    assert!(
        text.starts_with("no address of eth0 was removed from"),
        "{text}"
    );
}

#[test]
fn nothing_is_said_about_an_interface_of_which_nothing_is_known_or_without_any_netlink() {
    assert_eq!(ask(Look::Carrier, &NetState::default()), Denial::Unknown);
    let mut elsewhere = lost_route();
    elsewhere.touches = vec![Touch::Interface("other0".into())];
    elsewhere.subjects = vec![Subject::Link("other0".into())];
    let denial = Look::Carrier.ask(&elsewhere, Duration::from_secs(3), &host(Vec::new()));
    assert_eq!(denial, Denial::Unknown);
}

#[test]
fn without_dhcp_bfd_or_bgp_in_sight_nothing_is_said_about_them() {
    let net = host(Vec::new());
    for look in [
        Look::Bfd,
        Look::Lease,
        Look::DhcpConfig,
        Look::Router,
        Look::LocalAddress,
        Look::Session,
        Look::Withdrawal,
    ] {
        assert_eq!(ask(look, &net), Denial::Unknown, "{look:?}");
    }
}
