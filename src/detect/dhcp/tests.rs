use std::net::{IpAddr, Ipv4Addr};

mod habits;
mod known;
mod unserved;

use super::*;
use crate::detect::{Board, Finding, Kind, Severity};
use crate::event::Timestamp;
use crate::event::dhcp4::{Dhcp4, Dhcp4Flaw, MessageType};
use crate::event::frame::Mac;
use crate::event::loss::{Gap, GapKind};
use crate::state::Changes;
use crate::state::leases::tests::{
    answer, event, mac, message, rebinding, renewal, select, server,
};

/// All DHCP detectors on one network, driven as the engine drives them.
struct Lab {
    net: NetState,
    changes: Changes,
    detectors: Vec<Box<dyn Detector>>,
    board: Board,
    now: Timestamp,
    frame: u64,
}

impl Lab {
    fn new() -> Lab {
        Lab::with(&Settings::default())
    }

    fn with(settings: &Settings) -> Lab {
        let mut detectors = Vec::new();
        register(settings, &mut detectors);
        Lab {
            net: NetState::default(),
            changes: Changes::default(),
            detectors,
            board: Board::default(),
            now: Timestamp(0),
            frame: 0,
        }
    }

    fn hear(&mut self, ms: i64, message: Dhcp4) {
        self.frame += 1;
        self.handle(event(ms, 0, self.frame, message));
    }

    fn handle(&mut self, event: Event) {
        self.advance(event.at);
        self.net.apply(&event, &mut self.changes);
        self.tell(&event);
    }

    fn tell(&mut self, event: &Event) {
        let seen = Observation {
            event,
            changes: &self.changes,
        };
        for detector in &mut self.detectors {
            if detector.wants().meets(event.kind.class())
                || matches!(event.kind, EventKind::Deadline)
            {
                detector.observe(&seen, &self.net, &mut self.board);
            }
        }
    }

    fn advance(&mut self, to: Timestamp) {
        loop {
            let own = self
                .detectors
                .iter()
                .filter_map(|d| d.next_deadline())
                .min();
            let due = [own, self.net.leases.next_deadline()]
                .into_iter()
                .flatten()
                .min();
            let Some(at) = due.filter(|at| *at <= to) else {
                break;
            };
            if self.net.leases.next_deadline().is_some_and(|t| t <= at) {
                self.net.expire(at, &mut self.changes);
                self.tell(&Event::deadline(at));
            }
            for detector in &mut self.detectors {
                if detector.next_deadline().is_some_and(|t| t <= at) {
                    detector.expire(at, &self.net, &mut self.board);
                }
            }
        }
        self.now = to;
    }

    fn finish(&mut self) {
        for detector in &mut self.detectors {
            detector.finish(self.now, &self.net, &mut self.board);
        }
    }

    /// A whole exchange that ends in a lease.
    fn lease(&mut self, ms: i64, client: Mac, from: u8, addr: u8, seconds: u32) {
        let xid = ms as u32 ^ u32::from(addr) << 24;
        self.hear(ms, message(MessageType::Discover, client, xid));
        self.hear(
            ms + 1,
            answer(MessageType::Offer, client, xid, from, addr, seconds),
        );
        self.hear(ms + 2, select(client, xid, from, addr));
        self.hear(
            ms + 3,
            answer(MessageType::Ack, client, xid, from, addr, seconds),
        );
    }

    /// A unicast renewal that is answered.
    fn renews(&mut self, ms: i64, client: Mac, from: u8, addr: u8) {
        self.hear(ms, renewal(client, 8, from, addr));
        let ack = answer(MessageType::Ack, client, 8, from, addr, 600);
        self.hear(ms + 1, ack);
    }

    fn loud(&self) -> Vec<Kind> {
        self.board
            .iter()
            .filter(|(_, f)| f.severity > Severity::Info)
            .map(|(_, f)| f.kind)
            .collect()
    }

    fn one(&self, kind: Kind) -> &Finding {
        let mut of_kind = self.board.of_kind(kind);
        let (_, finding) = of_kind.next().expect("no finding of this kind");
        assert!(of_kind.next().is_none(), "more than one {kind}");
        finding
    }
}

fn v4(nth: u8) -> IpAddr {
    server(nth).into()
}

#[test]
fn renewals_and_a_second_server_with_the_same_options_are_quiet() {
    let mut lab = Lab::new();
    for nth in 1..6 {
        lab.lease(i64::from(nth) * 100, mac(nth), 1, 100 + nth, 60);
    }
    for round in 1..10 {
        for nth in 1..6 {
            let (ms, xid) = (round * 20_000 + i64::from(nth), 900 + round as u32);
            lab.hear(ms, renewal(mac(nth), xid, 1, 100 + nth));
            lab.hear(
                ms,
                answer(MessageType::Ack, mac(nth), xid, 1, 100 + nth, 60),
            );
        }
    }
    lab.hear(200_000, message(MessageType::Discover, mac(9), 5));
    for from in [1, 2] {
        let mut offer = answer(MessageType::Offer, mac(9), 5, from, 150 + from, 60);
        offer.routers = vec![server(1)];
        offer.dns = vec![server(1), server(2)];
        lab.hear(200_001, offer);
    }
    lab.finish();
    assert_eq!(lab.loud(), []);
}

