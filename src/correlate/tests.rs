//! The correlator on hand-made findings: folding, order, windows, life cycle.

use std::time::Duration;

use super::explain::{Surroundings, Visibility};
use super::*;
use crate::detect::finding::Reason;
use crate::detect::subject::{Subject, Touch};
use crate::detect::{Finding, Kind};
use crate::state::NetState;

const SECOND: i64 = 1_000_000_000;

pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp((1_700_000_000.0 * 1e9) as i64 + (seconds * 1e9) as i64)
}

pub(super) fn finding(kind: Kind, subject: Subject, times: &[f64], touches: Vec<Touch>) -> Finding {
    let mut finding = Finding::at(kind, Severity::Warning, subject, at(times[0]));
    for time in &times[1..] {
        finding.again_at(at(*time));
    }
    finding.touches = touches;
    finding
}

fn link(name: &str, times: &[f64]) -> Finding {
    let kind = if times.len() > 1 {
        Kind::LinkFlap
    } else {
        Kind::LinkCarrierLost
    };
    let net = "198.51.100.0/30".parse().unwrap();
    finding(
        kind,
        Subject::Link(name.into()),
        times,
        vec![Touch::Interface(name.into()), Touch::OnLink(net)],
    )
}

pub(super) fn session(peer: &str, times: &[f64], reason: Reason) -> Finding {
    let peer = peer.parse().unwrap();
    let mut finding = finding(
        Kind::SessionDown,
        Subject::Peer(peer, None),
        times,
        vec![Touch::Peer(peer)],
    );
    finding.reason = Some(reason);
    finding.reach = Some(Duration::from_secs(9));
    finding
}

/// Runs the correlator over the findings as a stream would: everything is raised at once, time passes to the end.
pub(super) fn incidents(findings: Vec<Finding>) -> Vec<Incident> {
    let (mut board, mut correlator, visibility) = (
        Board::default(),
        Correlator::default(),
        Visibility {
            kernel: true,
            ..Visibility::default()
        },
    );
    let changes = changes::Changes::default();
    let net = NetState::default();
    let around = Surroundings {
        visibility: &visibility,
        net: &net,
        gaps: &[],
        changes: &changes,
    };
    let mut told = Vec::new();
    for finding in findings {
        board.raise(finding);
    }
    correlator.board_changed(at(100.0));
    correlator.finish(at(100.0), &mut board, &around, &mut told);
    correlator.incidents(&board, &around)
}

#[test]
fn a_session_that_falls_with_its_link_is_part_of_the_links_incident() {
    let all = incidents(vec![
        link("wan0", &[1.0, 5.0, 9.0]),
        session("198.51.100.1", &[1.2, 5.2, 9.1], Reason::LinkDown),
    ]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].root.kind, Kind::LinkFlap);
    assert_eq!(all[0].chain.len(), 1);
    assert_eq!((all[0].chain[0].hits, all[0].chain[0].of), (3, 3));
    assert_eq!(all[0].chain[0].lag_ns / SECOND, 0);
}

