//! The shadow FIB against the kernel's habits.

use super::testing::{address_event, dump_done, event, link_event, route_event};
use super::*;
use crate::event::netlink::{IFF_LOWER_UP, IFF_RUNNING, IFF_UP, NexthopEvent};
use crate::state::{Changes, NetState};

const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
const MS: i64 = 1_000_000;
const BGP: u8 = 186;

/// A host with two uplinks, addresses on both and a baseline.
fn host() -> NetState {
    let mut net = NetState::default();
    for (ifindex, name) in [(3, "eth1"), (4, "eth2")] {
        let link = link_event(ifindex, name, UP);
        run(&mut net, 0, EventKind::Link(Box::new(link)));
        let addr = format!("192.0.2.{ifindex}");
        let address = address_event(Action::New, ifindex, &addr, 24);
        run(&mut net, 0, EventKind::Address(Box::new(address)));
    }
    net
}

fn run(net: &mut NetState, at: i64, kind: EventKind) -> Vec<RouteDelta> {
    let mut changes = Changes::default();
    net.apply(&event(at, kind), &mut changes);
    changes.routes
}

fn add(net: &mut NetState, at: i64, prefix: &str, protocol: u8, hops: &[&str]) -> Vec<RouteDelta> {
    let route = route_event(Action::New, prefix, protocol, hops);
    run(net, at, EventKind::Route(Box::new(route)))
}

fn del(net: &mut NetState, at: i64, prefix: &str, protocol: u8, hops: &[&str]) -> Vec<RouteDelta> {
    let route = route_event(Action::Del, prefix, protocol, hops);
    run(net, at, EventKind::Route(Box::new(route)))
}

fn settle(net: &mut NetState, at: i64) -> Vec<RouteDelta> {
    let mut changes = Changes::default();
    net.expire(Timestamp(at), &mut changes);
    changes.routes
}

fn link(net: &mut NetState, at: i64, ifindex: u32, flags: u32) -> Vec<RouteDelta> {
    run(
        net,
        at,
        EventKind::Link(Box::new(link_event(ifindex, "eth1", flags))),
    )
}

#[test]
fn delete_and_add_within_the_window_is_one_replacement() {
    let mut net = host();
    add(
        &mut net,
        0,
        "2001:db8:9::/48",
        BGP,
        &["fe80::1@3", "fe80::2@4"],
    );
    assert!(
        del(
            &mut net,
            MS,
            "2001:db8:9::/48",
            BGP,
            &["fe80::1@3", "fe80::2@4"]
        )
        .is_empty()
    );
    let changed = add(
        &mut net,
        MS + MS / 10,
        "2001:db8:9::/48",
        BGP,
        &["fe80::2@4"],
    );
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].change, RouteChange::Replaced);
    assert_eq!(changed[0].old.as_ref().unwrap().hops.len(), 2);
    assert!(settle(&mut net, 1000 * MS).is_empty());
    assert_eq!(net.routes.next_deadline(), None);
}

#[test]
fn a_deletion_is_believed_after_the_window_and_keeps_its_own_time() {
    let mut net = host();
    add(&mut net, 0, "198.51.100.0/24", BGP, &["192.0.2.1@3"]);
    del(&mut net, 7 * MS, "198.51.100.0/24", BGP, &["192.0.2.1@3"]);
    assert_eq!(net.next_deadline(), Some(Timestamp(57 * MS)));
    let gone = settle(&mut net, 57 * MS);
    assert_eq!(
        (gone[0].change, gone[0].at),
        (RouteChange::Removed, Timestamp(7 * MS))
    );
    assert_eq!((gone[0].cause, gone[0].by), (Cause::Notified, 500));
    let again = add(&mut net, 58 * MS, "198.51.100.0/24", BGP, &["192.0.2.1@3"]);
    assert_eq!(again[0].change, RouteChange::Added);
}

#[test]
fn setting_a_link_down_silently_kills_ipv4_routes_but_not_multipath_with_a_live_member() {
    let mut net = host();
    add(&mut net, 0, "198.51.100.0/24", 4, &["192.0.2.1@3"]);
    add(
        &mut net,
        0,
        "203.0.113.0/24",
        4,
        &["192.0.2.1@3", "192.0.2.2@4"],
    );
    assert!(link(&mut net, MS, 3, 0).is_empty());
    let gone = settle(&mut net, 51 * MS);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].key.prefix.to_string(), "198.51.100.0/24");
    assert_eq!(gone[0].cause, Cause::Inferred(Rule::AdminDown, 3));
    assert_eq!(gone[0].at, Timestamp(MS));
    let back = add(&mut net, 99 * MS, "198.51.100.0/24", 4, &["192.0.2.1@3"]);
    assert_eq!(back[0].change, RouteChange::Added);
}

