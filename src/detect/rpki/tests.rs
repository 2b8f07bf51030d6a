//! Whole runs of the engine: routes of a peer, VRPs of caches, and what is said of them; each with its benign twin.

use std::net::SocketAddr;

use crate::correlate::Told;
use crate::detect::{Finding, Kind, Settings, Severity};
use crate::engine::Engine;
use crate::event::bgp::{AS_SEQUENCE, BgpEvent, BgpMessage, Direction, Nlri, Open, Update};
use crate::event::frame::Frame;
use crate::event::rtr::{RtrEvent, RtrMessage, Vrp, VrpChange};
use crate::event::source::Unit;
use crate::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};

struct Lab {
    engine: Engine,
    number: u64,
    told: Vec<Told>,
}

const P: &str = "198.51.100.0/24";

impl Lab {
    fn new(own: &[&str]) -> Lab {
        let settings = Settings {
            own_prefixes: own.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            ..Settings::default()
        };
        Lab {
            engine: Engine::new(&settings),
            number: 0,
            told: Vec::new(),
        }
    }

    fn event(&mut self, seconds: i64, source: u32, kind: EventKind) {
        self.number += 1;
        let event = Event {
            at: Timestamp::from_parts(seconds, 0),
            origin_at: None,
            source: SourceId(source),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.number,
                offset: 0,
            },
            kind,
        };
        self.engine.handle(&event, &mut self.told);
    }

    fn bgp(&mut self, seconds: i64, peer: u8, out: bool, message: BgpMessage) {
        let (from, to) = (
            format!("192.0.2.{peer}").parse().unwrap(),
            "192.0.2.254".parse().unwrap(),
        );
        let (from, to, from_port, to_port) = if out {
            (to, from, 4000, 179)
        } else {
            (from, to, 179, 4000)
        };
        let session = Direction {
            from,
            to,
            from_port,
            to_port,
            from_as: 0,
            to_as: 0,
        };
        let event = BgpEvent {
            frame: Frame::default(),
            session,
            message,
        };
        self.event(seconds, 0, EventKind::Bgp(Box::new(event)));
    }

    /// Announces (with a path) or withdraws prefixes.
    fn routes(&mut self, seconds: i64, peer: u8, path: &[u32], prefixes: &[&str]) {
        self.tagged(seconds, peer, path, prefixes, None);
    }

    fn tagged(
        &mut self,
        seconds: i64,
        peer: u8,
        path: &[u32],
        prefixes: &[&str],
        otc: Option<u32>,
    ) {
        let keys = prefixes.iter().map(|p| Nlri::unicast(p.parse().unwrap()));
        let mut update = Update::default();
        if path.is_empty() {
            update.withdrawn.extend(keys);
        } else {
            update.announced.extend(keys);
            let words = &mut update.attributes.as_path;
            words.push_segment(AS_SEQUENCE, path.len());
            words.0.extend(path);
        }
        update.attributes.otc = otc;
        self.bgp(seconds, peer, false, BgpMessage::Update(Box::new(update)));
    }

    fn rtr(&mut self, seconds: i64, cache: u8, message: RtrMessage) {
        let event = RtrEvent {
            cache: SocketAddr::new([203, 0, 113, cache].into(), 323),
            router: None,
            version: 1,
            message,
        };
        self.event(
            seconds,
            100 + u32::from(cache),
            EventKind::Rtr(Box::new(event)),
        );
    }

    /// A whole answer of a cache in one session; `full` or what changed. VRPs are written `+PREFIX-MAXLENGTH AS`.
    fn answer(&mut self, seconds: i64, cache: u8, full: bool, vrps: &[(bool, &str, u8, u32)]) {
        self.answer_in(seconds, cache, 7, full, vrps);
    }

    fn answer_in(
        &mut self,
        seconds: i64,
        cache: u8,
        session: u16,
        full: bool,
        vrps: &[(bool, &str, u8, u32)],
    ) {
        let changes = vrps
            .iter()
            .map(|(announce, prefix, max_len, asn)| VrpChange {
                vrp: Vrp {
                    prefix: prefix.parse().unwrap(),
                    max_len: *max_len,
                    asn: *asn,
                },
                announce: *announce,
            });
        let changes = changes.collect();
        let query = if full {
            RtrMessage::ResetQuery
        } else {
            RtrMessage::SerialQuery { session, serial: 1 }
        };
        for message in [
            query,
            RtrMessage::CacheResponse { session },
            RtrMessage::Prefixes(changes),
            RtrMessage::EndOfData {
                session,
                serial: 2,
                timers: None,
            },
        ] {
            self.rtr(seconds, cache, message);
        }
    }

    fn lose(&mut self, seconds: i64, cache: u8) {
        self.rtr(seconds, cache, RtrMessage::Disconnected { why: None });
    }

    fn wait(&mut self, until: i64) {
        self.engine
            .advance(Timestamp::from_parts(until, 0), &mut self.told);
    }

    fn of(&self, kind: Kind) -> Vec<&Finding> {
        let findings = self.engine.findings();
        findings
            .map(|(_, finding, _)| finding)
            .filter(|finding| finding.kind == kind)
            .collect()
    }

    fn loudest(&self) -> Option<Severity> {
        self.engine.findings().map(|(_, f, _)| f.severity).max()
    }

    fn only(&self, kind: Kind) -> &Finding {
        let found = self.of(kind);
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0]
    }
}

