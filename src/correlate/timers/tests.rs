//! Periods and what they are matched with.

use super::*;
use crate::detect::{Fidelity, Severity};
use crate::event::Timestamp;

fn at(seconds: f64) -> Timestamp {
    // A full minute of the clock and 20 s: nothing is on the minute by itself.
    Timestamp(1_700_000_040_000_000_000 + 20_000_000_000 + (seconds * 1e9) as i64)
}

fn finding(kind: Kind, times: &[f64]) -> Finding {
    let subject = match kind.layer() {
        "route" | "prefix" => Subject::Prefix("192.0.2.1/32".parse().unwrap()),
        "address" => Subject::Address("192.0.2.1".parse().unwrap()),
        _ => Subject::Peer("192.0.2.1".parse().unwrap(), None),
    };
    let mut finding = Finding::at(kind, Severity::Warning, subject, at(times[0]));
    for time in &times[1..] {
        finding.again_at(at(*time));
    }
    finding.fidelity = Fidelity::Exact;
    finding
}

fn said(finding: &Finding) -> Option<String> {
    period(finding, &NetState::default())?.matches
}

#[test]
fn a_steady_period_is_matched_with_the_timer_it_equals() {
    let found = finding(Kind::SessionFlap, &[0.0, 30.1, 60.1, 90.2, 120.3]);
    assert_eq!(said(&found).as_deref(), Some("FRR's connect retry (30 s)"));
    let period = period(&found, &NetState::default()).unwrap();
    assert!(period.spread < 0.01 && (period.seconds - 30.1).abs() < 0.2);
}

#[test]
fn a_timer_of_something_else_is_no_match() {
    // 30 s is a connect retry: no kernel route has one.
    assert_eq!(
        said(&finding(Kind::RouteFlap, &[0.0, 30.0, 60.0, 90.0])),
        None
    );
}

#[test]
fn a_loose_or_short_series_matches_nothing() {
    assert_eq!(
        said(&finding(Kind::SessionFlap, &[0.0, 30.0, 60.0])),
        None,
        "two gaps"
    );
    let jittered = finding(Kind::SessionFlap, &[0.0, 28.0, 61.0, 88.0, 119.0, 150.5]);
    assert_eq!(said(&jittered), None);
    assert!(
        period(
            &finding(Kind::SessionFlap, &[0.0, 1.0, 9.0, 11.0, 40.0]),
            &NetState::default()
        )
        .is_none()
    );
}

#[test]
fn several_timers_that_fit_alike_are_all_named() {
    let mut found = finding(Kind::RouteFlap, &[-20.0, 40.0, 100.0, 160.0]);
    found.actor = Some("bird (pid 7)".to_owned());
    let said = said(&found).unwrap();
    assert!(
        said.contains("BIRD's scan time (60 s)")
            && said.contains("on the minute")
            && said.contains("fit alike"),
        "{said}"
    );
}

#[test]
fn a_job_on_the_minute_is_told_from_a_loop_that_sleeps_for_one() {
    let cron = finding(Kind::RouteFlap, &[-19.6, 40.3, 100.5, 160.2]);
    assert!(
        said(&cron)
            .unwrap()
            .starts_with("on the minute, every 1 min"),
        "{:?}",
        said(&cron)
    );
    let sleeper = finding(Kind::RouteFlap, &[0.0, 60.0, 120.0, 180.0]);
    assert_eq!(said(&sleeper), None);
}

#[test]
fn what_the_input_shows_comes_before_defaults() {
    let mut found = finding(Kind::SessionFlap, &[0.0, 30.0, 60.0, 90.0]);
    found.reach = Some(Duration::from_secs(30));
    assert_eq!(said(&found).as_deref(), Some("the hold time (30 s)"));
}

#[test]
fn the_outage_and_the_time_between_have_timers_of_their_own() {
    let mut found = finding(Kind::SessionFlap, &[0.0, 39.2, 78.4, 117.6, 156.8]);
    found.reach = Some(Duration::from_secs(9));
    for occurrence in &mut found.occurrences {
        occurrence.until = Some(occurrence.at + Duration::from_millis(30_200));
    }
    let said = said(&found).unwrap();
    assert_eq!(
        said,
        "down for 30.2 s each time: FRR's connect retry (30 s); up for 9.0 s each time: the hold time (9 s)"
    );
}

#[test]
fn waits_that_double_are_a_back_off() {
    let found = finding(Kind::SessionOpenRejected, &[0.0, 60.0, 180.1, 420.3, 720.4]);
    assert_eq!(
        said(&found).as_deref(),
        Some("BIRD's reconnect back-off: each wait is twice the one before")
    );
    let even = finding(Kind::SessionOpenRejected, &[0.0, 61.0, 125.0, 182.0]);
    assert!(!said(&even).unwrap_or_default().contains("twice"));
}

#[test]
fn a_virtual_routers_timer_needs_a_virtual_routers_address() {
    let mut found = finding(Kind::NeighborMacFlip, &[0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(said(&found), None);
    found.touch(Touch::Mac(crate::event::frame::Mac([0, 0, 0x5e, 0, 1, 7])));
    assert_eq!(
        said(&found).as_deref(),
        Some("the advertisement interval of keepalived (1 s)")
    );
}

#[test]
fn every_timer_has_a_source_and_is_long_enough_to_be_told_from_jitter() {
    for timer in TIMERS {
        assert!(
            !timer.source.is_empty() && timer.seconds >= 1.0,
            "{}",
            timer.name
        );
    }
}
