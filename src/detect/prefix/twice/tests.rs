use super::super::tests::{Lab, NONE};
use super::*;

const EIP: &str = "203.0.113.7/32";
const VIP: &str = "203.0.113.80/32";
/// Both hosts are of one AS, as hypervisors of one region often are.
const ONE_AS: &[u32] = &[64501];

/// A router with sessions to so many hosts, all up and quiet.
fn lab(own: bool, hosts: u8) -> Lab {
    let settings = Settings {
        own_prefixes: if own {
            vec!["203.0.113.0/24".parse().unwrap()]
        } else {
            vec![]
        },
        ..Settings::default()
    };
    let mut lab = Lab::of(0, &settings);
    for peer in 1..=hosts {
        lab.open(0, peer, 64501, 100 + u32::from(peer));
    }
    lab
}

fn announce(lab: &mut Lab, seconds: i64, peer: u8, prefix: &str) {
    lab.update(seconds * 1000, peer, (ONE_AS, None, &[prefix]), &[]);
}

fn withdraw(lab: &mut Lab, seconds: i64, peer: u8, prefix: &str) {
    lab.update(seconds * 1000, peer, NONE, &[prefix]);
}

fn until(lab: &mut Lab, seconds: i64) -> Vec<(Kind, Severity, bool)> {
    lab.fire(Timestamp(seconds * 1_000_000_000));
    lab.board
        .iter()
        .filter(|(_, f)| f.kind != Kind::PrefixTableTransfer)
        .map(|(_, f)| (f.kind, f.severity, f.ended.is_none()))
        .collect()
}

#[test]
fn an_own_address_that_a_second_host_announces_for_longer_than_a_move_is_there_twice_until_one_of_them_stops()
 {
    let mut lab = lab(true, 2);
    announce(&mut lab, 1, 1, EIP);
    announce(&mut lab, 60, 2, EIP);
    assert_eq!(until(&mut lab, 89), []);
    assert_eq!(
        until(&mut lab, 91),
        [(Kind::PrefixOriginConflict, Severity::Warning, true)]
    );
    let (_, finding) = lab
        .board
        .of_kind(Kind::PrefixOriginConflict)
        .next()
        .unwrap();
    assert!(
        finding
            .explain
            .starts_with("192.0.2.2 announces 203.0.113.7/32 as its own, and 192.0.2.1 still does"),
        "{}",
        finding.explain
    );
    withdraw(&mut lab, 100, 1, EIP);
    assert!(!until(&mut lab, 101)[0].2);
}

#[test]
fn an_address_that_moved_before_belongs_to_one_host_whoever_it_is() {
    let mut lab = lab(false, 2);
    announce(&mut lab, 1, 1, EIP);
    withdraw(&mut lab, 60, 1, EIP);
    announce(&mut lab, 61, 2, EIP);
    announce(&mut lab, 100, 1, EIP);
    let found = until(&mut lab, 140);
    assert_eq!(
        found,
        [
            (Kind::PrefixMoved, Severity::Info, false),
            (Kind::PrefixOriginConflict, Severity::Warning, true)
        ]
    );
}

#[test]
fn a_move_that_makes_before_it_breaks_is_a_move() {
    let mut lab = lab(true, 2);
    announce(&mut lab, 1, 1, EIP);
    announce(&mut lab, 60, 2, EIP);
    withdraw(&mut lab, 80, 1, EIP);
    assert_eq!(
        until(&mut lab, 200),
        [(Kind::PrefixMoved, Severity::Info, false)]
    );
}

#[test]
fn load_balancers_that_share_an_address_from_the_start_or_come_up_one_after_the_other_are_quiet() {
    let mut lab = lab(true, 3);
    // In the tables from the start; a member is drained and returns.
    announce(&mut lab, 1, 1, VIP);
    announce(&mut lab, 1, 2, VIP);
    withdraw(&mut lab, 60, 2, VIP);
    announce(&mut lab, 120, 2, VIP);
    // A new service, rolled out.
    announce(&mut lab, 130, 1, "203.0.113.81/32");
    announce(&mut lab, 190, 2, "203.0.113.81/32");
    announce(&mut lab, 260, 3, "203.0.113.81/32");
    assert_eq!(until(&mut lab, 400), []);
}

#[test]
fn a_service_that_grows_from_one_member_to_two_is_only_noted_where_others_are_shared() {
    let mut lab = lab(true, 2);
    announce(&mut lab, 1, 1, VIP);
    announce(&mut lab, 1, 2, VIP);
    announce(&mut lab, 1, 1, EIP);
    announce(&mut lab, 400, 2, EIP);
    let found = until(&mut lab, 440);
    assert_eq!(found, [(Kind::PrefixOriginConflict, Severity::Info, true)]);
}

#[test]
fn nobody_elses_address_that_never_moved_is_only_noted() {
    let mut lab = lab(false, 2);
    announce(&mut lab, 1, 1, EIP);
    announce(&mut lab, 60, 2, EIP);
    assert_eq!(
        until(&mut lab, 120),
        [(Kind::PrefixOriginConflict, Severity::Info, true)]
    );
}

#[test]
fn hosts_with_ases_of_their_own_may_overlap_for_the_seconds_of_a_move_and_no_longer() {
    for (overlap, expected) in [(3, Kind::PrefixMoved), (600, Kind::PrefixOriginConflict)] {
        let mut lab = Lab::of(0, &Settings::default());
        lab.open(0, 1, 64501, 101);
        lab.open(0, 2, 64502, 102);
        lab.update(1000, 1, (&[64501], None, &[EIP]), &[]);
        lab.update(60_000, 2, (&[64502], None, &[EIP]), &[]);
        lab.update(60_000 + overlap * 1000, 1, NONE, &[EIP]);
        let found = until(&mut lab, 700);
        let loud = if expected == Kind::PrefixMoved {
            Severity::Info
        } else {
            Severity::Warning
        };
        assert_eq!(found, [(expected, loud, false)], "{overlap} s");
    }
}

#[test]
fn a_slow_move_between_ases_that_was_told_becomes_information() {
    let mut lab = Lab::of(0, &Settings::default());
    lab.open(0, 1, 64501, 101);
    lab.open(0, 2, 64502, 102);
    lab.update(1000, 1, (&[64501], None, &[EIP]), &[]);
    lab.update(60_000, 2, (&[64502], None, &[EIP]), &[]);
    lab.update(75_000, 1, NONE, &[EIP]);
    let found = until(&mut lab, 200);
    assert!(
        found.contains(&(Kind::PrefixOriginConflict, Severity::Info, false)),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .all(|(_, severity, _)| *severity == Severity::Info)
    );
}