const ROA: (bool, &str, u8, u32) = (true, P, 24, 64500);
const GONE: (bool, &str, u8, u32) = (false, P, 24, 64500);
/// What covers it besides.
const COVER: (bool, &str, u8, u32) = (true, "198.51.100.0/22", 22, 64499);

#[test]
fn a_withdrawn_roa_is_told_with_the_route_that_it_made_invalid() {
    let mut lab = Lab::new(&[]);
    lab.routes(1, 1, &[64501, 64500], &[P, "203.0.113.0/24"]);
    lab.answer(2, 1, true, &[ROA, COVER]);
    assert_eq!(lab.loudest(), None);
    lab.answer(9, 1, false, &[GONE]);
    let changed = lab.only(Kind::RpkiVrpChanged);
    assert_eq!(changed.severity, Severity::Warning);
    assert!(
        changed
            .explain
            .contains("the ROA 198.51.100.0/24 AS64500 is gone"),
        "{}",
        changed.explain
    );
    assert!(
        changed.explain.contains("was valid and is invalid"),
        "{}",
        changed.explain
    );
    let invalid = lab.only(Kind::PrefixRpkiInvalid);
    assert!(
        invalid.explain.contains("198.51.100.0/22 AS64499"),
        "{}",
        invalid.explain
    );
    // A neighbor that validates withdraws it; nobody has it then.
    lab.routes(12, 1, &[], &[P]);
    let changed = lab.only(Kind::RpkiVrpChanged);
    assert!(changed.broken.last_path);
    assert!(
        changed.explain.contains("was withdrawn by 192.0.2.1"),
        "{}",
        changed.explain
    );
    assert!(lab.only(Kind::PrefixRpkiInvalid).ended.is_some());
    // One incident: the change, and the route as its effect.
    lab.wait(20);
    let incidents = lab.engine.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    assert_eq!(incidents[0].root.kind, Kind::RpkiVrpChanged);
    assert_eq!(incidents[0].chain.len(), 1);
    assert_eq!(
        incidents[0].chain[0].rule,
        "vrp-change-turns-routes-invalid"
    );
}

#[test]
fn a_router_that_hears_of_it_first_is_explained_too() {
    let mut lab = Lab::new(&[]);
    lab.answer(1, 1, true, &[ROA, COVER]);
    lab.routes(2, 1, &[64501, 64500], &[P]);
    lab.routes(30, 1, &[], &[P]);
    lab.answer(50, 1, false, &[GONE]);
    let changed = lab.only(Kind::RpkiVrpChanged);
    assert_eq!(changed.first, Timestamp::from_parts(30, 0));
    assert!(
        changed.explain.contains("was withdrawn"),
        "{}",
        changed.explain
    );
    assert!(lab.of(Kind::PrefixRpkiInvalid).is_empty());
}

#[test]
fn a_restart_with_the_same_data_and_a_roll_over_are_quiet() {
    let mut lab = Lab::new(&[P]);
    lab.routes(1, 1, &[64501, 64500], &[P]);
    lab.answer(2, 1, true, &[ROA, COVER]);
    lab.lose(5, 1);
    lab.rtr(8, 1, RtrMessage::Connected);
    lab.answer_in(8, 1, 9, true, &[ROA, COVER]);
    // The same right from another ROA, before and after the old one goes.
    lab.answer_in(20, 1, 9, false, &[(true, "198.51.100.0/23", 24, 64500)]);
    lab.answer_in(30, 1, 9, false, &[GONE]);
    lab.wait(600);
    let lost = lab.only(Kind::RpkiCacheLost);
    assert_eq!(lost.severity, Severity::Info);
    assert!(lost.ended.is_some());
    assert!(lab.of(Kind::RpkiVrpChanged).is_empty());
    assert!(lab.of(Kind::PrefixRpkiInvalid).is_empty());
    assert!(lab.told.is_empty());
}

