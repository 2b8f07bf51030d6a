//! `session.speaker-restarted`: all sessions of one router are closed by it at once and opened anew: its BGP process died or was restarted.
//!
//! A dying process's kernel closes every connection (FIN or RST, no NOTIFICATION), a stopped one says Cease 6/2 or 6/3 to everybody. A dead
//! path is silent instead, and `clear bgp *` says 6/4 and keeps the process. That nobody listens at its port 179 until it is back, or that
//! two neighbors lose it at once, tells a process from one neighbor's configuration. The Restart State bit of an OPEN (RFC 4724 §3) proves
//! nothing: FRR also sets it after a link was down (measured).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::bgp::Notification;
use crate::event::tcp::{TcpEvent, TcpFact};
use crate::event::{Classes, EventKind, Locator, Timestamp};
use crate::state::rib::keeps_routes;
use crate::state::sessions::{DownCause, Observer, Session, SessionDelta, SessionId};
use crate::state::{NetState, Observation};

use super::perspective::Perspective;
use super::reason;
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};

/// D32: a process's sessions close within this (its kernel closes all sockets in one go; FRR sends its Ceases within milliseconds).
const TOGETHER: Duration = Duration::from_secs(2);
/// D32: so many of the router's sessions go (percent).
const SHARE_PERCENT: usize = 80;
/// One closed session may have any reason; two at once that both come back do not.
const LEAST: usize = 2;
/// A speaker that is not back after this was not restarted: FRR's and BIRD's longest back-off is 300 s.
const BACK_WITHIN: Duration = Duration::from_secs(360);
/// Sessions of one router looked at: a route server has a few thousand, and the first ones prove it.
const MAX_SESSIONS: usize = 4096;

/// The last loss of a session.
#[derive(Clone, Debug)]
struct Loss {
    at: Timestamp,
    /// The end that closed it, and whether it said Cease 6/2 or 6/3.
    by: Option<(usize, bool)>,
    cause: DownCause,
    /// Nobody listened there: a SYN was answered by RST (by end).
    closed_port: [bool; 2],
    /// A SYN of this end waits for its answer.
    asked: Option<usize>,
    observer: Observer,
    locator: Locator,
    retained: bool,
    /// What both ends had agreed on was seen.
    agreed: bool,
    back: Option<Timestamp>,
}

/// Detects restarts.
#[derive(Clone, Default)]
pub(super) struct Speakers {
    perspective: Perspective,
    losses: BTreeMap<SessionId, Loss>,
    /// Sessions of each BGP identifier, as far as they were lost or came up.
    sessions: BTreeMap<u32, BTreeSet<SessionId>>,
    found: BTreeMap<u32, (FindingKey, Timestamp)>,
}

impl Detector for Speakers {
    fn name(&self) -> &'static str {
        "speaker restarts"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        match &seen.event.kind {
            EventKind::Link(_) | EventKind::Address(_) => return self.perspective.observe(seen),
            EventKind::Tcp(tcp) => self.handshake(tcp, net),
            _ => {}
        }
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::Down {
                    id,
                    at,
                    observer,
                    cause,
                } => self.down(*id, *at, *observer, cause, seen.event.locator, net),
                SessionDelta::DownSeen { id, cause, .. } => self.told(*id, seen.event.at, cause),
                SessionDelta::Up { id, .. } | SessionDelta::Appeared { id, .. } => {
                    self.up(*id, seen, net, board);
                }
                _ => {}
            }
        }
    }
}

/// The end that closed a session on its own, and whether it said that it was shut down.
fn closer(cause: &DownCause) -> Option<(usize, bool)> {
    let shut_down = |n: &Notification| matches!(n.cause(), (6, 2 | 3));
    match cause {
        DownCause::Tcp { from, .. } => Some((*from, false)),
        DownCause::Notification { from, notification } if shut_down(notification) => {
            Some((*from, true))
        }
        _ => None,
    }
}

