//! Hand-made claims, and the benign twin of each fault.

use std::net::Ipv4Addr;

use super::*;
use crate::detect::{Kind, Reason, Severity, Subject};
use crate::event::frame::Frame;
use crate::event::lan::{Arp, Nd, NdMessage};
use crate::event::netlink::{AddressEvent, Meta};
use crate::event::source::Unit;
use crate::event::{InputId, SourceId};
use crate::state::Changes;

const A: Mac = Mac([0x52, 0, 0, 0, 1, 1]);
const B: Mac = Mac([0x52, 0, 0, 9, 2, 2]);
const CLIENT: Mac = Mac([0x52, 0, 0, 7, 3, 3]);
const ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// Feeds events through the tables into the detector, as the engine does.
#[derive(Default)]
struct Rig {
    net: NetState,
    changes: Changes,
    claims: Claims,
    board: Board,
    frame: u64,
    last: Option<Event>,
    /// The interface that captures.
    source: u32,
}

impl Rig {
    fn event(&mut self, ms: i64, kind: EventKind) {
        self.event_at(ms * 1_000_000, kind);
    }

    fn event_at(&mut self, ns: i64, kind: EventKind) {
        self.frame += 1;
        let at = Timestamp(ns);
        let event = Event {
            at,
            origin_at: None,
            source: SourceId(self.source),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.frame,
                offset: 0,
            },
            kind,
        };
        self.until(at);
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.claims.observe(&seen, &self.net, &mut self.board);
        self.last = Some(event);
    }

    fn until(&mut self, to: Timestamp) {
        while let Some(at) = self.claims.next_deadline().filter(|at| *at <= to) {
            self.claims.expire(at, &self.net, &mut self.board);
        }
    }

    fn arp(&mut self, ms: i64, op: u16, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) {
        self.event(
            ms,
            EventKind::Arp(Box::new(Arp {
                frame: Frame {
                    eth_src: Some(from.0),
                    eth_dst: Some(to.0),
                    ..Frame::default()
                },
                op,
                sender_mac: from.0,
                sender_ip: from.1,
                target_mac: to.0,
                target_ip: to.1,
            })),
        );
    }

    fn announce(&mut self, ms: i64, mac: Mac) {
        self.arp(ms, 1, (mac, ADDR), (Mac::BROADCAST, ADDR));
    }

    fn ask(&mut self, ms: i64) {
        self.arp(ms, 1, (CLIENT, CLIENT_ADDR), (Mac::BROADCAST, ADDR));
    }

    fn answer(&mut self, ms: i64, mac: Mac) {
        self.arp(ms, 2, (mac, ADDR), (CLIENT, CLIENT_ADDR));
    }

    fn probe(&mut self, ms: i64) {
        self.arp(
            ms,
            1,
            (CLIENT, Ipv4Addr::UNSPECIFIED),
            (Mac::BROADCAST, ADDR),
        );
    }

    fn found(&self) -> Vec<(Kind, Severity, u64)> {
        self.board
            .iter()
            .map(|(_, f)| (f.kind, f.severity, f.count))
            .collect()
    }

    fn only(&self) -> &Finding {
        let mut all = self.board.iter();
        let (Some((_, finding)), None) = (all.next(), all.next()) else {
            panic!("not one finding: {:?}", self.found())
        };
        finding
    }
}

#[test]
fn two_hosts_that_both_answer_are_one_conflict() {
    let mut rig = Rig::default();
    for round in 0..5 {
        let ms = round * 2000;
        rig.ask(ms);
        rig.answer(ms + 1, A);
        rig.answer(ms + 2, B);
    }
    let finding = rig.only();
    assert_eq!(finding.kind, Kind::AddressConflict);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.subjects[0], Subject::Address(ADDR.into()));
    assert!(finding.touches.contains(&Touch::Mac(A)) && finding.touches.contains(&Touch::Mac(B)));
    assert_eq!(finding.count, 9);
    assert_eq!(finding.first, Timestamp(2_000_000));
    assert_eq!(finding.last, Timestamp(8_002_000_000));
    assert!(finding.ended.is_none());
}

#[test]
fn a_conflict_ends_when_it_was_quiet_for_ten_minutes() {
    let mut rig = Rig::default();
    for ms in 0..4 {
        rig.announce(ms * 100, if ms % 2 == 0 { A } else { B });
    }
    assert!(rig.only().ended.is_none());
    rig.until(Timestamp(300_000_000 + QUIET.as_nanos() as i64));
    assert!(rig.only().ended.is_some());
    assert_eq!(rig.claims.next_deadline(), None);
    assert!(rig.claims.contests.is_empty() && rig.claims.open.is_empty());
}

