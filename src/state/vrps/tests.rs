//! RFC 6811's cases, and sessions that go every way.

use super::*;
use crate::event::Locator;
use crate::event::source::{InputId, Unit};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(seconds, 0)
}

fn vrp(text: &str, max_len: u8, asn: u32) -> Vrp {
    Vrp {
        prefix: text.parse().unwrap(),
        max_len,
        asn,
    }
}

struct Bench {
    vrps: Vrps,
    out: Vec<VrpDelta>,
    cache: SocketAddr,
    router: Option<SocketAddr>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            vrps: Vrps::default(),
            out: Vec::new(),
            cache: "192.0.2.1:323".parse().unwrap(),
            router: None,
        }
    }

    fn say(&mut self, seconds: i64, message: RtrMessage) {
        let event = Event {
            at: at(seconds),
            origin_at: None,
            source: SourceId(3),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: 1,
                offset: 0,
            },
            kind: EventKind::Rtr(Box::new(RtrEvent {
                cache: self.cache,
                router: self.router,
                version: 1,
                message,
            })),
        };
        self.vrps.apply(&event, &mut self.out);
    }

    fn prefixes(&mut self, seconds: i64, changes: &[(Vrp, bool)]) {
        let changes = changes
            .iter()
            .map(|(vrp, announce)| VrpChange {
                vrp: *vrp,
                announce: *announce,
            })
            .collect();
        self.say(seconds, RtrMessage::Prefixes(changes));
    }

    /// A whole answer: to a reset query, or to a serial query.
    fn answer(&mut self, seconds: i64, session: u16, full: bool, changes: &[(Vrp, bool)]) {
        self.say(
            seconds,
            if full {
                RtrMessage::ResetQuery
            } else {
                RtrMessage::SerialQuery { session, serial: 1 }
            },
        );
        self.say(seconds, RtrMessage::CacheResponse { session });
        self.prefixes(seconds, changes);
        self.end(seconds, session);
    }

    fn end(&mut self, seconds: i64, session: u16) {
        self.say(
            seconds,
            RtrMessage::EndOfData {
                session,
                serial: 2,
                timers: None,
            },
        );
    }

    fn state(&self, prefix: &str, origin: u32) -> Rov {
        self.vrps.validate(&prefix.parse().unwrap(), Some(origin))
    }
}

#[test]
fn the_states_of_rfc_6811() {
    let mut bench = Bench::new();
    let roas = [
        (vrp("192.0.2.0/23", 24, 64500), true),
        (vrp("198.51.100.0/24", 24, 0), true),
        (vrp("2001:db8::/32", 32, 64500), true),
        (vrp("2001:db8:1::/48", 48, 64501), true),
    ];
    bench.answer(1, 9, true, &roas);
    assert_eq!(bench.state("192.0.2.0/23", 64500), Rov::Valid);
    assert_eq!(bench.state("192.0.2.0/24", 64500), Rov::Valid);
    assert_eq!(bench.state("192.0.2.0/25", 64500), Rov::InvalidLength);
    assert_eq!(bench.state("192.0.2.0/24", 64501), Rov::InvalidOrigin);
    // Longer than allowed and of another origin: the origin is what is wrong.
    assert_eq!(bench.state("192.0.2.0/25", 64501), Rov::InvalidOrigin);
    // Shorter than the VRP: it does not cover.
    assert_eq!(bench.state("192.0.0.0/22", 64500), Rov::NotFound);
    assert_eq!(bench.state("203.0.113.0/24", 64500), Rov::NotFound);
    // AS 0: nobody may, not even AS 0.
    assert_eq!(bench.state("198.51.100.0/24", 64500), Rov::InvalidOrigin);
    assert_eq!(bench.state("198.51.100.0/24", 0), Rov::InvalidOrigin);
    assert_eq!(bench.state("2001:db8:1::/48", 64501), Rov::Valid);
    assert_eq!(bench.state("2001:db8:1::/48", 64500), Rov::InvalidLength);
    assert_eq!(bench.state("2001:db8:2::/48", 64501), Rov::InvalidOrigin);
    // A path that ends in a set: covered is invalid, not covered is not found.
    let set = |prefix: &str| bench.vrps.validate(&prefix.parse().unwrap(), None);
    assert_eq!(set("192.0.2.0/24"), Rov::InvalidOrigin);
    assert_eq!(set("203.0.113.0/24"), Rov::NotFound);
}

