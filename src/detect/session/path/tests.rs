use super::super::tests::{Lab, notification};
use crate::detect::Kind;
use crate::event::EventKind;
use crate::event::bgp::BgpMessage;
use crate::event::netlink::{Action, IFF_LOWER_UP, IFF_RUNNING, IFF_UP};
use crate::event::tcp::TcpFact;
use crate::state::routes::testing::{link_event, route_event};

const KERNEL: u8 = 2;
const BGP: u8 = 186;

/// The session of the lab with the routes around it: the peer is on-link on eth9, another way leads by eth8.
fn host() -> Lab {
    let mut lab = Lab::settled();
    let flags = IFF_UP | IFF_LOWER_UP | IFF_RUNNING;
    let other = link_event(8, "eth8", flags);
    lab.event(8100, EventKind::Link(Box::new(other)));
    let shared = link_event(9, "eth9", flags);
    lab.event(8100, EventKind::Link(Box::new(shared)));
    lab.route(
        8100,
        0,
        route_event(Action::New, "192.0.2.0/24", KERNEL, &["@9"]),
    );
    lab.route(
        8100,
        0,
        route_event(Action::New, "0.0.0.0/0", BGP, &["198.51.100.1@8"]),
    );
    lab
}

fn dies(lab: &mut Lab) {
    lab.talk(9000, 9000, 4000);
    lab.bgp(12_500, true, 4000, notification(4, 0, None, None));
    lab.tcp(15_000, true, 4000, TcpFact::Fin, None);
}

#[test]
fn a_more_specific_route_over_the_peers_address_is_the_root_of_its_loss() {
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::New, "192.0.2.1/32", BGP, &["198.51.100.1@8"]),
    );
    dies(&mut lab);
    let (_, root) = lab
        .found
        .of_kind(Kind::RouteShadowed)
        .next()
        .expect("the route is told");
    assert_eq!(root.subjects[0].to_string(), "prefix:192.0.2.1/32");
    let (_, path) = lab
        .found
        .of_kind(Kind::RoutePeerPath)
        .next()
        .expect("the way is told");
    assert!(
        path.explain.contains("stopped leaving by eth9"),
        "{}",
        path.explain
    );
}

#[test]
fn a_connected_route_that_a_process_deletes_moves_the_peers_path() {
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::Del, "192.0.2.0/24", KERNEL, &["@9"]),
    );
    dies(&mut lab);
    let (_, path) = lab
        .found
        .of_kind(Kind::RoutePeerPath)
        .next()
        .expect("the way is told");
    assert!(
        path.explain.contains("deleted by pid 700"),
        "{}",
        path.explain
    );
}

#[test]
fn routes_that_change_without_harm_or_by_the_kernel_are_no_cause() {
    // The session lives on.
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::New, "192.0.2.1/32", BGP, &["198.51.100.1@8"]),
    );
    lab.talk(9000, 20_000, 4000);
    assert!(lab.found.is_empty());
    // The kernel takes its own route away: link and address tell why.
    let mut lab = host();
    lab.route(
        8900,
        0,
        route_event(Action::Del, "192.0.2.0/24", KERNEL, &["@9"]),
    );
    dies(&mut lab);
    assert!(lab.found.is_empty());
    // The same link, by the peer itself.
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::New, "192.0.2.1/32", BGP, &["192.0.2.1@9"]),
    );
    dies(&mut lab);
    assert!(lab.found.is_empty());
    // It is gone again, long before.
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::New, "192.0.2.1/32", BGP, &["198.51.100.1@8"]),
    );
    lab.route(
        8990,
        700,
        route_event(Action::Del, "192.0.2.1/32", BGP, &["198.51.100.1@8"]),
    );
    lab.talk(9000, 60_000, 4000);
    lab.bgp(63_500, true, 4000, notification(4, 0, None, None));
    assert!(lab.found.is_empty());
    // An operator's word is no dead path.
    let mut lab = host();
    lab.route(
        8900,
        700,
        route_event(Action::New, "192.0.2.1/32", BGP, &["198.51.100.1@8"]),
    );
    lab.bgp(9500, true, 4000, notification(6, 2, None, None));
    assert!(lab.found.is_empty());
}

#[test]
fn icmp_errors_that_quote_the_sessions_segments_tell_where_its_way_ends() {
    let error = TcpFact::Icmp { kind: 11, code: 0 };
    let mut lab = Lab::settled();
    lab.tcp(9000, false, 4000, error, None);
    lab.tcp(9400, false, 4000, error, None);
    dies(&mut lab);
    let (_, path) = lab
        .found
        .of_kind(Kind::RoutePeerPath)
        .next()
        .expect("the way is told");
    assert!(
        path.explain.contains("ICMP time exceeded, 2 times"),
        "{}",
        path.explain
    );
    // One alone, and errors about a session that lives.
    let mut lab = Lab::settled();
    lab.tcp(9000, false, 4000, error, None);
    dies(&mut lab);
    assert!(lab.found.is_empty());
    let mut lab = Lab::settled();
    lab.tcp(9000, false, 4000, error, None);
    lab.tcp(9400, false, 4000, error, None);
    lab.bgp(9500, true, 4000, BgpMessage::Keepalive);
    assert!(lab.found.is_empty());
}
