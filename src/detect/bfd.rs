//! Detectors of BFD: losses (by detection time or signalled), flaps, near misses, settings that do not fit.
//!
//! AdminDown is an operator's word and no loss (RFC 5880 §6.8.16). A loss is what one end says on the wire, or the silence of both.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Classes, EventKind, Timestamp};
use crate::state::sessions::SessionDelta;
use crate::state::sessions::bfd::{BfdChange, BfdPair, BfdSession, DIAG_TOLD_BY_BGP};
use crate::state::{NetState, Observation};

use super::finding::Broken;
use super::session::perspective::Perspective;
use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject,
    Touch,
};

/// Losses this far apart are one flapping session (D33: three in 10 min; a BFD session that was lost twice in that time flaps).
const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// Late packets before a near miss is told: a single one may be the capture's jitter (D34).
const NEAR_MISSES: u32 = 3;
/// D35: faster detection than this does not survive a scheduler's pauses on virtual machines.
const TOO_TIGHT: Duration = Duration::from_millis(300);
/// D35: ends whose detection times differ by this factor were not configured for one another.
const MISMATCH: u32 = 4;
/// RFC 5880 §4.1: diagnostic codes.
const DIAG_DETECTION_EXPIRED: u8 = 1;
const DIAG_NEIGHBOR_DOWN: u8 = 3;
/// BFD sessions judged at once.
const MAX_TRACKED: usize = 16_384;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(BfdLosses::default()));
}

#[derive(Clone, Default)]
struct Track {
    finding: Option<FindingKey>,
    last: Option<Timestamp>,
    late: u32,
    late_first: Option<Timestamp>,
    near_miss: Option<FindingKey>,
}

/// `bfd.down`, `bfd.flap`, `bfd.near-miss`, `bfd.mismatch`.
#[derive(Clone, Default)]
struct BfdLosses {
    perspective: Perspective,
    tracks: BTreeMap<BfdPair, Track>,
    /// The loss at hand is one of a session that its end created anew.
    recreated: bool,
}

impl Detector for BfdLosses {
    fn name(&self) -> &'static str {
        "BFD"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::BFD)
            .and(Classes::BGP)
            .and(Classes::TCP)
            .and(Classes::BMP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if matches!(seen.event.kind, EventKind::Link(_) | EventKind::Address(_)) {
            self.perspective.observe(seen);
            return;
        }
        for delta in &seen.changes.sessions {
            let SessionDelta::Bfd { pair, change } = delta else {
                continue;
            };
            let Some(session) = net.sessions.bfd().get(pair.0, pair.1) else {
                continue;
            };
            if self.tracks.len() >= MAX_TRACKED && !self.tracks.contains_key(pair) {
                continue;
            }
            match *change {
                BfdChange::Down {
                    at,
                    from,
                    diag,
                    last_heard,
                    recreated,
                } => {
                    self.recreated = recreated;
                    self.down(
                        seen,
                        net,
                        board,
                        *pair,
                        session,
                        (at, from, diag, last_heard),
                    )
                }
                BfdChange::Up { .. } => self.up(seen, board, *pair),
                BfdChange::Known => self.settings(seen, net, board, *pair, session),
                BfdChange::Confirmed { .. } => {
                    if let Some(key) = self.tracks.get(pair).and_then(|t| t.finding) {
                        board.update(key, |finding| finding.support(seen.event));
                    }
                }
                BfdChange::AdminDown { .. } => {
                    if let Some(key) = self.tracks.get(pair).and_then(|t| t.finding) {
                        board.update(key, |finding| finding.broken.subject = false);
                    }
                }
                BfdChange::Late {
                    from,
                    gap,
                    detection,
                } => self.late(seen, net, board, *pair, session, (from, gap, detection)),
            }
        }
    }
}

impl BfdLosses {
    /// The end that is not the analysed host: BGP's judgement where there is a session, else the end that does not send to itself.
    fn far(&self, net: &NetState, pair: BfdPair) -> usize {
        let bgp = net
            .sessions
            .iter()
            .map(|(_, s)| s)
            .find(|s| (s.ends[0].addr, s.ends[1].addr) == pair);
        bgp.map_or_else(
            || self.perspective.far_of(pair),
            |s| self.perspective.far_end(&net.sessions, s),
        )
    }