impl Speakers {
    fn down(
        &mut self,
        id: SessionId,
        at: Timestamp,
        observer: Observer,
        cause: &DownCause,
        locator: Locator,
        net: &NetState,
    ) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        let by = match cause {
            // BMP reason 4: closed by the remote end, which is the one that does not report (RFC 7854 §4.9).
            DownCause::Bmp { reason: 4, .. } => session
                .ends
                .iter()
                .position(|end| !end.reports)
                .map(|end| (end, false)),
            _ => closer(cause),
        };
        let retained = by.is_some_and(|(end, _)| keeps_routes(session, end, cause));
        let loss = Loss {
            at,
            by,
            cause: cause.clone(),
            closed_port: [false; 2],
            asked: None,
            observer,
            locator,
            retained,
            agreed: session.ends.iter().all(|end| end.open.is_some()),
            back: None,
        };
        self.losses.insert(id, loss);
        self.know(id, session);
    }

    fn told(&mut self, id: SessionId, at: Timestamp, cause: &DownCause) {
        if let Some(loss) = self.losses.get_mut(&id).filter(|loss| loss.by.is_none())
            && at.since(loss.at) <= TOGETHER
        {
            loss.by = closer(cause);
            if loss.by.is_some() {
                loss.cause = cause.clone();
            }
        }
    }

    /// Whether anybody listens where a session was lost.
    fn handshake(&mut self, tcp: &TcpEvent, net: &NetState) {
        if self.losses.is_empty()
            || !matches!(tcp.what, TcpFact::Syn | TcpFact::SynAck | TcpFact::Rst)
        {
            return;
        }
        let Some((id, end)) = net.sessions.between(tcp.src.ip(), tcp.dst.ip()) else {
            return;
        };
        let Some(loss) = self.losses.get_mut(&id).filter(|loss| loss.back.is_none()) else {
            return;
        };
        match tcp.what {
            TcpFact::Syn => loss.asked = Some(end),
            TcpFact::Rst if loss.asked == Some(1 - (end & 1)) => {
                loss.closed_port[end & 1] = true;
                loss.asked = None;
            }
            _ => loss.asked = None,
        }
    }

    fn know(&mut self, id: SessionId, session: &Session) {
        for end in session.ends.iter().filter(|end| end.router_id != 0) {
            let sessions = self.sessions.entry(end.router_id).or_default();
            if sessions.len() < MAX_SESSIONS {
                sessions.insert(id);
            }
        }
    }

    fn up(&mut self, id: SessionId, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        self.know(id, session);
        let Some(loss) = self.losses.get_mut(&id) else {
            return;
        };
        let now = seen.event.at;
        if loss.back.is_some() || now.since(loss.at) > BACK_WITHIN {
            return;
        }
        loss.back = Some(now);
        let Some((end, _)) = loss.by else { return };
        self.judge(session.ends[end & 1].router_id, id, seen, net, board);
    }

    /// Whether what closed this session was the death of the router `speaker`.
    fn judge(
        &mut self,
        speaker: u32,
        id: SessionId,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let (Some(loss), Some(known)) = (self.losses.get(&id), self.sessions.get(&speaker)) else {
            return;
        };
        if speaker == 0 {
            return;
        }
        let (mut of_speaker, mut struck) = (0, Vec::new());
        for other in known {
            let Some(session) = net.sessions.get(*other) else {
                continue;
            };
            let Some(end) = session.ends.iter().position(|e| e.router_id == speaker) else {
                continue;
            };
            // What only the dead router itself reports is not seen to go, and packets tell nothing of what BMP alone shows.
            if !session.views.of(loss.observer).seen
                || loss.observer == Observer::Bmp && session.ends[end].reports
            {
                continue;
            }
            let near = |l: &&Loss| l.at.since(loss.at).max(loss.at.since(l.at)) <= TOGETHER;
            match self.losses.get(other).filter(near) {
                Some(l) if l.by.is_some_and(|(by, _)| by == end) => {
                    of_speaker += 1;
                    struck.push((*other, end, l));
                }
                // It was down already.
                None if session.down_at.is_some_and(|down| down < loss.at)
                    && session.up_since.is_none_or(|up| up < loss.at)
                    && session.down_at >= session.up_since => {}
                _ => of_speaker += 1,
            }
        }
        // A link, an address or BFD that went explains the closing: the process lives.
        let process = |(id, _, l): &(SessionId, usize, &Loss)| {
            net.sessions.get(*id).is_some_and(|session| {
                let far = self.perspective.far_end(&net.sessions, session);
                let causes = std::slice::from_ref(&l.cause);
                let verdict = reason::judge(net, &self.perspective, session, far, l.at, causes);
                matches!(
                    verdict.reason,
                    Reason::TcpClosed
                        | Reason::TcpReset
                        | Reason::AdminShutdown
                        | Reason::PeerDeconfigured
                )
            })
        };
        let back = struck.iter().filter(|(_, _, l)| l.back.is_some()).count();
        let neighbors: BTreeSet<_> = struck
            .iter()
            .filter_map(|(id, end, _)| {
                let other = &net.sessions.get(*id)?.ends[1 - end];
                Some(if other.router_id == 0 {
                    Err(other.addr)
                } else {
                    Ok(other.router_id)
                })
            })
            .collect();
        let deaf = struck.iter().any(|(_, end, l)| l.closed_port[*end]);
        if struck.len() < LEAST
            || back < LEAST
            || struck.len() * 100 < of_speaker * SHARE_PERCENT
            || !(deaf || neighbors.len() >= LEAST)
            || !struck.iter().all(process)
        {
            return;
        }
        let first = struck.iter().map(|(_, _, l)| l.at).min().unwrap_or(loss.at);
        let last = struck.iter().map(|(_, _, l)| l.at).max().unwrap_or(first);
        let planned = struck
            .iter()
            .all(|(_, _, l)| l.by.is_some_and(|(_, said)| said));
        let retained = struck.iter().all(|(id, _, l)| {
            l.retained
                || !l.agreed
                    && l.back.is_some()
                    && net
                        .sessions
                        .get(*id)
                        .is_some_and(super::ends::returned_gracefully)
        });
        let away = seen.event.at.since(first).as_secs_f64();
        let key = match self.found.get(&speaker) {
            // Another session of the same restart is back.
            Some((key, at)) if at.since(first).max(first.since(*at)) <= TOGETHER => {
                board.update(*key, |finding| {
                    finding.support(seen.event);
                    finding.recovered(seen.event.at);
                    finding.ended = Some(seen.event.at);
                });
                return;
            }
            Some((key, _)) => {
                board.update(*key, |finding| finding.again_at(first));
                *key
            }
            None => {
                let peer = net
                    .sessions
                    .get(struck[0].0)
                    .map(|s| s.ends[struck[0].1].addr);
                let Some(peer) = peer else { return };
                let subject = Subject::Peer(peer, None);
                board.raise(Finding::at(
                    Kind::SessionSpeakerRestarted,
                    Severity::Info,
                    subject,
                    first,
                ))
            }
        };
        self.found.insert(speaker, (key, first));
        let struck: Vec<_> = struck
            .into_iter()
            .filter_map(|(id, end, l)| {
                let session = net.sessions.get(id)?;
                Some((
                    session.ends[end].addr,
                    session.ends[1 - end].addr,
                    session.ends[end].asn,
                    l.locator,
                ))
            })
            .collect();
        let how = if planned {
            "with a Cease that says it was shut down"
        } else {
            "without a NOTIFICATION, as the kernel does for a process that died"
        };
        let listened = if deaf {
            ", and nobody listened at its port 179 meanwhile"
        } else {
            ""
        };
        board.update(key, |finding| {
            for (own, other, asn, locator) in &struck {
                finding.also(Subject::Peer(*own, None));
                finding.touch(Touch::Peer(*own));
                finding.touch(Touch::Peer(*other));
                finding.affected.sessions.insert(Subject::Peer(*own, None));
                if *asn != 0 {
                    finding.touch(Touch::As(*asn));
                }
                finding.evidence.add(*locator);
            }
            finding.touch(Touch::RouterId(speaker));
            finding.support(seen.event);
            finding.recovered(seen.event.at);
            finding.ended = Some(seen.event.at);
            finding.planned = planned;
            finding.severity = if planned || retained {
                Severity::Info
            } else {
                Severity::Warning
            };
            let name = struck.first().map(|(own, _, asn, _)| match asn {
                0 => own.to_string(),
                asn => format!("{own} (AS{asn})"),
            });
            finding.explain = format!(
                "the BGP speaker {} restarted: {} of its {of_speaker} sessions seen here were closed by it within {:.1} s {how}{listened}; they \
                 were back after {away:.1} s",
                name.unwrap_or_default(),
                struck.len(),
                last.since(first).as_secs_f64(),
            );
            finding.advice = vec![
                "systemctl status frr bird --no-pager # on that router".to_owned(),
                "journalctl -u frr -u bird -n 100 --no-pager # on that router".to_owned(),
            ];
        });
    }
}
