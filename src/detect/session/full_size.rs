//! `session.mtu-blackhole`: small packets pass, full-size ones do not, so a session opens and dies at its first large UPDATE, each time.
//!
//! Two views of one fault. At the sender: the same large segment is sent again and again without an answer, while the other end talks on.
//! At the receiver: a small segment arrives behind a hole as large as a segment, and the hole is never filled. One such death may be
//! plain loss that began at an unlucky moment; the second, on another connection that opened in between, is not.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::tcp::TcpFact;
use crate::event::{Event, Locator, Timestamp};
use crate::state::sessions::{Session, SessionId};

use crate::detect::{Board, Finding, FindingKey, Subject};

/// Payload from which on a segment can be too long for a path: every IPv4 path carries datagrams of 576 octets, so 536 of payload
/// (RFC 9293 §3.7.1, RFC 791 §3.2).
pub(super) const FULL_SIZE: u32 = 536;
/// Repetitions of the segment that are no accident: Linux's first three come within 1.5 s, a burst of loss is shorter.
const REPEATED: u32 = 3;
/// Deaths within [`WITHIN`] that prove it.
const DEATHS: usize = 2;
/// A hold time of 240 s (BIRD) and its back-off of 300 s fit twice.
const WITHIN: Duration = Duration::from_secs(20 * 60);
/// Sessions that are looked at at once.
const MAX_WATCHED: usize = 4096;
/// Deaths remembered of a session.
const MAX_DEATHS: usize = 16;

/// What blocks one direction of the connection at hand.
#[derive(Copy, Clone)]
struct Block {
    since: Timestamp,
    octets: u32,
    times: u32,
    first: Locator,
    last: Locator,
    /// Something small passed in the same direction behind it (seen at the receiver).
    passed: bool,
}

/// One death of the session with a block in front of it.
#[derive(Copy, Clone)]
struct Death {
    at: Timestamp,
    block: Block,
}

#[derive(Clone, Default)]
struct Watch {
    blocks: [Option<Block>; 2],
    deaths: [Vec<Death>; 2],
    /// A full-size segment is on its way from this end.
    large: [bool; 2],
    key: Option<FindingKey>,
}

/// The books of all sessions.
#[derive(Clone, Default)]
pub(super) struct FullSize {
    watched: BTreeMap<SessionId, Watch>,
}

impl FullSize {
    /// Whether a fact about a connection can matter here.
    pub fn wants(&self, what: TcpFact) -> bool {
        match what {
            TcpFact::Retransmission(octets) | TcpFact::Hole(octets) | TcpFact::FullSize(octets) => {
                octets >= FULL_SIZE
            }
            TcpFact::Ack => !self.watched.is_empty(),
            _ => false,
        }
    }

    /// A fact about the TCP connection of a session, whose `end` sent the segment.
    pub fn segment(
        &mut self,
        (id, end): (SessionId, usize),
        event: &Event,
        what: TcpFact,
        board: &mut Board,
    ) {
        if self.watched.len() >= MAX_WATCHED && !self.watched.contains_key(&id) {
            return;
        }
        let end = end & 1;
        if matches!(what, TcpFact::Ack) {
            let Some(watch) = self.watched.get_mut(&id) else {
                return;
            };
            let through =
                watch.blocks[1 - end].take().is_some() | std::mem::take(&mut watch.large[1 - end]);
            if let Some(key) = watch.key.filter(|_| through) {
                board.update(key, |finding| {
                    finding.recovered(event.at);
                    finding.ended = Some(event.at);
                    finding.broken.subject = false;
                });
            }
            return;
        }
        let watch = self.watched.entry(id).or_default();
        let (octets, passed) = match what {
            TcpFact::Retransmission(octets) => (octets, false),
            TcpFact::Hole(octets) => (octets, true),
            _ => {
                watch.large[end] = true;
                return;
            }
        };
        let block = watch.blocks[end].get_or_insert(Block {
            since: event.at,
            octets,
            times: 0,
            first: event.locator,
            last: event.locator,
            passed,
        });
        block.times = block.times.saturating_add(1);
        block.octets = block.octets.min(octets);
        block.last = event.locator;
        block.passed |= passed;
    }

