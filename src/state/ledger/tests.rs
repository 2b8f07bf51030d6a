use super::*;
use crate::event::netlink::{Action, AddressEvent, Meta, RouteEvent};
use crate::event::source::Unit;
use crate::event::{EventKind, InputId, Locator};
use crate::state::NetState;
use crate::state::routes::testing;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(seconds, 0)
}

fn gone(seconds: i64, ifindex: u32) -> Fact {
    Fact {
        at: at(seconds),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: 1,
            offset: 0,
        },
        by: Some(0),
        what: What::LinkDown {
            ifindex,
            how: LinkLoss::Carrier,
        },
    }
}

fn watched(ledger: &mut Ledger, from: i64, to: i64) {
    for seconds in [from, to] {
        ledger
            .watches
            .heard(Channel::Links, InputId(0), at(seconds));
    }
}

#[test]
fn a_fact_is_found_by_its_subject_inside_the_window_only() {
    let mut ledger = Ledger::default();
    watched(&mut ledger, 0, 100);
    ledger.record(gone(10, 3));
    let key = Key::Interface(3);
    assert!(matches!(
        ledger.ask(Class::LinkDown, &key, at(5), at(15)),
        Answer::Seen(fact) if fact.at == at(10)
    ));
    assert!(matches!(
        ledger.ask(Class::LinkDown, &key, at(11), at(15)),
        Answer::LookedAndNot { since, until } if since == at(11) && until == at(15)
    ));
    assert!(matches!(
        ledger.ask(Class::LinkDown, &Key::Interface(4), at(5), at(15)),
        Answer::LookedAndNot { .. }
    ));
}

#[test]
fn nothing_is_denied_of_what_nobody_watched() {
    let mut ledger = Ledger::default();
    let key = Key::Interface(3);
    let ask = |ledger: &Ledger, class| {
        matches!(ledger.ask(class, &key, at(5), at(15)), Answer::NotWatched)
    };
    assert!(ask(&ledger, Class::LinkDown));
    watched(&mut ledger, 20, 100);
    assert!(ask(&ledger, Class::LinkDown), "the watching began later");
    watched(&mut ledger, 20, 100);
    assert!(
        ask(&ledger, Class::AddressGone),
        "no event of this class was ever seen: who knows whether the socket would get one"
    );
}

#[test]
fn the_answer_says_from_when_the_watching_goes() {
    let mut ledger = Ledger::default();
    watched(&mut ledger, 8, 12);
    assert!(matches!(
        ledger.ask(Class::LinkDown, &Key::Interface(3), at(5), at(15)),
        Answer::LookedAndNot { since, until } if since == at(8) && until == at(12)
    ));
}

#[test]
fn a_hole_in_the_input_forbids_a_statement_about_its_time() {
    use crate::event::loss::{Gap, GapKind};
    let mut ledger = Ledger::default();
    watched(&mut ledger, 0, 100);
    ledger.watches.hole(
        crate::event::SourceId(0),
        &Gap {
            kind: GapKind::NetlinkOverrun,
            from: at(9),
            to: at(9),
            lost: None,
            detail: crate::event::WireText::new(b"x"),
        },
    );
    let key = Key::Interface(3);
    assert!(matches!(
        ledger.ask(Class::LinkDown, &key, at(5), at(15)),
        Answer::NotWatched
    ));
    assert!(matches!(
        ledger.ask(Class::LinkDown, &key, at(10), at(15)),
        Answer::LookedAndNot { .. }
    ));
}

#[test]
fn a_flood_is_bounded_and_makes_its_own_time_unsayable() {
    let mut ledger = Ledger::default();
    watched(&mut ledger, 0, 10_000);
    for n in 0..100_000u32 {
        ledger.record(gone(i64::from(n / 1000), n));
    }
    assert!(ledger.len() <= MAX_FACTS);
    assert!(ledger.uncounted > 0);
    let ring = &ledger.rings[Class::LinkDown as usize];
    assert!(ring.by_key.len() <= MAX_FACTS + 1);
    assert!(ring.storms.len() <= MAX_STORMS);
    let ask = |from, to| {
        ledger.ask(
            Class::LinkDown,
            &Key::Interface(1_000_000),
            at(from),
            at(to),
        )
    };
    assert!(matches!(ask(50, 60), Answer::NotWatched));
    assert!(matches!(ask(200, 300), Answer::LookedAndNot { .. }));
    // Facts of other classes are where they were.
    ledger.record(Fact {
        what: What::LinkUp { ifindex: 7 },
        ..gone(200, 7)
    });
    assert_eq!(ledger.of(Class::LinkUp).count(), 1);
}

#[test]
fn the_oldest_facts_make_room_and_leave_their_subjects() {
    let mut ledger = Ledger::default();
    watched(&mut ledger, 0, 1_000_000);
    for n in 0..(MAX_FACTS as i64 + 10) {
        ledger.record(gone(n * 10, 3));
    }
    let key = Key::Interface(3);
    assert_eq!(ledger.about(Class::LinkDown, &key).count(), MAX_FACTS);
    // What was displaced is not denied.
    assert!(matches!(
        ledger.ask(Class::LinkDown, &key, at(0), at(5)),
        Answer::NotWatched
    ));
}

#[test]
fn several_classes_are_denied_only_where_all_of_them_were_watched() {
    let mut ledger = Ledger::default();
    watched(&mut ledger, 0, 100);
    let key = Key::Interface(3);
    let both = [Class::LinkDown, Class::AddressGone];
    assert!(matches!(
        ledger.ask_any(&both, &key, at(5), at(15)),
        Answer::NotWatched
    ));
    assert!(matches!(
        ledger.ask_any(&[Class::LinkDown, Class::LinkUp], &key, at(5), at(15)),
        Answer::LookedAndNot { .. }
    ));
    ledger.record(gone(10, 3));
    assert!(matches!(
        ledger.ask_any(&both, &key, at(5), at(15)),
        Answer::Seen(_)
    ));
}

#[test]
fn the_model_notes_who_took_an_address_and_a_route_away() {
    let mut net = NetState::default();
    let mut changes = crate::state::Changes::default();
    let events = [
        EventKind::Address(Box::new(testing::address_event(
            Action::New,
            3,
            "192.0.2.7",
            24,
        ))),
        EventKind::Route(Box::new(testing::route_event(
            Action::New,
            "198.51.100.0/24",
            186,
            &["192.0.2.1@3"],
        ))),
        EventKind::Address(Box::new(AddressEvent {
            meta: Meta {
                pid: 77,
                ..Meta::default()
            },
            ..testing::address_event(Action::Del, 3, "192.0.2.7", 24)
        })),
        EventKind::Route(Box::new(RouteEvent {
            meta: Meta {
                pid: 78,
                ..Meta::default()
            },
            ..testing::route_event(Action::Del, "198.51.100.0/24", 186, &["192.0.2.1@3"])
        })),
    ];
    for (n, kind) in events.into_iter().enumerate() {
        net.apply(
            &testing::event(n as i64 * 1_000_000_000, kind),
            &mut changes,
        );
    }
    net.expire(at(1_000), &mut changes);
    let taken: Vec<_> = net.ledger.of(Class::AddressGone).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].by, Some(77));
    let prefix = Key::Prefix("198.51.100.0/24".parse().unwrap());
    let routes: Vec<_> = net.ledger.about(Class::RouteGone, &prefix).collect();
    assert!(routes.iter().any(|fact| fact.by == Some(78)), "{routes:?}");
}
