//! Sessions in trouble that are not lost (yet): refused while opening, stalled, nearly expired, up but empty.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::event::{Classes, EventKind, Timestamp};
use crate::state::rib::{RibEvent, RibId};
use crate::state::sessions::{DownCause, Session, SessionDelta, SessionId, State};
use crate::state::{NetState, Observation};

use super::full_size::FullSize;
use super::perspective::Perspective;
use super::reason;
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};

/// D28: refusals within the window that make a loop.
const REFUSALS: usize = 5;
const REFUSAL_WINDOW: Duration = Duration::from_secs(600);
/// An OPEN that is refused for what it says (RFC 4271 §6.2: AS number, identifier, hold time…) will be refused until somebody changes a
/// configuration: fewer prove the loop. Twice happens at once, when both ends connect at the same moment.
const OPEN_ERRORS: usize = 3;
/// A peer that is not there yet when a daemon starts answers within some seconds; a session that was asked for so often and so long without
/// ever coming up does not come up (a SYN is repeated after 1, 3, 7 and 15 s by Linux, daemons try again after 10 to 120 s).
const IN_VAIN: u32 = 6;
/// The longest pause between two tries: ConnectRetryTime is 120 s (RFC 4271 §10), and it may be jittered and missed once.
const CONNECT_RETRY: Duration = Duration::from_secs(240);
const IN_VAIN_FOR: Duration = Duration::from_secs(15);
/// D27: a window closed this long is a stall.
const STALL: Duration = Duration::from_secs(30);
/// D30: a session is judged empty this long after it came up.
const EMPTY_AFTER: Duration = Duration::from_secs(60);
/// D30: fewer than this of what the last session brought.
const EMPTY_SHARE: u32 = 2;
/// Smaller tables come and go with a policy.
const EMPTY_LEAST: u32 = 10;
/// Sessions with open questions at once.
const MAX_WATCHED: usize = 4096;

#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Question {
    Stalled(SessionId, usize),
    Empty(SessionId),
}

/// `session.open-rejected`, `session.stalled`, `session.near-miss`, `session.empty`, `session.mtu-blackhole`.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    perspective: Perspective,
    refusals: BTreeMap<SessionId, (VecDeque<Timestamp>, Option<FindingKey>)>,
    misses: BTreeMap<SessionId, FindingKey>,
    stalls: BTreeMap<(SessionId, usize), FindingKey>,
    questions: BTreeSet<(Timestamp, Question)>,
    full_size: FullSize,
    /// Sessions that never came up, and how often that was told.
    vain: BTreeMap<SessionId, FindingKey>,
    /// What a RIB held when its session was last lost.
    held: BTreeMap<RibId, u32>,
}

