//! Routes: each kind of trouble beside its benign twins.

use super::lab::Lab;
use crate::detect::{Fidelity, Finding, Kind, Severity, Subject, Touch};
use crate::event::netlink::{Action, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, RouteEvent};
use crate::event::{EventKind, Timestamp};
use crate::state::routes::testing::{address_event, link_event, route_event};

const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
const BGP: u8 = 186;
const STATIC: u8 = 4;
const DHCP: u8 = 16;

/// A host with two uplinks.
fn host() -> Lab {
    let mut lab = Lab::new();
    for (ifindex, name) in [(3, "eth1"), (4, "eth2"), (9, "cali0123456789a")] {
        lab.at(0, EventKind::Link(Box::new(link_event(ifindex, name, UP))));
    }
    let address = address_event(Action::New, 3, "192.0.2.3", 24);
    lab.at(0, EventKind::Address(Box::new(address)));
    lab
}

fn change(lab: &mut Lab, ms: i64, pid: u32, route: RouteEvent) {
    let mut route = route;
    route.meta.pid = pid;
    lab.at(ms, EventKind::Route(Box::new(route)));
}

fn add(lab: &mut Lab, ms: i64, prefix: &str, protocol: u8, hops: &[&str]) {
    change(
        lab,
        ms,
        500,
        route_event(Action::New, prefix, protocol, hops),
    );
}

fn del(lab: &mut Lab, ms: i64, prefix: &str, protocol: u8, hops: &[&str]) {
    change(
        lab,
        ms,
        500,
        route_event(Action::Del, prefix, protocol, hops),
    );
}

fn link(lab: &mut Lab, ms: i64, flags: u32) {
    lab.at(ms, EventKind::Link(Box::new(link_event(3, "eth1", flags))));
}

fn wait(lab: &mut Lab, ms: i64) {
    lab.advance(Timestamp(ms * 1_000_000));
}

