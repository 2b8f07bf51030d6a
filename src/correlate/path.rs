//! `path.loss`: sessions to one neighbor that expire together while the local link stays up tell of a loss beyond the link.
//!
//! No single detector can say it: it is a statement about several sessions and about what the kernel did *not* report. It is made here,
//! from findings, when both are known. Source: the survey's chains "local carrier loss" against "path loss beyond the local link" (C3):
//! the two give the same BMP reason on FRR, only netlink tells them apart.

use std::collections::BTreeMap;

use super::explain::Visibility;
use super::join::{self, SKEW};
use super::rules::Join;
use crate::detect::finding::{Affected, Broken};
use crate::detect::subject::{Subject, Touch};
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Reason, Severity};
use crate::event::Timestamp;

/// Path losses that were raised, by the pair of sessions they stand on.
#[derive(Clone, Debug, Default)]
pub struct PathLosses {
    raised: BTreeMap<(FindingKey, FindingKey), FindingKey>,
}

impl PathLosses {
    /// Looks at changed session findings; raises or updates what they imply together.
    pub fn update(&mut self, board: &mut Board, dirty: &[FindingKey], visibility: &Visibility) {
        // Without the kernel's word a dead local link would look the same.
        if !visibility.kernel {
            return;
        }
        let changed: Vec<FindingKey> = dirty
            .iter()
            .copied()
            .filter(|key| board.get(*key).is_some_and(expired))
            .collect();
        for key in changed {
            let Some(session) = board.get(key) else {
                continue;
            };
            let twins: Vec<FindingKey> = [Kind::SessionDown, Kind::SessionFlap]
                .into_iter()
                .flat_map(|kind| board.of_kind(kind))
                .filter(|(other, twin)| {
                    *other != key
                        && expired(twin)
                        && other_family(session, twin)
                        && join::meets(Join::Neighbor, session, twin)
                })
                .map(|(other, _)| other)
                .collect();
            for twin in twins {
                let pair = (key.min(twin), key.max(twin));
                let (Some(a), Some(b)) = (board.get(pair.0), board.get(pair.1)) else {
                    continue;
                };
                let Some(loss) = path_loss(a, b, visibility) else {
                    continue;
                };
                if link_explains(board, &loss) {
                    continue;
                }
                match self.raised.get(&pair) {
                    Some(known) => board.update(*known, |finding| *finding = loss),
                    None => {
                        let raised = board.raise(loss);
                        self.raised.insert(pair, raised);
                    }
                }
            }
        }
    }
}

/// A session that ended because nothing arrived any more. One that BFD ended did not expire: its own segments may have arrived to the last.
fn expired(finding: &Finding) -> bool {
    matches!(finding.kind, Kind::SessionDown | Kind::SessionFlap)
        && matches!(
            finding.reason,
            Some(Reason::HoldTimerExpired | Reason::SendHoldExpired)
        )
}

fn family(finding: &Finding) -> Option<bool> {
    finding.session.as_ref().map(|s| s.remote.is_ipv6())
}

/// One session of each family: two sessions of one family to one neighbor may have died of one TCP problem.
fn other_family(a: &Finding, b: &Finding) -> bool {
    matches!((family(a), family(b)), (Some(x), Some(y)) if x != y)
}

/// The common finding of two sessions, when at least half of their falls coincide within the longer hold time.
fn path_loss(a: &Finding, b: &Finding, visibility: &Visibility) -> Option<Finding> {
    let reach = [a.reach, b.reach].into_iter().flatten().max()? + SKEW;
    let together: Vec<(Timestamp, Option<Timestamp>)> = a
        .occurrences
        .iter()
        .filter_map(|x| {
            let y = b
                .occurrences
                .iter()
                .find(|y| x.at.since(y.at).max(y.at.since(x.at)) <= reach)?;
            Some((x.at.min(y.at), x.until.zip(y.until).map(|(p, q)| p.max(q))))
        })
        .collect();
    if together.len() * 2 < a.occurrences.len().max(b.occurrences.len()) {
        return None;
    }
    let interface = a.touches.iter().find_map(|touch| match touch {
        Touch::Interface(name) if b.touches.contains(touch) => Some(name.clone()),
        _ => None,
    });
    let subject = match &interface {
        Some(name) => Subject::Link(name.clone()),
        None => a.subjects.first()?.clone(),
    };
    let first = together.iter().map(|(at, _)| *at).min()?;
    let mut loss = Finding::at(Kind::PathLoss, Severity::Warning, subject, first);
    for (at, _) in &together[1..] {
        loss.again_at(*at);
    }
    for (occurrence, (_, until)) in loss.occurrences.iter_mut().zip(&together) {
        occurrence.until = *until;
    }
    // The loss spans its effects, so that it precedes both and their frames lie inside it.
    loss.first = first.min(a.first).min(b.first);
    loss.last = a.last.max(b.last);
    loss.fidelity = Fidelity::Inferred;
    for session in [a, b] {
        for subject in &session.subjects {
            loss.also(subject.clone());
        }
        for touch in &session.touches {
            loss.touch(touch.clone());
        }
        for locator in session.evidence.kept().iter().take(3) {
            loss.evidence.add(*locator);
        }
    }
    loss.reason = Some(Reason::HoldTimerExpired);
    loss.reach = Some(reach);
    loss.affected = Affected::default();
    loss.broken = Broken {
        subject: a.broken.subject && b.broken.subject,
        ..Broken::default()
    };
    loss.ended = a.ended.zip(b.ended).map(|(x, y)| x.max(y));
    let via = interface
        .map(|name| format!("{name} kept its carrier"))
        .unwrap_or_else(|| "no link went down here".to_owned());
    loss.explain = format!(
        "the IPv4 and IPv6 sessions to one neighbor expired together {} while {via}: the loss is beyond the local link. What lies there is not watched: {}",
        super::explain::times(loss.count),
        beyond(visibility)
    );
    Some(loss)
}

/// What was silent about a loss beyond the link, and which sources would have shown where it is.
fn beyond(visibility: &Visibility) -> &'static str {
    match (visibility.bfd, visibility.lan) {
        (true, true) => {
            "BFD and ARP tell no more; BMP or a capture of the neighbor, or its own interface counters, would show where"
        }
        (true, false) => {
            "no ARP or ND was seen; it, BMP or a capture of the neighbor, or its interface counters would show where"
        }
        (false, true) => {
            "no BFD was seen; it, BMP or a capture of the neighbor, or its interface counters would show where"
        }
        (false, false) => {
            "BFD and ARP were silent; they, BMP or a capture of the neighbor, or its interface counters would show where"
        }
    }
}

/// Whether a link finding covers the loss: then the link is the cause, and nothing lies beyond it.
fn link_explains(board: &Board, loss: &Finding) -> bool {
    [
        Kind::LinkFlap,
        Kind::LinkCarrierLost,
        Kind::LinkAdminDown,
        Kind::LinkRemoved,
    ]
    .into_iter()
    .flat_map(|kind| board.of_kind(kind))
    .any(|(_, link)| {
        join::meets(Join::Interface, link, loss)
            && link.first <= loss.first + SKEW
            && loss.first <= link.last + loss.reach.unwrap_or_default()
    })
}
