//! Caches of every kind and temper.

use super::*;
use crate::event::rtr::{Vrp, VrpChange};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TIMERS: Timers = Timers {
    refresh: 100,
    retry: 50,
    expire: 700,
};

fn a_prefix(version: u8) -> Vec<u8> {
    pdu::prefix(
        version,
        &VrpChange {
            vrp: Vrp {
                prefix: "192.0.2.0/24".parse().unwrap(),
                max_len: 24,
                asn: 64500,
            },
            announce: true,
        },
    )
}

fn answer(version: u8, session: u16, serial: u32) -> Vec<u8> {
    let mut octets = pdu::cache_response(version, session);
    octets.extend(a_prefix(version));
    octets.extend(pdu::end_of_data(version, session, serial, TIMERS));
    octets
}

fn notify(version: u8, session: u16, serial: u32) -> Vec<u8> {
    let mut octets = pdu::serial_query(version, session, serial);
    octets[1] = pdu::SERIAL_NOTIFY;
    octets
}

fn begun() -> Session {
    let mut session = Session::begin(Memory::default(), s(0));
    assert_eq!(session.take_send(), pdu::reset_query(2));
    session
}

#[test]
fn a_session_asks_for_everything_first_and_for_news_when_it_is_time() {
    let mut session = begun();
    let octets = answer(2, 7, 41);
    for octet in &octets {
        session.octets(&[*octet], s(1)).unwrap();
    }
    assert_eq!(
        session.take_news(),
        [News::Complete {
            prefixes: 1,
            full: true
        }]
    );
    assert_eq!(session.deadline(), s(101));
    session.timeout(s(101)).unwrap();
    assert_eq!(session.take_send(), pdu::serial_query(2, 7, 41));
    // A notify brings the next question forward, but never two at once.
    session.octets(&answer(2, 7, 42), s(102)).unwrap();
    session.octets(&notify(2, 7, 43), s(102)).unwrap();
    assert!(session.take_send().is_empty());
    assert_eq!(session.deadline(), s(103));
    session.timeout(s(103)).unwrap();
    assert_eq!(session.take_send(), pdu::serial_query(2, 7, 42));
    // What is known already is no news.
    session.octets(&answer(2, 7, 43), s(104)).unwrap();
    session.octets(&notify(2, 7, 43), s(200)).unwrap();
    assert!(session.take_send().is_empty());
}

#[test]
fn older_caches_are_met_half_way() {
    // RFC 8210 §7: the cache refuses with a report in its own version.
    let mut session = begun();
    let refusal = pdu::error_report(1, pdu::UNSUPPORTED_VERSION, &pdu::reset_query(2), "only 1");
    assert_eq!(session.octets(&refusal, s(1)), Err(Fault::Version));
    assert_eq!(session.memory.version, 1);
    // Or it answers in its own.
    let mut session = begun();
    session.octets(&answer(0, 7, 1), s(1)).unwrap();
    assert_eq!(session.memory.version, 0);
    assert_eq!(session.memory.timers, Timers::DEFAULT);
    // Or hangs up.
    let mut session = begun();
    for version in [1, 0, 2] {
        session.mute();
        assert_eq!(session.memory.version, version);
    }
    // But a newer one, or a change in mid-answer, is no agreement.
    let mut session = begun();
    session.memory.version = 1;
    assert!(matches!(
        session.octets(&answer(2, 7, 1), s(1)),
        Err(Fault::Corrupt(_))
    ));
    assert_eq!(session.take_send().get(1), Some(&pdu::ERROR_REPORT));
}

#[test]
fn a_new_session_of_the_cache_begins_anew() {
    let memory = Memory {
        data: Some((7, 41)),
        ..Memory::default()
    };
    let mut session = Session::begin(memory, s(0));
    assert_eq!(session.take_send(), pdu::serial_query(2, 7, 41));
    assert_eq!(
        session.octets(&pdu::cache_response(2, 8), s(1)),
        Err(Fault::OtherSession)
    );
    assert_eq!(session.memory.data, None);
    let mut session = begun();
    session.octets(&answer(2, 7, 1), s(1)).unwrap();
    assert_eq!(
        session.octets(&notify(2, 8, 1), s(9)),
        Err(Fault::OtherSession)
    );
    // RFC 8210 §8.3: the cache cannot tell what changed.
    let mut session = Session::begin(memory, s(0));
    session.take_send();
    let mut reset = pdu::reset_query(2);
    reset[1] = pdu::CACHE_RESET;
    session.octets(&reset, s(1)).unwrap();
    assert_eq!(session.take_send(), pdu::reset_query(2));
}

#[test]
fn a_cache_without_data_is_asked_again_later() {
    let mut session = begun();
    session
        .octets(&pdu::error_report(2, pdu::NO_DATA, &[], "starting"), s(1))
        .unwrap();
    assert_eq!(session.take_news(), [News::NoData]);
    assert_eq!(session.deadline(), s(31));
    session.timeout(s(31)).unwrap();
    assert_eq!(session.take_send(), pdu::reset_query(2));
}

#[test]
fn silence_and_single_octets_do_not_hold_a_connection() {
    let mut session = begun();
    assert_eq!(session.deadline(), s(60));
    assert_eq!(session.timeout(s(60)), Err(Fault::Silent));
    let mut session = begun();
    session.octets(&[2], s(5)).unwrap();
    assert_eq!(session.deadline(), s(35));
    assert_eq!(session.timeout(s(35)), Err(Fault::Slow));
    let mut session = begun();
    session.octets(&pdu::cache_response(2, 7), s(5)).unwrap();
    assert_eq!(session.timeout(s(65)), Err(Fault::Silent));
}

#[test]
fn whoever_breaks_the_rules_is_told_and_left() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("a length of 2 GiB", vec![2, 3, 0, 7, 0x7f, 0, 0, 0]),
        ("a length of nothing", vec![2, 3, 0, 7, 0, 0, 0, 0]),
        ("a prefix unasked", a_prefix(2)),
        ("an end without begin", pdu::end_of_data(2, 7, 1, TIMERS)),
        ("a query from a cache", pdu::reset_query(2)),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
    ];
    for (what, octets) in cases {
        let mut session = begun();
        let fault = session.octets(&octets, s(1));
        assert!(matches!(fault, Err(Fault::Corrupt(_))), "{what}: {fault:?}");
        assert_eq!(
            session.take_send().get(1),
            Some(&pdu::ERROR_REPORT),
            "{what}"
        );
    }
    // Its own report is not answered with one.
    let mut session = begun();
    let report = pdu::error_report(2, pdu::CORRUPT_DATA, &[], "you\x1b[2J");
    assert_eq!(
        session.octets(&report, s(1)),
        Err(Fault::Reported(0, "you\\e[2J".into()))
    );
    assert!(session.take_send().is_empty());
}
