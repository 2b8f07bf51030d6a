//! The state machine as a table, and what hostile or clumsy routers send.

use super::*;
use crate::decode::bgp as decoder;
use crate::event::bgp::BgpMessage;

fn us() -> Speaker {
    Speaker {
        asn: 64_512,
        router_id: Ipv4Addr::new(192, 0, 2, 2),
        hold: 90,
    }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A router's OPEN: AS 65001, with these hold time, identifier and capabilities.
fn open_of(version: u8, hold: u16, id: [u8; 4], capabilities: &[u8]) -> Vec<u8> {
    let mut body = vec![version];
    body.extend_from_slice(&65_001u16.to_be_bytes());
    body.extend_from_slice(&hold.to_be_bytes());
    body.extend_from_slice(&id);
    body.push(capabilities.len() as u8 + 2);
    body.extend_from_slice(&[2, capabilities.len() as u8]);
    body.extend_from_slice(capabilities);
    message(open::OPEN, &body)
}

fn good_open() -> Vec<u8> {
    open_of(4, 30, [192, 0, 2, 1], &[])
}

fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

fn update() -> Vec<u8> {
    message(UPDATE, &[0, 0, 0, 0])
}

fn at(state: State) -> Session {
    let mut out = Vec::new();
    let mut session = Session::start(us(), None, s(0), &mut out);
    if state != State::OpenSent {
        session.receive(&good_open(), s(0), &mut out);
    }
    if state == State::Established {
        session.receive(&keepalive(), s(0), &mut out);
    }
    assert_eq!(session.state(), state);
    session
}

/// What actions amount to: our messages by type, NOTIFICATIONs by code.
fn told(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::Send(message) => match message[HEADER - 1] {
            NOTIFICATION => format!("send {}/{}", message[HEADER], message[HEADER + 1]),
            KEEPALIVE => "send keepalive".into(),
            open::OPEN => "send open".into(),
            other => format!("send {other}"),
        },
        Action::Accepted(theirs) => format!("accepted AS{}", theirs.asn),
        Action::Close(End::Sent(_)) => "close".into(),
        Action::Close(End::Received(n)) => format!("closed by {}/{}", n.code, n.subcode),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn receive(session: &mut Session, octets: &[u8]) -> String {
    let mut out = Vec::new();
    session.receive(octets, s(1), &mut out);
    told(&out)
}

#[test]
fn every_message_in_every_state_does_what_the_rfcs_say() {
    use State::{Closed, Established, OpenConfirm, OpenSent};
    let refresh = message(ROUTE_REFRESH, &[0, 1, 0, 1]);
    let cease = message(NOTIFICATION, &[6, 4]);
    let table: [(State, &[u8], &str, State); 18] = [
        (
            OpenSent,
            &good_open(),
            "accepted AS65001, send keepalive",
            OpenConfirm,
        ),
        (OpenSent, &keepalive(), "send 5/1, close", Closed),
        (OpenSent, &update(), "send 5/1, close", Closed),
        (OpenSent, &refresh, "send 5/1, close", Closed),
        (OpenSent, &cease, "closed by 6/4", Closed),
        (OpenConfirm, &good_open(), "send 5/2, close", Closed),
        (OpenConfirm, &keepalive(), "", Established),
        (OpenConfirm, &update(), "send 5/2, close", Closed),
        (OpenConfirm, &refresh, "send 5/2, close", Closed),
        (OpenConfirm, &cease, "closed by 6/4", Closed),
        (Established, &good_open(), "send 5/3, close", Closed),
        (Established, &keepalive(), "", Established),
        (Established, &update(), "", Established),
        (Established, &refresh, "", Established),
        (Established, &cease, "closed by 6/4", Closed),
        (Established, &message(9, &[]), "send 1/3, close", Closed),
        (Established, &[0; HEADER], "send 1/1, close", Closed),
        (
            Established,
            &message(KEEPALIVE, &[0]),
            "send 1/2, close",
            Closed,
        ),
    ];
    for (from, octets, what, to) in table {
        let mut session = at(from);
        assert_eq!(receive(&mut session, octets), what, "{from:?} {octets:?}");
        assert_eq!(session.state(), to, "{from:?} {octets:?}");
        // The same in single octets.
        let mut session = at(from);
        let said: Vec<String> = octets
            .iter()
            .map(|octet| receive(&mut session, &[*octet]))
            .filter(|said| !said.is_empty())
            .collect();
        assert_eq!(
            said.join(", "),
            what,
            "{from:?} {octets:?} in single octets"
        );
    }
}

#[test]
fn bad_opens_are_refused_with_their_code() {
    let refused = |octets: &[u8], expected| {
        let mut out = Vec::new();
        let mut session = Session::start(us(), expected, s(0), &mut out);
        out.clear();
        session.receive(octets, s(0), &mut out);
        told(&out)
    };
    let id = [192, 0, 2, 1];
    let table: [(Vec<u8>, Option<u32>, &str); 9] = [
        (open_of(3, 30, id, &[]), None, "send 2/1, close"),
        (open_of(4, 30, id, &[]), Some(65_002), "send 2/2, close"),
        (
            open_of(4, 30, id, &[65, 4, 0, 0, 0, 0]),
            None,
            "send 2/2, close",
        ),
        (open_of(4, 30, [0; 4], &[]), None, "send 2/3, close"),
        // Our own identifier, inside our own AS.
        (
            open_of(4, 30, [192, 0, 2, 2], &[65, 4, 0, 0, 0xfc, 0]),
            None,
            "send 2/3, close",
        ),
        (open_of(4, 2, id, &[]), None, "send 2/6, close"),
        (open_of(4, 30, id, &[65, 9]), None, "send 2/0, close"),
        (
            message(open::OPEN, &[4, 0xfd, 0xe9, 0, 30, 192, 0, 2, 1, 2, 1, 0]),
            None,
            "send 2/4, close",
        ),
        (
            message(open::OPEN, &[4, 0xfd, 0xe9, 0, 30, 192, 0, 2, 1, 9]),
            None,
            "send 2/0, close",
        ),
    ];
    for (octets, expected, what) in table {
        assert_eq!(refused(&octets, expected), what, "{octets:?}");
    }
    let four_octets = open_of(4, 30, id, &[65, 4, 0, 1, 0, 0]);
    assert_eq!(
        refused(&four_octets, Some(65_536)),
        "accepted AS65536, send keepalive"
    );
}

#[test]
fn the_extended_format_of_optional_parameters_is_read() {
    let mut body = vec![
        4, 0xfd, 0xe9, 0, 30, 192, 0, 2, 1, 255, 255, 0, 5, 2, 0, 2, 6, 0,
    ];
    let theirs = open::theirs(&body, &us(), None).unwrap();
    assert!(theirs.extended_messages);
    body.truncate(16);
    assert!(open::theirs(&body, &us(), None).is_err());
}

#[test]
fn our_open_offers_to_receive_everything_and_to_restart_nothing() {
    let mut decoded = BgpMessage::Keepalive;
    decoder::message(
        &open::ours(&us()),
        &decoder::Encoding::default(),
        &mut decoded,
    )
    .unwrap();
    let BgpMessage::Open(open) = decoded else {
        panic!("no OPEN")
    };
    assert_eq!((open.asn, open.hold_time), (64_512, 90));
    assert!(open.four_octet_as && open.extended_messages && open.route_refresh);
    assert_eq!(open.families.len(), 7);
    assert!(open.add_path.iter().all(|(_, mode)| *mode == 1) && open.add_path.len() == 7);
    assert!(open.graceful_restart.is_none() && open.long_lived.is_empty());
    assert_eq!(open.extended_next_hop.len(), 3);
}

#[test]
fn timers_follow_the_lesser_hold_time() {
    let mut session = at(State::Established);
    let mut out = Vec::new();
    assert_eq!(session.deadline(), Some(s(10)));
    session.tick(s(10), &mut out);
    assert_eq!(told(&out), "send keepalive");
    session.receive(&update(), s(15), &mut out);
    out.clear();
    session.tick(s(20), &mut out);
    session.tick(s(30), &mut out);
    session.tick(s(40), &mut out);
    assert_eq!(told(&out), "send keepalive, send keepalive, send keepalive");
    out.clear();
    session.tick(s(45), &mut out);
    assert_eq!(told(&out), "send 4/0, close");
    assert_eq!(session.deadline(), None);
}

#[test]
fn a_hold_time_of_zero_runs_no_timer_but_a_message_must_still_end() {
    let mut out = Vec::new();
    let mut session = Session::start(us(), None, s(0), &mut out);
    session.receive(&open_of(4, 0, [192, 0, 2, 1], &[]), s(1), &mut out);
    session.receive(&keepalive(), s(1), &mut out);
    assert_eq!(
        (session.state(), session.deadline()),
        (State::Established, None)
    );
    out.clear();
    session.receive(&update()[..20], s(5), &mut out);
    assert_eq!(session.deadline(), Some(s(65)));
    session.tick(s(65), &mut out);
    assert_eq!(told(&out), "send 4/0, close");
}

#[test]
fn silence_and_an_octet_a_second_end_at_the_hold_timer() {
    let mut session = at(State::OpenSent);
    let mut out = Vec::new();
    assert_eq!(session.deadline(), Some(s(30)));
    session.tick(s(30), &mut out);
    assert_eq!(told(&out), "send 4/0, close");

    let mut session = at(State::Established);
    out.clear();
    let long = message(UPDATE, &[0; 200]);
    for (second, octet) in long.iter().enumerate() {
        let now = s(second as u64);
        session.tick(now, &mut out);
        session.receive(&[*octet], now, &mut out);
    }
    assert!(told(&out).ends_with("send 4/0, close"));
}

#[test]
fn long_messages_need_both_ends_consent() {
    let long = message(UPDATE, &[0; 5000]);
    assert_eq!(
        receive(&mut at(State::Established), &long),
        "send 1/2, close"
    );
    let mut out = Vec::new();
    let mut session = Session::start(us(), None, s(0), &mut out);
    session.receive(&open_of(4, 30, [192, 0, 2, 1], &[6, 0]), s(0), &mut out);
    session.receive(&keepalive(), s(0), &mut out);
    assert_eq!(receive(&mut session, &long), "");
    assert_eq!(session.state(), State::Established);
    assert!(session.reader.body.capacity() == 0);
}

#[test]
fn nothing_is_held_of_updates_whatever_is_sent() {
    let mut session = at(State::Established);
    let mut out = Vec::new();
    for _ in 0..1000 {
        session.receive(&message(UPDATE, &[0; 4000]), s(1), &mut out);
    }
    assert!(out.is_empty());
    assert!(session.reader.head.capacity() <= 64 && session.reader.body.is_empty());
}