#[test]
fn announcements_of_a_gateway_by_another_host_are_one_mac_flip() {
    let mut rig = Rig::default();
    rig.ask(0);
    rig.answer(1, A);
    for round in 1..=6 {
        rig.announce(round * 1000, B);
        rig.ask(round * 1000 + 500);
        rig.answer(round * 1000 + 501, A);
        rig.announce(round * 1000 + 700, A);
    }
    let finding = rig.only();
    assert_eq!(finding.kind, Kind::NeighborMacFlip);
    assert_eq!(finding.subjects[0], Subject::Neighbor(ADDR.into()));
    assert!(finding.subjects.contains(&Subject::Mac(B)));
    assert!(finding.explain.contains("announces 192.0.2.10"));
}

#[test]
fn a_spoofer_of_many_addresses_is_one_finding() {
    let mut rig = Rig::default();
    for last in 1..=30u8 {
        let addr = Ipv4Addr::new(192, 0, 2, last);
        let owner = Mac([0x52, 1, 1, 1, 1, last]);
        for round in 0..3 {
            let ms = i64::from(last) * 10 + round * 1000;
            rig.arp(ms, 2, (owner, addr), (Mac::BROADCAST, addr));
            rig.arp(ms + 1, 2, (B, addr), (Mac::BROADCAST, addr));
        }
    }
    let finding = rig.only();
    assert!(finding.subjects.len() <= MAX_NAMED + 1);
    assert!(finding.subjects.contains(&Subject::Mac(B)));
}

#[test]
fn a_move_with_announcements_is_a_note() {
    let mut rig = Rig::default();
    rig.ask(0);
    rig.answer(1, A);
    for ms in [5000, 6000, 7000] {
        rig.announce(ms, B);
    }
    rig.ask(20_000);
    rig.answer(20_001, B);
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
    assert!(rig.only().ended.is_some());
}

#[test]
fn a_move_at_the_end_of_the_input_is_still_told() {
    let mut rig = Rig::default();
    rig.announce(0, A);
    rig.announce(5000, B);
    assert_eq!(rig.found(), []);
    rig.claims
        .finish(Timestamp(5_100_000_000), &rig.net, &mut rig.board);
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
    assert!(rig.only().truncated);
}

#[test]
fn a_fail_over_and_its_fail_back_stay_notes() {
    let mut rig = Rig::default();
    rig.announce(0, A);
    rig.announce(10_000, B);
    rig.announce(15_500, B);
    rig.announce(60_000, A);
    rig.announce(65_500, A);
    rig.until(Timestamp(400_000_000_000));
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 2)]);
}

#[test]
fn an_address_that_was_silent_for_long_may_be_reused() {
    let mut rig = Rig::default();
    rig.announce(0, A);
    rig.announce(3_600_000, B);
    rig.until(Timestamp(3_700_000_000_000));
    assert_eq!(rig.found(), []);
}

#[test]
fn a_bond_that_tells_each_client_another_mac_is_no_conflict() {
    let mut rig = Rig::default();
    let slaves = [Mac([0x52, 0, 0, 0, 1, 1]), Mac([0x52, 0, 0, 0, 1, 2])];
    for round in 0..40u8 {
        let client = (
            Mac([0x52, 9, 9, 9, 9, round % 8]),
            Ipv4Addr::new(192, 0, 2, 100 + round % 8),
        );
        let ms = i64::from(round) * 500;
        rig.arp(ms, 1, client, (Mac::BROADCAST, ADDR));
        rig.arp(ms + 1, 2, (slaves[usize::from(round % 2)], ADDR), client);
    }
    rig.until(Timestamp(100_000_000_000));
    assert_eq!(rig.found(), []);
}

#[test]
fn a_probe_that_is_answered_once_is_a_note_and_again_a_warning() {
    let mut rig = Rig::default();
    rig.probe(0);
    rig.arp(1, 2, (A, ADDR), (CLIENT, Ipv4Addr::UNSPECIFIED));
    assert_eq!(rig.found(), [(Kind::AddressConflict, Severity::Info, 1)]);
    rig.probe(10_000);
    rig.arp(10_001, 2, (A, ADDR), (CLIENT, Ipv4Addr::UNSPECIFIED));
    assert_eq!(rig.found(), [(Kind::AddressConflict, Severity::Warning, 2)]);
    assert!(
        rig.only()
            .touches
            .contains(&Touch::Client(CLIENT.to_string().into()))
    );
    rig.until(Timestamp(700_000_000_000));
    assert!(rig.only().ended.is_some());
}