fn only(lab: &Lab, kind: Kind) -> &Finding {
    let found = lab.findings(kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn quiet(lab: &Lab) {
    let loud: Vec<_> = lab
        .board
        .iter()
        .filter(|(_, finding)| finding.severity > Severity::Info)
        .map(|(_, finding)| (finding.kind, &finding.explain))
        .collect();
    assert!(loud.is_empty(), "{loud:?}");
}

#[test]
fn a_lost_default_route_is_critical_until_it_returns_and_a_second_loss_is_a_flap() {
    let mut lab = host();
    add(&mut lab, 0, "::/0", 9, &["fe80::1@3"]);
    del(&mut lab, 1_000, "::/0", 9, &["fe80::1@3"]);
    wait(&mut lab, 1_100);
    let lost = only(&lab, Kind::RouteDefaultLost);
    assert_eq!(
        (lost.severity, lost.first),
        (Severity::Critical, Timestamp(1_000_000_000))
    );
    assert!(lost.broken.default_route);
    add(&mut lab, 5_000, "::/0", 9, &["fe80::1@3"]);
    let back = only(&lab, Kind::RouteDefaultLost);
    assert_eq!(back.severity, Severity::Warning);
    assert!(!back.broken.default_route && back.ended.is_some());
    del(&mut lab, 60_000, "::/0", 9, &["fe80::1@3"]);
    wait(&mut lab, 61_000);
    assert_eq!(only(&lab, Kind::RouteDefaultFlap).count, 2);
}

#[test]
fn rewriting_the_default_route_or_losing_one_of_two_is_quiet() {
    let mut lab = host();
    add(&mut lab, 0, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    del(&mut lab, 1_000, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    add(&mut lab, 1_010, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    del(&mut lab, 2_000, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    add(&mut lab, 2_200, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    let mut second = route_event(Action::New, "0.0.0.0/0", STATIC, &["192.0.2.2@4"]);
    second.metric = 500;
    change(&mut lab, 3_000, 7, second);
    del(&mut lab, 4_000, "0.0.0.0/0", DHCP, &["192.0.2.1@3"]);
    lab.finish();
    quiet(&lab);
    assert!(lab.findings(Kind::RouteDefaultFlap).is_empty());
}

#[test]
fn a_gateway_that_alternates_is_a_flap_and_a_fail_over_with_its_way_back_is_not() {
    let mut lab = host();
    let ways = ["192.0.2.1@3", "192.0.2.66@3"];
    for i in 0..3 {
        let mut route = route_event(Action::New, "0.0.0.0/0", DHCP, &[ways[i % 2]]);
        route.meta.replace = true;
        change(&mut lab, 4_000 * i as i64, 7, route);
    }
    assert_eq!(lab.board.iter().count(), 0);
    let route = route_event(Action::New, "0.0.0.0/0", DHCP, &[ways[1]]);
    change(&mut lab, 12_000, 7, route);
    let flap = only(&lab, Kind::RouteDefaultFlap);
    assert_eq!((flap.count, flap.first), (3, Timestamp(4_000_000_000)));
    assert_eq!(flap.evidence.total, 3);
    assert!(!flap.broken.default_route);
}

#[test]
fn routes_that_fall_with_their_link_are_one_silent_loss_with_their_prefixes_as_subjects() {
    let mut lab = host();
    for i in 0..3 {
        add(
            &mut lab,
            0,
            &format!("198.51.{i}.0/24"),
            STATIC,
            &["192.0.2.1@3"],
        );
    }
    link(&mut lab, 1_000, 0);
    wait(&mut lab, 5_000);
    let lost = only(&lab, Kind::RouteSilentLoss);
    assert_eq!((lost.fidelity, lost.count), (Fidelity::Inferred, 1));
    assert_eq!(lost.first, Timestamp(1_000_000_000));
    assert_eq!(lost.subjects.len(), 4);
    assert!(
        lost.subjects
            .contains(&Subject::Prefix("198.51.2.0/24".parse().unwrap()))
    );
    assert!(lost.touches.contains(&Touch::Interface("eth1".into())));
    assert!(lab.findings(Kind::RouteWithdrawn).is_empty());
    link(&mut lab, 6_000, UP);
    for i in 0..3 {
        add(
            &mut lab,
            7_000,
            &format!("198.51.{i}.0/24"),
            STATIC,
            &["192.0.2.1@3"],
        );
    }
    let lost = only(&lab, Kind::RouteSilentLoss);
    assert!(lost.ended.is_some() && !lost.broken.subject);
}

#[test]
fn routes_that_the_daemon_moves_at_once_are_no_silent_loss() {
    let mut lab = host();
    for i in 0..20 {
        add(
            &mut lab,
            0,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    link(&mut lab, 1_000, 0);
    for i in 0..20 {
        add(
            &mut lab,
            1_080,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["203.0.113.1@4"],
        );
    }
    lab.finish();
    assert!(lab.findings(Kind::RouteSilentLoss).is_empty());
}

#[test]
fn many_routes_that_lose_a_next_hop_are_one_finding_that_recovers() {
    let mut lab = host();
    let both = ["192.0.2.1@3", "203.0.113.1@4"];
    for i in 0..50 {
        add(&mut lab, 0, &format!("198.51.{i}.0/24"), BGP, &both);
    }
    wait(&mut lab, 2_000);
    assert_eq!(lab.board.iter().count(), 0);
    for round in 0..2 {
        let at = 10_000 + round * 20_000;
        for i in 0..50 {
            add(&mut lab, at, &format!("198.51.{i}.0/24"), BGP, &both[1..]);
        }
        for i in 0..50 {
            add(
                &mut lab,
                at + 8_000,
                &format!("198.51.{i}.0/24"),
                BGP,
                &both,
            );
        }
    }
    lab.finish();
    let churn = only(&lab, Kind::RouteNexthopChurn);
    assert_eq!((churn.count, churn.affected.routes.len()), (2, 50));
    assert_eq!(churn.severity, Severity::Info);
    assert_eq!(
        churn.subjects[0],
        Subject::Nexthop("192.0.2.1".parse().unwrap())
    );
    assert!(churn.ended.is_some());
    assert_eq!(lab.board.iter().count(), 1);
}

#[test]
fn a_table_load_and_a_withdrawn_table_are_at_most_one_finding() {
    let mut lab = host();
    for i in 0..200 {
        add(
            &mut lab,
            i,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    wait(&mut lab, 9_000);
    assert_eq!(lab.board.iter().count(), 0);
    for i in 0..200 {
        del(
            &mut lab,
            10_000,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    wait(&mut lab, 12_000);
    let gone = only(&lab, Kind::RouteWithdrawn);
    assert_eq!(
        (gone.affected.routes.len(), gone.severity),
        (200, Severity::Info)
    );
    assert!(gone.broken.last_path);
    for i in 0..200 {
        add(
            &mut lab,
            15_000,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    lab.finish();
    assert!(only(&lab, Kind::RouteWithdrawn).ended.is_some());
    assert_eq!(lab.board.iter().count(), 1);
}

#[test]
fn a_route_that_is_deleted_and_added_again_and_again_flaps() {
    let mut lab = host();
    for i in 0..10 {
        let way = ["192.0.2.1@3"];
        let (added, gone) = (i * 500, i * 500 + 250);
        let pid = 1_000 + i as u32;
        change(
            &mut lab,
            added,
            pid,
            route_event(Action::New, "198.51.7.0/25", STATIC, &way),
        );
        change(
            &mut lab,
            gone,
            pid,
            route_event(Action::Del, "198.51.7.0/25", STATIC, &way),
        );
    }
    wait(&mut lab, 5_000);
    lab.finish();
    let flap = only(&lab, Kind::RouteFlap);
    assert_eq!((flap.count, flap.severity), (10, Severity::Warning));
    assert_eq!(
        flap.subjects[0],
        Subject::Prefix("198.51.7.0/25".parse().unwrap())
    );
    assert!(
        (crate::detect::finding::Period::of(&flap.occurrences)
            .unwrap()
            .seconds
            - 0.5)
            .abs()
            < 0.01
    );
    assert!(lab.findings(Kind::RouteWithdrawn).is_empty());
}

#[test]
fn one_withdrawal_a_replacement_and_pods_that_come_and_go_are_quiet() {
    let mut lab = host();
    add(&mut lab, 0, "198.51.7.0/24", STATIC, &["192.0.2.1@3"]);
    del(&mut lab, 1_000, "198.51.7.0/24", STATIC, &["192.0.2.1@3"]);
    for i in 0..6 {
        add(
            &mut lab,
            2_000 + i * 1_000,
            "198.51.8.0/24",
            BGP,
            &["192.0.2.1@3"],
        );
        del(
            &mut lab,
            2_500 + i * 1_000,
            "198.51.8.0/24",
            BGP,
            &["192.0.2.1@3"],
        );
        add(
            &mut lab,
            2_501 + i * 1_000,
            "198.51.8.0/24",
            BGP,
            &["192.0.2.2@3"],
        );
        add(&mut lab, 2_000 + i * 1_000, "10.1.0.7/32", 3, &["@9"]);
        del(&mut lab, 2_500 + i * 1_000, "10.1.0.7/32", 3, &["@9"]);
    }
    lab.finish();
    assert_eq!(only(&lab, Kind::RouteWithdrawn).severity, Severity::Info);
    assert!(lab.findings(Kind::RouteFlap).is_empty());
}

#[test]
fn dhcp_routes_that_override_bgp_are_one_shadow_and_an_operators_are_information() {
    let mut lab = host();
    add(&mut lab, 0, "0.0.0.0/0", BGP, &["192.0.2.1@3"]);
    add(&mut lab, 0, "198.51.7.0/24", BGP, &["192.0.2.1@3"]);
    add(&mut lab, 1_000, "0.0.0.0/1", DHCP, &["203.0.113.9@4"]);
    assert!(lab.findings(Kind::RouteShadowed).is_empty());
    add(&mut lab, 1_004, "128.0.0.0/1", DHCP, &["203.0.113.9@4"]);
    add(&mut lab, 1_008, "198.51.7.0/25", DHCP, &["203.0.113.9@4"]);
    let shadow = only(&lab, Kind::RouteShadowed);
    assert_eq!((shadow.count, shadow.severity), (2, Severity::Warning));
    for prefix in ["0.0.0.0/0", "198.51.7.0/24", "198.51.7.0/25"] {
        let subject = Subject::Prefix(prefix.parse().unwrap());
        assert!(shadow.subjects.contains(&subject), "{prefix}");
    }
    for prefix in ["128.0.0.0/1", "198.51.7.0/25"] {
        del(&mut lab, 5_000, prefix, DHCP, &["203.0.113.9@4"]);
    }
    wait(&mut lab, 6_000);
    assert!(only(&lab, Kind::RouteShadowed).ended.is_some());

    let mut lab = host();
    add(&mut lab, 0, "198.51.7.0/24", BGP, &["192.0.2.1@3"]);
    add(
        &mut lab,
        1_000,
        "198.51.7.128/25",
        STATIC,
        &["203.0.113.9@4"],
    );
    add(&mut lab, 1_000, "198.51.8.0/24", DHCP, &["203.0.113.9@4"]);
    lab.finish();
    assert_eq!(only(&lab, Kind::RouteShadowed).severity, Severity::Info);
}

#[test]
fn a_sweep_of_anothers_routes_is_told_and_a_daemon_deleting_its_own_is_not() {
    let mut lab = host();
    let prefix = |i: i64| format!("198.51.{i}.0/24");
    for i in 0..6 {
        add(&mut lab, i, &prefix(i), BGP, &["192.0.2.1@3"]);
    }
    for i in 0..6 {
        let route = route_event(Action::Del, &prefix(i), BGP, &["192.0.2.1@3"]);
        change(&mut lab, 60_000 + i, 77, route);
    }
    lab.finish();
    wait(&mut lab, 61_000);
    let sweep = only(&lab, Kind::RouteForeignDelete);
    assert_eq!((sweep.count, sweep.affected.routes.len()), (1, 6));
    assert_eq!(sweep.severity, Severity::Warning);
    assert!(sweep.broken.subject, "nobody put them back");
    assert!(sweep.actor.as_deref().unwrap().contains("77"));

    let mut lab = host();
    for i in 0..6 {
        add(&mut lab, i, &prefix(i), BGP, &["192.0.2.1@3"]);
        del(&mut lab, 60_000 + i, &prefix(i), BGP, &["192.0.2.1@3"]);
    }
    wait(&mut lab, 62_000);
    assert!(lab.findings(Kind::RouteForeignDelete).is_empty());
}

/// Process 77 deletes `n` of the daemon's routes (process 5) at each of these times, which puts them back 70 ms later.
fn taken_again_and_again(n: i64, rounds: &[i64]) -> Lab {
    let mut lab = host();
    let prefix = |i: i64| format!("198.51.{i}.0/24");
    let route = |action, i| route_event(action, &prefix(i), BGP, &["192.0.2.1@3"]);
    for i in 0..n + 1 {
        change(&mut lab, i, 5, route(Action::New, i));
    }
    for at in rounds {
        for i in 0..n {
            change(&mut lab, at + i, 77, route(Action::Del, i));
        }
        for i in 0..n {
            change(&mut lab, at + 70 + i, 5, route(Action::New, i));
        }
    }
    wait(&mut lab, rounds.last().unwrap() + 2_000);
    lab
}

#[test]
fn rounds_of_one_strangers_deletions_are_one_finding_with_a_period() {
    let lab = taken_again_and_again(6, &[10_000, 13_000, 16_000, 19_000]);
    let war = only(&lab, Kind::RouteForeignDelete);
    assert_eq!((war.count, war.severity), (4, Severity::Warning));
    assert!(war.ended.is_some(), "all were back");
    let period = crate::detect::finding::Period::of(&war.occurrences).unwrap();
    assert!((period.seconds - 3.0).abs() < 0.1, "{period:?}");
    assert!(war.explain.contains("4 rounds"), "{}", war.explain);
    // One route, once: a note. The same three times is no accident.
    let once = taken_again_and_again(1, &[10_000]);
    assert_eq!(
        only(&once, Kind::RouteForeignDelete).severity,
        Severity::Info
    );
    let thrice = taken_again_and_again(1, &[10_000, 13_000, 16_000]);
    let thrice = only(&thrice, Kind::RouteForeignDelete);
    assert_eq!(thrice.severity, Severity::Warning);
}

#[test]
fn routes_that_came_with_the_first_dump_and_go_one_process_each_were_deleted_by_strangers() {
    let deleted = |pid: fn(i64) -> u32| {
        let mut lab = host();
        let prefix = |i: i64| format!("198.51.{i}.0/24");
        for i in 0..8 {
            let mut route = route_event(Action::New, &prefix(i), BGP, &["192.0.2.1@3"]);
            route.meta.dump = true;
            lab.at(0, EventKind::Route(Box::new(route)));
        }
        for i in 0..6 {
            let route = route_event(Action::Del, &prefix(i), BGP, &["192.0.2.1@3"]);
            change(&mut lab, 10_000 + i * 4, pid(i), route);
        }
        wait(&mut lab, 12_000);
        lab
    };
    let lab = deleted(|i| 900 + i as u32);
    let swept = only(&lab, Kind::RouteForeignDelete);
    assert_eq!(swept.severity, Severity::Warning);
    assert!(
        swept.explain.contains("one for each route"),
        "{}",
        swept.explain
    );
    assert!(
        swept.explain.contains("nobody put them back"),
        "{}",
        swept.explain
    );
    // The twin: one sender takes them all, as their daemon would.
    let lab = deleted(|_| 900);
    assert!(lab.findings(Kind::RouteForeignDelete).is_empty());
}

#[test]
fn a_daemon_that_takes_over_from_its_former_life_is_no_stranger() {
    let mut lab = host();
    let prefix = |i: i64| format!("198.51.{i}.0/24");
    let route = |action, i| route_event(action, &prefix(i), BGP, &["192.0.2.1@3"]);
    for i in 0..8 {
        change(&mut lab, i, 5, route(Action::New, i));
    }
    // Restarted under another process id, it clears what is left and writes its own.
    for i in 0..8 {
        change(&mut lab, 10_000 + i, 6, route(Action::Del, i));
    }
    for i in 0..8 {
        change(&mut lab, 10_500 + i, 6, route(Action::New, i));
    }
    wait(&mut lab, 13_000);
    assert!(lab.findings(Kind::RouteForeignDelete).is_empty());
}

#[test]
fn two_owners_that_take_a_route_from_each_other_are_at_war() {
    let mut lab = host();
    for i in 0..5 {
        let owner = if i % 2 == 0 { 12 } else { STATIC };
        add(
            &mut lab,
            i * 2_000,
            "198.51.7.0/24",
            owner,
            &["192.0.2.1@3"],
        );
    }
    lab.finish();
    let war = only(&lab, Kind::RouteOwnershipWar);
    assert_eq!(war.count, 4);
    assert!(war.explain.contains("bird") && war.explain.contains("static"));
}

#[test]
fn writing_a_route_thirty_times_a_minute_is_a_storm_and_a_scan_now_and_then_is_not() {
    let mut lab = host();
    for i in 0..40 {
        add(&mut lab, i * 1_000, "198.51.7.0/24", 12, &["192.0.2.1@3"]);
        add(&mut lab, i * 1_000, "198.51.8.0/24", 12, &["192.0.2.1@3"]);
    }
    assert_eq!(lab.findings(Kind::RouteReassertStorm).len(), 2);
    let mut lab = host();
    for i in 0..40 {
        add(&mut lab, i * 10_000, "198.51.7.0/24", 12, &["192.0.2.1@3"]);
    }
    assert_eq!(lab.board.iter().count(), 0);
}

#[test]
fn a_static_route_that_resolved_bgp_next_hops_takes_them_along_and_is_no_lone_withdrawal() {
    let mut lab = host();
    add(&mut lab, 0, "203.0.113.9/32", STATIC, &["192.0.2.1@3"]);
    for i in 0..16 {
        add(
            &mut lab,
            0,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    let gone = route_event(Action::Del, "203.0.113.9/32", STATIC, &["192.0.2.1@3"]);
    change(&mut lab, 9_000, 7, gone);
    for i in 0..16 {
        del(
            &mut lab,
            9_072,
            &format!("198.51.{i}.0/24"),
            BGP,
            &["192.0.2.1@3"],
        );
    }
    wait(&mut lab, 12_000);
    let subject = Subject::Prefix("203.0.113.9/32".parse().unwrap());
    let withdrawn = lab.findings(Kind::RouteWithdrawn);
    let resolver = withdrawn.iter().find(|f| f.subjects[0] == subject).unwrap();
    assert_eq!(resolver.severity, Severity::Warning);
    assert_eq!(resolver.affected.routes.len(), 17);
}

#[test]
fn a_default_route_deleted_by_the_last_message_counts() {
    let mut lab = host();
    add(&mut lab, 0, "::/0", 9, &["fe80::1@3"]);
    del(&mut lab, 1_000, "::/0", 9, &["fe80::1@3"]);
    lab.finish();
    assert!(only(&lab, Kind::RouteDefaultLost).truncated);
}

/// Process 600 deletes ten of process 500's routes at once.
fn swept(links: &[(u32, &str)], deleter: &str) -> Lab {
    let mut lab = Lab::new();
    for (ifindex, name) in links {
        lab.at(0, EventKind::Link(Box::new(link_event(*ifindex, name, UP))));
    }
    let actor = crate::event::netlink::Actor {
        pid: 600,
        name: deleter.into(),
        process: None,
    };
    lab.at(0, EventKind::Actor(Box::new(actor)));
    let routes: Vec<String> = (0..10).map(|n| format!("198.18.{n}.0/24")).collect();
    for route in &routes {
        add(&mut lab, 0, route, 12, &["192.0.2.1@3"]);
    }
    for route in &routes {
        let gone = route_event(Action::Del, route, 12, &["192.0.2.1@3"]);
        change(&mut lab, 9_000, 600, gone);
    }
    wait(&mut lab, 12_000);
    lab
}

/// X9, and whose routes they were.
#[test]
fn a_network_manager_that_sweeps_foreign_routes_is_explained_and_so_is_who_wrote_them() {
    let lab = swept(&[(3, "eth1"), (9, "cali0123456789a")], "systemd-network");
    let swept_node = only(&lab, Kind::RouteForeignDelete);
    let told = swept_node.explanations.join("\n");
    assert!(told.contains("ManageForeignRoutes=no"), "{told}");
    assert!(told.contains("Calico's BIRD"), "{told}");
    // The benign twin: an operator's loop on a plain router is not put down to anybody's habits.
    let lab = swept(&[(3, "eth1")], "ip");
    let plain = only(&lab, Kind::RouteForeignDelete);
    assert!(plain.explanations.is_empty(), "{:?}", plain.explanations);
}

#[test]
fn routes_that_vanish_silently_on_a_node_name_their_writer() {
    let mut lab = host();
    let addresses = address_event(Action::New, 4, "198.51.100.3", 24);
    lab.at(0, EventKind::Address(Box::new(addresses)));
    add(&mut lab, 0, "198.18.1.0/24", 12, &["192.0.2.1@3"]);
    link(&mut lab, 5_000, 0);
    wait(&mut lab, 9_000);
    let lost = only(&lab, Kind::RouteSilentLoss);
    assert!(
        lost.explanations
            .iter()
            .any(|text| text.contains("Calico's BIRD")),
        "{:?}",
        lost.explanations
    );
}