#[test]
fn the_rogue_is_the_one_whose_rival_clients_renew_with_even_if_it_was_faster() {
    let mut lab = Lab::new();
    lab.hear(0, message(MessageType::Discover, mac(1), 5));
    lab.hear(1, answer(MessageType::Offer, mac(1), 5, 66, 200, 60));
    lab.hear(2, answer(MessageType::Offer, mac(1), 5, 1, 101, 60));
    lab.hear(3, select(mac(1), 5, 66, 200));
    lab.hear(4, answer(MessageType::Ack, mac(1), 5, 66, 200, 60));
    assert_eq!(lab.loud(), []);
    lab.hear(1000, renewal(mac(2), 6, 1, 102));
    lab.hear(1001, answer(MessageType::Ack, mac(2), 6, 1, 102, 60));
    let found = lab.one(Kind::DhcpRogueServer);
    assert_eq!(found.subjects[0], Subject::Server(v4(66)));
    assert_eq!(found.severity, Severity::Critical);
    assert_eq!((found.count, found.first), (2, Timestamp(1_000_000)));
    assert!(
        found
            .affected
            .clients
            .contains(&Subject::Client(mac(1).to_string().into()))
    );
}

#[test]
fn without_evidence_both_servers_are_named() {
    let mut lab = Lab::new();
    lab.hear(0, message(MessageType::Discover, mac(1), 5));
    lab.hear(1, answer(MessageType::Offer, mac(1), 5, 66, 200, 60));
    lab.hear(2, answer(MessageType::Offer, mac(1), 5, 1, 101, 60));
    lab.finish();
    let found = lab.one(Kind::DhcpRogueServer);
    assert!(found.truncated);
    assert!(found.subjects.contains(&Subject::Server(v4(66))));
    assert!(found.subjects.contains(&Subject::Server(v4(1))));
}

#[test]
fn two_machines_that_answer_as_one_server_are_told_and_a_fail_over_is_not() {
    let mut lab = Lab::new();
    for (nth, port) in [1, 1, 2, 2, 1, 2, 1].into_iter().enumerate() {
        let xid = nth as u32;
        lab.hear(
            nth as i64 * 1000,
            message(MessageType::Discover, mac(nth as u8), xid),
        );
        let mut offer = answer(MessageType::Offer, mac(nth as u8), xid, 1, 101, 60);
        offer.frame.eth_src = Some(mac(200 + port));
        lab.hear(nth as i64 * 1000 + 1, offer);
        assert_eq!(lab.loud().len(), usize::from(nth >= 5), "after {nth}");
    }
    let found = lab.one(Kind::DhcpRogueServer);
    assert!(found.subjects.contains(&Subject::Mac(mac(201))));
    assert!(found.subjects.contains(&Subject::Mac(mac(202))));
}

#[test]
fn a_server_that_refuses_the_clients_of_another_is_the_rogue() {
    let mut lab = Lab::new();
    lab.hear(0, renewal(mac(1), 5, 1, 101));
    lab.hear(1, answer(MessageType::Ack, mac(1), 5, 1, 101, 60));
    lab.hear(30_000, renewal(mac(1), 6, 1, 101));
    lab.hear(30_001, answer(MessageType::Nak, mac(1), 6, 66, 0, 0));
    lab.hear(30_002, answer(MessageType::Ack, mac(1), 6, 1, 101, 60));
    let found = lab.one(Kind::DhcpRogueServer);
    assert_eq!(found.subjects[0], Subject::Server(v4(66)));
    assert_eq!(found.affected.clients.len(), 1);
}

#[test]
fn two_old_servers_that_disagree_are_drift_and_no_alarm() {
    let mut lab = Lab::new();
    for from in [1, 2] {
        lab.hear(
            i64::from(from) * 10,
            renewal(mac(from), 5, from, 100 + from),
        );
        let ack = answer(MessageType::Ack, mac(from), 5, from, 100 + from, 60);
        lab.hear(i64::from(from) * 10 + 1, ack);
    }
    lab.hear(1000, message(MessageType::Discover, mac(9), 6));
    lab.hear(1001, answer(MessageType::Offer, mac(9), 6, 1, 109, 60));
    lab.hear(1002, answer(MessageType::Offer, mac(9), 6, 2, 110, 60));
    lab.finish();
    assert_eq!(lab.one(Kind::DhcpRogueServer).severity, Severity::Info);
}

#[test]
fn deadlines_asked_for_at_any_time_change_nothing() {
    let run = |step: i64| {
        let mut lab = Lab::new();
        lab.lease(0, mac(1), 1, 101, 20);
        for ms in [10_000, 12_000, 15_000] {
            lab.hear(ms, renewal(mac(1), 9, 1, 101));
        }
        for nth in 0..25_u8 {
            let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
            lab.lease(16_000 + i64::from(nth) * 40, client, 1, 110 + nth, 600);
        }
        for nth in 30..40_u8 {
            let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
            let ms = 16_000 + i64::from(nth) * 40;
            if step > 0 {
                lab.advance(Timestamp(ms * 1_000_000 - step));
            }
            lab.hear(ms, message(MessageType::Discover, client, u32::from(nth)));
        }
        let mut at = 18_000_000_000;
        while step > 0 && at < 200_000_000_000 {
            lab.advance(Timestamp(at));
            at += step * 1000;
        }
        lab.advance(Timestamp(200_000_000_000));
        let told: Vec<String> = lab.board.iter().map(|(_, f)| format!("{f:?}")).collect();
        assert!(told.len() >= 3);
        told
    };
    assert_eq!(run(0), run(1_234_567));
}