    /// The session is up on a new connection.
    pub fn up(&mut self, id: SessionId) {
        if let Some(watch) = self.watched.get_mut(&id) {
            watch.blocks = [None; 2];
            watch.large = [false; 2];
        }
    }

    /// The session went down at `at`. Gives what `describe` needs when that makes it a black hole, or one more death in it.
    pub fn down(
        &mut self,
        id: SessionId,
        session: &Session,
        event: &Event,
        board: &mut Board,
    ) -> Option<NewBlackhole> {
        let watch = self.watched.get_mut(&id)?;
        let blocks = std::mem::take(&mut watch.blocks);
        for (end, block) in blocks.into_iter().enumerate() {
            let Some(block) = block else { continue };
            // A path that is dead in both directions shows the other end silent too, and so does a capture of one direction.
            let other = session.ends[1 - end].last_message;
            let talks = other.is_some_and(|last| last > block.since);
            if !talks || !block.passed && block.times < REPEATED {
                continue;
            }
            let deaths = &mut watch.deaths[end];
            deaths.retain(|death| event.at.since(death.at) <= WITHIN);
            if deaths.len() == MAX_DEATHS {
                deaths.remove(0);
            }
            deaths.push(Death {
                at: event.at,
                block,
            });
            let text = words(session, end, deaths);
            if let Some(key) = watch.key {
                board.update(key, |finding| {
                    finding.again_at(block.since);
                    finding.last = finding.last.max(event.at);
                    finding.evidence.add(block.first);
                    finding.evidence.add(block.last);
                    finding.broken.subject = true;
                    finding.explain = text;
                });
                return None;
            }
            if deaths.len() >= DEATHS {
                return Some(NewBlackhole {
                    id,
                    first: deaths[0].block.since,
                    text,
                    rest: deaths
                        .iter()
                        .map(|death| {
                            (
                                death.block.since,
                                death.at,
                                death.block.first,
                                death.block.last,
                            )
                        })
                        .collect(),
                });
            }
        }
        None
    }

    /// Raises it; `finding` names the session.
    pub fn raise(&mut self, new: NewBlackhole, mut finding: Finding, board: &mut Board) {
        for (at, (since, died, first, last)) in new.rest.into_iter().enumerate() {
            if at > 0 {
                finding.again_at(since);
            }
            finding.evidence.add(first);
            finding.evidence.add(last);
            finding.last = finding.last.max(died);
        }
        finding.broken.subject = true;
        finding.explain = new.text;
        let peer = finding.subjects.first().and_then(|subject| match subject {
            Subject::Peer(addr, _) => Some(*addr),
            _ => None,
        });
        if let Some(peer) = peer {
            finding
                .advice
                .insert(0, format!("ping -M do -s 1472 -c 3 {peer}"));
            finding.advice.push(format!("tracepath -n {peer}"));
        }
        if let Some(watch) = self.watched.get_mut(&new.id) {
            watch.key = Some(board.raise(finding));
        }
    }
}

/// A black hole that was recognised a moment ago.
pub(super) struct NewBlackhole {
    id: SessionId,
    pub first: Timestamp,
    text: String,
    rest: Vec<(Timestamp, Timestamp, Locator, Locator)>,
}

fn words(session: &Session, end: usize, deaths: &[Death]) -> String {
    let (from, to) = (session.ends[end].addr, session.ends[1 - end].addr);
    let octets = deaths
        .iter()
        .map(|death| death.block.octets)
        .min()
        .unwrap_or_default();
    let times: u32 = deaths.iter().map(|death| death.block.times).sum();
    let seen = if deaths.iter().any(|death| death.block.passed) {
        format!("{octets} octets from {from} never arrived, while what it sent behind them did")
    } else {
        format!(
            "{from} sent segments of {octets} octets and more {times} times again without an answer from {to}, which went on talking"
        )
    };
    format!(
        "the session between {from} and {to} opened and died {} times at the first large segment: {seen}. Small packets pass, full-size ones \
         do not: an MTU too large for the path, or packets too big and the ICMP about them dropped on the way",
        deaths.len()
    )
}

#[cfg(test)]
mod tests;
