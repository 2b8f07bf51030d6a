//! What statistics say where no rule reaches: of two roots that nothing in the table connects, one began right after the other again and again.
//!
//! Never more than `possible`, and never a merge: two incidents stay two, the later one says what went before it, with the numbers. Nothing is
//! kept between two looks: the occurrences on the findings are all it needs.
//!
//! Model: by chance the effect's occurrences fall anywhere in the time in which both were seen. The windows behind the other's occurrences cover a
//! share of that time, so the number of hits follows a binomial distribution with that share. Occurrences closer to each other than a window are
//! one burst and count once. Where many pairs are compared, each must be so much less likely (Bonferroni). Two that keep one and the same beat prove
//! nothing by repeating it: two clocks that run alike keep whatever distance they began with, so that such pairs are judged by one hit.

use std::time::Duration;

use super::join::SKEW;
use super::rules::RULES;
use crate::detect::finding::{Finding, MAX_OCCURRENCES, Period};
use crate::detect::{Board, FindingKey, Kind, Severity};
use crate::event::Timestamp;

/// How soon after the other an occurrence counts: effects in the table of rules that wait for no timer begin within 1 to 3 s.
const WINDOW: Duration = Duration::from_secs(2);
/// Joint occurrences that are asked for, whatever their probability.
const LEAST: usize = 3;
/// Above this it may be chance.
const CHANCE: f64 = 0.001;
/// Roots compared: with more at once something goes on that statistics do not untangle, and nothing is said.
const MAX_ROOTS: usize = 32;
/// Told of one incident.
const MAX_TOLD: usize = 2;
/// Two beats are the same within this share, also as multiples of each other up to [`MAX_MULTIPLE`].
const SAME_BEAT: f64 = 0.1;
const MAX_MULTIPLE: f64 = 10.0;

/// A root that another one keeps following.
#[derive(Clone, PartialEq, Debug)]
pub struct Cooccurrence {
    /// Id of the finding that comes first.
    pub finding: String,
    pub kind: Kind,
    pub subject: String,
    /// So many of the follower's bursts began within the window behind it.
    pub hits: u32,
    pub of: u32,
    /// How likely that many would be by chance.
    pub chance: f64,
    /// The sentence with the numbers.
    pub because: String,
}

/// The roots on the board that matter, for comparing: those with enough occurrences. Empty where there are too many.
pub fn roots(board: &Board, is_root: impl Fn(FindingKey) -> bool) -> Vec<(FindingKey, &Finding)> {
    let roots: Vec<_> = board
        .iter()
        .filter(|(key, f)| {
            f.severity > Severity::Info && f.occurrences.len() >= LEAST && is_root(*key)
        })
        .take(MAX_ROOTS + 1)
        .collect();
    if roots.len() > MAX_ROOTS {
        Vec::new()
    } else {
        roots
    }
}

/// What went before this root again and again, likeliest first.
pub fn before(
    root: &Finding,
    roots: &[(FindingKey, &Finding)],
    headline: impl Fn(&Finding) -> String,
) -> Vec<Cooccurrence> {
    let compared = roots.len().saturating_sub(1).max(1);
    let mut told: Vec<Cooccurrence> = roots
        .iter()
        .filter(|(_, other)| other.id() != root.id() && !rules_reach(other.kind, root.kind))
        .filter_map(|(_, other)| {
            let joint = compare(other, root)?;
            let chance = (joint.chance * compared as f64).min(1.0);
            (joint.hits >= LEAST && chance < CHANCE).then(|| Cooccurrence {
                finding: other.id(),
                kind: other.kind,
                subject: other.subjects.first().map(ToString::to_string).unwrap_or_default(),
                hits: joint.hits as u32,
                of: joint.of as u32,
                chance,
                because: format!(
                    "{} of {} times it began within {:.0} s after this: {}; by chance p = {chance:.0e} (those seconds are {:.1} % of {:.0} s). No rule connects the two",
                    joint.hits,
                    joint.of,
                    WINDOW.as_secs_f64(),
                    headline(other),
                    joint.share * 100.0,
                    joint.seconds,
                ),
            })
        })
        .collect();
    told.sort_by(|a, b| {
        a.chance
            .total_cmp(&b.chance)
            .then_with(|| a.finding.cmp(&b.finding))
    });
    told.truncate(MAX_TOLD);
    told
}