#[test]
fn declared_servers_settle_who_is_a_rogue() {
    let mut lab = Lab::with(&Settings {
        dhcp_servers: vec![v4(1)],
        ..Settings::default()
    });
    lab.lease(0, mac(1), 1, 101, 60);
    assert_eq!(lab.loud(), []);
    lab.lease(1000, mac(2), 66, 102, 60);
    let found = lab.one(Kind::DhcpRogueServer);
    assert_eq!(
        (found.subjects[0].clone(), found.count),
        (Subject::Server(v4(66)), 2)
    );
}

#[test]
fn a_server_that_stops_answering_is_found_by_its_clients_retries_and_recovers() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    lab.renews(5_000, mac(1), 1, 101);
    for (nth, ms) in [10_000, 12_000, 15_000, 20_000].into_iter().enumerate() {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
        assert_eq!(lab.loud().len(), usize::from(nth >= 2), "after {ms} ms");
    }
    lab.hear(21_000, answer(MessageType::Ack, mac(1), 9, 1, 101, 600));
    let found = lab.one(Kind::DhcpServerUnresponsive);
    assert_eq!(found.subjects, [Subject::Server(v4(1))]);
    assert_eq!(found.first, Timestamp(10_000_000_000));
    assert_eq!(found.ended, Some(Timestamp(21_000_000_000)));
    assert_eq!(found.count, 1);
}

#[test]
fn silence_inside_a_capture_gap_proves_nothing() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    lab.hear(10_000, renewal(mac(1), 9, 1, 101));
    let mut gap = Event::deadline(Timestamp(11_000_000_000));
    gap.kind = EventKind::Gap(Box::new(Gap {
        kind: GapKind::CaptureDrops,
        from: Timestamp(9_000_000_000),
        to: Timestamp(11_000_000_000),
        lost: Some(3),
        detail: "drops".into(),
    }));
    lab.handle(gap);
    lab.hear(12_000, renewal(mac(1), 9, 1, 101));
    lab.hear(15_000, renewal(mac(1), 9, 1, 101));
    assert_eq!(lab.loud(), []);
}

#[test]
fn a_capture_that_sees_only_the_clients_proves_nothing_by_their_regular_renewals() {
    let mut lab = Lab::new();
    for nth in 0..10_u8 {
        let xid = u32::from(nth);
        lab.hear(i64::from(nth) * 20_000, renewal(mac(1), xid, 1, 101));
    }
    assert_eq!(lab.loud(), []);
    // The same transaction again and again, by a client that says how long it waits, is one that hears nothing; what it asks of everybody shows that it is not the way.
    for nth in 10..14 {
        let mut ask = renewal(mac(1), 99, 1, 101);
        ask.secs = (nth as u16 - 10) * 20;
        lab.hear(nth * 20_000, ask);
    }
    let suspected = lab.board.of_kind(Kind::DhcpServerUnresponsive).count();
    assert_eq!((lab.loud(), suspected), (vec![], 1));
    for nth in 14..16 {
        lab.hear(nth * 20_000, rebinding(mac(1), 99, 101));
    }
    assert_eq!(lab.loud(), [Kind::DhcpServerUnresponsive]);
}

#[test]
fn renewals_that_a_firewall_drops_are_no_outage_when_the_broadcast_at_t2_is_answered() {
    let mut lab = Lab::new();
    let relayed = |mut m: Dhcp4| {
        m.giaddr = "192.0.2.126".parse().unwrap();
        m
    };
    lab.hear(0, relayed(message(MessageType::Discover, mac(1), 7)));
    lab.hear(
        1,
        relayed(answer(MessageType::Offer, mac(1), 7, 1, 101, 60)),
    );
    lab.hear(2, relayed(select(mac(1), 7, 1, 101)));
    lab.hear(3, relayed(answer(MessageType::Ack, mac(1), 7, 1, 101, 60)));
    for ms in [10_000, 12_000, 15_000, 18_000, 22_000] {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    lab.hear(30_000, relayed(rebinding(mac(1), 9, 101)));
    lab.hear(
        30_001,
        relayed(answer(MessageType::Ack, mac(1), 9, 1, 101, 60)),
    );
    lab.finish();
    assert_eq!(lab.loud(), []);
}

#[test]
fn a_relay_for_a_network_without_a_server_is_no_pool_and_its_clients_must_ask_again() {
    let discover = |nth: u8| {
        let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
        let mut m = message(MessageType::Discover, client, u32::from(nth));
        m.giaddr = "198.51.100.77".parse().unwrap();
        m
    };
    let mut lab = Lab::new();
    for nth in 1..20_u8 {
        lab.hear(i64::from(nth) * 500, discover(nth));
    }
    // One tool's crowd is known by its looks, before anybody could have asked again.
    lab.advance(Timestamp(11_600_000_000));
    assert_eq!(lab.loud(), [Kind::DhcpRelaySpoofed]);
    // Real clients behind a relay whose server is away.
    let discover = |nth: u8| {
        let mut m = discover(nth);
        m.chaddr = mac(nth).0.to_vec();
        m
    };
    let mut lab = Lab::new();
    for nth in 1..20_u8 {
        for again in 0..4 {
            lab.hear(
                i64::from(again) * 4_000 + i64::from(nth) * 100,
                discover(nth),
            );
        }
    }
    lab.advance(Timestamp(40_000_000_000));
    assert!(
        !lab.loud().contains(&Kind::DhcpRelaySpoofed)
            && !lab.loud().contains(&Kind::DhcpStarvation)
    );
}

#[test]
fn one_stranger_that_gets_no_offer_is_no_outage() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    for ms in [10_000, 14_000, 22_000] {
        lab.hear(ms, message(MessageType::Discover, mac(2), 9));
    }
    assert_eq!(lab.loud(), []);
}