#[test]
fn a_session_on_another_link_is_another_incident() {
    let all = incidents(vec![
        link("wan0", &[1.0]),
        session("203.0.113.1", &[1.2], Reason::HoldTimerExpired),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_session_that_was_shut_down_on_purpose_was_not_killed_by_the_link() {
    let all = incidents(vec![
        link("wan0", &[1.0]),
        session("198.51.100.1", &[1.2], Reason::AdminShutdown),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn an_effect_that_mostly_happens_without_the_cause_is_not_its_effect() {
    let all = incidents(vec![
        link("wan0", &[1.0]),
        session(
            "198.51.100.1",
            &[1.2, 30.0, 60.0, 90.0],
            Reason::HoldTimerExpired,
        ),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_cause_never_begins_after_its_effect() {
    let all = incidents(vec![
        session("198.51.100.1", &[1.0], Reason::HoldTimerExpired),
        link("wan0", &[3.0]),
    ]);
    assert_eq!(all.len(), 2);
}

#[test]
fn the_window_of_a_session_is_its_hold_time() {
    let inside = incidents(vec![
        link("wan0", &[1.0]),
        session("198.51.100.1", &[10.5], Reason::HoldTimerExpired),
    ]);
    assert_eq!(inside.len(), 1);
    let outside = incidents(vec![
        link("wan0", &[1.0]),
        session("198.51.100.1", &[20.0], Reason::HoldTimerExpired),
    ]);
    assert_eq!(outside.len(), 2);
}

#[test]
fn both_families_sessions_to_one_neighbor_are_one_incident() {
    let mut first = session("198.51.100.1", &[1.0], Reason::HoldTimerExpired);
    let mut second = session("2001:db8::1", &[1.4], Reason::HoldTimerExpired);
    first.touch(Touch::RouterId(7));
    second.touch(Touch::RouterId(7));
    let all = incidents(vec![first, second]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].chain[0].rule, "same-neighbor-other-session");
}

#[test]
fn the_deepest_cause_is_the_root_and_the_chain_is_a_tree_of_causes_before_effects() {
    let mut session = session("198.51.100.1", &[1.2], Reason::LinkDown);
    let prefix = "192.0.2.0/24".parse().unwrap();
    session.affected.prefix(prefix);
    let flap = finding(
        Kind::PrefixFlap,
        Subject::Prefix(prefix),
        &[1.3],
        vec![Touch::Prefix(prefix)],
    );
    let all = incidents(vec![flap, session, link("wan0", &[1.0])]);
    assert_eq!(all.len(), 1);
    let kinds: Vec<Kind> = all[0].chain.iter().map(|e| e.finding.kind).collect();
    assert_eq!(
        (all[0].root.kind, kinds),
        (
            Kind::LinkCarrierLost,
            vec![Kind::SessionDown, Kind::PrefixFlap]
        )
    );
    assert_eq!(all[0].affected.prefix_count(), 1);
}

#[test]
fn the_order_in_which_findings_are_raised_changes_no_verdict() {
    let parts = || {
        vec![
            link("wan0", &[1.0, 5.0]),
            session("198.51.100.1", &[1.2, 5.1], Reason::LinkDown),
            session("203.0.113.9", &[4.0], Reason::AdminReset),
        ]
    };
    let forward = incidents(parts());
    let backward = incidents(parts().into_iter().rev().collect());
    let ids = |all: &[Incident]| {
        let mut ids: Vec<_> = all
            .iter()
            .map(|i| (i.id.clone(), i.title.clone(), i.chain.len()))
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&forward), ids(&backward));
}

/// Drives the correlator with time: raises findings at their first time, fires every deadline in between.
fn stream(mut findings: Vec<Finding>, until: f64) -> Vec<Told> {
    findings.sort_by_key(|f| f.first);
    let (mut board, mut correlator, visibility) = (
        Board::default(),
        Correlator::default(),
        Visibility::default(),
    );
    let changes = changes::Changes::default();
    let net = NetState::default();
    let around = Surroundings {
        visibility: &visibility,
        net: &net,
        gaps: &[],
        changes: &changes,
    };
    let mut told = Vec::new();
    let pass =
        |to: Timestamp, board: &mut Board, correlator: &mut Correlator, told: &mut Vec<Told>| {
            while let Some(deadline) = correlator.next_deadline().filter(|d| *d <= to) {
                correlator.expire(deadline, board, &around, told);
            }
        };
    for finding in findings {
        let now = finding.last;
        pass(now, &mut board, &mut correlator, &mut told);
        board.raise(finding);
        correlator.board_changed(now);
    }
    pass(at(until), &mut board, &mut correlator, &mut told);
    told
}

#[test]
fn an_incident_is_opened_within_two_seconds_once_and_resolved_after_quiet() {
    let told = stream(
        vec![
            link("wan0", &[1.0]),
            session("198.51.100.1", &[1.2], Reason::LinkDown),
        ],
        1000.0,
    );
    let Some(Told::Opened(first)) = told.first() else {
        panic!("not opened first")
    };
    assert!(first.opened_at <= at(3.2));
    assert_eq!(first.chain.len(), 1);
    assert_eq!(
        told.iter().filter(|t| matches!(t, Told::Opened(_))).count(),
        1
    );
    let Some(Told::Resolved(last)) = told.last() else {
        panic!("not resolved")
    };
    assert_eq!(
        (last.id.as_str(), last.resolved_at.is_some()),
        (first.id.as_str(), true)
    );
}

#[test]
fn an_incident_whose_subject_is_still_down_does_not_resolve() {
    let mut down = session("198.51.100.1", &[1.0], Reason::HoldTimerExpired);
    down.broken.subject = true;
    let told = stream(vec![down], 4000.0);
    assert!(!told.iter().any(|t| matches!(t, Told::Resolved(_))));
}

#[test]
fn a_planned_shutdown_is_told_at_info() {
    let mut down = session("198.51.100.1", &[1.0], Reason::AdminShutdown);
    down.planned = true;
    let all = incidents(vec![down]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].severity, Severity::Info);
}

/// A drained session and what falls with it.
fn drained(effect: impl FnOnce(&mut Finding)) -> Vec<Incident> {
    let prefix = "192.0.2.0/24".parse().unwrap();
    let mut down = session("198.51.100.1", &[1.0], Reason::AdminShutdown);
    down.planned = true;
    down.affected.prefix(prefix);
    let touches = vec![Touch::Prefix(prefix)];
    let mut flap = finding(Kind::PrefixFlap, Subject::Prefix(prefix), &[1.3], touches);
    effect(&mut flap);
    incidents(vec![down, flap])
}

#[test]
fn what_follows_a_planned_change_counts_one_step_less_but_not_a_lost_last_path() {
    let all = drained(|_| {});
    assert_eq!((all.len(), all[0].chain.len()), (1, 1));
    assert_eq!(all[0].severity, Severity::Info);
    let all = drained(|effect| effect.severity = Severity::Critical);
    assert_eq!(all[0].severity, Severity::Warning);
    let all = drained(|effect| effect.broken.last_path = true);
    assert_eq!(all[0].severity, Severity::Critical);
}

#[test]
fn a_missing_default_route_makes_the_incident_critical() {
    let mut lost = finding(
        Kind::RouteDefaultLost,
        Subject::Prefix("0.0.0.0/0".parse().unwrap()),
        &[1.0],
        vec![Touch::Interface("wan0".into())],
    );
    lost.broken.default_route = true;
    let all = incidents(vec![link("wan0", &[0.9]), lost]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].severity, Severity::Critical);
}

#[test]
fn every_rule_has_words_and_no_kind_causes_itself_without_a_discriminator() {
    for rule in rules::RULES {
        assert!(
            !rule.because.is_empty() && !rule.causes.is_empty() && !rule.effects.is_empty(),
            "{}",
            rule.name
        );
    }
    let names: BTreeSet<&str> = rules::RULES.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), rules::RULES.len(), "rule names are unique");
}

#[test]
fn every_link_of_the_survey_is_a_row_or_says_what_stands_for_it() {
    let mut known: BTreeSet<String> = rules::RULES
        .iter()
        .flat_map(|rule| rule.survey)
        .map(|number| number.trim_end_matches(char::is_lowercase).to_owned())
        .collect();
    for link in survey::ELSEWHERE {
        assert!(
            known.insert(link.number.to_owned()),
            "{} is a row",
            link.number
        );
    }
    let asked = (1..=46)
        .map(|n| format!("C{n}"))
        .chain((1..=15).map(|n| format!("L{n}")));
    let missing: Vec<String> = asked.filter(|number| !known.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Raises one finding, and lets it happen again at each of these times.
fn repeated(finding: Finding, times: &[f64], until: f64) -> Vec<Told> {
    let (mut board, mut correlator, visibility) = (
        Board::default(),
        Correlator::default(),
        Visibility::default(),
    );
    let net = NetState::default();
    let around = Surroundings {
        visibility: &visibility,
        net: &net,
        gaps: &[],
        changes: &changes::Changes::default(),
    };
    let mut told = Vec::new();
    let first = finding.first;
    let key = board.raise(finding);
    correlator.board_changed(first);
    for time in times.iter().map(|t| at(*t)).chain([at(until)]) {
        while let Some(deadline) = correlator.next_deadline().filter(|d| *d <= time) {
            correlator.expire(deadline, &mut board, &around, &mut told);
        }
        if time < at(until) {
            board.update(key, |finding| finding.again_at(time));
            correlator.board_changed(time);
        }
    }
    told
}

fn types(told: &[Told]) -> String {
    told.iter()
        .map(|told| match told {
            Told::Opened(_) => 'o',
            Told::Updated(_) => 'u',
            Told::Resolved(_) => 'r',
        })
        .collect()
}

#[test]
fn trouble_that_returns_inside_the_window_is_the_same_incident_again() {
    let told = repeated(link("wan0", &[1.0]), &[700.0], 5000.0);
    assert_eq!(types(&told), "oror");
    let ids: BTreeSet<&str> = told.iter().map(|t| t.incident().id.as_str()).collect();
    assert_eq!(ids.len(), 1);
    let revisions: Vec<u32> = told.iter().map(|t| t.incident().rev).collect();
    assert_eq!(revisions, [1, 2, 3, 4]);
}

#[test]
fn trouble_that_goes_on_is_told_less_and_less_often() {
    // Once a second for an hour: 3,600 occurrences.
    let times: Vec<f64> = (2..3600).map(f64::from).collect();
    let told = repeated(link("wan0", &[1.0]), &times, 3601.0);
    assert!(
        types(&told).starts_with("ou") && !types(&told).contains('r'),
        "{}",
        types(&told)
    );
    // 10 s, 20 s, 40 s … up to five minutes: an hour has 16 of them.
    assert!((14..=18).contains(&told.len()), "{} alerts", told.len());
}

#[test]
fn a_pause_shorter_than_the_quiet_time_resolves_nothing() {
    let told = repeated(link("wan0", &[1.0]), &[290.0, 580.0, 870.0], 900.0);
    assert!(!types(&told).contains('r'), "{}", types(&told));
}

#[test]
fn trouble_that_returns_after_the_window_is_another_incident() {
    let told = repeated(link("wan0", &[1.0]), &[4000.0], 9000.0);
    assert_eq!(types(&told), "oror");
    let ids: Vec<&str> = told.iter().map(|t| t.incident().id.as_str()).collect();
    assert_eq!((ids[0], ids[2]), (ids[1], ids[3]));
    assert_ne!(ids[0], ids[2]);
}

#[test]
fn two_links_that_fall_together_again_and_again_stay_two_incidents_and_the_later_one_says_so() {
    let all = incidents(vec![
        link("wan0", &[1.0, 23.0, 37.0, 80.0]),
        finding(
            Kind::LinkFlap,
            Subject::Link("wan1".into()),
            &[1.4, 23.3, 37.9, 80.2],
            vec![Touch::Interface("wan1".into())],
        ),
    ]);
    assert_eq!(all.len(), 2);
    assert!(all[0].cooccurring.is_empty());
    let [maybe] = &all[1].cooccurring[..] else {
        panic!("{:?}", all[1].cooccurring);
    };
    assert_eq!(maybe.finding, all[0].root.id());
    assert!(
        maybe.because.contains("wan0 lost carrier 4 times"),
        "{}",
        maybe.because
    );
}

/// Two findings on one subject, each with a life of its own: an effect that moves from one to the other takes no incident along.
#[test]
fn an_effect_that_moves_to_another_root_of_the_same_subject_leaves_the_incident_where_it_was() {
    let (mut board, mut correlator) = (Board::default(), Correlator::default());
    let (visibility, net) = (Visibility::default(), NetState::default());
    let changes = changes::Changes::default();
    let around = Surroundings {
        visibility: &visibility,
        net: &net,
        gaps: &[],
        changes: &changes,
    };
    let mut told = Vec::new();
    let table = |mut finding: Finding| {
        finding.affected.prefix("203.0.113.0/24".parse().unwrap());
        finding
    };
    let look = |correlator: &mut Correlator, board: &mut Board, told: &mut Vec<Told>, now: f64| {
        correlator.board_changed(at(now));
        correlator.expire(at(now + 5.0), board, &around, told);
    };
    let first = board.raise(table(session(
        "198.51.100.1",
        &[1.0],
        Reason::HoldTimerExpired,
    )));
    let withdrawn = finding(
        Kind::PrefixMassWithdrawal,
        Subject::Peer("198.51.100.1".parse().unwrap(), None),
        &[20.0],
        Vec::new(),
    );
    board.raise(table(withdrawn));
    look(&mut correlator, &mut board, &mut told, 21.0);
    let mut other = table(session("198.51.100.1", &[19.0], Reason::MaxPrefix));
    other.kind = Kind::SessionMaxPrefix;
    let second = board.raise(other);
    look(&mut correlator, &mut board, &mut told, 30.0);
    for now in [40.0, 50.0, 60.0] {
        for key in [first, second] {
            board.update(key, |finding| finding.explain.push('.'));
            look(&mut correlator, &mut board, &mut told, now);
        }
    }
    let all = correlator.incidents(&board, &around);
    let roots: Vec<Kind> = all.iter().map(|incident| incident.root.kind).collect();
    assert_eq!(roots, [Kind::SessionDown, Kind::SessionMaxPrefix]);
    assert_eq!((all[0].chain.len(), all[1].chain.len()), (0, 1));
    assert!(all.iter().all(|incident| incident.merged_into.is_none()));
}
