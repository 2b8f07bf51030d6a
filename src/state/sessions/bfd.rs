//! BFD sessions (RFC 5880), each once, seen from both ends: states, diagnostics, detection times.
//!
//! A loss is what an end says (it leaves Up), or long silence of both ends; one end's silence alone may be our capture's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::SessionDelta;
use crate::event::bfd::{Bfd, BfdState};
use crate::event::frame::Mac;
use crate::event::{Event, InputId, SourceId, Timestamp};

/// BFD sessions tracked at once: as many as BGP sessions.
const MAX_BFD: usize = 16_384;
/// Silence of both ends counts as a loss after this many detection times: one would be the protocol's own limit, and a capture of a
/// host whose link is down sees neither end; three leave room for a capture's stalls.
const SILENT_DETECTIONS: u32 = 3;
/// RFC 5880 §6.8.3: the slowest rate at which a system that is not up may send; detection times are computed from sane packets only.
const MAX_DETECTION: Duration = Duration::from_secs(60);

/// A session that falls so soon after it was seen to come up for the first time is still being opened: while it is down packets come once
/// a second (RFC 5880 §6.8.3).
const OPENING: Duration = Duration::from_secs(1);

/// A start that fails this often is no start any more; the same as for BGP sessions.
const MAX_FALSE_STARTS: u32 = 3;

/// RFC 5881 §4: sessions over one hop; behind others (4784, RFC 5883) the link-layer address is a router's.
const SINGLE_HOP: u16 = 3784;
/// Diagnostic "code" of a loss that BGP told of before any BFD packet did; the field has five bits (RFC 5880 §4.1), so none on the wire.
pub const DIAG_TOLD_BY_BGP: u8 = 0xff;

/// The two addresses, lower first.
pub type BfdPair = (IpAddr, IpAddr);

/// One end.
#[derive(Copy, Clone, Debug, Default)]
pub struct BfdEnd {
    pub state: Option<BfdState>,
    /// Its link-layer address, of a session over one hop.
    pub mac: Option<Mac>,
    pub diag: u8,
    /// What it calls the session: a session that is created anew has another number (RFC 5880 §6.8.1).
    pub discriminator: u32,
    pub last: Option<Timestamp>,
    pub desired_min_tx: Duration,
    pub required_min_rx: Duration,
    pub detect_mult: u8,
    /// Times it answered a Poll of the other end, or polled itself.
    pub polls: u32,
    pub finals: u32,
    /// The longest distance of two packets while up, since the session last came up.
    pub longest_gap: Duration,
}

/// A BFD session.
#[derive(Clone, Debug)]
pub struct BfdSession {
    pub ends: [BfdEnd; 2],
    pub up: bool,
    pub since: Timestamp,
    pub downs: u32,
    pub down_at: Option<Timestamp>,
    pub port: u16,
    /// Where its packets were seen last.
    pub source: SourceId,
    pub input: InputId,
    pub ifindex: Option<u32>,
    scheduled: Option<Timestamp>,
    /// When it was seen to come up for the first time, after it was seen down.
    opened: Option<Timestamp>,
    /// How often it fell while it was being opened.
    false_starts: u32,
    /// [`BfdChange::Known`] was told.
    known: bool,
}

impl BfdSession {
    /// How long this end may be silent before the other declares it lost (RFC 5880 §6.8.4).
    pub fn detection_time(&self, end: usize) -> Option<Duration> {
        let (own, other) = (&self.ends[end], &self.ends[1 - end]);
        if own.detect_mult == 0 || own.last.is_none() {
            return None;
        }
        let interval = own.desired_min_tx.max(other.required_min_rx);
        Some((interval * u32::from(own.detect_mult)).min(MAX_DETECTION))
    }

    /// The longer of both detection times.
    pub fn slowest_detection(&self) -> Option<Duration> {
        (0..2).filter_map(|end| self.detection_time(end)).max()
    }
}

/// What happened.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum BfdChange {
    /// It came up; `first` when it is news of the first kind (seen up for the first time).
    Up { first: bool },
    /// Both ends were heard while it is up: what each of them asks for is known.
    Known,
    /// It left Up, as this end told with this diagnostic code (or, with `None`, in silence since `last`).
    Down {
        at: Timestamp,
        from: Option<usize>,
        diag: u8,
        last_heard: Option<Timestamp>,
        /// The end that told it had created its session anew: it forgot the old one, and no packet was lost.
        recreated: bool,
    },
    /// An administrator switched it off: no failure (RFC 5880 §6.8.16).
    AdminDown { from: usize },
    /// The other end confirmed the loss with its own diagnostic code.
    Confirmed { from: usize, diag: u8 },
    /// A packet came later than two thirds of the detection time, and the session survived.
    Late {
        from: usize,
        gap: Duration,
        detection: Duration,
    },
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct BfdTable {
    sessions: BTreeMap<BfdPair, BfdSession>,
    checks: BTreeSet<(Timestamp, BfdPair)>,
    silent: Vec<(BfdPair, Timestamp, Timestamp)>,
    blind_until: Option<Timestamp>,
}