/// Whether a rule could connect the two kinds: then it did, or looked and found nothing in common.
fn rules_reach(cause: Kind, effect: Kind) -> bool {
    RULES
        .iter()
        .any(|rule| rule.causes.contains(&cause) && rule.effects.contains(&effect))
}

struct Joint {
    hits: usize,
    of: usize,
    share: f64,
    seconds: f64,
    chance: f64,
}

fn compare(cause: &Finding, effect: &Finding) -> Option<Joint> {
    let (first, then) = (bursts(cause), bursts(effect));
    let from = *first.first()?.min(then.first()?);
    let to = *first.last()?.max(then.last()?) + WINDOW;
    if then.len() < LEAST {
        return None;
    }
    let follows = |at: &&Timestamp| {
        let until = first.partition_point(|before| *before <= **at + SKEW);
        until
            .checked_sub(1)
            .and_then(|last| first.get(last))
            .is_some_and(|before| at.since(*before) <= WINDOW)
    };
    let hits = then.iter().filter(follows).count();
    let seconds = to.since(from).as_secs_f64();
    let covered = first.len() as f64 * (WINDOW + SKEW).as_secs_f64();
    let share = (covered / seconds).min(1.0);
    let chance = if same_beat(cause, effect) {
        share
    } else {
        at_least(hits, then.len(), share)
    };
    Some(Joint {
        hits,
        of: then.len(),
        share,
        seconds,
        chance,
    })
}

/// When its bursts began. Of a finding with more occurrences than are kept only the latest ones are whole.
fn bursts(finding: &Finding) -> Vec<Timestamp> {
    let skip = if finding.count > finding.occurrences.len() as u64 {
        MAX_OCCURRENCES / 2
    } else {
        0
    };
    let mut bursts: Vec<Timestamp> = Vec::new();
    let mut last: Option<Timestamp> = None;
    for occurrence in finding.occurrences.iter().skip(skip) {
        if last.is_none_or(|last| occurrence.at.since(last) > WINDOW) {
            bursts.push(occurrence.at);
        }
        last = last.max(Some(occurrence.at));
    }
    bursts
}

fn same_beat(a: &Finding, b: &Finding) -> bool {
    let beat = |finding: &Finding| {
        let bursts = bursts(finding);
        let gaps = bursts.windows(2).filter_map(|pair| match pair {
            [a, b] => Some(b.since(*a).as_secs_f64()),
            _ => None,
        });
        Period::of_gaps(gaps.collect()).map(|period| period.seconds)
    };
    match (beat(a), beat(b)) {
        (Some(a), Some(b)) => {
            let ratio = a.max(b) / a.min(b);
            ratio <= MAX_MULTIPLE && (ratio - ratio.round()).abs() <= SAME_BEAT * ratio.round()
        }
        // Three occurrences make two distances: no beat can be proven, nor excluded.
        _ => bursts(a).len() <= LEAST && bursts(b).len() <= LEAST && alike(a, b),
    }
}

/// Whether the distances of two short series are the same.
fn alike(a: &Finding, b: &Finding) -> bool {
    let gaps: Vec<f64> = [a, b]
        .into_iter()
        .flat_map(|finding| {
            let bursts = bursts(finding);
            let gaps: Vec<f64> = bursts
                .windows(2)
                .map(|pair| {
                    pair.last()
                        .zip(pair.first())
                        .map_or(0.0, |(b, a)| b.since(*a).as_secs_f64())
                })
                .collect();
            gaps
        })
        .collect();
    let (least, most) = gaps
        .iter()
        .fold((f64::MAX, 0.0f64), |(l, m), g| (l.min(*g), m.max(*g)));
    most <= least * (1.0 + SAME_BEAT)
}

/// P(X ≥ `hits`) of a binomial distribution.
fn at_least(hits: usize, of: usize, share: f64) -> f64 {
    if hits == 0 || share >= 1.0 {
        return 1.0;
    }
    // The term for all hits and its successors downwards: each is the one above times k / (n - k + 1) · (1 - p) / p.
    let mut term = share.powi(of.min(MAX_OCCURRENCES) as i32);
    let mut sum = term;
    for k in (hits + 1..=of).rev() {
        term *= k as f64 / (of - k + 1) as f64 * (1.0 - share) / share;
        sum += term;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests;