#[test]
fn a_probe_that_nobody_answers_is_nothing() {
    let mut rig = Rig::default();
    for ms in [0, 1000, 2000] {
        rig.probe(ms);
    }
    rig.announce(4000, CLIENT);
    rig.announce(6000, CLIENT);
    assert_eq!(rig.found(), []);
}

#[test]
fn an_own_address_that_another_host_announces_has_moved() {
    let mut rig = Rig::default();
    let gone = AddressEvent {
        meta: Meta::default(),
        action: Action::Del,
        ifindex: 3,
        addr: ADDR.into(),
        prefix_len: 32,
        flags: 0,
        scope: 0,
        preferred: None,
        valid: None,
        protocol: None,
    };
    rig.event(0, EventKind::Address(Box::new(gone.clone())));
    rig.announce(40, B);
    rig.announce(1040, B);
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
    assert_eq!(rig.only().evidence.total, 2);

    let mut late = Rig::default();
    late.event(0, EventKind::Address(Box::new(gone)));
    late.announce(120_000, B);
    assert_eq!(late.found(), []);
}

#[test]
fn a_move_without_an_announcement_says_so_and_one_that_all_heard_does_not() {
    let silent = |finding: &Finding| {
        finding
            .explanations
            .iter()
            .any(|text| text.contains("gratuitous ARP"))
    };
    let mut rig = Rig::default();
    rig.ask(0);
    rig.answer(1, A);
    rig.ask(20_000);
    rig.answer(20_001, B);
    rig.until(Timestamp(26_000_000_000));
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
    assert!(silent(rig.only()), "{:?}", rig.only().explanations);

    // The new owner announces itself, or asks everybody for its gateway: caches that know the address take that over.
    for announces in [true, false] {
        let mut rig = Rig::default();
        rig.ask(0);
        rig.answer(1, A);
        if announces {
            rig.announce(20_000, B);
        } else {
            rig.arp(20_000, 1, (B, ADDR), (Mac::BROADCAST, CLIENT_ADDR));
        }
        rig.ask(21_000);
        rig.answer(21_001, B);
        rig.until(Timestamp(27_000_000_000));
        assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
        assert!(!silent(rig.only()));
    }

    // The input ends before it could have come.
    let mut rig = Rig::default();
    rig.ask(0);
    rig.answer(1, A);
    rig.ask(20_000);
    rig.answer(20_001, B);
    rig.claims
        .finish(Timestamp(21_000_000_000), &rig.net, &mut rig.board);
    assert!(!silent(rig.only()));
}

fn advertisement(mac: Mac, overriding: bool, solicited: bool) -> EventKind {
    EventKind::Nd(Box::new(Nd {
        frame: Frame {
            eth_src: Some(mac),
            ip_src: Some("2001:db8::10".parse().unwrap()),
            ip_dst: Some("ff02::1".parse().unwrap()),
            ..Frame::default()
        },
        message: NdMessage::NeighborAdvertisement {
            target: "2001:db8::10".parse().unwrap(),
            router: false,
            solicited,
            overriding,
        },
        source_mac: None,
        target_mac: Some(mac),
        flaws: vec![],
    }))
}

#[test]
fn neighbor_advertisements_conflict_like_arp_and_anycast_does_not() {
    let mut rig = Rig::default();
    for ms in 0..6 {
        rig.event(
            ms * 500,
            advertisement(if ms % 2 == 0 { A } else { B }, true, false),
        );
    }
    assert_eq!(rig.found().len(), 1);

    let mut anycast = Rig::default();
    for ms in 0..6 {
        anycast.event(
            ms * 500,
            advertisement(if ms % 2 == 0 { A } else { B }, false, true),
        );
    }
    anycast.until(Timestamp(100_000_000_000));
    assert_eq!(anycast.found(), []);
}