#[test]
fn carrier_loss_spares_plain_routes_and_kills_those_of_nexthop_objects() {
    let mut net = host();
    add(&mut net, 0, "198.51.100.0/24", 4, &["192.0.2.1@3"]);
    let mut object = route_event(Action::New, "203.0.113.0/24", BGP, &["192.0.2.1@3"]);
    object.nhid = Some(9);
    run(&mut net, 0, EventKind::Route(Box::new(object)));
    link(&mut net, MS, 3, IFF_UP);
    let gone = settle(&mut net, 51 * MS);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].key.prefix.to_string(), "203.0.113.0/24");
    assert_eq!(gone[0].cause, Cause::Inferred(Rule::CarrierLost, 3));
}

#[test]
fn a_notification_inside_the_window_turns_inference_into_fact() {
    let mut net = host();
    add(&mut net, 0, "2001:db8:9::/48", 4, &["2001:db8::1@3"]);
    link(&mut net, MS, 3, 0);
    del(&mut net, 2 * MS, "2001:db8:9::/48", 4, &["2001:db8::1@3"]);
    let gone = settle(&mut net, 60 * MS);
    assert_eq!((gone.len(), gone[0].cause), (1, Cause::Notified));
}

#[test]
fn the_last_address_takes_plain_ipv4_routes_along_and_leaves_ipv6_and_nexthop_objects() {
    let mut net = host();
    add(&mut net, 0, "0.0.0.0/0", 16, &["192.0.2.1@3"]);
    add(&mut net, 0, "::/0", 4, &["fe80::1@3"]);
    let mut object = route_event(Action::New, "203.0.113.0/24", BGP, &["192.0.2.1@3"]);
    object.nhid = Some(9);
    run(&mut net, 0, EventKind::Route(Box::new(object)));
    let address = address_event(Action::Del, 3, "192.0.2.3", 24);
    run(&mut net, MS, EventKind::Address(Box::new(address)));
    let gone = settle(&mut net, 60 * MS);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].cause, Cause::Inferred(Rule::LastAddress, 3));
    assert!(net.routes.default(false).is_none() && net.routes.default(true).is_some());
}

#[test]
fn a_dump_is_the_baseline_and_a_later_one_shows_what_was_missed() {
    let mut net = host();
    let dumped = |net: &mut NetState, at, seq, prefix: &str| {
        let mut route = route_event(Action::New, prefix, BGP, &["192.0.2.1@3"]);
        route.meta.dump = true;
        route.meta.seq = seq;
        run(net, at, EventKind::Route(Box::new(route)))
    };
    let done = |net: &mut NetState, at, seq| {
        let mut changes = Changes::default();
        net.apply(&dump_done(at, Dumped::Routes, seq), &mut changes);
        changes.routes
    };
    assert!(dumped(&mut net, 0, 1, "198.51.100.0/24").is_empty());
    assert!(dumped(&mut net, 0, 1, "203.0.113.0/24").is_empty());
    assert!(done(&mut net, 0, 1).is_empty());
    assert!(dumped(&mut net, MS, 2, "198.51.100.0/24").is_empty());
    let new = dumped(&mut net, MS, 2, "192.0.2.128/25");
    assert_eq!(
        (new[0].change, new[0].cause),
        (RouteChange::Added, Cause::DumpDiff)
    );
    let gone = done(&mut net, MS, 2);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].key.prefix.to_string(), "203.0.113.0/24");
    assert_eq!(
        (gone[0].change, gone[0].cause),
        (RouteChange::Removed, Cause::DumpDiff)
    );
}

#[test]
fn a_repetition_is_a_reassertion_and_a_replacement_tells_both_ways() {
    let mut net = host();
    add(&mut net, 0, "198.51.100.0/24", BGP, &["192.0.2.1@3"]);
    let again = add(&mut net, 1, "198.51.100.0/24", BGP, &["192.0.2.1@3"]);
    assert_eq!(again[0].change, RouteChange::Reasserted);
    let moved = add(&mut net, 2, "198.51.100.0/24", BGP, &["192.0.2.2@4"]);
    assert_eq!(moved[0].change, RouteChange::Replaced);
    assert!(moved[0].old.as_ref().unwrap().via(3) && moved[0].new.as_ref().unwrap().via(4));
}

#[test]
fn local_routes_and_cache_entries_are_never_reported() {
    let mut net = host();
    let mut local = route_event(Action::New, "192.0.2.3/32", 2, &["@3"]);
    local.table = TABLE_LOCAL;
    local.kind = 2;
    assert!(run(&mut net, 0, EventKind::Route(Box::new(local.clone()))).is_empty());
    local.action = Action::Del;
    run(&mut net, 1, EventKind::Route(Box::new(local)));
    assert!(settle(&mut net, 60 * MS).is_empty());
    let mut cached = route_event(Action::New, "192.0.2.9/32", 0, &["@3"]);
    cached.flags = RTM_F_CLONED;
    assert!(run(&mut net, 0, EventKind::Route(Box::new(cached))).is_empty());
}

#[test]
fn connected_ipv6_routes_of_two_links_and_two_advertising_routers_live_side_by_side() {
    let mut net = host();
    add(&mut net, 0, "fe80::/64", 2, &["@3"]);
    add(&mut net, 0, "fe80::/64", 2, &["@4"]);
    add(&mut net, 0, "::/0", 9, &["fe80::1@3"]);
    add(&mut net, 0, "::/0", 9, &["fe80::2@3"]);
    assert_eq!(net.routes.len(), 4);
    del(&mut net, 1, "::/0", 9, &["fe80::1@3"]);
    assert_eq!(settle(&mut net, 60 * MS).len(), 1);
    assert!(net.routes.default(true).is_some());
}