impl Detector for Trouble {
    fn name(&self) -> &'static str {
        "session trouble"
    }

    fn wants(&self) -> Classes {
        Classes::LINK
            .and(Classes::ADDRESS)
            .and(Classes::BGP)
            .and(Classes::BMP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if matches!(seen.event.kind, EventKind::Link(_) | EventKind::Address(_)) {
            self.perspective.observe(seen);
            return;
        }
        if let EventKind::Tcp(tcp) = &seen.event.kind
            && self.full_size.wants(tcp.what)
            && let Some(found) = net.sessions.between(tcp.src.ip(), tcp.dst.ip())
        {
            self.full_size.segment(found, seen.event, tcp.what, board);
        }
        for delta in &seen.changes.sessions {
            if let SessionDelta::Refused { id, .. }
            | SessionDelta::Up { id, .. }
            | SessionDelta::Tried { id, .. }
            | SessionDelta::ZeroWindow { id, .. }
            | SessionDelta::Late { id, .. } = delta
            {
                // The end of a feed of ours is no trouble of the router's.
                if net.sessions.get(*id).is_some_and(|s| s.feed.is_some()) {
                    continue;
                }
            }
            match delta {
                SessionDelta::Refused { id, cause } => self.refused(*id, cause, seen, net, board),
                SessionDelta::Down { id, .. } => self.died(*id, seen, net, board),
                SessionDelta::Tried { id, .. } => self.tried(*id, seen, net, board),
                SessionDelta::Up { id, .. } => {
                    self.full_size.up(*id);
                    let refused = self.refusals.remove(id).and_then(|(_, key)| key);
                    for key in refused.into_iter().chain(self.vain.remove(id)) {
                        board.update(key, |finding| {
                            finding.recovered(seen.event.at);
                            finding.ended = Some(seen.event.at);
                            finding.broken.subject = false;
                        });
                    }
                    self.ask(seen.event.at + EMPTY_AFTER, Question::Empty(*id));
                }
                SessionDelta::ZeroWindow { id, end } => {
                    self.ask(seen.event.at + STALL, Question::Stalled(*id, *end))
                }
                SessionDelta::Late { id, end, gap, hold } => {
                    self.late(*id, *end, (*gap, *hold), seen, net, board)
                }
                _ => {}
            }
        }
        for event in &seen.changes.rib.events {
            if let RibEvent::Lost { rib, routes, .. } = event
                && (self.held.len() < MAX_WATCHED || self.held.contains_key(rib))
            {
                self.held.insert(*rib, *routes);
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.questions.first().map(|(at, _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some((at, question)) =
            self.questions.first().copied().filter(|(at, _)| *at <= now)
        {
            self.questions.remove(&(at, question));
            match question {
                Question::Stalled(id, end) => self.stalled(id, end, now, net, board),
                Question::Empty(id) => self.empty(id, now, net, board),
            }
        }
    }
}

impl Trouble {
    fn ask(&mut self, at: Timestamp, question: Question) {
        if self.questions.len() < MAX_WATCHED {
            self.questions.insert((at, question));
        }
    }

    fn finding(
        &self,
        kind: Kind,
        severity: Severity,
        session: &Session,
        net: &NetState,
        at: Timestamp,
    ) -> Finding {
        let far = self.perspective.far_end(&net.sessions, session);
        let mut finding = Finding::at(
            kind,
            severity,
            Subject::Peer(session.ends[far].addr, None),
            at,
        );
        finding.also(Subject::Peer(session.ends[1 - far].addr, None));
        for end in &session.ends {
            finding.touch(Touch::Peer(end.addr));
        }
        if session.ends[far].router_id != 0 {
            finding.touch(Touch::RouterId(session.ends[far].router_id));
        }
        if let Some(mac) = session.ends[far].mac {
            finding.touch(Touch::Mac(mac));
        }
        for name in self.perspective.interfaces(net, session) {
            finding.touch(Touch::Interface(name));
        }
        finding.reach = session.hold_time();
        finding.advice = vec![format!(
            "vtysh -c 'show bgp neighbors {}'",
            session.ends[far].addr
        )];
        finding
    }

    fn died(&mut self, id: SessionId, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(session) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
            return;
        };
        if let Some(new) = self.full_size.down(id, session, seen.event, board) {
            let finding = self.finding(
                Kind::SessionMtuBlackhole,
                Severity::Warning,
                session,
                net,
                new.first,
            );
            self.full_size.raise(new, finding, board);
        }
    }

    /// A session that was never up is asked for once more.
    fn tried(&mut self, id: SessionId, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let never = session.ups == 0 && session.downs == 0 && !session.mid_stream;
        let asked = [&session.ends[0].opening, &session.ends[1].opening];
        let attempts: u32 = asked.iter().map(|o| o.syns).sum();
        let first = asked
            .iter()
            .filter_map(|o| o.first)
            .min_by_key(|(at, _)| *at);
        let Some((first, locator)) = first.filter(|_| never && attempts >= IN_VAIN) else {
            return;
        };
        let tried_for = seen.event.at.since(first);
        // Longer pauses than a connect retry's are a host that slept or a clock that stepped, not tries in vain.
        if tried_for < IN_VAIN_FOR || tried_for > CONNECT_RETRY * attempts {
            return;
        }
        let Some((text, Some(why))) = super::ends::stays_down(net, session) else {
            return;
        };
        let key = match self.vain.get(&id) {
            Some(key) => *key,
            None if self.vain.len() >= MAX_WATCHED || elsewhere(net, id, session) => return,
            None => {
                let kind = Kind::SessionUnestablished;
                let mut finding = self.finding(kind, Severity::Warning, session, net, first);
                finding.evidence.add(locator);
                let key = board.raise(finding);
                self.vain.insert(id, key);
                key
            }
        };
        let far = self.perspective.far_end(&net.sessions, session);
        let (remote, local) = (session.ends[far & 1].addr, session.ends[1 - (far & 1)].addr);
        board.update(key, |finding| {
            finding.support(seen.event);
            finding.count = u64::from(attempts);
            finding.reason = Some(why);
            finding.broken.subject = true;
            finding.explain = format!(
                "The BGP session of {local} with {remote} was not up while this was watched; {}",
                text.replace("since then ", "")
            );
        });
    }

    fn refused(
        &mut self,
        id: SessionId,
        cause: &DownCause,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let at = seen.event.at;
        // A closed port while the other end restarts is part of a loss, not a refusal.
        let DownCause::Notification { notification, from } = cause else {
            return;
        };
        let why = reason::of_notification(notification);
        let (code, subcode) = notification.cause();
        let told = |times: u64, first: Timestamp| {
            format!(
                "{} refused to open the BGP session with {} {times} times in {:.0} s: NOTIFICATION {code}/{subcode}{}",
                session.ends[*from].addr,
                session.ends[1 - *from].addr,
                at.since(first).as_secs_f64(),
                open_error(code, subcode)
            )
        };
        // A collision is the normal begin of a session; a session that was lost is told by its own finding, unless it cannot return
        // for another reason than the one that it was lost for.
        let lost = session.ups > 0 || session.downs > 0;
        if why == Reason::Collision
            || session.state == State::Established
            || lost && why != Reason::OpenError
        {
            return;
        }
        if self.refusals.len() >= MAX_WATCHED && !self.refusals.contains_key(&id) {
            return;
        }
        let (times, known) = self.refusals.entry(id).or_default();
        while times
            .front()
            .is_some_and(|first| at.since(*first) > REFUSAL_WINDOW)
        {
            times.pop_front();
        }
        times.push_back(at);
        if let Some(key) = known {
            board.update(*key, |finding| {
                finding.again(seen.event);
                finding.explain = told(finding.count, finding.first);
            });
            return;
        }
        let least = if why == Reason::OpenError {
            OPEN_ERRORS
        } else {
            REFUSALS
        };
        if times.len() < least {
            return;
        }
        let all: Vec<Timestamp> = times.iter().copied().collect();
        let mut finding = self.finding(
            Kind::SessionOpenRejected,
            Severity::Warning,
            session,
            net,
            all[0],
        );
        for time in &all[1..] {
            finding.again_at(*time);
        }
        finding.evidence.add(seen.event.locator);
        finding.reason = Some(why);
        finding.broken.subject = true;
        finding.explain = told(all.len() as u64, all[0]);
        let key = board.raise(finding);
        if let Some((_, slot)) = self.refusals.get_mut(&id) {
            *slot = Some(key);
        }
    }

    fn late(
        &mut self,
        id: SessionId,
        end: usize,
        (gap, hold): (Duration, Duration),
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        if let Some(key) = self.misses.get(&id) {
            board.update(*key, |finding| finding.again(seen.event));
            return;
        }
        if self.misses.len() >= MAX_WATCHED {
            return;
        }
        let mut finding = self.finding(
            Kind::SessionNearMiss,
            Severity::Info,
            session,
            net,
            seen.event.at,
        );
        finding.evidence.add(seen.event.locator);
        finding.ended = Some(seen.event.at);
        finding.explain = format!(
            "{} was silent for {:.1} s of a hold time of {} s: the session nearly expired",
            session.ends[end].addr,
            gap.as_secs_f64(),
            hold.as_secs()
        );
        self.misses.insert(id, board.raise(finding));
    }

    fn stalled(
        &mut self,
        id: SessionId,
        end: usize,
        now: Timestamp,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let Some(since) = session.ends[end]
            .zero_window
            .filter(|since| now.since(*since) >= STALL)
        else {
            return;
        };
        if self.stalls.contains_key(&(id, end)) || self.stalls.len() >= MAX_WATCHED {
            return;
        }
        let mut finding =
            self.finding(Kind::SessionStalled, Severity::Warning, session, net, since);
        finding.last = now;
        finding.fidelity = crate::detect::Fidelity::Inferred;
        finding.broken.subject = true;
        finding.explain = format!(
            "{} has kept its TCP window closed for {} s: the session is up, but nothing gets through (RFC 9687 closes it with a send hold timer)",
            session.ends[end].addr,
            now.since(since).as_secs()
        );
        self.stalls.insert((id, end), board.raise(finding));
    }

    fn empty(&mut self, id: SessionId, now: Timestamp, net: &NetState, board: &mut Board) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let Some(up) = session
            .up_since
            .filter(|up| session.state == State::Established && now.since(*up) >= EMPTY_AFTER)
        else {
            return;
        };
        for (rib, of) in net.rib.of_session(id) {
            let Some(held) = self.held.remove(&rib).filter(|held| *held >= EMPTY_LEAST) else {
                continue;
            };
            if of.present.saturating_mul(EMPTY_SHARE) >= held {
                continue;
            }
            let mut finding = self.finding(Kind::SessionEmpty, Severity::Warning, session, net, up);
            finding.last = now;
            finding.fidelity = crate::detect::Fidelity::Inferred;
            finding.broken.subject = true;
            finding.explain = format!(
                "The session with {} came back {} s ago with {} prefixes; before it was lost there were {held}",
                session.ends[of.sender].addr,
                now.since(up).as_secs(),
                of.present
            );
            board.raise(finding);
            return;
        }
    }
}

/// Whether the same neighbor has a session with another address that was lost: attempts by another way are that loss's.
fn elsewhere(net: &NetState, id: SessionId, session: &Session) -> bool {
    /// Sessions compared: a host has a handful.
    const MOST: usize = 256;
    net.sessions.iter().take(MOST).any(|(other, s)| {
        other != id
            && s.downs > 0
            && s.ends
                .iter()
                .any(|end| session.ends.iter().any(|own| own.addr == end.addr))
    })
}

/// What is wrong with a refused OPEN (RFC 4271 §6.2, RFC 5492 §5, RFC 9234 §4.2), as the end of a sentence.
fn open_error(code: u8, subcode: u8) -> &'static str {
    match (code, subcode) {
        (2, 1) => " (unsupported version number)",
        (2, 2) => " (bad peer AS: one end is configured with another AS number than the other has)",
        (2, 3) => " (bad BGP identifier)",
        (2, 4) => " (unsupported optional parameter)",
        (2, 6) => " (unacceptable hold time)",
        (2, 7) => " (unsupported capability)",
        (2, 11) => " (role mismatch)",
        _ => "",
    }
}