#[test]
fn a_flood_of_contests_stays_bounded() {
    let mut rig = Rig::default();
    for n in 0..6000u32 {
        let [_, x, y, z] = n.to_be_bytes();
        let addr = Ipv4Addr::new(198, 18 + x, y, z);
        let sender = |k: u8| Mac([0x52, k, x, y, z, 1]);
        rig.arp(i64::from(n), 2, (sender(1), addr), (Mac::BROADCAST, addr));
        rig.arp(i64::from(n), 2, (sender(2), addr), (Mac::BROADCAST, addr));
    }
    assert!(rig.claims.contests.len() <= MAX_CONTESTS);
    assert!(rig.net.hosts.len() <= crate::state::hosts::bounds::MAX_HOSTS);
}

/// A client that asks for its gateway, and the gateway's answers.
mod gateway {
    use super::*;
    use crate::detect::arp::unanswered::Unanswered;

    struct Watch {
        rig: Rig,
        detector: Unanswered,
    }

    impl Watch {
        fn new(gateways: &[IpAddr]) -> Watch {
            let settings = Settings {
                gateways: gateways.to_vec(),
                ..Settings::default()
            };
            Watch {
                rig: Rig::default(),
                detector: Unanswered::new(&settings),
            }
        }

        fn arp(&mut self, ms: i64, op: u16, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) {
            self.rig.arp(ms, op, from, to);
            let event = self.rig.last.take().unwrap();
            let seen = Observation {
                event: &event,
                changes: &self.rig.changes,
            };
            self.detector
                .observe(&seen, &self.rig.net, &mut self.rig.board);
        }

        fn ask(&mut self, ms: i64) {
            self.arp(ms, 1, (CLIENT, CLIENT_ADDR), (Mac::BROADCAST, ADDR));
        }

        fn answer(&mut self, ms: i64) {
            self.arp(ms, 2, (A, ADDR), (CLIENT, CLIENT_ADDR));
        }

        /// Another host's traffic: the capture goes on.
        fn others(&mut self, ms: i64) {
            let other = Ipv4Addr::new(192, 0, 2, 99);
            self.arp(ms, 1, (B, other), (Mac::BROADCAST, CLIENT_ADDR));
        }
    }

    #[test]
    fn a_gateway_that_answered_and_is_asked_in_vain_is_unreachable_until_it_answers() {
        let mut watch = Watch::new(&[ADDR.into()]);
        watch.ask(0);
        watch.answer(1);
        for ms in [60_000, 61_000, 62_000] {
            watch.ask(ms);
        }
        watch.others(64_000);
        assert_eq!(watch.rig.found(), []);
        watch.others(65_500);
        assert_eq!(
            watch.rig.found(),
            [(Kind::NeighborUnreachable, Severity::Warning, 1)]
        );
        watch.ask(70_000);
        watch.answer(70_001);
        let (_, finding) = watch.rig.board.iter().next().unwrap();
        assert_eq!(finding.first, Timestamp(60_000_000_000));
        assert!(finding.ended.is_some() && !finding.broken.subject);
        assert!(
            finding.explain.contains("Gateway 192.0.2.10"),
            "{}",
            finding.explain
        );
    }