#[test]
fn a_lease_that_ends_under_unanswered_renewals_is_told_at_its_deadline() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 20);
    lab.lease(10, mac(2), 1, 102, 20); // switched off: its lease's end is no loss
    for ms in [10_000, 12_000, 15_000] {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    lab.advance(Timestamp(30_000_000_000));
    let found = lab.one(Kind::DhcpLeaseExpired);
    assert_eq!(
        found.subjects[0],
        Subject::Client(mac(1).to_string().into())
    );
    assert_eq!(found.occurrences[0].at, Timestamp(20_003_000_000));
    assert_eq!(found.first, Timestamp(10_000_000_000));
    assert!(found.touches.contains(&Touch::Address(v4(101))));
}

#[test]
fn many_clients_from_one_source_are_starvation() {
    let mut lab = Lab::new();
    for nth in 0..30_u8 {
        let mut m = message(MessageType::Discover, mac(1), u32::from(nth));
        m.chaddr = vec![2, nth, 7, 7, 7, 7];
        lab.hear(i64::from(nth) * 50, m);
    }
    let found = lab.one(Kind::DhcpStarvation);
    assert_eq!(found.subjects[0], Subject::Mac(mac(1)));
    assert_eq!(found.count, 30);
}

#[test]
fn invented_clients_that_empty_the_pool_are_starvation_and_cause_its_exhaustion() {
    let mut lab = Lab::new();
    for nth in 0..25_u8 {
        let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
        lab.lease(i64::from(nth) * 40, client, 1, 100 + nth, 600);
    }
    for nth in 30..40_u8 {
        let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
        let m = message(MessageType::Discover, client, u32::from(nth));
        lab.hear(i64::from(nth) * 40, m);
    }
    lab.advance(Timestamp(10_000_000_000));
    assert_eq!(lab.one(Kind::DhcpStarvation).count, 35);
    let empty = lab.one(Kind::DhcpPoolExhausted);
    assert_eq!(empty.subjects, [Subject::Server(v4(1))]);
    assert_eq!(empty.affected.clients.len(), 10);
}

#[test]
fn a_flood_of_discovers_whose_offers_nobody_takes_is_starvation_and_slow_takers_are_not() {
    for takes in [false, true] {
        let mut lab = Lab::new();
        for nth in 0..90_u8 {
            let ms = i64::from(nth) * 20;
            let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
            lab.hear(ms, message(MessageType::Discover, client, u32::from(nth)));
            let offer = answer(MessageType::Offer, client, u32::from(nth), 1, nth, 60);
            lab.hear(ms + 1, offer);
        }
        if takes {
            // Of many offers each takes one, a little later.
            for nth in 0..90_u8 {
                let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
                let ms = 1_801 + i64::from(nth);
                lab.hear(ms, select(client, u32::from(nth), 1, nth));
                let ack = answer(MessageType::Ack, client, u32::from(nth), 1, nth, 60);
                lab.hear(ms, ack);
            }
        }
        lab.advance(Timestamp(8_000_000_000));
        if takes {
            assert_eq!(lab.loud(), []);
        } else {
            let found = lab.one(Kind::DhcpStarvation);
            assert!(
                found.explain.contains("none of them took"),
                "{}",
                found.explain
            );
        }
    }
}

#[test]
fn a_rack_that_boots_is_an_info() {
    let mut lab = Lab::new();
    for nth in 0..30_u8 {
        lab.lease(i64::from(nth) * 40, mac(nth), 1, 100 + nth, 600);
    }
    lab.advance(Timestamp(10_000_000_000));
    assert_eq!(lab.loud(), []);
    assert_eq!(lab.one(Kind::DhcpBootStorm).count, 30);
}

#[test]
fn one_nak_is_roaming_and_many_are_a_storm() {
    let mut lab = Lab::new();
    for nth in 0..10 {
        let mut m = message(MessageType::Request, mac(1), nth);
        m.requested_ip = Some(Ipv4Addr::new(198, 51, 100, 9));
        lab.hear(i64::from(nth) * 300, m);
        lab.hear(
            i64::from(nth) * 300 + 1,
            answer(MessageType::Nak, mac(1), nth, 1, 0, 0),
        );
        assert_eq!(lab.loud().len(), usize::from(nth >= 2));
    }
    assert_eq!(lab.one(Kind::DhcpNakStorm).count, 10);
}

#[test]
fn declines_are_counted_for_the_client() {
    let mut lab = Lab::new();
    for nth in 0..5 {
        lab.lease(nth * 3000, mac(1), 1, 101, 60);
        let mut m = select(mac(1), 77, 1, 101);
        m.message_type = Some(MessageType::Decline);
        lab.hear(nth * 3000 + 500, m);
    }
    let found = lab.one(Kind::DhcpDeclineLoop);
    assert_eq!((found.count, found.evidence.total), (5, 5));
    assert!(found.touches.contains(&Touch::Address(v4(101))));
}

#[test]
fn taking_and_giving_back_in_a_loop_is_churn_but_one_release_is_not() {
    let mut lab = Lab::new();
    for nth in 0..8 {
        lab.lease(nth * 700, mac(1), 1, 101, 60);
        let mut m = renewal(mac(1), 8, 1, 101);
        m.message_type = Some(MessageType::Release);
        lab.hear(nth * 700 + 300, m);
        assert_eq!(lab.loud().len(), usize::from(nth >= 4));
    }
    assert_eq!(lab.one(Kind::DhcpClientChurn).count, 8);
}