#[test]
fn deleting_a_nexthop_object_silently_takes_its_routes_along() {
    let mut net = host();
    let object = |action, gateway: &str| {
        EventKind::Nexthop(Box::new(NexthopEvent {
            meta: Default::default(),
            action,
            id: 9,
            group: Vec::new(),
            gateway: Some(gateway.parse().unwrap()),
            ifindex: Some(3),
            blackhole: false,
            protocol: BGP,
            flags: 0,
        }))
    };
    run(&mut net, 0, object(Action::New, "192.0.2.1"));
    let mut route = route_event(Action::New, "203.0.113.0/24", BGP, &[]);
    route.nhid = Some(9);
    run(&mut net, 0, EventKind::Route(Box::new(route)));
    let changed = run(&mut net, 1, object(Action::New, "192.0.2.2"));
    assert_eq!(changed[0].cause, Cause::Inferred(Rule::NexthopChanged, 3));
    run(&mut net, 2, object(Action::Del, "192.0.2.2"));
    let gone = settle(&mut net, 60 * MS);
    assert_eq!(gone[0].cause, Cause::Inferred(Rule::NexthopDeleted, 3));
}

#[test]
fn the_longest_prefix_and_the_lowest_metric_win() {
    let mut net = host();
    add(&mut net, 0, "0.0.0.0/0", 4, &["192.0.2.1@3"]);
    add(&mut net, 0, "198.51.100.0/24", BGP, &["192.0.2.2@4"]);
    let mut better = route_event(Action::New, "198.51.100.0/24", 4, &["192.0.2.1@3"]);
    better.metric = 5;
    run(&mut net, 0, EventKind::Route(Box::new(better)));
    let (key, route) = net.routes.lookup("198.51.100.9".parse().unwrap()).unwrap();
    assert_eq!((key.metric, route.protocol), (5, 4));
    let (key, _) = net.routes.lookup("203.0.113.1".parse().unwrap()).unwrap();
    assert!(key.prefix.is_default());
    let all: Prefix = "198.0.0.0/8".parse().unwrap();
    assert_eq!(net.routes.inside(all).count(), 2);
    assert!(net.routes.is_gateway("192.0.2.2".parse().unwrap()));
    assert_eq!(net.routes.gateways_via(3).len(), 1);
}

#[test]
fn hop_sets_that_nobody_uses_are_forgotten() {
    let mut net = host();
    for i in 0..50 {
        let gateway = format!("192.0.2.{}@3", i + 10);
        add(&mut net, i, "198.51.100.0/24", BGP, &[&gateway]);
    }
    assert_eq!(net.routes.gateways_via(3).len(), 1);
}

#[test]
fn an_empty_dump_of_a_whole_family_takes_all_of_it_and_nothing_of_the_other() {
    let mut net = host();
    for prefix in ["198.51.100.0/24", "2001:db8:1::/48"] {
        let mut route = route_event(Action::New, prefix, BGP, &[]);
        route.meta.dump = true;
        route.meta.seq = 1;
        run(&mut net, 0, EventKind::Route(Box::new(route)));
    }
    run(&mut net, 0, dump_done(0, Dumped::Routes, 1).kind);
    let end = |family| {
        EventKind::DumpDone(DumpDone {
            what: Dumped::Routes,
            seq: 2,
            family,
        })
    };
    assert!(run(&mut net, MS, end(None)).is_empty());
    let gone = run(&mut net, 2 * MS, end(Some(2)));
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].key.prefix.to_string(), "198.51.100.0/24");
    assert_eq!(gone[0].cause, Cause::DumpDiff);
    assert_eq!(net.routes.len(), 1);
}

#[test]
fn nexthop_objects_that_a_whole_dump_lacks_are_forgotten() {
    let mut net = host();
    let object = |id, dump| {
        EventKind::Nexthop(Box::new(NexthopEvent {
            meta: crate::event::netlink::Meta {
                dump,
                seq: 5,
                ..Default::default()
            },
            action: Action::New,
            id,
            group: Vec::new(),
            gateway: None,
            ifindex: Some(3),
            blackhole: false,
            protocol: BGP,
            flags: 0,
        }))
    };
    let end = || {
        EventKind::DumpDone(DumpDone {
            what: Dumped::Nexthops,
            seq: 5,
            family: Some(0),
        })
    };
    run(&mut net, 0, object(1, false));
    run(&mut net, 0, object(2, false));
    run(&mut net, MS, object(2, true));
    run(&mut net, MS, object(3, false));
    run(&mut net, MS, end());
    let known = |net: &NetState| [1, 2, 3].map(|id| net.routes.nexthop_object(id).is_some());
    assert_eq!(known(&net), [false, true, true]);
    run(&mut net, 2 * MS, end());
    assert_eq!(known(&net), [false; 3]);
}
