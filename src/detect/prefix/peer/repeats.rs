//! One prefix, or a few together, that a speaker announces again and again without any change: a health check that repeats its state at each
//! run (ExaBGP's every 5 s). Nothing breaks, but each repetition costs every router behind it a best-path run, so it is noted.

use std::time::Duration;

use crate::detect::prefix::Scene;
use crate::detect::{Board, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::rib::{RibKind, RouteChange, RouteDelta};

/// So many repetitions of one prefix are a habit (C33 asks for three distances; a session that comes up brings one or two).
const HABIT: usize = 6;
/// Repetitions further apart than this are none of a check: ExaBGP's default is 5 s, keepalived's and others' up to a minute.
const APART: Duration = Duration::from_secs(90);
/// A repetition of more routes at once is the table's.
const FEW: u32 = 16;

/// The prefix of a table that repeats itself.
#[derive(Clone, Default)]
pub(super) struct Repeats {
    prefix: Option<Prefix>,
    times: Vec<(Timestamp, Locator)>,
    key: Option<FindingKey>,
}

impl Repeats {
    /// An UPDATE with this many duplicates.
    pub fn update(
        &mut self,
        scene: &Scene<'_>,
        deltas: &[RouteDelta],
        duplicates: u32,
        board: &mut Board,
    ) {
        // At a collector duplicates are the Internet's weather.
        if scene.rib.kind == RibKind::Mrt || duplicates == 0 || duplicates > FEW {
            return;
        }
        let repeated = |prefix: Prefix| {
            deltas.iter().any(|delta| {
                delta.change == RouteChange::Duplicate
                    && !delta.transfer
                    && scene.rib.prefix(delta.slot) == Some(prefix)
            })
        };
        let (now, here) = (scene.event.at, scene.event.locator);
        let fresh = self
            .times
            .last()
            .is_none_or(|(last, _)| now.since(*last) > APART);
        let same = self.prefix.is_some_and(repeated);
        if !same && !fresh {
            return;
        }
        if fresh || !same {
            let first = deltas
                .iter()
                .find(|delta| delta.change == RouteChange::Duplicate && !delta.transfer);
            self.prefix = first.and_then(|delta| scene.rib.prefix(delta.slot));
            self.times.clear();
            self.key = None;
        }
        let Some(prefix) = self.prefix else { return };
        if self.times.len() == HABIT {
            self.times.remove(0);
        }
        self.times.push((now, here));
        let key = match self.key {
            Some(key) => {
                board.update(key, |finding| {
                    finding.again_at(now);
                    finding.evidence.add(here);
                });
                key
            }
            None if self.times.len() < HABIT => return,
            None => {
                let mut told = self.times.iter();
                let Some((first, locator)) = told.next() else {
                    return;
                };
                let kind = Kind::PrefixDuplicateUpdates;
                let mut finding =
                    Finding::at(kind, Severity::Info, Subject::Prefix(prefix), *first);
                finding.evidence.add(*locator);
                for (at, locator) in told {
                    finding.again_at(*at);
                    finding.evidence.add(*locator);
                }
                finding.also(Subject::Peer(scene.sender, None));
                finding.touch(Touch::Prefix(prefix));
                finding.affected.prefix(prefix);
                let key = board.raise(finding);
                self.key = Some(key);
                key
            }
        };
        board.update(key, |finding| {
            finding.ended = Some(now);
            let more = match duplicates {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            finding.explain = format!(
                "{} announced {prefix}{more} {} times in {:.0} s without any change: a health check or script that repeats its state",
                scene.sender,
                finding.count,
                now.since(finding.first).as_secs_f64()
            );
        });
    }
}