#[test]
fn an_owner_hears_when_his_route_is_no_longer_covered_and_nobody_else_does() {
    for (own, severity) in [(&[P][..], Severity::Warning), (&[], Severity::Info)] {
        let mut lab = Lab::new(own);
        lab.routes(1, 1, &[64501, 64500], &[P]);
        lab.answer(2, 1, true, &[ROA]);
        lab.answer(9, 1, true, &[(true, "203.0.113.0/24", 24, 64500)]);
        let changed = lab.only(Kind::RpkiVrpChanged);
        assert_eq!(changed.severity, severity);
        assert!(
            changed.explain.contains("was valid and is not-found"),
            "{}",
            changed.explain
        );
        // And it is over when the ROA is back.
        lab.answer(15, 1, false, &[ROA]);
        assert!(lab.only(Kind::RpkiVrpChanged).ended.is_some());
    }
}

#[test]
fn a_new_announcement_that_the_roas_forbid_is_told_until_it_goes() {
    let mut lab = Lab::new(&[]);
    lab.answer(1, 1, true, &[ROA]);
    lab.routes(5, 1, &[64501, 64666], &[P]);
    let invalid = lab.only(Kind::PrefixRpkiInvalid);
    assert_eq!(invalid.severity, Severity::Warning);
    assert!(invalid.broken.subject);
    // Another peer says the same: the same finding.
    lab.routes(6, 2, &[64502, 64666], &[P]);
    lab.routes(7, 1, &[], &[P]);
    assert!(lab.only(Kind::PrefixRpkiInvalid).ended.is_none());
    lab.routes(8, 2, &[64502, 64500], &[P]);
    assert!(lab.only(Kind::PrefixRpkiInvalid).ended.is_some());
}

#[test]
fn routes_that_stay_inside_a_network_are_no_alarm() {
    let mut lab = Lab::new(&[]);
    lab.answer(1, 1, true, &[(true, "198.51.100.0/22", 24, 3333)]);
    // ElasticIPs, and a private AS of the fabric.
    lab.routes(2, 1, &[64501], &["198.51.100.7/32", "198.51.101.0/24"]);
    lab.routes(3, 1, &[3333], &["198.51.100.9/32"]);
    let quiet = lab.only(Kind::PrefixRpkiInvalid);
    assert_eq!(quiet.severity, Severity::Info);
    assert_eq!(quiet.count, 2);
    // But where ROAs are made for host routes, they count.
    lab.answer(4, 1, false, &[(true, "203.0.113.0/24", 32, 64500)]);
    lab.routes(5, 1, &[64501, 64666], &["203.0.113.9/32"]);
    assert_eq!(lab.of(Kind::PrefixRpkiInvalid).len(), 2);
    assert_eq!(lab.loudest(), Some(Severity::Warning));
}