#[test]
fn an_answer_counts_only_when_it_is_complete() {
    let mut bench = Bench::new();
    let roa = vrp("192.0.2.0/24", 24, 64500);
    bench.say(1, RtrMessage::ResetQuery);
    bench.say(1, RtrMessage::CacheResponse { session: 9 });
    bench.prefixes(1, &[(roa, true)]);
    assert!(!bench.vrps.is_usable());
    bench.say(2, RtrMessage::Disconnected { why: None });
    bench.end(3, 9);
    assert!(!bench.vrps.is_usable());
    bench.answer(4, 9, true, &[(roa, true)]);
    assert_eq!(bench.vrps.len(), 1);
    // An increment that breaks off changes nothing.
    bench.say(
        5,
        RtrMessage::SerialQuery {
            session: 9,
            serial: 2,
        },
    );
    bench.say(5, RtrMessage::CacheResponse { session: 9 });
    bench.prefixes(5, &[(roa, false)]);
    bench.say(6, RtrMessage::Disconnected { why: None });
    assert_eq!(bench.state("192.0.2.0/24", 64500), Rov::Valid);
    bench.answer(7, 9, false, &[(roa, false)]);
    assert!(!bench.vrps.is_usable());
    assert_eq!(bench.vrps.changed().0.len(), 1);
}

#[test]
fn a_restart_with_the_same_data_changes_nothing() {
    let mut bench = Bench::new();
    let roa = (vrp("192.0.2.0/24", 24, 64500), true);
    bench.answer(1, 9, true, &[roa]);
    bench.say(2, RtrMessage::Disconnected { why: None });
    bench.say(3, RtrMessage::Connected);
    bench.out.clear();
    bench.answer(4, 10, true, &[roa]);
    assert!(bench.vrps.changed().0.is_empty());
    assert!(matches!(
        bench.out[..],
        [VrpDelta::Fresh {
            added: 0,
            removed: 0,
            first: false,
            ..
        }]
    ));
    // And with other data the difference is what changed, once.
    bench.answer(5, 11, true, &[(vrp("192.0.2.0/24", 25, 64500), true)]);
    assert_eq!(bench.vrps.changed().0.len(), 2);
    assert_eq!(bench.vrps.len(), 1);
}

#[test]
fn a_session_seen_from_its_middle_is_not_believed_until_it_sends_everything() {
    let mut bench = Bench::new();
    bench.router = Some("192.0.2.7:40000".parse().unwrap());
    let roa = (vrp("192.0.2.0/24", 24, 64500), true);
    bench.answer(1, 9, false, &[roa]);
    assert!(!bench.vrps.is_usable());
    bench.answer(2, 9, true, &[roa]);
    assert!(bench.vrps.is_usable());
    bench.say(3, RtrMessage::Lost);
    assert!(!bench.vrps.is_usable());
}

#[test]
fn data_without_news_expire() {
    let mut bench = Bench::new();
    bench.answer(1, 9, true, &[(vrp("192.0.2.0/24", 24, 64500), true)]);
    let until = bench.vrps.next_deadline().unwrap();
    assert_eq!(until, at(7201));
    bench.out.clear();
    bench.vrps.expire(until, &mut bench.out);
    assert!(matches!(
        bench.out[..],
        [VrpDelta::Expired { removed: 1, .. }]
    ));
    assert!(!bench.vrps.is_usable());
    assert_eq!(bench.vrps.next_deadline(), None);
}

#[test]
fn a_session_that_answers_all_the_time_is_not_believed() {
    let mut bench = Bench::new();
    bench.router = Some("192.0.2.7:40000".parse().unwrap());
    let roa = vrp("192.0.2.0/24", 24, 64500);
    bench.answer(1, 9, true, &[(roa, true)]);
    let mut fresh = 0;
    for round in 0..1000 {
        bench.out.clear();
        bench.answer(1, 9, false, &[(roa, round % 2 == 1)]);
        fresh += usize::from(matches!(bench.out[..], [VrpDelta::Fresh { .. }]));
    }
    assert!(fresh < BURST as usize);
    assert!(!bench.vrps.is_usable());
}

#[test]
fn more_sessions_than_there_is_room_for_are_counted() {
    let mut bench = Bench::new();
    for n in 0..40u8 {
        bench.router = Some(SocketAddr::new([192, 0, 2, n].into(), 40000));
        bench.answer(1, 9, true, &[(vrp("192.0.2.0/24", 24, 64500), true)]);
    }
    assert_eq!(bench.vrps.caches().count(), MAX_CACHES);
    assert!(bench.vrps.refused > 0);
    assert_eq!(bench.vrps.len(), 1);
}
