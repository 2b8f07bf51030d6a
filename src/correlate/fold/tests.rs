//! Folds and their quiet twins, on hand-made findings.

use super::super::tests::{at, finding, incidents, session};
use crate::detect::finding::{Reason, SessionEnds};
use crate::detect::subject::{Subject, Touch};
use crate::detect::{Finding, Kind, Severity};

fn flap(prefix: &str, origin: u32, times: &[f64]) -> Finding {
    let prefix = prefix.parse().unwrap();
    let mut flap = finding(
        Kind::PrefixFlap,
        Subject::Prefix(prefix),
        times,
        vec![Touch::Prefix(prefix)],
    );
    flap.also(Subject::Origin(origin));
    flap.affected.prefix(prefix);
    flap
}

#[test]
fn the_prefixes_of_one_origin_that_flap_in_step_are_one_incident_in_both_families() {
    let all = incidents(vec![
        flap("192.0.2.0/24", 64501, &[1.0, 3.1, 5.0, 7.2]),
        flap("2001:db8::/48", 64501, &[1.05, 3.15, 5.05, 7.2]),
    ]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain[0].rule, "one-origin-in-step");
    assert_eq!((all[0].chain[0].hits, all[0].chain[0].of), (4, 4));
}

#[test]
fn flaps_of_one_origin_that_keep_no_step_stay_two() {
    let all = incidents(vec![
        flap("192.0.2.0/24", 64501, &[1.0, 3.1, 5.0, 7.2]),
        flap("198.51.100.0/24", 64501, &[1.9, 4.2, 5.9, 8.3]),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn flaps_of_two_origins_in_step_stay_two() {
    let all = incidents(vec![
        flap("192.0.2.0/24", 64501, &[1.0, 3.1, 5.0]),
        flap("198.51.100.0/24", 64502, &[1.0, 3.1, 5.0]),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn what_flaps_all_the_time_is_in_step_with_nothing() {
    let often: Vec<f64> = (0..40).map(|n| 1.0 + f64::from(n) * 0.2).collect();
    let all = incidents(vec![
        flap("192.0.2.0/24", 64501, &often),
        flap("198.51.100.0/24", 64501, &[1.9, 4.3, 6.9]),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_table_that_is_sent_again_with_each_change_of_a_prefix_joins_the_prefix() {
    let peer: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    let toggled = || {
        let mut toggled = flap("203.0.113.0/24", 64501, &[1.0, 5.0, 9.0, 13.0]);
        toggled.also(Subject::Peer(peer, None));
        toggled
    };
    let resent = |times: &[f64]| {
        let subject = Subject::Peer(peer, None);
        finding(Kind::PrefixDuplicateUpdates, subject, times, vec![])
    };
    let all = incidents(vec![toggled(), resent(&[1.0, 5.1, 9.0, 13.1])]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].root.kind, Kind::PrefixFlap);
    assert_eq!(all[0].chain[0].rule, "policy-change-resends-table");
    let all = incidents(vec![toggled(), resent(&[3.0, 7.0, 11.0, 15.0])]);
    assert_eq!(all.len(), 2, "by itself, while a prefix flaps");
}

#[test]
fn a_prefix_that_flaps_and_moves_is_one_trouble_and_two_prefixes_are_two() {
    let moves = |prefix: &str, times: &[f64]| {
        let subject = Subject::Prefix(prefix.parse().unwrap());
        finding(Kind::PrefixMoveFlap, subject, times, vec![])
    };
    let flaps = flap("192.0.2.7/32", 64501, &[200.0, 260.0, 320.0]);
    let all = incidents(vec![
        moves("192.0.2.7/32", &[1.0, 60.0, 120.0]),
        flaps.clone(),
    ]);
    assert_eq!(all.len(), 1);
    let all = incidents(vec![moves("192.0.2.8/32", &[1.0, 60.0, 120.0]), flaps]);
    assert_eq!(all.len(), 2);
}

fn deletions(kind: Kind, prefix: &str, actor: &str, times: &[f64]) -> Finding {
    let prefix = prefix.parse().unwrap();
    let touches = vec![Touch::Prefix(prefix)];
    let mut deletions = finding(kind, Subject::Prefix(prefix), times, touches);
    deletions.actor = Some(actor.into());
    deletions
}

#[test]
fn what_one_process_does_in_one_go_is_one_incident_and_what_it_does_a_second_later_is_not() {
    let lost = |seconds| deletions(Kind::RouteDefaultLost, "::/0", "pid 7", &[seconds]);
    let table = || deletions(Kind::RouteWithdrawn, "192.0.2.0/24", "pid 7", &[1.0]);
    let all = incidents(vec![table(), lost(1.09)]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain[0].rule, "one-process-in-step");
    assert_eq!(incidents(vec![table(), lost(2.2)]).len(), 2);
    let other = deletions(Kind::RouteDefaultLost, "::/0", "pid 8", &[1.09]);
    assert_eq!(incidents(vec![table(), other]).len(), 2);
    // The kernel is no process: it does what others make it do.
    let kernel = |kind, prefix, seconds| deletions(kind, prefix, "the kernel", &[seconds]);
    let all = incidents(vec![
        kernel(Kind::RouteWithdrawn, "192.0.2.0/24", 1.0),
        kernel(Kind::RouteDefaultLost, "::/0", 1.09),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_quiet_act_of_the_process_that_took_the_default_route_is_part_of_it() {
    let mut table = deletions(Kind::RouteWithdrawn, "192.0.2.0/24", "pid 7", &[1.0]);
    table.severity = Severity::Info;
    let lost = deletions(Kind::RouteDefaultLost, "0.0.0.0/0", "pid 7", &[1.0]);
    let all = incidents(vec![lost, table]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain.len(), 1);
}

fn upstream(remote_as: u32, times: &[f64]) -> Finding {
    let mut lost = session("198.51.100.1", times, Reason::TcpClosed);
    lost.session = Some(SessionEnds {
        local: "198.51.100.2".parse().unwrap(),
        remote: "198.51.100.1".parse().unwrap(),
        local_as: Some(64500),
        remote_as: Some(remote_as),
        vrf: None,
        observers: vec!["bmp"],
    });
    lost
}

fn mass(asn: u32, times: &[f64]) -> Finding {
    let peer = "203.0.113.1".parse().unwrap();
    let subject = Subject::Peer(peer, None);
    let mut mass = finding(
        Kind::PrefixMassWithdrawal,
        subject,
        times,
        vec![Touch::Peer(peer)],
    );
    mass.also(Subject::As(asn));
    mass
}

#[test]
fn the_session_to_the_upstream_whose_prefixes_went_is_part_of_their_loss() {
    let all = incidents(vec![mass(64510, &[1.0, 9.0]), upstream(64510, &[2.0, 9.8])]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain[0].rule, "one-upstream");
    // Another AS, or long after: another story.
    assert_eq!(
        incidents(vec![mass(64510, &[1.0]), upstream(64511, &[2.0])]).len(),
        2
    );
    assert_eq!(
        incidents(vec![mass(64510, &[1.0]), upstream(64510, &[30.0])]).len(),
        2
    );
}

#[test]
fn the_same_trouble_told_anew_is_one_incident_and_after_a_long_quiet_it_is_another() {
    let storm = |seconds| {
        finding(
            Kind::DhcpNakStorm,
            Subject::Client("02:00:00:00:00:01".into()),
            &[seconds],
            vec![],
        )
    };
    let all = incidents(vec![storm(1.0), storm(20.0), storm(40.0)]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain.len(), 2);
    assert_eq!(incidents(vec![storm(1.0), storm(900.0)]).len(), 2);
}

#[test]
fn a_rules_cause_goes_before_a_fold() {
    // Two flaps in step, the second of which has a session of its own that explains it.
    let mut second = flap("198.51.100.0/24", 64501, &[1.05, 3.15, 5.05]);
    second
        .touches
        .push(Touch::Peer("198.51.100.1".parse().unwrap()));
    let mut lost = session("198.51.100.1", &[1.0, 3.1, 5.0], Reason::TcpClosed);
    lost.affected.prefix("198.51.100.0/24".parse().unwrap());
    for occurrence in &mut lost.occurrences {
        occurrence.until = Some(occurrence.at + std::time::Duration::from_secs(1));
    }
    let first = flap("192.0.2.0/24", 64501, &[1.0, 3.1, 5.0]);
    let all = incidents(vec![first, second, lost]);
    let rules: Vec<&str> = all.iter().flat_map(|i| &i.chain).map(|e| e.rule).collect();
    assert!(
        rules.contains(&"session-down-withdraws-prefixes"),
        "{rules:?}"
    );
    assert!(at(1.0) < at(2.0));
}