    fn dress(
        &self,
        finding: &mut Finding,
        net: &NetState,
        pair: BfdPair,
        session: &BfdSession,
    ) -> usize {
        let far = self.far(net, pair);
        let ends = [pair.0, pair.1];
        finding.subjects = vec![
            Subject::Peer(ends[far], None),
            Subject::Peer(ends[1 - far], None),
        ];
        for addr in ends {
            finding.touch(Touch::Peer(addr));
        }
        if let Some(mac) = session.ends[far].mac {
            finding.touch(Touch::Mac(mac));
        }
        if let Some(bgp) = net
            .sessions
            .iter()
            .map(|(_, s)| s)
            .find(|s| (s.ends[0].addr, s.ends[1].addr) == pair)
        {
            if bgp.ends[far].router_id != 0 {
                finding.touch(Touch::RouterId(bgp.ends[far].router_id));
            }
            if let Some(mac) = bgp.ends[far].mac {
                finding.touch(Touch::Mac(mac));
            }
        }
        if let Some(name) = net
            .sources
            .get(&session.source)
            .and_then(|info| info.interface.clone())
            .filter(|name| &**name != "any")
        {
            finding.touch(Touch::Interface(name));
        }
        finding.reach = session.slowest_detection();
        finding.advice = vec![
            "vtysh -c 'show bfd peers'".to_owned(),
            format!(
                "tcpdump -ni any 'udp port {} and host {}'",
                session.port, ends[far]
            ),
        ];
        far
    }

    fn down(
        &mut self,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
        pair: BfdPair,
        session: &BfdSession,
        (at, from, diag, last_heard): (Timestamp, Option<usize>, u8, Option<Timestamp>),
    ) {
        let known = self.tracks.get(&pair).and_then(|t| {
            t.finding
                .filter(|_| t.last.is_some_and(|last| at.since(last) <= FLAP_WINDOW))
        });
        let key = match known {
            Some(key) => {
                board.update(key, |finding| finding.again_at(at));
                key
            }
            None => board.raise(Finding::at(
                Kind::BfdDown,
                Severity::Warning,
                Subject::Peer(pair.1, None),
                at,
            )),
        };
        let track = self.tracks.entry(pair).or_default();
        track.finding = Some(key);
        track.last = Some(at);
        track.late = 0;
        let ends = [pair.0, pair.1];
        let detection = session.slowest_detection().unwrap_or_default();
        let because = match (from, diag) {
            (Some(from), _) if self.recreated => {
                let quiet = last_heard.map(|last| {
                    format!(
                        "; {} had been heard {} ms before",
                        ends[1 - from],
                        at.since(last).as_millis()
                    )
                });
                format!(
                    "{} created its BFD session anew (it says Down under another discriminator): it was restarted or configured, nothing was lost on the \
                     way{}",
                    ends[from],
                    quiet.unwrap_or_default()
                )
            }
            (Some(from), DIAG_DETECTION_EXPIRED) => {
                let quiet = last_heard.map(|last| at.since(last));
                let quiet = quiet
                    .map(|q| {
                        format!(
                            " (nothing came from {} for {} ms)",
                            ends[1 - from],
                            q.as_millis()
                        )
                    })
                    .unwrap_or_default();
                format!(
                    "{} says that its detection time of {} ms expired{quiet}",
                    ends[from],
                    session
                        .detection_time(1 - from)
                        .unwrap_or(detection)
                        .as_millis()
                )
            }
            (Some(from), DIAG_NEIGHBOR_DOWN) => {
                format!("{} says that {} signalled down", ends[from], ends[1 - from])
            }
            (Some(from), DIAG_TOLD_BY_BGP) => format!(
                "{} closed BGP because of it (NOTIFICATION 6/10), before a BFD packet told",
                ends[from]
            ),
            (Some(from), diag) => format!("{} left Up with diagnostic code {diag}", ends[from]),
            (None, _) => format!(
                "both ends fell silent for more than the detection time of {} ms",
                detection.as_millis()
            ),
        };
        let reason = if self.recreated {
            Reason::Recreated
        } else if diag == DIAG_NEIGHBOR_DOWN && from.is_some() {
            Reason::PeerSignaled
        } else {
            Reason::DetectionExpired
        };
        board.update(key, |finding| {
            let far = self.dress(finding, net, pair, session);
            if from.is_some() {
                finding.evidence.add(seen.event.locator);
                finding.last = finding.last.max(seen.event.at);
            }
            finding.fidelity = if finding.evidence.total == 0 {
                Fidelity::Inferred
            } else {
                Fidelity::Exact
            };
            finding.kind = if finding.count > 1 {
                Kind::BfdFlap
            } else {
                Kind::BfdDown
            };
            finding.reason = Some(reason);
            finding.broken = Broken {
                subject: true,
                ..finding.broken
            };
            finding.explain = match finding.count {
                1 => format!("BFD to {} went down: {because}", ends[far]),
                n => format!(
                    "BFD to {} went down {n} times in {:.1} s; last: {because}",
                    ends[far],
                    finding.last.since(finding.first).as_secs_f64()
                ),
            };
        });
    }

