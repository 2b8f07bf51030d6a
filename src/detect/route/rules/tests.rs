//! Policy rules that go, in both families.

use super::*;
use crate::detect::route::lab::Lab;
use crate::event::netlink::{DumpDone, Meta};
use crate::state::routes::testing::{address_event, route_event};

fn rule(ipv6: bool, action: Action, table: u32, priority: u32, src: Option<&str>) -> EventKind {
    EventKind::Rule(Box::new(RuleEvent {
        meta: Meta {
            pid: if action == Action::Del { 4711 } else { 0 },
            ..Meta::default()
        },
        action,
        priority,
        table,
        src: src.map(|src| src.parse().unwrap()),
        dst: None,
        fwmark: None,
        iif: None,
        oif: None,
        act: TO_TABLE,
        protocol: Some(2),
        ipv6,
    }))
}

/// The three rules that the kernel makes.
fn booted(ipv6: bool) -> Lab {
    let mut lab = Lab::new();
    for (table, priority) in [(TABLE_LOCAL, 0), (TABLE_MAIN, 32_766)] {
        lab.at(0, rule(ipv6, Action::New, table, priority, None));
    }
    let done = DumpDone {
        what: Dumped::Rules,
        seq: 1,
        family: Some(if ipv6 { 10 } else { 2 }),
    };
    lab.at(1, EventKind::DumpDone(done));
    let (addr, len) = if ipv6 {
        ("2001:db8::5", 64)
    } else {
        ("192.0.2.5", 24)
    };
    lab.at(
        2,
        EventKind::Address(Box::new(address_event(Action::New, 3, addr, len))),
    );
    lab
}

#[test]
fn the_rule_into_the_local_table_is_missed_unless_another_leads_there() {
    for ipv6 in [false, true] {
        let mut lab = booted(ipv6);
        lab.at(10_000, rule(ipv6, Action::Del, TABLE_LOCAL, 0, None));
        lab.advance(Timestamp(12_000_000_000));
        let found = lab.findings(Kind::RouteRuleLost);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].severity, found[0].first),
            (Severity::Critical, Timestamp(10_000_000_000))
        );
        assert!(
            found[0]
                .explain
                .contains("no other rule leads into that table"),
            "{}",
            found[0].explain
        );
        let own: std::net::IpAddr = if ipv6 { "2001:db8::5" } else { "192.0.2.5" }
            .parse()
            .unwrap();
        assert!(found[0].touches.contains(&Touch::Peer(own)));
        // It is put back.
        lab.at(20_000, rule(ipv6, Action::New, TABLE_LOCAL, 0, None));
        let back = lab.findings(Kind::RouteRuleLost)[0];
        assert_eq!(back.ended, Some(Timestamp(20_000_000_000)));
        assert!(!back.explain.contains("not back"), "{}", back.explain);
        assert!(!back.broken.subject);
        // And deleted again: one finding, two times.
        lab.at(30_000, rule(ipv6, Action::Del, TABLE_LOCAL, 0, None));
        lab.advance(Timestamp(32_000_000_000));
        let again = lab.findings(Kind::RouteRuleLost);
        assert_eq!((again.len(), again[0].count), (1, 2));
        assert!(again[0].broken.subject && again[0].ended.is_none());

        // Behind the rule of the VRFs, as the kernel's documentation has it.
        let mut moved = booted(ipv6);
        moved.at(10_000, rule(ipv6, Action::New, TABLE_LOCAL, 32_765, None));
        moved.at(10_001, rule(ipv6, Action::Del, TABLE_LOCAL, 0, None));
        // Rewritten in two steps.
        moved.at(20_000, rule(ipv6, Action::Del, TABLE_MAIN, 32_766, None));
        moved.at(20_300, rule(ipv6, Action::New, TABLE_MAIN, 32_766, None));
        moved.advance(Timestamp(60_000_000_000));
        assert!(moved.findings(Kind::RouteRuleLost).is_empty());
    }
}

#[test]
fn a_selective_rule_is_missed_while_its_table_has_routes() {
    let own = Some("192.0.2.5/32");
    let mut lab = booted(false);
    lab.at(100, rule(false, Action::New, 100, 1000, own));
    let mut route = route_event(Action::New, "0.0.0.0/0", 3, &["192.0.2.1@3"]);
    route.table = 100;
    lab.at(200, EventKind::Route(Box::new(route.clone())));
    lab.at(10_000, rule(false, Action::Del, 100, 1000, own));
    lab.advance(Timestamp(16_000_000_000));
    let found = lab.findings(Kind::RouteRuleLost);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));

    // Taken down: rule first, then what stands in the table.
    let mut gone = booted(false);
    gone.at(100, rule(false, Action::New, 100, 1000, own));
    gone.at(200, EventKind::Route(Box::new(route.clone())));
    gone.at(10_000, rule(false, Action::Del, 100, 1000, own));
    route.action = Action::Del;
    gone.at(11_000, EventKind::Route(Box::new(route)));
    gone.advance(Timestamp(60_000_000_000));
    assert!(gone.findings(Kind::RouteRuleLost).is_empty());
}