    #[test]
    fn silence_proves_nothing_where_answers_were_never_seen_or_the_capture_ends_or_lost_packets() {
        // A mirror of one direction.
        let mut watch = Watch::new(&[ADDR.into()]);
        for second in 0..10 {
            watch.ask(second * 1000);
        }
        assert_eq!(watch.rig.found(), []);
        // The capture ends; the same with a host that is nobody's gateway.
        for gateways in [vec![IpAddr::from(ADDR)], vec![]] {
            let mut watch = Watch::new(&gateways);
            watch.ask(0);
            watch.answer(1);
            for ms in [60_000, 61_000, 62_000] {
                watch.ask(ms);
            }
            if gateways.is_empty() {
                watch.others(90_000);
            }
            assert_eq!(watch.rig.found(), []);
        }
        // A fail-over: the new master announces itself 3.6 s later.
        let mut watch = Watch::new(&[ADDR.into()]);
        watch.ask(0);
        watch.answer(1);
        for ms in [60_000, 61_000, 62_000, 63_000] {
            watch.ask(ms);
        }
        watch.arp(63_600, 1, (B, ADDR), (Mac::BROADCAST, ADDR));
        watch.others(70_000);
        assert_eq!(watch.rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
    }
}

const SECOND_ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

impl Rig {
    /// Both ports of a host answer a question within a microsecond, or two hosts within a millisecond.
    fn both_answer(&mut self, ms: i64, addr: Ipv4Addr, apart_ns: i64) {
        self.arp(ms, 1, (CLIENT, CLIENT_ADDR), (Mac::BROADCAST, addr));
        for (mac, ns) in [(A, 100_000), (B, 100_000 + apart_ns)] {
            let arp = Arp {
                frame: Frame {
                    eth_src: Some(mac),
                    eth_dst: Some(CLIENT),
                    ..Frame::default()
                },
                op: 2,
                sender_mac: mac,
                sender_ip: addr,
                target_mac: CLIENT,
                target_ip: CLIENT_ADDR,
            };
            self.event_at(ms * 1_000_000 + ns, EventKind::Arp(Box::new(arp)));
        }
    }
}

/// Linux arp_ignore=0. The benign twins of the sentence: two hosts share one address only, or answer each in its own time.
#[test]
fn one_host_with_two_ports_answers_for_all_its_addresses_and_two_hosts_for_one() {
    let run = |second: bool, apart_ns: i64| {
        let mut rig = Rig::default();
        for round in 0..5 {
            rig.both_answer(round * 2000, ADDR, apart_ns);
            if second {
                rig.both_answer(round * 2000 + 500, SECOND_ADDR, apart_ns);
            }
        }
        rig
    };
    let flux = run(true, 1_500);
    let finding = flux.only();
    assert_eq!(
        (finding.kind, finding.severity),
        (Kind::AddressArpFlux, Severity::Info)
    );
    assert!(
        finding.explain.contains("192.0.2.10 and 192.0.2.11"),
        "{}",
        finding.explain
    );
    assert!(!finding.broken.subject);
    assert_eq!(run(false, 1_500).only().kind, Kind::AddressConflict);
    assert!(
        run(true, 900_000)
            .found()
            .iter()
            .all(|(kind, ..)| *kind == Kind::AddressConflict)
    );
}

/// RFC 1027. The benign twin: a static address that is found again and again is one address.
#[test]
fn a_machine_that_answers_every_probe_is_one_finding_about_that_machine() {
    let mut rig = Rig::default();
    for last in 0..20u8 {
        let addr = Ipv4Addr::new(192, 0, 2, 100 + last);
        let ms = i64::from(last) * 1000;
        rig.arp(
            ms,
            1,
            (CLIENT, Ipv4Addr::UNSPECIFIED),
            (Mac::BROADCAST, addr),
        );
        rig.arp(ms + 1, 2, (A, addr), (CLIENT, Ipv4Addr::UNSPECIFIED));
    }
    let finding = rig.only();
    assert_eq!(finding.subjects[0], Subject::Mac(A));
    assert_eq!(
        (finding.count, finding.reason),
        (20, Some(Reason::ProxyArp))
    );
    assert_eq!(finding.first, Timestamp(1_000_000));
    assert!(
        finding
            .touches
            .contains(&Touch::Client(CLIENT.to_string().into()))
    );
    rig.until(Timestamp(2_000_000_000_000));
    assert!(rig.only().ended.is_some() && rig.claims.next_deadline().is_none());
}

/// Nobody asks who has its own address. The benign twin is the owner, which is never accused.
#[test]
fn who_asks_for_the_address_that_it_claims_is_the_intruder_even_if_it_was_heard_first() {
    let mut rig = Rig::default();
    rig.arp(0, 2, (B, ADDR), (CLIENT, CLIENT_ADDR));
    for round in 0..5 {
        let ms = 100 + round * 1000;
        rig.arp(
            ms,
            1,
            (B, Ipv4Addr::new(192, 0, 2, 66)),
            (Mac::BROADCAST, ADDR),
        );
        rig.arp(ms + 1, 2, (A, ADDR), (B, Ipv4Addr::new(192, 0, 2, 66)));
        rig.announce(ms + 300, A);
        rig.announce(ms + 500, B);
    }
    let finding = rig.only();
    assert_eq!(finding.kind, Kind::NeighborMacFlip);
    assert!(
        finding.explain.starts_with(&B.to_string()),
        "{}",
        finding.explain
    );
    assert!(!finding.subjects.contains(&Subject::Mac(A)));
}

/// What one machine says is heard on every port: once it counts.
#[test]
fn a_claim_heard_on_four_ports_is_one_claim() {
    let mut rig = Rig::default();
    for (ms, mac) in [(0, A), (5_000, B), (6_000, B)] {
        for source in 1..=4u32 {
            rig.source = source;
            rig.announce(ms, mac);
        }
    }
    rig.until(Timestamp(20_000_000_000));
    assert_eq!(rig.found(), [(Kind::AddressMoved, Severity::Info, 1)]);
}