#[test]
fn what_was_invalid_before_we_looked_is_one_quiet_statement() {
    let mut lab = Lab::new(&["198.51.100.0/24"]);
    let all: Vec<String> = (0..200).map(|n| format!("203.0.{n}.0/24")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    lab.routes(1, 1, &[64501, 64666], &all);
    lab.routes(1, 1, &[64501, 64666], &[P]);
    lab.answer(2, 1, true, &[(true, "203.0.0.0/16", 24, 64500), ROA]);
    let found = lab.of(Kind::PrefixRpkiInvalid);
    assert_eq!(found.len(), 2);
    let own = found
        .iter()
        .find(|f| f.severity == Severity::Warning)
        .unwrap();
    assert!(own.explain.contains(P));
    let quiet = found.iter().find(|f| f.severity == Severity::Info).unwrap();
    assert!(
        quiet.explain.contains("128 announced prefixes"),
        "{}",
        quiet.explain
    );
}

#[test]
fn a_burst_of_one_origin_is_one_finding() {
    let mut lab = Lab::new(&[]);
    let all: Vec<String> = (0..50).map(|n| format!("203.0.{n}.0/24")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    lab.answer(1, 1, true, &[(true, "203.0.0.0/16", 24, 64500)]);
    lab.routes(2, 1, &[64501, 64666], &all);
    let invalid = lab.only(Kind::PrefixRpkiInvalid);
    assert_eq!(invalid.affected.prefixes.len(), 50);
    assert!(
        invalid.explain.contains("(and 49 more)"),
        "{}",
        invalid.explain
    );
}

#[test]
fn the_last_cache_is_missed_after_a_while_and_one_of_two_is_not() {
    let mut lab = Lab::new(&[]);
    lab.answer(1, 1, true, &[ROA]);
    lab.answer(1, 2, true, &[ROA]);
    lab.lose(10, 1);
    lab.wait(300);
    assert_eq!(lab.only(Kind::RpkiCacheLost).severity, Severity::Info);
    lab.lose(400, 2);
    lab.wait(519);
    assert_eq!(lab.loudest(), Some(Severity::Info));
    lab.wait(521);
    assert_eq!(lab.loudest(), Some(Severity::Warning));
    // One is back: it is over for that one.
    lab.answer(530, 2, false, &[]);
    let lost = lab.of(Kind::RpkiCacheLost);
    assert!(lost[1].ended.is_some() && lost[0].ended.is_none());
}

#[test]
fn data_that_expire_are_told_with_what_becomes_not_found() {
    let mut lab = Lab::new(&[]);
    lab.routes(1, 1, &[64501, 64500], &[P]);
    lab.answer(2, 1, true, &[ROA]);
    lab.lose(10, 1);
    lab.wait(7300);
    let lost = lab.only(Kind::RpkiCacheLost);
    assert_eq!(lost.severity, Severity::Warning);
    assert!(
        lost.explain.contains(
            "its 1 VRPs have expired: 1 announced prefixes that were valid are not-found"
        ),
        "{}",
        lost.explain
    );
    assert!(lab.of(Kind::RpkiVrpChanged).is_empty());
    assert_eq!(lost.affected.prefixes.len(), 1);
}

#[test]
fn a_cache_that_never_answers_is_a_warning_in_the_end() {
    let mut lab = Lab::new(&[]);
    for second in [1, 3, 7, 15] {
        lab.rtr(
            second,
            1,
            RtrMessage::Disconnected {
                why: Some("Connection refused".into()),
            },
        );
    }
    lab.wait(200);
    let lost = lab.only(Kind::RpkiCacheLost);
    assert_eq!(lost.severity, Severity::Warning);
    assert!(
        lost.explain.contains("Connection refused"),
        "{}",
        lost.explain
    );
}

#[test]
fn a_fifth_of_all_roas_gone_at_once_is_a_fault() {
    let mut lab = Lab::new(&[]);
    let texts: Vec<String> = (0..1500u32)
        .map(|n| format!("10.{}.{}.0/24", n / 250, n % 250))
        .collect();
    let all: Vec<(bool, &str, u8, u32)> = texts
        .iter()
        .map(|t| (true, t.as_str(), 24, 64500))
        .collect();
    lab.answer(1, 1, true, &all);
    lab.answer(5, 1, true, all.get(100..).unwrap());
    assert_eq!(lab.loudest(), None);
    lab.answer(9, 1, true, all.get(500..).unwrap());
    let changed = lab.only(Kind::RpkiVrpChanged);
    assert_eq!(changed.severity, Severity::Warning);
    assert!(
        changed.explain.contains("400 of 1400 VRPs are gone"),
        "{}",
        changed.explain
    );
}

/// A customer's session, by its OPEN.
fn open(lab: &mut Lab, role: Option<u8>) {
    for (out, asn, role) in [(false, 64501, role), (true, 64510, None)] {
        let open = Open {
            version: 4,
            asn,
            hold_time: 90,
            router_id: asn,
            role,
            ..Open::default()
        };
        lab.bgp(1, 1, out, BgpMessage::Open(Box::new(open)));
    }
    for out in [false, true] {
        lab.bgp(1, 1, out, BgpMessage::Keepalive);
    }
}

#[test]
fn a_customer_that_passes_on_what_came_from_above_leaks() {
    const CUSTOMER: u8 = 3;
    let mut lab = Lab::new(&[]);
    open(&mut lab, Some(CUSTOMER));
    lab.tagged(2, 1, &[64501, 64599], &["203.0.113.0/24"], None);
    assert!(lab.of(Kind::PrefixLeak).is_empty());
    lab.tagged(3, 1, &[64501, 64502, 64599], &[P], Some(64502));
    let leak = lab.only(Kind::PrefixLeak);
    assert_eq!(leak.severity, Severity::Warning);
    assert!(
        leak.explain.contains("a customer by its BGP role"),
        "{}",
        leak.explain
    );
    lab.routes(9, 1, &[], &[P]);
    assert!(lab.only(Kind::PrefixLeak).ended.is_some());
}

#[test]
fn without_roles_and_from_providers_nothing_is_a_leak() {
    const PROVIDER: u8 = 0;
    const PEER: u8 = 4;
    for role in [None, Some(PROVIDER)] {
        let mut lab = Lab::new(&[]);
        open(&mut lab, role);
        lab.tagged(3, 1, &[64501, 64502, 64599], &[P], Some(64502));
        assert!(lab.of(Kind::PrefixLeak).is_empty());
    }
    // A peer marks what it sends with its own AS.
    let mut lab = Lab::new(&[]);
    open(&mut lab, Some(PEER));
    lab.tagged(3, 1, &[64501], &[P], Some(64501));
    assert!(lab.of(Kind::PrefixLeak).is_empty());
    lab.tagged(4, 1, &[64501, 64502], &["203.0.113.0/24"], Some(64502));
    assert_eq!(lab.of(Kind::PrefixLeak).len(), 1);
}