    fn up(&mut self, seen: &Observation<'_>, board: &mut Board, pair: BfdPair) {
        let at = seen.event.at;
        if let Some(key) = self.tracks.entry(pair).or_default().finding {
            board.update(key, |finding| {
                finding.recovered(at);
                finding.ended = Some(at);
                finding.broken.subject = false;
            });
        }
    }

    /// Judges, once, what the two ends ask of each other.
    fn settings(
        &mut self,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
        pair: BfdPair,
        session: &BfdSession,
    ) {
        let at = seen.event.at;
        let (Some(a), Some(b)) = (session.detection_time(0), session.detection_time(1)) else {
            return;
        };
        let (fast, slow) = (a.min(b), a.max(b));
        let why = if slow > fast * MISMATCH {
            format!(
                "one end detects a loss after {} ms, the other after {} ms",
                fast.as_millis(),
                slow.as_millis()
            )
        } else if fast < TOO_TIGHT {
            format!(
                "a detection time of {} ms is shorter than the pauses of virtual machines and overlays",
                fast.as_millis()
            )
        } else {
            return;
        };
        let mut finding = Finding::new(
            Kind::BfdMismatch,
            Severity::Info,
            Subject::Peer(pair.1, None),
            seen.event,
        );
        self.dress(&mut finding, net, pair, session);
        finding.ended = Some(at);
        finding.explain = format!("BFD between {} and {}: {why}", pair.0, pair.1);
        board.raise(finding);
    }

    fn late(
        &mut self,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
        pair: BfdPair,
        session: &BfdSession,
        (from, gap, detection): (usize, Duration, Duration),
    ) {
        let at = seen.event.at;
        let track = self.tracks.entry(pair).or_default();
        if let Some(key) = track.near_miss {
            board.update(key, |finding| finding.again(seen.event));
            return;
        }
        track.late += 1;
        let first = *track.late_first.get_or_insert(at);
        if at.since(first) > FLAP_WINDOW {
            track.late = 1;
            track.late_first = Some(at);
        }
        if track.late < NEAR_MISSES {
            return;
        }
        let late = u64::from(track.late);
        let mut finding = Finding::new(
            Kind::BfdNearMiss,
            Severity::Info,
            Subject::Peer(pair.1, None),
            seen.event,
        );
        finding.count = late;
        finding.first = first.max(at - FLAP_WINDOW);
        self.dress(&mut finding, net, pair, session);
        finding.explain = format!(
            "BFD packets of {} came so late that the session nearly went down: the last after {} ms of {} ms, {late} times",
            [pair.0, pair.1][from],
            gap.as_millis(),
            detection.as_millis()
        );
        let key = board.raise(finding);
        if let Some(track) = self.tracks.get_mut(&pair) {
            track.near_miss = Some(key);
        }
    }
}

#[cfg(test)]
mod tests;
