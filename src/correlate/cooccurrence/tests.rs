use super::*;
use crate::detect::Subject;
use crate::detect::finding::Occurrence;

fn at(seconds: f64) -> Timestamp {
    Timestamp(1_700_000_000_000_000_000 + (seconds * 1e9) as i64)
}

fn series(kind: Kind, name: &str, times: &[f64]) -> Finding {
    let mut finding = Finding::at(
        kind,
        Severity::Warning,
        Subject::Link(name.into()),
        at(times[0]),
    );
    for time in &times[1..] {
        finding.again_at(at(*time));
    }
    finding
}

fn told(cause: &Finding, effect: &Finding, others: &[Finding]) -> Vec<Cooccurrence> {
    let mut roots = vec![(FindingKey(0), cause), (FindingKey(1), effect)];
    for (n, other) in others.iter().enumerate() {
        roots.push((FindingKey(2 + n as u32), other));
    }
    before(effect, &roots, |finding| finding.kind.to_string())
}

/// Times without a beat.
const IRREGULAR: [f64; 5] = [3.0, 41.0, 170.0, 233.0, 400.0];

fn shifted(by: f64) -> Vec<f64> {
    IRREGULAR.iter().map(|time| time + by).collect()
}

#[test]
fn one_fault_that_follows_another_each_time_says_so_with_the_numbers() {
    let cause = series(Kind::LinkFlap, "eth0", &IRREGULAR);
    let effect = series(Kind::LinkFlap, "eth1", &shifted(0.8));
    let told = told(&cause, &effect, &[]);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].hits, told[0].of), (5, 5));
    assert!(told[0].chance < 1e-6);
    assert!(
        told[0]
            .because
            .starts_with("5 of 5 times it began within 2 s after this: link.flap; by chance p = "),
        "{}",
        told[0].because
    );
}

#[test]
fn what_comes_first_follows_nothing() {
    let first = series(Kind::LinkFlap, "eth0", &IRREGULAR);
    let second = series(Kind::LinkFlap, "eth1", &shifted(0.8));
    assert_eq!(told(&second, &first, &[]), []);
}

#[test]
fn coincidences_prove_nothing() {
    let cause = series(Kind::LinkFlap, "eth0", &IRREGULAR);
    // Twice together, three times apart; or often enough to hit by chance.
    for times in [
        vec![4.0, 42.0, 120.0, 300.0, 350.0],
        (0..80).map(|n| f64::from(n) * 5.3).collect(),
    ] {
        let other = series(Kind::LinkFlap, "eth1", &times);
        assert_eq!(told(&cause, &other, &[]), []);
    }
    // Something that goes on nearly all the time precedes everything.
    let busy: Vec<f64> = (0..130).map(|n| f64::from(n) * 3.1).collect();
    let busy = series(Kind::LinkFlap, "eth2", &busy);
    let effect = series(Kind::LinkFlap, "eth1", &shifted(0.8));
    assert_eq!(told(&busy, &effect, &[]), []);
}

#[test]
fn two_clocks_that_run_alike_prove_nothing_by_repeating_it() {
    let every = |from: f64| {
        (0..20)
            .map(|n| from + f64::from(n) * 30.0)
            .collect::<Vec<f64>>()
    };
    let one = series(Kind::LinkFlap, "eth0", &every(0.0));
    let other = series(Kind::LinkFlap, "eth1", &every(1.0));
    assert_eq!(told(&one, &other, &[]), []);
    // Three times each at the same distances: a scenario of two faults 1 s apart.
    let one = series(Kind::LinkFlap, "eth0", &[0.0, 60.0, 120.0]);
    let other = series(Kind::LinkFlap, "eth1", &[1.0, 61.0, 121.0]);
    assert_eq!(told(&one, &other, &[]), []);
}

#[test]
fn where_a_rule_reaches_statistics_are_silent() {
    let cause = series(Kind::LinkFlap, "eth0", &IRREGULAR);
    let effect = series(Kind::SessionFlap, "eth1", &shifted(0.8));
    assert_eq!(told(&cause, &effect, &[]), []);
}

#[test]
fn the_more_is_compared_the_less_likely_it_must_be() {
    // Three hits of three in a share of 9 %: p = 0.0007.
    let cause = series(Kind::LinkFlap, "eth0", &[0.0, 23.0, 66.0]);
    let effect = series(Kind::LinkFlap, "eth1", &[0.5, 24.1, 66.9]);
    let alone = told(&cause, &effect, &[]);
    assert_eq!(
        alone.len(),
        1,
        "{:?}",
        compare(&cause, &effect).map(|j| j.chance)
    );
    let unrelated = series(Kind::LinkFlap, "eth9", &[11.0, 35.0, 50.0]);
    assert_eq!(told(&cause, &effect, &[unrelated]), []);
}

#[test]
fn bursts_count_once_and_dropped_occurrences_are_not_counted_as_quiet() {
    let mut burst = Vec::new();
    for time in IRREGULAR {
        burst.extend((0..10).map(|n| time + f64::from(n) * 0.3));
    }
    let finding = series(Kind::LinkFlap, "eth0", &burst);
    assert_eq!(bursts(&finding).len(), 5);
    let mut long = series(Kind::LinkFlap, "eth0", &[0.0]);
    for n in 1..1000 {
        long.again_at(at(f64::from(n) * 5.0));
    }
    assert_eq!(bursts(&long).len(), MAX_OCCURRENCES / 2);
    let latest: Vec<Occurrence> = long.occurrences.clone();
    assert_eq!(bursts(&long).last().copied(), latest.last().map(|o| o.at));
}

#[test]
fn the_binomial_tail_is_what_the_tables_say() {
    assert!((at_least(3, 3, 0.1) - 0.001).abs() < 1e-12);
    assert!((at_least(2, 4, 0.5) - 0.6875).abs() < 1e-12);
    assert!((at_least(1, 10, 0.2) - 0.892_625_817_6).abs() < 1e-9);
    assert_eq!(at_least(0, 10, 0.2), 1.0);
}