#[test]
fn a_gateway_that_changes_once_is_an_info_and_one_that_alternates_a_warning() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 60);
    for nth in 1..5 {
        let xid = nth as u32;
        lab.hear(nth * 10_000, renewal(mac(1), xid, 1, 101));
        let mut ack = answer(MessageType::Ack, mac(1), xid, 1, 101, 60);
        ack.routers = vec![server(if nth % 2 == 1 { 254 } else { 1 })];
        lab.hear(nth * 10_000 + 1, ack);
        let found = lab.one(Kind::DhcpGatewayChanged);
        assert_eq!(found.count, nth as u64);
        assert_eq!(found.severity > Severity::Info, nth >= 2);
    }
}

/// RFC 3442: option 121 decides alone where it is present. The benign twin: routes with the same gateway as default change nothing.
#[test]
fn classless_routes_without_a_default_take_the_gateway_away_though_option_3_stays() {
    for (default, told) in [(false, true), (true, false)] {
        let mut lab = Lab::new();
        let lan = |nth: u32| {
            let mut ack = answer(MessageType::Ack, mac(1), nth, 1, 101, 60);
            ack.routers = vec![server(254)];
            ack
        };
        lab.hear(0, message(MessageType::Discover, mac(1), 1));
        lab.hear(1, lan(1));
        lab.hear(10_000, renewal(mac(1), 2, 1, 101));
        let mut ack = lan(2);
        ack.routes = vec![(121, "198.51.100.0/24".parse().unwrap(), server(253))];
        if default {
            ack.routes
                .push((121, "0.0.0.0/0".parse().unwrap(), server(254)));
        }
        lab.hear(10_001, ack);
        let found = lab
            .board
            .of_kind(Kind::DhcpGatewayChanged)
            .map(|(_, finding)| finding.explain.clone())
            .collect::<Vec<_>>();
        assert_eq!(found.len(), usize::from(told), "{found:?}");
        assert!(
            found
                .iter()
                .all(|text| text.contains("no default route among"))
        );
    }
}

#[test]
fn halves_of_the_address_space_are_an_injection_and_cloud_routes_are_not() {
    let mut lab = Lab::new();
    let route = |p: &str, gw: Ipv4Addr| (121, p.parse().unwrap(), gw);
    let mut cloud = answer(MessageType::Ack, mac(1), 1, 1, 101, 60);
    cloud.routers = Vec::new();
    cloud.routes = vec![
        route("192.0.2.1/32", Ipv4Addr::UNSPECIFIED),
        route("0.0.0.0/0", server(1)),
        route("169.254.169.254/32", server(1)),
    ];
    lab.hear(0, cloud);
    assert_eq!(lab.loud(), []);
    let mut bad = answer(MessageType::Ack, mac(2), 2, 1, 102, 60);
    bad.routes = vec![
        route("0.0.0.0/1", server(66)),
        route("128.0.0.0/1", server(66)),
    ];
    lab.hear(1000, bad);
    let found = lab.one(Kind::DhcpRouteInjection);
    assert_eq!(found.severity, Severity::Critical);
    assert!(
        found
            .subjects
            .contains(&Subject::Prefix("0.0.0.0/1".parse().unwrap()))
    );
}

#[test]
fn a_relay_whose_clients_take_their_offers_is_real_and_one_without_anybody_is_not() {
    let giaddr = Ipv4Addr::new(198, 51, 100, 1);
    for real in [true, false] {
        let mut lab = Lab::new();
        for nth in 0..12_u8 {
            let ms = i64::from(nth) * 200;
            let mut ask = message(MessageType::Discover, mac(nth), u32::from(nth));
            ask.giaddr = giaddr;
            ask.frame.eth_src = Some(mac(250));
            ask.frame.ip_src = Some(v4(250));
            lab.hear(ms, ask);
            let mut offer = answer(MessageType::Offer, mac(nth), u32::from(nth), 1, nth, 60);
            offer.giaddr = giaddr;
            lab.hear(ms + 1, offer);
            if real && nth % 3 == 0 {
                let mut take = select(mac(nth), u32::from(nth), 1, nth);
                take.giaddr = giaddr;
                lab.hear(ms + 2, take);
            }
        }
        lab.advance(Timestamp(20_000_000_000));
        if real {
            assert_eq!(lab.loud(), []);
        } else {
            let found = lab.one(Kind::DhcpRelaySpoofed);
            assert_eq!(found.subjects[0], Subject::Mac(mac(250)));
            assert_eq!(found.count, 12);
        }
    }
}

#[test]
fn a_release_from_another_host_is_forged_and_a_routed_one_is_not() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    let mut m = renewal(mac(1), 8, 1, 101);
    m.message_type = Some(MessageType::Release);
    m.frame.eth_src = Some(mac(66));
    lab.hear(5000, m.clone());
    let found = lab.one(Kind::DhcpReleaseSpoofed);
    assert_eq!(found.subjects[0], Subject::Mac(mac(66)));

    // The owner never spoke on this link: the other source is its router.
    let mut lab = Lab::new();
    lab.hear(0, answer(MessageType::Ack, mac(1), 1, 1, 101, 600));
    lab.hear(5000, m);
    assert_eq!(lab.loud(), []);
}

