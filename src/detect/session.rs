//! Detectors of BGP sessions: losses with their true reason, flaps, refusals, stalls, near misses, sessions that stay empty.
//!
//! A loss is judged at once when a NOTIFICATION tells, else after [`SETTLE`], when the kernel, BFD and BMP have spoken; later evidence
//! (a NOTIFICATION that was stuck behind a dead path) corrects the reason in place. One finding per session, upgraded from
//! `session.down` to `session.flap` when it happens again.

mod after;
pub(in crate::detect) mod drain;
mod ends;
mod full_size;
mod gone;
mod path;
pub mod perspective;
pub mod reason;
mod speaker;
mod trouble;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Classes, Event, EventKind, Locator, Prefix, Timestamp};
use crate::state::rib::transfer::Why;
use crate::state::rib::{RibEvent, Ribs};
use crate::state::sessions::{DownCause, LastUpdate, Observer, SessionDelta, SessionId};
use crate::state::{NetState, Observation};

use super::finding::Broken;
use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject,
};
use perspective::Perspective;
use reason::Judgement;
use wording::{describe, rejections};

/// A loss without a NOTIFICATION is judged this long after it was seen: netlink stamps lag by 100 ms, FRR's BMP by some batches, and an
/// alert is due 2 s after the evidence.
const SETTLE: Duration = Duration::from_millis(800);
/// Losses this far apart are one flapping session: D24 (3 transitions in 15 min; VMware's 30 s is for SNMP traps).
const FLAP_WINDOW: Duration = Duration::from_secs(15 * 60);
/// A session that comes up for the first time and falls within this time is still being opened (collisions, 5/1, up/down/up within a
/// second: measured on FRR and BIRD).
const STARTUP: Duration = Duration::from_secs(5);
/// A session that comes back and falls within this time was not back.
const NOT_BACK: Duration = Duration::from_secs(1);
/// A start that fails this often is no start any more.
const MAX_STARTUP_FAILURES: u32 = 3;
/// A router that connects its feed again lists peers as down that are still coming back with it (FRR, killed and started again, measured);
/// a daemon's sessions are back within its connect timers. One that stays away longer is lost.
const AFTER_RESTART: Duration = Duration::from_secs(120);
/// Evidence remembered per loss before it is judged.
const MAX_PENDING_EVIDENCE: usize = 6;
/// Sessions tracked: as many as the model has.
const MAX_TRACKED: usize = crate::state::sessions::MAX_SESSIONS;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(SessionLosses::default()));
    detectors.push(Box::new(speaker::Speakers::default()));
    detectors.push(Box::new(trouble::Trouble::default()));
    detectors.push(Box::new(path::PeerPaths::default()));
    detectors.push(Box::new(gone::SpeakerGone::default()));
}

/// A loss that is being judged or was.
#[derive(Clone)]
struct Loss {
    at: Timestamp,
    causes: Vec<DownCause>,
    evidence: Vec<(Timestamp, Locator)>,
    prefixes: BTreeSet<Prefix>,
    more_prefixes: u64,
    retained: bool,
    /// It did not come back while its routes were kept.
    gave_up: bool,
    /// One end marked its routes with GRACEFUL_SHUTDOWN before.
    drained: bool,
    judge_at: Option<Timestamp>,
    /// A feed that connected a moment ago listed it: if it comes back, it was the feed's gap.
    relisted: bool,
    judged: Option<Judgement>,
    over: Option<Timestamp>,
    exact: bool,
    /// The OPENs of both ends were known when it was lost, and with them what was agreed on.
    agreed: bool,
    /// What was known of the two ends when it was lost.
    clocks: [ends::Clock; 2],
    /// The UPDATE that provoked it.
    trigger: Option<(LastUpdate, String)>,
    /// Graceful restart was agreed on and kept nothing.
    defeated: Option<String>,
    /// Why it stays down, as far as the attempts since then tell.
    stays: Option<(String, Option<Reason>)>,
}

#[derive(Clone, Default)]
struct Track {
    finding: Option<FindingKey>,
    loss: Option<Loss>,
    last_loss: Option<Timestamp>,
    startup_failures: u32,
    /// Reasons of the finding's losses, counted.
    reasons: BTreeMap<Reason, u32>,
    planned: u32,
}