impl BfdTable {
    /// The session between two addresses.
    pub fn get(&self, a: IpAddr, b: IpAddr) -> Option<&BfdSession> {
        self.sessions.get(&if a <= b { (a, b) } else { (b, a) })
    }

    /// All sessions, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&BfdPair, &BfdSession)> {
        self.sessions.iter()
    }

    pub(super) fn blind(&mut self, until: Timestamp) {
        self.blind_until = self.blind_until.max(Some(until));
        self.silent.clear();
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.checks.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Timestamp, _out: &mut Vec<SessionDelta>) {
        while let Some((at, pair)) = self.checks.first().copied().filter(|(at, _)| *at <= now) {
            self.checks.remove(&(at, pair));
            let blind = self.blind_until;
            let Some(session) = self.sessions.get_mut(&pair) else {
                continue;
            };
            session.scheduled = None;
            let Some((last, limit)) = silence_limit(session, blind) else {
                continue;
            };
            if last + limit > now {
                session.scheduled = Some(last + limit);
                self.checks.insert((last + limit, pair));
            } else if self.silent.len() < MAX_BFD {
                // Lost one detection time after the last packet; told when the input proves to be alive.
                self.silent.push((pair, last, now));
            }
        }
    }

    pub(super) fn apply(&mut self, event: &Event, bfd: &Bfd, out: &mut Vec<SessionDelta>) {
        let (Some(src), Some(dst)) = (bfd.frame.ip_src, bfd.frame.ip_dst) else {
            return;
        };
        let (pair, from) = if src <= dst {
            ((src, dst), 0)
        } else {
            ((dst, src), 1)
        };
        if !self.sessions.contains_key(&pair) && self.sessions.len() >= MAX_BFD {
            return;
        }
        let session = self.sessions.entry(pair).or_insert_with(|| BfdSession {
            ends: [BfdEnd::default(); 2],
            up: false,
            since: event.at,
            downs: 0,
            down_at: None,
            port: bfd.port,
            source: event.source,
            input: event.locator.input,
            ifindex: bfd.frame.ifindex,
            scheduled: None,
            opened: None,
            false_starts: 0,
            known: false,
        });
        session.source = event.source;
        session.input = event.locator.input;
        session.ifindex = bfd.frame.ifindex;
        let detection = session.detection_time(from);
        let (before, last) = (session.ends[from].state, session.ends[from].last);
        let end = &mut session.ends[from];
        end.state = Some(bfd.state);
        if bfd.port == SINGLE_HOP {
            end.mac = bfd.frame.eth_src.or(end.mac);
        }
        end.diag = bfd.diag;
        let recreated = end.discriminator != 0
            && end.discriminator != bfd.my_discriminator
            // An end that forgot does not know the other's number yet.
            && bfd.your_discriminator == 0;
        end.discriminator = bfd.my_discriminator;
        end.last = Some(event.at);
        end.desired_min_tx = Duration::from_micros(u64::from(bfd.desired_min_tx_us));
        end.required_min_rx = Duration::from_micros(u64::from(bfd.required_min_rx_us));
        end.detect_mult = bfd.detect_mult;
        end.polls = end.polls.saturating_add(u32::from(bfd.poll));
        end.finals = end.finals.saturating_add(u32::from(bfd.is_final));
        let change = match (before, bfd.state) {
            (_, BfdState::Up) => {
                // An end that was never heard is seen by nobody here: the other's word is all there is.
                let both = session
                    .ends
                    .iter()
                    .all(|e| e.state == Some(BfdState::Up) || e.last.is_none());
                // Mid-stream one end's Up is enough: an end is up only when it hears the other.
                if !session.up && (both || session.downs == 0 && before.is_none()) {
                    session.up = true;
                    session.since = event.at;
                    // Mid-stream its first packet says Up; one that opens says Down or Init before.
                    if session.downs == 0 && before.is_some() {
                        session.opened = Some(event.at);
                    }
                    session.ends[0].longest_gap = Duration::ZERO;
                    session.ends[1].longest_gap = Duration::ZERO;
                    Some(BfdChange::Up {
                        first: session.downs == 0,
                    })
                } else {
                    late(session, from, before, last, detection, event.at)
                }
            }
            (_, BfdState::AdminDown) if session.up => {
                session.up = false;
                session.since = event.at;
                Some(BfdChange::AdminDown { from })
            }
            // Daemons create the session anew once BGP is up: it is up for milliseconds before (BIRD, measured 2 ms), and nothing was lost.
            (_, BfdState::Down | BfdState::Init)
                if session.up
                    && session.downs == 0
                    && session.false_starts < MAX_FALSE_STARTS
                    && session
                        .opened
                        .is_some_and(|at| event.at.since(at) < OPENING) =>
            {
                session.up = false;
                session.since = event.at;
                session.opened = None;
                session.false_starts += 1;
                None
            }
            (_, BfdState::Down | BfdState::Init) if session.up => {
                session.up = false;
                session.since = event.at;
                session.downs = session.downs.saturating_add(1);
                session.down_at = Some(event.at);
                let last_heard = session.ends[1 - from].last;
                Some(BfdChange::Down {
                    at: event.at,
                    from: Some(from),
                    diag: bfd.diag,
                    last_heard,
                    recreated,
                })
            }
            (Some(BfdState::Up), BfdState::Down | BfdState::Init) => Some(BfdChange::Confirmed {
                from,
                diag: bfd.diag,
            }),
            _ => None,
        };
        if session.up
            && session.scheduled.is_none()
            && let Some((last, limit)) = silence_limit(session, self.blind_until)
        {
            session.scheduled = Some(last + limit);
            self.checks.insert((last + limit, pair));
        }
        let known = session.up && !session.known && session.ends.iter().all(|e| e.last.is_some());
        session.known |= known;
        let known = known.then_some(BfdChange::Known);
        for change in change.into_iter().chain(known) {
            out.push(SessionDelta::Bfd { pair, change });
        }
    }

    /// An end closed its BGP session because BFD is down (RFC 9384): it knows of the loss although its BFD packets, which may be lost
    /// themselves, do not show it.
    pub(super) fn told_by_bgp(
        &mut self,
        pair: BfdPair,
        from: usize,
        at: Timestamp,
        out: &mut Vec<SessionDelta>,
    ) {
        let Some(session) = self.sessions.get_mut(&pair).filter(|session| session.up) else {
            return;
        };
        session.up = false;
        session.since = at;
        session.downs = session.downs.saturating_add(1);
        session.down_at = Some(at);
        session.ends[from & 1].state = Some(BfdState::Down);
        let change = BfdChange::Down {
            at,
            from: Some(from & 1),
            diag: DIAG_TOLD_BY_BGP,
            last_heard: session.ends[1 - (from & 1)].last,
            recreated: false,
        };
        out.push(SessionDelta::Bfd { pair, change });
    }

    /// Tells the silent losses that an event proves: the input goes on without the session. `before`: when the event's input was heard before.
    pub(super) fn confirm_silence(
        &mut self,
        event: &Event,
        before: Option<Timestamp>,
        out: &mut Vec<SessionDelta>,
    ) {
        if self.silent.is_empty() {
            return;
        }
        let silent = std::mem::take(&mut self.silent);
        for (pair, last, limit) in silent {
            let Some(session) = self.sessions.get_mut(&pair) else {
                continue;
            };
            if session.input != event.locator.input || event.at <= limit {
                self.silent.push((pair, last, limit));
                continue;
            }
            let heard = session.ends.iter().filter_map(|e| e.last).max();
            if !session.up || heard > Some(last) {
                continue;
            }
            let detection = session.slowest_detection().unwrap_or_default();
            // Nothing at all came from the input for so long that the silence passes with it: the machine was suspended, its clock was set
            // forward, or the capture paused. Packets come three times per detection time, so two thirds of the silence are needed.
            if before.is_some_and(|before| {
                event.at.since(before) >= detection * SILENT_DETECTIONS * 2 / 3
            }) {
                self.blind_until = self.blind_until.max(Some(event.at));
                let due = event.at + detection * SILENT_DETECTIONS;
                if session.scheduled.is_none() {
                    session.scheduled = Some(due);
                    self.checks.insert((due, pair));
                }
                continue;
            }
            session.up = false;
            session.since = last + detection;
            session.downs = session.downs.saturating_add(1);
            session.down_at = Some(last + detection);
            for end in &mut session.ends {
                end.state = None;
            }
            let change = BfdChange::Down {
                at: last + detection,
                from: None,
                diag: 0,
                last_heard: Some(last),
                recreated: false,
            };
            out.push(SessionDelta::Bfd { pair, change });
        }
    }
}

/// When the session would count as lost in silence: the last packet of either end, and how long nothing may follow it.
fn silence_limit(session: &BfdSession, blind: Option<Timestamp>) -> Option<(Timestamp, Duration)> {
    if !session.up {
        return None;
    }
    let last = session
        .ends
        .iter()
        .filter_map(|e| e.last)
        .max()?
        .max(blind.unwrap_or(Timestamp::MIN));
    Some((last, session.slowest_detection()? * SILENT_DETECTIONS))
}

fn late(
    session: &mut BfdSession,
    from: usize,
    before: Option<BfdState>,
    last: Option<Timestamp>,
    detection: Option<Duration>,
    now: Timestamp,
) -> Option<BfdChange> {
    let (last, detection) = (last?, detection?);
    if !session.up || before != Some(BfdState::Up) {
        return None;
    }
    let gap = now.since(last);
    let end = &mut session.ends[from];
    end.longest_gap = end.longest_gap.max(gap);
    // Two thirds: the last of three packets is overdue (RFC 5880's usual multiplier is 3).
    (gap * 3 > detection * 2 && gap < detection).then_some(BfdChange::Late {
        from,
        gap,
        detection,
    })
}