#[test]
fn two_machines_with_one_identity_alternate_and_a_replaced_card_does_not() {
    let mut lab = Lab::new();
    for (nth, client) in [1, 1, 2, 2, 2].into_iter().enumerate() {
        let mut m = renewal(mac(client), nth as u32, 1, 101);
        m.client_id = Some(vec![255, 1, 2, 3, 4, 0, 2, 0, 0, 0xab, 0x11, 9]);
        lab.hear(nth as i64 * 10_000, m);
    }
    assert_eq!(lab.loud(), []);
    let mut m = renewal(mac(1), 99, 1, 101);
    m.client_id = Some(vec![255, 1, 2, 3, 4, 0, 2, 0, 0, 0xab, 0x11, 9]);
    lab.hear(60_000, m);
    let found = lab.one(Kind::DhcpIdentityConflict);
    assert!(found.subjects.contains(&Subject::Mac(mac(1))));
    assert_eq!(found.explanations.len(), 1);
}

#[test]
fn one_address_for_two_clients_is_a_duplicate_lease() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    lab.lease(10_000, mac(2), 1, 101, 600);
    assert_eq!(
        lab.one(Kind::DhcpDuplicateLease).subjects[0],
        Subject::Address(v4(101))
    );
}

#[test]
fn broken_packets_fold_into_one_finding_of_their_sender() {
    let mut lab = Lab::new();
    for (nth, flaw) in [
        Dhcp4Flaw::BadCookie,
        Dhcp4Flaw::OptionOverrun,
        Dhcp4Flaw::BadRoutes,
    ]
    .into_iter()
    .enumerate()
    {
        let mut m = message(MessageType::Discover, mac(nth as u8), nth as u32);
        m.frame.eth_src = Some(mac(66));
        m.flaws = vec![flaw];
        lab.hear(nth as i64 * 100, m);
    }
    let found = lab.one(Kind::DhcpMalformed);
    assert_eq!(found.subjects, [Subject::Mac(mac(66))]);
    assert_eq!((found.count, found.severity), (3, Severity::Warning));
    assert!(found.explain.contains("bad cookie"));
    // Old clients leave END out: nothing to tell.
    let mut lab = Lab::new();
    for nth in 0..3 {
        let mut m = message(MessageType::Discover, mac(1), nth);
        m.flaws = vec![Dhcp4Flaw::NoEnd];
        lab.hear(i64::from(nth) * 100, m);
    }
    assert_eq!(lab.board.iter().count(), 0);
}

#[test]
fn hostile_text_is_told_once_for_all_clients_with_a_harmless_sample() {
    let mut lab = Lab::new();
    for nth in 1..4 {
        let mut m = message(MessageType::Discover, mac(nth), u32::from(nth));
        m.host_name = Some("a\u{1b}[2Jb".into());
        m.hostile_text = vec![12];
        lab.hear(i64::from(nth) * 100, m);
    }
    let found = lab.one(Kind::DhcpHostileText);
    assert_eq!(found.subjects.len(), 3);
    assert!(found.explain.contains("\\e[2J") && !found.explain.contains('\u{1b}'));
}

#[test]
fn a_client_that_asks_without_pause_is_a_storm_unless_it_is_served() {
    let mut lab = Lab::new();
    for nth in 0..40 {
        lab.hear(
            nth * 500,
            message(MessageType::Discover, mac(1), nth as u32),
        );
    }
    assert_eq!(lab.one(Kind::DhcpRequestStorm).count, 40);
    let mut lab = Lab::new();
    for nth in 0..40 {
        lab.lease(nth * 500, mac(1), 1, 101, 60);
    }
    assert_eq!(lab.loud(), [Kind::DhcpClientChurn]);
}

#[test]
fn asking_anew_while_the_lease_runs_is_churn_from_the_fifth_time_on_and_a_boot_chain_is_not() {
    for same_xid in [false, true] {
        let mut lab = Lab::new();
        for nth in 0..14 {
            let ms = nth * 1000;
            let xid = if same_xid { 7 } else { nth as u32 };
            lab.hear(ms, message(MessageType::Discover, mac(1), xid));
            lab.hear(ms + 1, answer(MessageType::Offer, mac(1), xid, 1, 101, 600));
            for again in 0..2 {
                let ms = ms + 10 + 20 * again;
                lab.hear(ms, select(mac(1), xid, 1, 101));
                lab.hear(ms + 1, answer(MessageType::Ack, mac(1), xid, 1, 101, 600));
            }
            assert_eq!(lab.loud().len(), usize::from(nth >= 5), "after {nth}");
        }
        assert_eq!(lab.one(Kind::DhcpClientChurn).count, 13);
    }
}

#[test]
fn a_client_that_confirms_its_remembered_address_again_and_again_is_churn_too() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    for nth in 1..10 {
        let mut m = message(MessageType::Request, mac(1), nth as u32);
        m.requested_ip = Some(server(101));
        lab.hear(nth * 2000, m);
        let ack = answer(MessageType::Ack, mac(1), nth as u32, 1, 101, 600);
        lab.hear(nth * 2000 + 1, ack);
        assert_eq!(lab.loud().len(), usize::from(nth >= 8));
    }
    assert_eq!(lab.one(Kind::DhcpClientChurn).count, 9);
    // Containers behind one link-layer address: each has an address of its own.
    let mut lab = Lab::new();
    for nth in 0..14_u8 {
        lab.lease(i64::from(nth) * 1000, mac(1), 1, 100 + nth, 600);
    }
    assert_eq!(lab.loud(), []);
}