/// `session.down`, `session.flap`, `session.max-prefix`, `session.restarted`.
#[derive(Clone, Default)]
struct SessionLosses {
    perspective: Perspective,
    drains: drain::Drains,
    tracks: BTreeMap<SessionId, Track>,
    judgements: BTreeSet<(Timestamp, SessionId)>,
    /// When a graceful restart has to be over.
    restarts: BTreeSet<(Timestamp, SessionId)>,
}

impl Detector for SessionLosses {
    fn name(&self) -> &'static str {
        "session losses"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
            .and(Classes::BFD)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if matches!(seen.event.kind, EventKind::Link(_) | EventKind::Address(_)) {
            self.perspective.observe(seen);
            return;
        }
        self.drains.observe(seen, net);
        for event in &seen.changes.rib.events {
            if let RibEvent::Lost { rib, routes, .. } = event {
                self.drains.lost(*rib, *routes);
            }
        }
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::Down {
                    id,
                    at,
                    observer,
                    cause,
                } => {
                    self.down(*id, *at, *observer, cause, seen.event, net, board);
                }
                SessionDelta::DownSeen {
                    id,
                    observer,
                    cause,
                } => self.told_again(*id, *observer, cause, seen.event, net, board),
                SessionDelta::Up { id, .. } => self.up(*id, seen.event, net, board),
                SessionDelta::Tried { id, .. } => self.tried(*id, seen.event, net, board),
                _ => {}
            }
        }
        for event in &seen.changes.rib.events {
            self.rib_event(event, net, board);
        }
        // A loss with a clear word is judged in the same breath, after its routes were counted.
        while let Some((at, id)) = self
            .judgements
            .first()
            .copied()
            .filter(|(at, _)| *at <= seen.event.at)
        {
            self.judgements.remove(&(at, id));
            self.judge(id, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let restart = self.restarts.first();
        let first = self.judgements.first().into_iter().chain(restart).min();
        first.map(|(at, _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some((at, id)) = self
            .judgements
            .first()
            .copied()
            .filter(|(at, _)| *at <= now)
        {
            self.judgements.remove(&(at, id));
            self.judge(id, net, board);
        }
        while let Some((at, id)) = self.restarts.first().copied().filter(|(at, _)| *at <= now) {
            self.restarts.remove(&(at, id));
            self.give_up(id, net, board);
        }
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some((_, id)) = self.judgements.pop_first() {
            // What waits for a session to come back is dropped: the end of input is not the end of time (law 3).
            if self
                .tracks
                .get(&id)
                .and_then(|track| track.loss.as_ref())
                .is_some_and(|loss| loss.relisted)
            {
                continue;
            }
            if let Some(key) = self.judge(id, net, board) {
                board.update(key, |finding| finding.truncated = true);
            }
        }
    }
}

impl SessionLosses {
    #[allow(clippy::too_many_arguments)] // the fields of one delta and its surroundings
    fn down(
        &mut self,
        id: SessionId,
        at: Timestamp,
        observer: Observer,
        cause: &DownCause,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        // The end of a feed of ours: feed.gap.
        if session.feed.is_some() {
            return;
        }
        if self.tracks.len() >= MAX_TRACKED && !self.tracks.contains_key(&id) {
            return;
        }
        let up_for = session.up_since.map(|up| at.since(up));
        // A feed's list of peers may hold one that is still being opened.
        let listed =
            session.mid_stream && session.ups == 0 && session.views.none_but(Observer::Bmp);
        let first_up = (session.ups <= 1 && !session.mid_stream || listed)
            && session.downs <= MAX_STARTUP_FAILURES;
        let track = self.tracks.entry(id).or_default();
        if first_up || (track.startup_failures > 0 && track.finding.is_none()) {
            let startup = up_for.is_some_and(|up| up < if listed { NOT_BACK } else { STARTUP });
            if startup && track.startup_failures + 1 < MAX_STARTUP_FAILURES {
                track.startup_failures += 1;
                return;
            }
        }
        if let Some(before) = &mut track.loss {
            let not_back = before.judged.is_some()
                && before.over.is_some()
                && up_for.is_some_and(|up| up < NOT_BACK);
            if not_back {
                before.over = None;
                before.causes.push(cause.clone());
                if let Some(key) = track.finding {
                    board.update(key, |finding| {
                        if let Some(last) = finding.occurrences.last_mut() {
                            last.until = None;
                        }
                        finding.ended = None;
                        finding.broken.subject = true;
                    });
                }
                return;
            }
            if before.judge_at.is_some() {
                // Down, up and down again before the first one was judged: judge that one now.
                if let Some(at) = before.judge_at.take() {
                    self.judgements.remove(&(at, id));
                }
                self.judge(id, net, board);
            }
        }
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        // What this very listing told to be up and then to be down went down.
        let just_told = up_for.is_some_and(|up| up <= STARTUP);
        let relisted = observer == Observer::Bmp
            && !just_told
            && session.views.none_but(Observer::Bmp)
            && net.sessions.current().is_some_and(|current| {
                current.session == id && current.fresh_feed && current.whole_feed
            });
        let mut loss = Loss {
            at,
            causes: vec![cause.clone()],
            evidence: Vec::new(),
            prefixes: BTreeSet::new(),
            more_prefixes: 0,
            retained: false,
            gave_up: false,
            drained: self.drains.take(id, at, net),
            judge_at: None,
            relisted,
            judged: None,
            over: None,
            exact: !matches!(cause, DownCause::Silence { .. }),
            agreed: session.ends.iter().all(|end| end.open.is_some()),
            clocks: [
                ends::Clock::of(&session.ends[0]),
                ends::Clock::of(&session.ends[1]),
            ],
            trigger: None,
            defeated: None,
            stays: None,
        };
        // What proved a silence is some other packet of the input, unless the session itself was opened anew.
        let own = net.sessions.current().is_some_and(|c| c.session == id);
        if loss.exact || own {
            loss.evidence.push((event.at, event.locator));
        }
        let judge_at = if relisted {
            event.at + AFTER_RESTART
        } else if decisive(cause) {
            event.at
        } else {
            event.at + SETTLE
        };
        loss.judge_at = Some(judge_at);
        self.judgements.insert((judge_at, id));
        track.loss = Some(loss);
    }

    fn told_again(
        &mut self,
        id: SessionId,
        observer: Observer,
        cause: &DownCause,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        /// What is told later than this about a loss is about something else.
        const LATE: Duration = Duration::from_secs(60);
        /// Statements kept of one loss: each observer repeats itself.
        const MAX_CAUSES: usize = 8;
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(loss) = &mut track.loss else { return };
        if event.at.since(loss.at) > LATE || loss.causes.len() >= MAX_CAUSES {
            return;
        }
        let new = !loss
            .causes
            .iter()
            .any(|known| std::mem::discriminant(known) == std::mem::discriminant(cause));
        let news = new && !matches!(cause, DownCause::Tcp { .. });
        // The first word of each observer belongs to the evidence; FRR's repetitions do not.
        if new && loss.evidence.len() < MAX_PENDING_EVIDENCE {
            loss.evidence.push((event.at, event.locator));
        }
        if !news {
            return;
        }
        loss.causes.push(cause.clone());
        loss.exact = true;
        let _ = observer;
        if loss.judged.is_some() {
            self.revise(id, event, net, board);
        } else if decisive(cause) && !loss.relisted {
            if let Some(at) = loss.judge_at.replace(event.at) {
                self.judgements.remove(&(at, id));
            }
            self.judgements.insert((event.at, id));
        }
    }

    fn rib_event(&mut self, event: &RibEvent, net: &NetState, board: &mut Board) {
        match event {
            RibEvent::Lost {
                rib,
                since_epoch,
                retained,
                ..
            } => {
                let Some(of) = net.rib.get(*rib) else { return };
                let Some(loss) = self
                    .tracks
                    .get_mut(&of.session)
                    .and_then(|t| t.loss.as_mut())
                else {
                    return;
                };
                loss.retained |= *retained;
                for prefix in net.rib.lost(*rib, *since_epoch) {
                    if loss.prefixes.len() < super::finding::MAX_PREFIXES {
                        loss.prefixes.insert(prefix);
                    } else if !loss.prefixes.contains(&prefix) {
                        loss.more_prefixes += 1;
                    }
                }
            }
            RibEvent::TransferDone { rib, transfer } if transfer.why == Why::SessionUp => {
                // What comes back with the session was lost with it, also when the capture began after it was announced.
                let Some(of) = net.rib.get(*rib) else { return };
                let Some(key) = self.tracks.get(&of.session).and_then(|t| t.finding) else {
                    return;
                };
                let prefixes: Vec<Prefix> = present(&net.rib, *rib);
                board.update(key, |finding| {
                    prefixes
                        .into_iter()
                        .for_each(|prefix| finding.affected.prefix(prefix))
                });
            }
            _ => {}
        }
    }

    fn judge(&mut self, id: SessionId, net: &NetState, board: &mut Board) -> Option<FindingKey> {
        let session = net.sessions.get(id)?;
        let far = self.perspective.far_end(&net.sessions, session);
        let track = self.tracks.get_mut(&id)?;
        let loss = track.loss.as_mut()?;
        loss.judge_at = None;
        let verdict = verdict(net, &self.perspective, session, far, loss);
        loss.judged = Some(verdict.clone());
        if verdict.reason == Reason::Collision {
            return None;
        }
        let planned = is_planned(&verdict) || loss.drained;
        let lost_routes = !loss.retained && !loss.drained && !loss.prefixes.is_empty();
        loss.trigger = ends::trigger(session, &verdict, loss.at);
        loss.defeated = ends::restart_defeated(session, &loss.causes).filter(|_| lost_routes);
        loss.stays = ends::stays_down(net, session).filter(|_| loss.over.is_none());
        let again = track.finding.is_some()
            && track
                .last_loss
                .is_some_and(|last| loss.at.since(last) <= FLAP_WINDOW);
        track.last_loss = Some(loss.at);
        if !again {
            track.reasons.clear();
            track.planned = 0;
        }
        *track.reasons.entry(verdict.reason).or_default() += 1;
        track.planned += u32::from(planned);
        let main = main_reason(&track.reasons);
        let key = match track.finding.filter(|_| again) {
            Some(key) => {
                board.update(key, |finding| finding.again_at(verdict.at));
                key
            }
            None => {
                let mut finding = Finding::at(
                    Kind::SessionDown,
                    Severity::Warning,
                    Subject::Peer(session.ends[far].addr, None),
                    verdict.at,
                );
                finding.count = 1;
                let key = board.raise(finding);
                track.finding = Some(key);
                key
            }
        };
        let planned_only = track.planned > 0
            && u64::from(track.planned) == u64::from(track.reasons.values().sum::<u32>());
        let interfaces = self.perspective.interfaces(net, session);
        let rejected = rejections(&verdict);
        board.update(key, |finding| {
            finding.reason = Some(main);
            // A code of plain intent excuses one loss; routes that go again and again are lost whatever the code says.
            finding.planned = planned_only && !(lost_routes && finding.count > 1);
            let provoked = loss
                .trigger
                .as_ref()
                .map(|(update, _)| (update.at, update.locator));
            for (at, locator) in provoked.iter().chain(&loss.evidence) {
                // The finding begins with the loss: an observer that was a moment ahead of the kernel's stamp widens it.
                if *at < finding.first && finding.first.since(*at) > EVIDENCE_SLACK {
                    continue;
                }
                finding.evidence.add(*locator);
                finding.last = finding.last.max(*at);
            }
            if finding.evidence.total == 0 {
                finding.fidelity = Fidelity::Inferred;
            } else {
                finding.fidelity = if session.in_packets() || session.views.of(Observer::Mrt).seen {
                    Fidelity::Exact
                } else {
                    Fidelity::Compressed
                };
            }
            for prefix in &loss.prefixes {
                finding.affected.prefix(*prefix);
            }
            finding.affected.more_prefixes += loss.more_prefixes;
            finding.broken = Broken {
                subject: true,
                ..finding.broken
            };
            finding.notification = verdict
                .notification
                .as_ref()
                .map(|(n, from)| (n.clone(), session.ends[*from].addr))
                .or(finding.notification.take());
            for rejection in rejected {
                if !finding
                    .rejected
                    .iter()
                    .any(|(kind, reason, _)| (kind, reason) == (&rejection.0, &rejection.1))
                {
                    finding.rejected.push(rejection);
                }
            }
            if loss.drained && !finding.explanations.iter().any(|e| e == drain::DRAINED) {
                finding.explanations.push(drain::DRAINED.to_owned());
            }
            describe(finding, session, far, &interfaces, loss, &verdict);
            if let Some(over) = loss.over {
                recovered(finding, over);
            }
        });
        let keeps = board.get(key).and_then(|finding| finding.keeps);
        if let Some(kept) = keeps.filter(|_| loss.retained && loss.over.is_none()) {
            self.restarts.insert((loss.at + kept + RESTART_SLACK, id));
        }
        Some(key)
    }

    /// Judges a loss again after late evidence; only a better reason replaces the first one.
    fn revise(&mut self, id: SessionId, event: &Event, net: &NetState, board: &mut Board) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let far = self.perspective.far_end(&net.sessions, session);
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let (Some(loss), Some(key)) = (track.loss.as_mut(), track.finding) else {
            return;
        };
        let Some(old) = loss.judged.clone() else {
            return;
        };
        // Only what stood on weaker ground is replaced.
        let weak = matches!(
            old.reason,
            Reason::Unknown | Reason::TcpClosed | Reason::TcpReset
        );
        let verdict = verdict(net, &self.perspective, session, far, loss);
        if weak && verdict.reason != Reason::Unknown && verdict.reason != Reason::Collision {
            if let Some(count) = track.reasons.get_mut(&old.reason) {
                *count = count.saturating_sub(1);
            }
            track.reasons.retain(|_, count| *count > 0);
            *track.reasons.entry(verdict.reason).or_default() += 1;
            loss.judged = Some(verdict.clone());
        }
        let main = main_reason(&track.reasons);
        let interfaces = self.perspective.interfaces(net, session);
        let judged = loss.judged.clone().unwrap_or(verdict);
        board.update(key, |finding| {
            finding.reason = Some(main);
            finding.support(event);
            if finding.fidelity == Fidelity::Inferred {
                finding.fidelity = Fidelity::Exact;
            }
            if finding.notification.is_none() {
                finding.notification = judged
                    .notification
                    .as_ref()
                    .map(|(n, from)| (n.clone(), session.ends[*from].addr));
            }
            describe(finding, session, far, &interfaces, loss, &judged);
        });
    }
}

/// A loss's reason, from everything that was told so far.
fn verdict(
    net: &NetState,
    perspective: &Perspective,
    session: &crate::state::sessions::Session,
    far: usize,
    loss: &Loss,
) -> Judgement {
    let mut verdict = reason::judge(net, perspective, session, far, loss.at, &loss.causes);
    ends::refine(
        &mut verdict,
        session,
        1 - far,
        loss.at,
        &loss.clocks,
        &loss.causes,
    );
    verdict
}

/// Evidence may precede the finding by this: clocks of kernel and packets differ by up to 100 ms.
const EVIDENCE_SLACK: Duration = Duration::from_millis(90);

/// The restart time runs from when the receiver noticed (RFC 4724 §4.2), which may be a moment after what we saw.
const RESTART_SLACK: Duration = Duration::from_secs(1);

fn decisive(cause: &DownCause) -> bool {
    // A hold timer's NOTIFICATION may be the far end's word about our dead link: that waits for the kernel.
    let clear = |n: &crate::event::bgp::Notification| {
        !matches!(
            reason::of_notification(n),
            Reason::HoldTimerExpired | Reason::Unknown | Reason::BfdDown
        )
    };
    matches!(cause, DownCause::Notification { notification, .. } if clear(notification))
}

fn is_planned(verdict: &Judgement) -> bool {
    let text = verdict
        .notification
        .as_ref()
        .is_some_and(|(n, _)| n.text.as_ref().is_some_and(|t| !t.is_empty()));
    match verdict.reason {
        Reason::AdminShutdown | Reason::PeerDeconfigured => true,
        Reason::AdminReset => text,
        _ => false,
    }
}

fn main_reason(reasons: &BTreeMap<Reason, u32>) -> Reason {
    // Known reasons speak for the losses whose reason nobody saw.
    let known = reasons
        .iter()
        .filter(|(reason, _)| **reason != Reason::Unknown)
        .max_by_key(|(reason, count)| (**count, std::cmp::Reverse(**reason)));
    known.map_or(Reason::Unknown, |(reason, _)| *reason)
}

fn recovered(finding: &mut Finding, at: Timestamp) {
    finding.recovered(at);
    finding.ended = Some(at);
    finding.broken.subject = false;
}

/// Prefixes that a RIB holds now, as many as a finding remembers.
pub(in crate::detect) fn present(ribs: &Ribs, rib: crate::state::rib::RibId) -> Vec<Prefix> {
    ribs.get(rib)
        .into_iter()
        .flat_map(|of| of.iter().filter(|(_, _, cold)| of.current(cold).is_some()))
        .filter(|(_, nlri, _)| nlri.is_prefix())
        .map(|(_, nlri, _)| nlri.prefix)
        .take(super::finding::MAX_PREFIXES)
        .collect()
}

#[cfg(test)]
mod tests;