#[test]
fn a_client_that_starts_over_because_it_was_refused_or_its_lease_ended_is_no_churn() {
    let mut lab = Lab::new();
    for nth in 0..10_i64 {
        lab.lease(nth * 10_000, mac(1), 1, 101, 600);
        let xid = 500 + nth as u32;
        lab.hear(nth * 10_000 + 5000, renewal(mac(1), xid, 1, 101));
        let nak = answer(MessageType::Nak, mac(1), xid, 1, 0, 0);
        lab.hear(nth * 10_000 + 5001, nak);
    }
    assert_eq!(lab.loud(), [Kind::DhcpNakStorm]);
    let mut lab = Lab::new();
    for nth in 0..10_i64 {
        lab.lease(nth * 10_000, mac(1), 1, 101, 5);
    }
    assert!(!lab.loud().contains(&Kind::DhcpClientChurn));
}

#[test]
fn one_sender_that_empties_the_pool_in_the_name_of_random_clients_is_one_finding() {
    for (clients, served) in [(45_u8, 31_u8), (20, 8), (12, 4)] {
        let mut lab = Lab::new();
        for nth in 0..clients {
            let (ms, xid) = (i64::from(nth) * 150, u32::from(nth));
            let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
            let mut ask = message(MessageType::Discover, client, xid);
            ask.frame.eth_src = Some(mac(66));
            lab.hear(ms, ask);
            if nth < served {
                let offer = answer(MessageType::Offer, client, xid, 1, 100 + nth, 600);
                lab.hear(ms + 1, offer);
                let mut take = select(client, xid, 1, 100 + nth);
                take.frame.eth_src = Some(mac(66));
                lab.hear(ms + 2, take);
                let ack = answer(MessageType::Ack, client, xid, 1, 100 + nth, 600);
                lab.hear(ms + 3, ack);
            }
        }
        for retry in 0..4 {
            lab.hear(
                20_000 + retry * 2000,
                message(MessageType::Discover, mac(9), 99),
            );
        }
        lab.advance(Timestamp(60_000_000_000));
        lab.finish();
        let found = lab.one(Kind::DhcpStarvation);
        assert_eq!(found.subjects[0], Subject::Mac(mac(66)));
        assert_eq!(found.count, u64::from(clients));
        assert_eq!(lab.board.of_kind(Kind::DhcpBootStorm).count(), 0);
    }
}

#[test]
fn an_outage_of_a_few_seconds_shows_in_brisk_renewals_but_not_in_a_conflict_check() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    lab.renews(5_000, mac(1), 1, 101);
    for ms in [10_000, 11_000, 12_000, 13_000] {
        assert_eq!(lab.loud(), []);
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    assert_eq!(lab.loud(), [Kind::DhcpServerUnresponsive]);
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    for ms in [10_000, 11_000, 12_000, 13_000] {
        lab.hear(ms, message(MessageType::Discover, mac(1), 9));
    }
    lab.hear(13_100, answer(MessageType::Offer, mac(1), 9, 1, 101, 600));
    assert_eq!(lab.loud(), []);
}

#[test]
fn of_two_servers_the_one_that_came_while_the_other_served_is_the_rogue() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 60);
    lab.hear(4000, message(MessageType::Discover, mac(2), 5));
    // It loses the race, and differs in the name server only.
    lab.hear(4001, answer(MessageType::Offer, mac(2), 5, 1, 102, 60));
    let mut offer = answer(MessageType::Offer, mac(2), 5, 66, 200, 60);
    offer.routers = vec![server(1)];
    lab.hear(4002, offer);
    lab.hear(4003, select(mac(2), 5, 1, 102));
    lab.hear(4004, answer(MessageType::Ack, mac(2), 5, 1, 102, 60));
    lab.finish();
    let found = lab.one(Kind::DhcpRogueServer);
    assert_eq!(found.subjects[0], Subject::Server(v4(66)));
    assert!(!found.subjects.contains(&Subject::Server(v4(1))));
}

#[test]
fn invented_clients_are_starvation_even_when_they_are_few_slow_and_inconsistent() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 99, 600);
    for nth in 0..20_u8 {
        let (ms, xid) = (5000 + i64::from(nth) * 2000, u32::from(nth));
        let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
        let frame = Mac([6, nth.wrapping_mul(91), nth, 5, 5, nth]);
        let mut ask = message(MessageType::Discover, client, xid);
        ask.frame.eth_src = Some(frame);
        lab.hear(ms, ask);
        if nth < 12 {
            lab.hear(
                ms + 1,
                answer(MessageType::Offer, client, xid, 1, 100 + nth, 600),
            );
            let mut take = select(client, xid, 1, 100 + nth);
            take.frame.eth_src = Some(frame);
            lab.hear(ms + 2, take);
            lab.hear(
                ms + 3,
                answer(MessageType::Ack, client, xid, 1, 100 + nth, 600),
            );
        }
    }
    lab.advance(Timestamp(60_000_000_000));
    lab.finish();
    assert!(lab.one(Kind::DhcpStarvation).count >= 18);
}

/// The relay of the tests, whose both sides are captured, on the clients' link.
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 250);

/// A client's message on both sides of the relay.
fn up(lab: &mut Lab, ms: i64, mut m: Dhcp4, source: Mac) {
    m.frame.eth_src = Some(source);
    lab.hear(ms, m.clone());
    m.frame.eth_src = Some(mac(250));
    m.frame.ip_src = Some(RELAY.into());
    m.frame.ip_dst = Some(v4(1));
    (m.giaddr, m.hops) = (RELAY, 1);
    lab.frame += 1;
    let forwarded = event(ms + 1, 1, lab.frame, m);
    lab.handle(forwarded);
}

/// A server's answer on both sides of the relay.
fn down(lab: &mut Lab, ms: i64, mut m: Dhcp4) {
    m.giaddr = RELAY;
    let mut at_relay = m.clone();
    at_relay.dst_port = 67;
    lab.frame += 1;
    let first = event(ms, 1, lab.frame, at_relay);
    lab.handle(first);
    m.frame.eth_src = Some(mac(250));
    m.frame.ip_src = Some(RELAY.into());
    lab.hear(ms + 1, m);
}

/// An exchange through the relay; without an address it ends behind the DISCOVER.
fn relayed(lab: &mut Lab, ms: i64, client: Mac, source: Mac, xid: u32, addr: Option<u8>) {
    let ask = message(MessageType::Discover, client, xid);
    up(lab, ms, ask, source);
    if let Some(addr) = addr {
        down(
            lab,
            ms + 2,
            answer(MessageType::Offer, client, xid, 1, addr, 600),
        );
        up(lab, ms + 4, select(client, xid, 1, addr), source);
        down(
            lab,
            ms + 6,
            answer(MessageType::Ack, client, xid, 1, addr, 600),
        );
    }
}

#[test]
fn both_sides_of_a_relay_tell_a_fault_once() {
    let mut lab = Lab::new();
    for nth in 0..14 {
        relayed(&mut lab, nth * 1000, mac(1), mac(1), nth as u32, Some(101));
    }
    assert_eq!(lab.loud(), [Kind::DhcpClientChurn]);
    assert_eq!(lab.one(Kind::DhcpClientChurn).count, 13);

    let mut lab = Lab::new();
    for nth in 0..8_u32 {
        let ms = i64::from(nth) * 1000;
        let mut ask = message(MessageType::Request, mac(1), nth);
        ask.requested_ip = Some(Ipv4Addr::new(198, 51, 100, 9));
        up(&mut lab, ms, ask, mac(1));
        down(
            &mut lab,
            ms + 2,
            answer(MessageType::Nak, mac(1), nth, 1, 0, 0),
        );
        let mut decline = select(mac(2), 50 + nth, 1, 101);
        decline.message_type = Some(MessageType::Decline);
        up(&mut lab, ms + 500, decline, mac(2));
    }
    assert_eq!(lab.one(Kind::DhcpNakStorm).count, 8);
    assert_eq!(lab.one(Kind::DhcpDeclineLoop).count, 8);

    let mut lab = Lab::new();
    for nth in 0..40_u8 {
        let client = Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
        let addr = (nth < 25).then_some(100 + nth);
        relayed(
            &mut lab,
            i64::from(nth) * 150,
            client,
            mac(66),
            u32::from(nth),
            addr,
        );
    }
    lab.advance(Timestamp(60_000_000_000));
    lab.finish();
    let found = lab.one(Kind::DhcpStarvation);
    assert_eq!(found.subjects[0], Subject::Mac(mac(66)));
    assert_eq!(found.count, 40);
}

#[test]
fn a_server_that_pings_before_each_offer_is_slow_and_not_empty() {
    let mut lab = Lab::new();
    let client = |nth: u8| Mac([2, nth.wrapping_mul(37), nth, 3, 3, nth]);
    for nth in 0..20_u8 {
        let m = message(MessageType::Discover, client(nth), u32::from(nth));
        lab.hear(i64::from(nth) * 20, m);
    }
    for nth in 0..20_u8 {
        // Six pings of 3 s, then it is busy enough to leave them out.
        let ms = 3000 + i64::from(nth.min(5)) * 3000 + i64::from(nth) * 10;
        let (xid, addr) = (u32::from(nth), 100 + nth);
        lab.hear(
            ms,
            answer(MessageType::Offer, client(nth), xid, 1, addr, 600),
        );
        lab.hear(ms + 1, select(client(nth), xid, 1, addr));
        lab.hear(
            ms + 2,
            answer(MessageType::Ack, client(nth), xid, 1, addr, 600),
        );
    }
    lab.advance(Timestamp(60_000_000_000));
    lab.finish();
    assert_eq!(lab.loud(), []);
}

#[test]
fn dhcpv6_identities_of_one_source_are_starvation_and_one_identity_is_not() {
    for (identities, found) in [(20_u8, 1), (1, 0)] {
        let mut lab = Lab::new();
        for nth in 0..20_u8 {
            lab.frame += 1;
            let mut solicit = crate::state::leases::tests::v6(1, u32::from(nth), 0);
            solicit.addresses.clear();
            solicit.frame.eth_src = Some(mac(66));
            solicit.client = Some(crate::event::dhcp6::Duid(Box::new([
                0,
                3,
                0,
                1,
                2,
                nth % identities,
            ])));
            let mut e = event(
                i64::from(nth) * 4000,
                0,
                lab.frame,
                message(MessageType::Discover, mac(1), 1),
            );
            e.kind = EventKind::Dhcp6(Box::new(solicit));
            lab.handle(e);
        }
        assert_eq!(lab.board.of_kind(Kind::DhcpStarvation).count(), found);
    }
}

#[test]
fn an_empty_pool_is_not_told_as_an_outage_although_the_left_out_retry() {
    let mut lab = Lab::new();
    for nth in 0..12_u8 {
        lab.lease(i64::from(nth) * 100, mac(nth), 1, 100 + nth, 600);
    }
    for round in 0..6 {
        for nth in 20..25_u8 {
            let ms = 2000 + round * 2000 + i64::from(nth) * 10;
            lab.hear(ms, message(MessageType::Discover, mac(nth), 7));
        }
    }
    lab.advance(Timestamp(60_000_000_000));
    assert_eq!(lab.loud(), [Kind::DhcpPoolExhausted]);
}
